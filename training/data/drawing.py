"""Samples as a network gets them, with what it should answer drawn into the picture.

One function a recipe: of the sample, and of the recipe itself where that knows more. Left is blue,
right red, the middle green. Only what the targets say is drawn, so a mistake of theirs shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15, SMPL30, SPIN49, Skeleton
from smap_ros.viz.colors import OUTLINE, TEXT
from smap_ros.viz.text import blend, plate_mask, put_text, text_mask
from smap_train.models.crowdnet.body import INPUT_SIZE
from smap_train.models.crowdnet.guidance import HEATMAP_SIZE
from smap_train.targets.pixels import restored
from smap_train.virtual.preview import SIDE_COLOURS

Image = NDArray[np.uint8]
Float = NDArray[np.floating]
Sample = Mapping[str, Any]

_LEAST_SIDE = 416  # pixels of a drawing
_TEXT_SIZE = 12
_MOST_FRAMES = 4  # of a clip
_MIDDLE = 0.5  # of a cell, where a label map has its point there
_PEAK = 0.3  # of the highest value that a heatmap can have
_WHITE, _YELLOW = (255, 255, 255), (70, 220, 255)  # bgr


class Canvas:
    """A picture made larger, and what is drawn on it in pixels of the original.

    Args:
        rgb: uint8 [H, W, 3].
    """

    def __init__(self, rgb: Image) -> None:
        self.zoom = max(1, -(-_LEAST_SIDE // max(rgb.shape[:2])))
        size = (rgb.shape[1] * self.zoom, rgb.shape[0] * self.zoom)
        enlarged = cv2.resize(rgb[..., ::-1], size, interpolation=cv2.INTER_NEAREST)
        self.image = np.ascontiguousarray(enlarged, np.uint8)

    def at(self, point: Float) -> tuple[int, int]:
        """A point's place on the canvas."""
        x, y = (float(np.clip(v, -1e4, 1e4)) for v in point[:2])
        return round((x + 0.5) * self.zoom), round((y + 0.5) * self.zoom)

    def dot(self, point: Float, colour: tuple[int, int, int], *, ring: bool = False) -> None:
        """A joint."""
        thickness = 1 if ring else -1
        cv2.circle(self.image, self.at(point), 4 if ring else 3, colour, thickness, cv2.LINE_AA)

    def line(self, one: Float, other: Float, colour: tuple[int, int, int]) -> None:
        """A limb."""
        cv2.line(self.image, self.at(one), self.at(other), colour, 1, cv2.LINE_AA)

    def arrow(self, start: Float, end: Float, colour: tuple[int, int, int]) -> None:
        """A direction."""
        cv2.arrowedLine(
            self.image, self.at(start), self.at(end), colour, 1, cv2.LINE_AA, tipLength=0.4
        )

    def box(self, low: Float, high: Float) -> None:
        """A person's box."""
        cv2.rectangle(self.image, self.at(low), self.at(high), _YELLOW, 1)

    def text(self, point: Float, words: str) -> None:
        """Words beside a point."""
        x, y = self.at(point)
        mask = text_mask(words, _TEXT_SIZE)
        width, height = mask.shape[1] + 8, mask.shape[0] + 4
        x = min(max(x + 5, 0), max(self.image.shape[1] - width, 0))
        y = min(max(y, 0), max(self.image.shape[0] - height, 0))
        blend(self.image, plate_mask(width, height, 3), x, y, OUTLINE, 0.6)
        put_text(self.image, words, x + 4, y + 2, _TEXT_SIZE, TEXT)

    def words(self, words: str) -> None:
        """Words at the bottom."""
        self.text(np.array([0.0, self.image.shape[0] / self.zoom]), words)

    def pose(self, points: Float, known: NDArray[np.bool_], skeleton: Skeleton) -> None:
        """Joints [J, 2], and limbs between those that are known."""
        for a, b in skeleton.limbs:
            if known[a] and known[b]:
                self.line(points[a], points[b], side_colour(skeleton, b))
        for k in np.flatnonzero(known):
            self.dot(points[k], side_colour(skeleton, k))


def side_colour(skeleton: Skeleton, joint: int) -> tuple[int, int, int]:
    """Of a joint, bgr."""
    red, green, blue = SIDE_COLOURS[skeleton.side(joint)]
    return blue, green, red


def peaks(heatmap: Float, most: float) -> NDArray[np.int64]:
    """The maxima of a map [h, w] whose highest value can be ``most``: [N, 2], x and y in cells."""
    highest = cv2.dilate(heatmap.astype(np.float32), np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero((heatmap == highest) & (heatmap > _PEAK * most))
    return np.stack([columns, rows], axis=1)


def smap(sample: Sample, recipe: Any) -> Image:
    """Maxima of the finest heatmaps, directions of the affinity fields, depths of the roots."""
    from smap_train.losses.smap import split_labels
    from smap_train.models.smap import KEYPOINTS, MAPS_2D, MEAN_BGR, STD_BGR, STRIDE
    from smap_train.targets.smap import AFFINITY_PEAK, HEATMAP_PEAK

    bgr = sample["image"].numpy().transpose(1, 2, 0) * np.float32(STD_BGR) + np.float32(MEAN_BGR)
    canvas = Canvas(np.clip(np.rint(255 * bgr[..., ::-1]), 0, 255).astype(np.uint8))
    maps, depths = (part.numpy() for part in split_labels(sample["labels"][-1]))
    valid = sample["valid"].numpy() > 0
    for k, (_, end) in enumerate(MPI15.limbs):
        rows = KEYPOINTS + 2 * k
        if valid[rows]:
            field = maps[rows : rows + 2] / AFFINITY_PEAK
            _field(canvas, field, STRIDE, side_colour(MPI15, end))
    for joint in range(KEYPOINTS):
        if valid[joint]:
            for cell in peaks(maps[joint], HEATMAP_PEAK):
                canvas.dot(cell * float(STRIDE), side_colour(MPI15, joint))
    _roots(canvas, sample["roots"].numpy(), STRIDE, "cm/px")
    if valid[MAPS_2D:].any():
        canvas.words(f"bones {depths.min():+.0f} to {depths.max():+.0f} cm from joint to joint")
    else:
        canvas.words("no depths, no head top")
    return canvas.image


def smap_lite(sample: Sample, recipe: Any) -> Image:
    """As :func:`smap`."""
    from smap_train.data.dataset import MEAN, STD
    from smap_train.targets.smap_lite import STRIDE

    rgb = sample["image"].numpy().transpose(1, 2, 0) * STD + MEAN
    canvas = Canvas(np.clip(np.rint(rgb), 0, 255).astype(np.uint8))
    for k, (_, end) in enumerate(MPI15.limbs):
        field = sample["affinities"][2 * k : 2 * k + 2].numpy()
        _field(canvas, field, STRIDE, side_colour(MPI15, end), _MIDDLE)
    for joint, heatmap in enumerate(sample["keypoints"].numpy()):
        for cell in peaks(heatmap, 1.0):
            canvas.dot((cell + _MIDDLE) * STRIDE, side_colour(MPI15, joint))
    _roots(canvas, sample["roots"].numpy(), STRIDE, "m/px")
    return canvas.image


def _field(
    canvas: Canvas, field: Float, stride: int, colour: tuple[int, int, int], middle: float = 0.0
) -> None:
    """Arrows on a grid of cells where an affinity field [2, h, w] isn't 0.

    Args:
        middle: where in a cell its point is.
    """
    rows, columns = np.nonzero(np.hypot(*field) > _PEAK)
    kept = (rows % 3 == 1) & (columns % 3 == 1)
    for row, column in zip(rows[kept], columns[kept], strict=True):
        start = (np.array([column, row]) + middle) * stride
        canvas.arrow(start, start + 2.5 * stride * field[:, row, column], colour)


def _roots(canvas: Canvas, rows: Float, stride: int, unit: str) -> None:
    """Rows of (row, column, depth over focal length), 0 where there is nobody."""
    for row, column, ratio in rows[rows[:, 2] > 0]:
        place = np.array([column, row]) * stride
        canvas.dot(place, _WHITE, ring=True)
        canvas.text(place, f"Z/f {ratio:.3g} {unit}")


def mobilehuman(sample: Sample, recipe: Any) -> Image:
    """Joints of the cube, their depths about the root."""
    from smap_train.models.mobilehuman import DEPTH_HALF_RANGE_M

    config = recipe.config
    canvas = Canvas(restored(sample["image"], config.pixel_range))
    grid = recipe.grid
    cells, known = sample["cells"].numpy(), sample["visible"][:, 0].numpy() > 0
    canvas.pose(cells[:, :2] * (config.input_size / grid), known, recipe.skeleton)
    deep = sample["has_depth"].item() > 0
    depth = (2 * cells[known, 2] / grid - 1) * DEPTH_HALF_RANGE_M
    canvas.words(_depths(depth if deep else None))
    return canvas.image


def _depths(metres: Float | None, origin: str = "root") -> str:
    if metres is None or not len(metres):
        return "no depths"
    return f"depths {metres.min():+.2f} to {metres.max():+.2f} m about the {origin}"


def crowdnet(sample: Sample, recipe: Any) -> Image:
    """Annotated joints as dots, those that guide the network as rings, the fit's as squares."""
    canvas = Canvas(np.rint(255 * sample["image"].numpy().transpose(1, 2, 0)).astype(np.uint8))
    scale = INPUT_SIZE / HEATMAP_SIZE
    guided = sample["mask"][:, 0].numpy() > 0
    if sample["has_fit"].item() > 0:
        inside = sample["fit_joints_img_mask"][:, 0].numpy() > 0
        for point in sample["fit_joints_img"].numpy()[inside]:
            canvas.box(point * scale - 1, point * scale + 1)
    known = sample["joints_img_mask"][:, 0].numpy() > 0
    canvas.pose(sample["joints_img"].numpy()[:, :2] * scale, known, SMPL30)
    for point in sample["joints"].numpy()[guided]:
        canvas.dot(point * scale, _WHITE, ring=True)
    deep = sample["has_3d"].item() > 0 and known.any()
    depth = sample["joints_cam"].numpy()[known, 2]
    fit = "a fitted body" if sample["has_fit"].item() > 0 else "no fitted body"
    canvas.words(f"{_depths(depth if deep else None)}; {fit}")
    return canvas.image


def hap_pretraining(sample: Sample, recipe: Any) -> Image:
    """The crop, and what each of the two views hides."""
    from smap_train.models.hap.network import PATCH
    from smap_train.recipes.hap_pretraining import HIDDEN_SHARE

    rgb = restored(sample["image"])
    shown = [rgb]
    for name in ("first", "second"):
        priority = sample[name].numpy()
        hidden = np.zeros(len(priority), bool)
        hidden[np.argsort(-priority, kind="stable")[: int(HIDDEN_SHARE * len(priority))]] = True
        grid = hidden.reshape(recipe.grid).repeat(PATCH, 0).repeat(PATCH, 1)
        shown.append(np.where(grid[..., None], rgb // 4, rgb).astype(np.uint8))
    return Canvas(np.hstack(shown)).image


def maed(sample: Sample, recipe: Any) -> Image:
    """Some frames of the clip with their joints of 24, the hips' depths."""
    frames = []
    chosen = np.linspace(0, len(sample["clip"]) - 1, _MOST_FRAMES).round().astype(int)
    for k in np.unique(chosen):
        canvas = Canvas(restored(sample["clip"][k]))
        flat, deep = sample["joints_2d"][k].numpy(), sample["joints_3d"][k].numpy()
        known = flat[:, 2] > 0
        canvas.pose((flat[:, :2] + 1) / 2 * recipe.size, known, SPIN49)
        placed = deep[:, 3] > 0
        depth = deep[placed, 2] - deep[placed, 2].mean() if placed.any() else None
        fit = ", a fitted body" if sample["has_fit"][k].item() > 0 else ""
        canvas.words(_depths(depth, "middle") + fit)
        frames.append(canvas.image)
    return np.hstack(frames)


def virtualpose_backbone(sample: Sample, recipe: Any) -> Image:
    """Maxima of the heatmaps, and boxes about the roots."""
    canvas = Canvas(restored(sample["image"]))
    _abstraction(canvas, sample["heatmaps"].numpy(), recipe.skeleton)
    _boxes(canvas, sample["inds"], sample["sides"], sample["in_view"], sample["heatmaps"].shape[-1])
    return canvas.image


def virtualpose_synthetic(scene: Any, recipe: Any) -> Image:
    """The maps themselves, for there is no picture; with maxima, boxes and depths."""
    from smap_train.models.virtualpose.config import JOINT_SETS, STRIDE

    seen = scene.seen
    skeleton = JOINT_SETS[seen.joints_mm.shape[1]]
    maps = seen.maps[: len(skeleton)]
    grey = np.rint(160 * maps.max(axis=0)).astype(np.uint8)
    large = cv2.resize(grey, None, fx=STRIDE, fy=STRIDE, interpolation=cv2.INTER_LINEAR)
    canvas = Canvas(np.repeat(large[..., None], 3, axis=2))
    _abstraction(canvas, maps, skeleton)
    width = maps.shape[-1]
    inds, sides, inside = (torch.from_numpy(a) for a in (seen.inds, seen.sides, seen.in_view))
    _boxes(canvas, inds, sides, inside, width)
    for k in np.flatnonzero(seen.in_view):
        place = np.array([seen.inds[k] % width, seen.inds[k] // width]) * float(STRIDE)
        canvas.text(place, f"{seen.depth_mm[k] / 1000:.2f} m")
    return canvas.image


def _abstraction(canvas: Canvas, maps: Float, skeleton: Skeleton) -> None:
    from smap_train.models.virtualpose.config import STRIDE

    for joint, heatmap in enumerate(maps):
        for cell in peaks(heatmap, 1.0):
            canvas.dot(cell * float(STRIDE), side_colour(skeleton, joint))


def _boxes(
    canvas: Canvas, inds: torch.Tensor, sides: torch.Tensor, inside: torch.Tensor, width: int
) -> None:
    from smap_train.models.virtualpose.config import STRIDE

    for index, side in zip(inds[inside > 0].tolist(), sides[inside > 0].numpy(), strict=True):
        root = np.array([index % width, index // width], float)
        canvas.dot(root * STRIDE, _WHITE, ring=True)
        canvas.box((root - side[:2]) * STRIDE, (root + side[2:]) * STRIDE)


# recipe -> how its samples are drawn; those that see no picture aren't here.
DRAWN: dict[str, Callable[[Any, Any], Image]] = {
    "smap": smap,
    "smap_lite": smap_lite,
    "mobilehuman": mobilehuman,
    "crowdnet": crowdnet,
    "hap_pretraining": hap_pretraining,
    "maed": maed,
    "virtualpose_backbone": virtualpose_backbone,
    "virtualpose_synthetic": virtualpose_synthetic,
}
