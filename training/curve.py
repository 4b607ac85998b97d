"""`smap-train curve`: accuracy over training steps, and what more steps would give.

Weights kept along the way (``keep_every`` of ``smap-train fit``) are exported, run on data that
was held out, and drawn over steps on a logarithmic axis, with a straight line through the second
half: it says what doubling the steps has been worth. Weights before the end of a schedule are
averages at a high learning rate, so the last step of a run stands a little above its line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.axes import Axes
from numpy.typing import NDArray
from tqdm import tqdm

from smap_ros.errors import InputError
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.pck2d import measures as pck2d
from smap_ros.evaluation.pck2d.truth import Photo, read_lspet
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_ros.paths import make_folder
from smap_ros.pictures import write_picture
from smap_ros.viz import colors
from smap_ros.viz.colors import as_hex
from smap_ros.viz.figures import dark_figure, rendered, style_axes
from smap_train.export.measured import numbers_on, predictions_of

STEPS = "steps"  # folder beside a run's weights, in which those along the way are kept


@dataclass(frozen=True)
class Point:
    """Accuracy after so many steps; NaN what was not measured."""

    step: int
    recall_percent: float
    precision_percent: float
    mpjpe_mm: float
    pa_mpjpe_mm: float
    root_depth_percent: float
    pck250_percent: float
    pck2d_percent: float


_SHOWN = {
    "recall_percent": "Recall [%]",
    "precision_percent": "Precision [%]",
    "mpjpe_mm": "MPJPE [mm]",
    "pa_mpjpe_mm": "PA-MPJPE [mm]",
    "root_depth_percent": "Pelvis depth, median error [%]",
    "pck2d_percent": "Photos: PCK at 0.2 torso [%]",
}


def kept(run: Path) -> dict[int, Path]:
    """Weights along a run by step, ascending.

    Raises:
        InputError: if there are none.
    """
    found = {int(path.stem): path for path in (run / STEPS).glob("*.pth") if path.stem.isdigit()}
    if not found:
        raise InputError(
            f"{run / STEPS} has no weights; train with keep_every=N to keep them every N steps"
        )
    return dict(sorted(found.items()))


def measure(
    checkpoint: Path,
    step: int,
    scenes: Sequence[Scene],
    photos: Sequence[Photo],
    engine: str = "auto",
    refine: Path | None = None,
) -> Point:
    """Export a checkpoint and measure it on scenes and photos."""
    with predictions_of(checkpoint, engine, refine=refine) as predictions:
        whole = numbers_on(predictions, scenes)
        pck = math.nan
        if photos:
            pck = pck2d.total(pck2d.evaluate(predictions, photos).photos)
    names = [name for name in Point.__annotations__ if name not in ("step", "pck2d_percent")]
    return Point(step, *(float(getattr(whole, name)) for name in names), pck)


def figure(points: Sequence[Point]) -> NDArray[np.uint8]:
    """The measures over steps, uint8 [H, W, 3], bgr."""
    drawn = dark_figure(16, 8.5)
    grid = drawn.add_gridspec(
        2, 3, left=0.06, right=0.98, top=0.92, bottom=0.08, wspace=0.2, hspace=0.32
    )
    for k, (name, title) in enumerate(_SHOWN.items()):
        values = np.array([getattr(point, name) for point in points])
        axes = drawn.add_subplot(grid[divmod(k, 3)])
        _draw(axes, title, np.array([point.step for point in points]), values)
    return rendered(drawn)


def _draw(axes: Axes, title: str, steps: NDArray[np.int_], values: NDArray[np.float64]) -> None:
    style_axes(axes, title, "steps", "")
    axes.set_xscale("log", base=2)
    axes.plot(steps, values, marker="o", color=as_hex(colors.PALETTE[0]))
    axes.set_xticks(steps, [str(step) for step in steps])
    gain = doubling(steps, values)
    if math.isfinite(gain):
        axes.set_title(f"{gain:+.1f} by doubling", loc="right", color=as_hex(colors.MUTED))


def doubling(steps: NDArray[np.int_], values: NDArray[np.float64]) -> float:
    """What twice the steps changed, by a straight line through the second half of the run.

    Args:
        steps: int [N], ascending.
        values: float64 [N].

    Returns:
        Change for each doubling; NaN with fewer than two points there.
    """
    late = (steps * 2 >= steps[-1]) & np.isfinite(values)
    if late.sum() < 2:
        return math.nan
    return float(np.polyfit(np.log2(steps[late]), values[late], 1)[0])


def run(
    folder: Annotated[Path, typer.Argument(help="Folder of a run of smap-train fit.")],
    out: Annotated[Path, typer.Argument(help="Folder for curve.png and curve.json.")],
    virtual: Annotated[Path, typer.Option(help="Shards that were not trained on.")],
    photos: Annotated[Path | None, typer.Option(help="LSPET archive; its tail is used.")] = None,
    last: Annotated[int, typer.Option(help="Photos at its end.", min=1)] = 500,
    limit: Annotated[int, typer.Option(help="Scenes at most; 0 for all.", min=0)] = 0,
    refine: Annotated[Path | None, typer.Option(help="RefineNet, the same for all.")] = None,
    engine: Annotated[str, typer.Option(help="Runtime.")] = "auto",
) -> None:
    """Measure the weights that a run kept on its way and draw its learning curve.

    Example: smap-train curve runs/smap_lite curve --virtual data/virtual_test
    """
    make_folder(out, "the folder")
    scenes = open_scenes(virtual)[: limit or None]
    held_out = pck2d.last(read_lspet(photos), last) if photos else []
    points = [
        measure(path, step, scenes, held_out, engine, refine)
        for step, path in tqdm(kept(folder).items(), desc="checkpoints")
    ]
    rows = [asdict(point) for point in points]
    (out / "curve.json").write_text(json.dumps(rows, indent=2) + "\n")
    write_picture(out / "curve.png", figure(points))
    for name, title in _SHOWN.items():
        values = np.array([getattr(point, name) for point in points])
        gain = doubling(np.array([point.step for point in points]), values)
        typer.echo(f"{title}: {values[0]:.1f} to {values[-1]:.1f}, {gain:+.1f} by doubling")
