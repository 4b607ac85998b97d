"""Skeletons on images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.images import check_image
from smap_ros.viz.colors import OUTLINE, RGB, TEXT, bgr, mix, person_color, side_color
from smap_ros.viz.text import blend, plate_mask, put_text, text_mask

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]

# Joints below this are drawn hollow, their bones thinner.
WEAK_SCORE = 0.3

# OpenCV draws at 1/16 pixel.
_SHIFT = 4


@dataclass(frozen=True)
class DrawStyle:
    """What is drawn besides the bones.

    Attributes:
        labels: a plate with id and distance at each person's head.
        caption: a line at the bottom left; empty for none.
        weak_score: joints below this score are hollow.
    """

    labels: bool = True
    caption: str = ""
    weak_score: float = WEAK_SCORE


def draw_frame(image: Image, frame: BodyFrame, style: DrawStyle | None = None) -> Image:
    """A copy of the image with everybody's skeleton, near people over far ones.

    Args:
        image: uint8 [H, W, 3], bgr, of the frame.
        frame: the people; joints without a pixel are left out.
        style: what is drawn besides the bones.

    Raises:
        InputError: if the image isn't uint8 [H, W, 3].
    """
    check_image(image)
    style = style or DrawStyle()
    canvas = image.copy()
    colored = [(body, person_color(body.id, k)) for k, body in enumerate(frame)]
    far_first = sorted(colored, key=lambda pair: -_distance(pair[0], at_unknown=np.inf))
    for body, color in far_first:
        draw_body(canvas, body, color, style.weak_score)
    if style.labels:
        taken: list[Box] = []
        # The nearest person's label gets the place it wants.
        for body, color in reversed(far_first):
            _draw_label(canvas, body, color, taken)
    if style.caption:
        _draw_caption(canvas, style.caption)
    return canvas


def draw_resized(
    image: Image, frame: BodyFrame, width: int, style: DrawStyle | None = None
) -> Image:
    """Like :func:`draw_frame`, on the image scaled to a width, so that labels stay readable.

    Args:
        image: uint8 [H, W, 3], bgr, of the frame.
        frame: the people.
        width: of the result, in pixels.
        style: what is drawn besides the bones.

    Returns:
        uint8 [round(H * width / W), width, 3], bgr.
    """
    check_image(image)
    scale = width / image.shape[1]
    size = (width, max(1, round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, size, interpolation=method).astype(np.uint8, copy=False)
    # Pixel centres have integer coordinates.
    bodies = (replace(b, joints_2d=(b.joints_2d + 0.5) * scale - 0.5) for b in frame)
    return draw_frame(small, frame.with_bodies(tuple(bodies)), style)


def draw_body(canvas: Image, body: Body, color: RGB, weak_score: float = WEAK_SCORE) -> None:
    """Draw one skeleton in place: outlined bones, joints filled or (weak ones) hollow."""
    skeleton = body.skeleton
    seen = np.isfinite(body.joints_2d).all(axis=1) & (body.scores > 0)
    if not seen.any():
        return
    thickness = bone_thickness(body, canvas.shape[0])
    points = np.zeros((len(skeleton), 2), np.int64)
    # Far outside the picture OpenCV's fixed-point coordinates would overflow.
    points[seen] = np.rint(np.clip(body.joints_2d[seen], -8192, 16384) * 2**_SHIFT).astype(int)
    bones = [(a, b) for a, b in skeleton.limbs if seen[a] and seen[b]]
    weak = body.scores < weak_score
    # Around thin bones a wide outline would be all that is seen.
    edge = 2 if thickness > 1 else 0
    for outline in (True, False) if edge else (False,):
        for a, b in bones:
            width = max(1, round(thickness * (0.5 if weak[a] or weak[b] else 1.0)))
            side = skeleton.side(b) if skeleton.side(b) != "middle" else skeleton.side(a)
            ink = OUTLINE if outline else side_color(color, side)
            _line(canvas, points[a], points[b], ink, width + (edge if outline else 0))
    for joint in np.flatnonzero(seen):
        ink = side_color(color, skeleton.side(int(joint)))
        _joint(canvas, points[joint], ink, thickness, bool(weak[joint]))


def bone_thickness(body: Body, image_height: int) -> int:
    """Width of a person's bones in pixels, from how large the person appears."""
    size = max(body.box[2:])
    if not np.isfinite(size):
        return 2
    return int(np.clip(round(size / 75), 1 if size < 130 else 2, max(3, image_height // 110)))


def _distance(body: Body, at_unknown: float = np.nan) -> float:
    """Metres from the camera to the person's root."""
    distance = float(np.linalg.norm(body.root))
    return distance if np.isfinite(distance) else at_unknown


def _line(
    canvas: Image, a: NDArray[np.int64], b: NDArray[np.int64], color: RGB, width: int
) -> None:
    cv2.line(canvas, _xy(a), _xy(b), bgr(color), width, cv2.LINE_AA, _SHIFT)


def _joint(
    canvas: Image, point: NDArray[np.int64], color: RGB, thickness: int, hollow: bool
) -> None:
    def dot(width: float, ink: RGB) -> None:
        # A line without length has round ends; OpenCV's small circles are diamonds.
        _line(canvas, point, point, ink, max(1, round(width)))

    size = max(2.0, 1.9 * thickness)
    if thickness > 1:
        dot(size + 2, OUTLINE)
    dot(size, color if hollow else mix(color, (255, 255, 255), 0.25))
    if hollow:
        dot(0.5 * size, OUTLINE)


def _xy(point: NDArray[np.int64]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _draw_label(canvas: Image, body: Body, color: RGB, taken: list[Box]) -> None:
    """A plate above the topmost joint, moved up while it covers another plate."""
    text = label(body)
    points = body.joints_2d[np.isfinite(body.joints_2d).all(axis=1)]
    if not text or not len(points):
        return
    height, width = canvas.shape[:2]
    size = int(np.clip(height / 42, 11, 30))
    mask = text_mask(text, size)
    pad = size // 3
    box_width, box_height = mask.shape[1] + 2 * pad + 2, mask.shape[0] + pad
    top = points[points[:, 1].argmin()]
    margin = round(2.2 * bone_thickness(body, height)) + 4
    x = int(np.clip(top[0] - box_width / 2, 0, max(0, width - box_width)))
    y = int(np.clip(top[1] - margin - box_height, 0, max(0, height - box_height)))
    for _ in range(len(taken)):
        hit = [t for t in taken if _overlap((x, y, box_width, box_height), t)]
        if not hit or y == 0:
            break
        y = max(0, min(t[1] for t in hit) - box_height - 2)
    taken.append((x, y, box_width, box_height))
    blend(canvas, plate_mask(box_width, box_height, min(pad, box_height // 2)), x, y, color, 0.92)
    put_text(canvas, text, x + pad + 1, y + pad // 2, size, OUTLINE)


def label(body: Body) -> str:
    """What a person's plate says: ``#3  2.41 m``, or one of the two, or nothing."""
    distance = _distance(body)
    parts = [f"#{body.id}"] if body.id is not None else []
    parts += [f"{distance:.2f} m"] if np.isfinite(distance) else []
    return "  ".join(parts)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _draw_caption(canvas: Image, text: str) -> None:
    height = canvas.shape[0]
    size = int(np.clip(height / 46, 11, 28))
    mask = text_mask(text, size)
    pad = size // 2
    box_width, box_height = mask.shape[1] + 2 * pad, mask.shape[0] + pad
    x, y = pad, height - box_height - pad
    blend(canvas, plate_mask(box_width, box_height, pad // 2), x, y, OUTLINE, 0.62)
    put_text(canvas, text, x + pad, y + pad // 2, size, TEXT)
