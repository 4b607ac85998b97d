"""People in metres, seen from the front and from above, beside their picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.viz import colors
from smap_ros.viz.colors import as_hex, person_color, side_color
from smap_ros.viz.draw import WEAK_SCORE, draw_resized
from smap_ros.viz.figures import dark_figure, rendered, style_axes

Image = NDArray[np.uint8]
Trails = Mapping[int, Sequence[NDArray[np.floating]]]

# (axis to the right, sign, axis up, sign) of the optical frame for each view.
_FRONT = (0, 1, 1, -1)
_ABOVE = (0, 1, 2, 1)
# Of the picture, pixels: a quarter more than it gets in the figure.
_PLACE_WIDTH, _PLACE_HEIGHT = 1050, 420


def plot_poses(frame: BodyFrame, image: Image | None = None, trails: Trails | None = None) -> Image:
    """A figure of a frame's people in the camera's frame, in metres.

    Args:
        frame: the people.
        image: its picture, uint8 [H, W, 3] bgr, shown beside the views with the skeletons.
        trails: root positions over time by track id, each [x, y, z]; drawn from above.

    Returns:
        uint8 [H, W, 3], bgr, about 1920 px wide.
    """
    figure = dark_figure(16, 9)
    grid = figure.add_gridspec(
        2, 2, left=0.05, right=0.975, top=0.865, bottom=0.125, wspace=0.13, hspace=0.2
    )
    shown = [(body, person_color(body.id, k)) for k, body in enumerate(frame)]
    if image is not None:
        _picture(figure.add_subplot(grid[0, 0]), frame, image)
    front = figure.add_subplot(grid[1, 0] if image is not None else grid[:, 0])
    above = figure.add_subplot(grid[:, 1])
    style_axes(front, "Front", "x  [m]  right of the camera", "height above the camera  [m]")
    style_axes(above, "From above", "x  [m]  right of the camera", "z  [m]  away from the camera")
    _field_of_view(above, frame, shown, trails or {})
    for identity, points in (trails or {}).items():
        _trail(above, identity, points)
    for body, color in shown:
        _skeleton(front, body, color, _FRONT)
        _skeleton(above, body, color, _ABOVE)
    for axes in (front, above):
        axes.plot(0, 0, marker="s", markersize=7, color=as_hex(colors.TEXT), zorder=8)
    _limits(front, shown, _FRONT, {})
    _limits(above, shown, _ABOVE, trails or {})
    _titles(figure, frame, shown)
    return rendered(figure)


def _picture(axes: Axes, frame: BodyFrame, image: Image) -> None:
    drawn = draw_resized(image, frame, _drawn_width(image.shape[1], image.shape[0]))
    axes.imshow(drawn[..., ::-1], interpolation="lanczos")
    axes.set_anchor("W")
    axes.set_title("Picture", color=as_hex(colors.TEXT), fontsize=12, loc="left", pad=8)
    axes.set_axis_off()


def _drawn_width(width: int, height: int) -> int:
    """How wide a picture is drawn, pixels: somewhat larger than its place, whatever its shape.

    Flat ones are as wide as the place and narrow ones at least 64 px, so that people on them can
    be told; but none is ten times as high as the place, for which there is no memory.
    """
    wide = min(max(64, round(_PLACE_HEIGHT * width / height)), _PLACE_WIDTH)
    return max(1, min(wide, 10 * _PLACE_HEIGHT * width // height))


def _skeleton(axes: Axes, body: Body, color: colors.RGB, view: tuple[int, int, int, int]) -> None:
    points = _projected(body.joints_3d, view)
    present, skeleton = body.present, body.skeleton
    for a, b in skeleton.limbs:
        if present[a] and present[b]:
            side = skeleton.side(b) if skeleton.side(b) != "middle" else skeleton.side(a)
            weak = min(body.scores[a], body.scores[b]) < WEAK_SCORE
            axes.plot(
                points[[a, b], 0],
                points[[a, b], 1],
                color=as_hex(side_color(color, side)),
                linewidth=1.6 if weak else 3.0,
                solid_capstyle="round",
                zorder=5,
            )
    if body.id is not None and present.any():
        top = points[present][points[present][:, 1].argmax()]
        axes.annotate(
            f"#{body.id}",
            top,
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            color=as_hex(color),
            fontsize=9,
            zorder=7,
        )
    for joint in np.flatnonzero(present):
        ink = as_hex(side_color(color, skeleton.side(int(joint))))
        hollow = body.scores[joint] < WEAK_SCORE
        axes.plot(
            *points[joint],
            marker="o",
            markersize=4.5,
            markeredgecolor=ink,
            markerfacecolor=as_hex(colors.PANEL) if hollow else ink,
            zorder=6,
        )


def _trail(axes: Axes, identity: int, points: Sequence[NDArray[np.floating]]) -> None:
    path = _projected(np.asarray(points, dtype=np.float64).reshape(-1, 3), _ABOVE)
    color = as_hex(person_color(identity))
    axes.plot(path[:, 0], path[:, 1], color=color, linewidth=1.1, alpha=0.45, zorder=3)


def _field_of_view(
    axes: Axes, frame: BodyFrame, shown: Sequence[tuple[Body, colors.RGB]], trails: Trails
) -> None:
    """The wedge of floor that the camera sees."""
    reach = 1.6 * _reach(shown, trails)
    camera = frame.camera
    edges = [(-camera.cx / camera.fx, 1), ((camera.width - camera.cx) / camera.fx, 1)]
    corners = [(0.0, 0.0), *((x * reach, z * reach) for x, z in edges)]
    axes.add_patch(
        Polygon(corners, facecolor=as_hex(colors.TEXT), alpha=0.045, edgecolor="none", zorder=1)
    )
    for x, z in corners[1:]:
        axes.plot([0, x], [0, z], color=as_hex(colors.MUTED), linewidth=0.9, linestyle=(0, (4, 4)))


def _limits(
    axes: Axes,
    shown: Sequence[tuple[Body, colors.RGB]],
    view: tuple[int, int, int, int],
    trails: Trails,
) -> None:
    """Limits around the camera and everybody that fill the place, the same scale on both axes."""
    points = [_projected(body.joints_3d[body.present], view) for body, _ in shown]
    points += [_projected(np.asarray(p, float).reshape(-1, 3), view) for p in trails.values()]
    cloud = np.concatenate([np.zeros((1, 2)), *points])
    cloud = cloud[np.isfinite(cloud).all(axis=1)]
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    place = axes.get_position()
    ratio = (place.width * 16) / (place.height * 9)
    height = max(2.4, float(high[1] - low[1]) * 1.18, float(high[0] - low[0]) * 1.18 / ratio)
    center = (low + high) / 2
    axes.set_xlim(center[0] - height * ratio / 2, center[0] + height * ratio / 2)
    axes.set_ylim(center[1] - height / 2, center[1] + height / 2)
    # A far ghost must not make thousands of grid lines.
    step = next((s for s in (0.5, 1.0, 2.0, 5.0) if height / s <= 10), height / 5)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.yaxis.set_major_locator(MultipleLocator(step))


def _titles(figure: Figure, frame: BodyFrame, shown: Sequence[tuple[Body, colors.RGB]]) -> None:
    people = f"{len(shown)} {'person' if len(shown) == 1 else 'people'}"
    where = f"{frame.source}   frame {frame.index}   {frame.stamp:.2f} s   {people}"
    figure.text(0.05, 0.945, "People in the camera's frame", color=as_hex(colors.TEXT), fontsize=16)
    # A file's name may hold two $.
    figure.text(0.05, 0.915, where, color=as_hex(colors.MUTED), fontsize=10, parse_math=False)
    handles = [
        Line2D(
            [],
            [],
            marker="s",
            markersize=7,
            linestyle="",
            color=as_hex(colors.TEXT),
            label="camera",
        )
    ]
    for body, color in shown[:16]:
        name = "person" if body.id is None else f"#{body.id}"
        distance = float(np.linalg.norm(body.root))
        where = f"  {distance:.2f} m" if math.isfinite(distance) else ""
        handles.append(Line2D([], [], color=as_hex(color), linewidth=4, label=f"{name}{where}"))
    for side, note in (("left", "left limbs: light"), ("right", "right limbs: dark")):
        ink = side_color((170, 176, 186), side)
        handles.append(Line2D([], [], color=as_hex(ink), linewidth=4, label=note))
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=min(len(handles), 9),
        frameon=False,
        labelcolor=as_hex(colors.TEXT),
        fontsize=10,
        bbox_to_anchor=(0.51, 0.008),
    )


def _reach(shown: Sequence[tuple[Body, colors.RGB]], trails: Trails) -> float:
    """Largest depth of anything shown, metres."""
    depths = [body.joints_3d[body.present, 2] for body, _ in shown]
    depths += [
        np.asarray(points, dtype=np.float64).reshape(-1, 3)[:, 2] for points in trails.values()
    ]
    flat = np.concatenate([np.array([2.0]), *depths])
    return float(np.nanmax(flat))


def _projected(
    points: NDArray[np.floating], view: tuple[int, int, int, int]
) -> NDArray[np.floating]:
    """Coordinates [..., 2] (right, up) of a view from points [..., 3]."""
    right, right_sign, up, up_sign = view
    return np.stack([right_sign * points[..., right], up_sign * points[..., up]], axis=-1)
