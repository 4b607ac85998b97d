"""`smap-ros engine build`, `clean` and `inspect`."""

from __future__ import annotations

import logging
import time

from rich import box
from rich.table import Table
from rich.text import Text

from smap_ros.bundles.bundle import load_bundle
from smap_ros.bundles.manifest.common import ImageManifest, Manifest
from smap_ros.cli import tables
from smap_ros.engines.factory import create_engine, measure
from smap_ros.engines.inspect.onnx_graph import OnnxGraph, read_graph
from smap_ros.engines.inspect.tensorrt_operators import VERSIONS, check_operators, check_opset
from smap_ros.engines.tensorrt.plans import clean_plans
from smap_ros.estimators.factory import create_chosen
from smap_ros.estimators.options import OPTIONS, ModelChoice, crops_at_once

_SECONDS = 1.0


def build(bundle: str, model: ModelChoice, force: bool = False) -> None:
    """Load all of a bundle's networks once, so that what runtimes make of them is kept for later.

    Args:
        bundle: name or folder.
        model: on which runtime.
        force: delete TensorRT's plans before, those of other bundles too.

    Raises:
        BundleError: if the bundle is missing or damaged.
        EngineError: if the runtime isn't there or refuses the network.
    """
    logging.getLogger("smap_ros").setLevel(logging.INFO)  # says how far a builder is
    loaded = load_bundle(bundle)
    if force:
        clean()
    started = time.perf_counter()
    options = model.model
    rows = crops_at_once(loaded.kind, model.options)
    built = create_engine(
        loaded,
        options.engine,
        options.threads,
        options.precision,
        gpu=options.gpu_options,
        rows=rows,
        remeasure=True,
    )
    notes = built.notes
    if loaded.kind in OPTIONS:  # the networks behind the first one, and those of the first stage
        estimator = create_chosen(model, loaded)
        notes = estimator.about.notes
        estimator.close()
    seconds = time.perf_counter() - started
    timing = measure(built, _SECONDS, shapes=loaded.manifest.network_inputs)
    shown = [
        ("bundle", f"{loaded.name} {loaded.manifest.version}"),
        ("engine", f"{built.name} on {built.device}"),
        ("built in", f"{seconds:.1f} s; later starts are faster where the runtime keeps its work"),
        *(("not used", note) for note in notes),
        ("one image", f"{timing.median_ms:.1f} ms (p95 {timing.p95_ms:.1f} ms), network only"),
    ]
    built.close()
    tables.console().print(tables.facts("engine", shown))


def clean() -> None:
    """Delete the plans that TensorRT built here, and say how many there were."""
    plans, size = clean_plans()
    tables.console().print(f"{plans} plans deleted, {size / 1e6:.1f} MB")


def inspect(bundle: str) -> None:
    """Show what a bundle is, after checking its files, and what TensorRT makes of its networks.

    Raises:
        BundleError: if the bundle is missing, damaged or contradicts itself.
    """
    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    provenance = manifest.provenance
    rows = [
        ("bundle", f"{loaded.name} {manifest.version}, kind {manifest.kind}"),
        ("description", manifest.description or "-"),
        ("folder", str(loaded.folder)),
        *(
            (role, f"{entry.path}, sha256 {entry.sha256[:16]}... ok")
            for role, entry in manifest.files.entries.items()
        ),
        *_inputs(manifest),
        *(
            (f"output {role}", f"{output.name} {list(output.shape)}")
            for role, output in manifest.outputs.items()
        ),
        ("joint set", manifest.joint_set),
        ("precision", manifest.precision),
        ("licence", manifest.licence),
        ("made from", provenance.data),
        ("made by", f"{provenance.command} (commit {provenance.commit[:12]})"),
        *(
            (name, f"{metric.value:g}   by {metric.command}")
            for name, metric in provenance.metrics.items()
        ),
    ]
    console = tables.console()
    console.print(tables.facts("bundle", rows))
    for role, entry in manifest.files.entries.items():
        if entry.path.endswith(".onnx"):
            console.print(_operators(role, read_graph(loaded.read(role))))


def _inputs(manifest: Manifest) -> list[tuple[str, str]]:
    """An image with its size, or arrays with their shapes."""
    if isinstance(manifest, ImageManifest):
        image = manifest.input
        return [("input", f"{image.name}: {image.width}x{image.height} px, {image.color}")]
    return [(f"input {name}", f"{list(shape)}") for name, shape in manifest.network_inputs.items()]


def _operators(role: str, graph: OnnxGraph) -> Table:
    """A network's opset and operators, with TensorRT's answers."""
    table = Table(title=f"network {role}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("operator")
    for name in ("nodes", *(f"TensorRT {version}" for version in VERSIONS)):
        table.add_column(name, justify="right")
    opset = check_opset(graph)
    table.add_row(f"(opset {graph.opset})", "", *(opset[version] for version in VERSIONS))
    for row in check_operators(graph):
        answers = (row.verdicts[version] for version in VERSIONS)
        table.add_row(*map(Text, (row.operator, str(row.count), *answers)))  # no markup: a file's
    return table
