"""What `smap-train export` says of VirtualPose; the networks it makes run in tests/estimators."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_train.cli import app
from smap_train.export.precision import Part, write_parts
from smap_train.export.virtualpose import candidates_error
from smap_train.models import create
from smap_train.models.checkpoint import save_checkpoint
from smap_train.models.deployment import Export
from smap_train.models.virtualpose import graphs
from smap_train.models.virtualpose.config import VirtualPoseConfig

SMALL = {
    "image_size": [128, 64],
    "map_size": [32, 16],
    "max_people": 2,
    "space_bins": [8, 8, 4],
    "person_bins": 4,
    "v2v_width": 2,
    "depth_stem_width": 4,
    "depth_head_width": 4,
}
BACKBONE = {"depth": 18, "stem_width": 4, "head_width": 4}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    networks = {
        "vp": ("virtualpose", SMALL),
        "backbone": ("virtualpose_backbone", BACKBONE),
        "panoptic": ("virtualpose_backbone", {**BACKBONE, "joints": 15}),
        "refinenet": ("refinenet", {}),
    }
    for name, (model, options) in networks.items():
        weights = create(model, **options).state_dict()
        save_checkpoint(folder / f"{name}.pth", model, weights, **options)
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vp"], "without its backbone.*--backbone"),
        (["vp", "--backbone", "refinenet"], "holds a RefineNet; expected a PoseDetResNet"),
        (
            ["vp", "--backbone", "panoptic"],
            r"gives maps \[1, 19, 16, 32\].*takes \[1, 21, 16, 32\]",
        ),
        (["vp", "--backbone", "backbone", "--refine", "refinenet"], "--refine is of no use for a"),
        (["refinenet", "--backbone", "backbone"], "--backbone is of no use for a refinenet"),
    ],
)
def test_networks_that_make_no_bundle_are_refused(checkpoints, tmp_path, words, message):
    paths = [w if w.startswith("--") else str(checkpoints / f"{w}.pth") for w in words]
    arguments = ["export", paths[0], str(tmp_path / "bundle"), *paths[1:]]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputError)
    with pytest.raises(InputError, match=message):
        raise result.exception
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("behind", "warned"), [("a" * 64, True), ("b" * 64, False), ("", False)])
def test_halves_of_one_file_are_doubted(tmp_path, behind, warned):
    """Both halves were converted from one file; refused here for another reason, after that."""
    halves = (
        ("vp", "virtualpose", SMALL, behind),
        ("bb", "virtualpose_backbone", BACKBONE, "a" * 64),
    )
    for name, model, options, source in halves:
        options = {**options, "joints": 15} if name == "bb" else options
        weights = create(model, **options).state_dict()
        save_checkpoint(tmp_path / f"{name}.pth", model, weights, source, **options)
    words = ["export", "vp.pth", "bundle", "--backbone", "bb.pth"]
    paths = [str(tmp_path / word) if "." in word or word == "bundle" else word for word in words]
    result = CliRunner().invoke(app, paths)
    assert isinstance(result.exception, InputError)
    assert ("were converted from one file, and official VirtualPose" in result.stderr) == warned


def test_the_manifest_says_what_the_networks_need(virtualpose_bundle):
    manifest = virtualpose_bundle.manifest
    assert (manifest.kind, manifest.precision, manifest.joint_set) == (
        "virtualpose",
        "fp16",
        "mpi15",
    )
    assert manifest.outputs["maps"].shape == (1, 21, 64, 112)
    assert (manifest.input.color, manifest.input.mean) == ("rgb", (0.485, 0.456, 0.406))
    assert manifest.input.resize == "bilinear"
    assert (manifest.stride, manifest.joints, manifest.max_people) == (4, 17, 5)
    assert manifest.space.size_m == (4.0, 4.8, 1.6) and manifest.space.center_m == (0.0, 0.0, 0.9)
    assert set(manifest.files.entries) == {"model", "root", "pose"}


def test_bundles_do_not_tell_where_they_were_made(virtualpose_bundle):
    for role in virtualpose_bundle.manifest.files.entries:
        content = virtualpose_bundle.read(role)
        assert b"virtualpose" not in content and b".py" not in content, role


class Candidates(graphs.RootGraph):
    """Three candidates, the last of them not believed, without a network that finds them."""

    outputs = ("roots", "scores")

    def __init__(self, roots: list[float], scores: list[float]) -> None:
        nn.Module.__init__(self)
        self.config = VirtualPoseConfig()
        self.places = nn.Buffer(torch.tensor(roots)[None, :, None].repeat(1, 1, 3))
        self.beliefs = nn.Buffer(torch.tensor([scores]))

    def forward(self, moved: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return self.places + moved, self.beliefs + moved


@pytest.mark.parametrize(
    ("roots", "scores", "agree"),
    [
        ([1.0, 2.0, 5.0], [0.9, 0.8, 0.0], True),
        ([2.0, 1.0, 7.0], [0.9, 0.8, 0.0], True),  # in another order; nobody believes the last
        ([1.0, 2.1, 5.0], [0.9, 0.8, 0.0], False),
        ([float("nan"), 2.0, 5.0], [0.9, 0.8, 0.0], False),
        ([1.0, 2.0, 5.0], [0.9, 0.8, float("nan")], False),
    ],
)
def test_candidates_that_move_or_are_nan_fail_the_export(tmp_path, roots, scores, agree):
    """The exporter writes other candidates than torch finds."""

    @dataclass(frozen=True)
    class Other(Export):
        """What is written isn't what torch runs."""

        def write(self, path: Path) -> None:
            written = Candidates(roots, scores).eval()
            Export(written, self.inputs, self.outputs).write(path)

    found = Candidates([1.0, 2.0, 5.0], [0.9, 0.8, 0.0]).eval()
    export = Other(found, {"moved": torch.zeros(1)}, Candidates.outputs)
    compare = partial(candidates_error, VirtualPoseConfig().root_threshold)
    parts = [Part("virtualpose", export, tmp_path / "root.onnx", compare)]
    if agree:
        assert write_parts(parts, half=False) < 1e-6
    else:
        with pytest.raises(InputError, match="ONNX Runtime and torch differ by"):
            write_parts(parts, half=False)
