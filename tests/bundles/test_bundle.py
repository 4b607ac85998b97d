"""Bundles: what is loaded is what was made, and anything else is refused with a reason."""

from __future__ import annotations

import contextlib
import copy
import itertools
import resource
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from smap_ros.bundles.bundle import (
    MANIFEST,
    list_bundles,
    load_bundle,
    parse_manifest,
    write_bundle,
)
from smap_ros.bundles.manifest.common import Metric
from smap_ros.errors import BundleError

HASH = "0" * 64


@pytest.fixture
def folder(scene, make_bundle) -> Path:
    return make_bundle(scene).folder


def edit(folder: Path, path: str, value: object) -> None:
    """Change one field of a manifest on disk; ``...`` removes it."""
    data = yaml.safe_load((folder / MANIFEST).read_text())
    *parents, last = path.split(".")
    place = data
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    (folder / MANIFEST).write_text(yaml.safe_dump(data))


def test_written_bundle_is_loaded_back(scene_manifest, tmp_path):
    model, refine = tmp_path / "a.onnx", tmp_path / "b.onnx"
    model.write_bytes(b"model")
    refine.write_bytes(b"refine")
    metrics = {"pck": {"value": 0.5, "command": "measure it"}}
    origin = {"data": "photos", "command": "fit", "commit": "abc", "seed": 3, "metrics": metrics}
    written = write_bundle(
        tmp_path / "deep" / "scene",
        scene_manifest(provenance=origin, association={"max_peaks": 64, "peak_threshold": 0.3}),
        model,
        refine,
    )
    loaded = load_bundle(tmp_path / "deep" / "scene" / MANIFEST)
    assert loaded == written == load_bundle(str(written.folder))
    assert (loaded.name, loaded.kind) == ("scene", "smap")
    assert loaded.read() == b"model" and loaded.read("refine") == b"refine"
    assert loaded.manifest.provenance.metrics == {"pck": Metric(value=0.5, command="measure it")}
    assert loaded.manifest.association == {"max_peaks": 64, "peak_threshold": 0.3}
    assert loaded.manifest.input.shape == (1, 3, 256, 448)


def test_bundle_can_be_written_over_itself(folder, scene_manifest):
    before = load_bundle(folder)
    after = write_bundle(folder, scene_manifest(version="2"), folder / "model.onnx")
    assert after.manifest.version == "2" and after.model_hash == before.model_hash


def test_what_an_earlier_bundle_had_more_goes_with_it(scene_manifest, tmp_path):
    (tmp_path / "model").write_bytes(b"model")
    there = tmp_path / "bundle"
    write_bundle(there, scene_manifest(), tmp_path / "model", tmp_path / "model")
    (there / "notes.txt").write_text("mine")
    write_bundle(there, scene_manifest(), there / "model.onnx")
    assert sorted(path.name for path in there.iterdir()) == [MANIFEST, "model.onnx", "notes.txt"]


def test_wrong_manifest_writes_nothing(scene_manifest, tmp_path):
    (tmp_path / "model").write_bytes(b"model")
    wrong = scene_manifest()
    del wrong["licence"]
    with pytest.raises(BundleError, match="licence: missing"):
        write_bundle(tmp_path / "bundle", wrong, tmp_path / "model")
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(BundleError, match="nothing-here"):
        write_bundle(tmp_path / "bundle", scene_manifest(), tmp_path / "nothing-here")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("thresold", 0.3, "thresold: unknown key"),
        ("input.colour", "bgr", "input.colour: unknown key"),
        ("files.extra", {"path": "x", "sha256": HASH}, "files.extra: unknown key"),
        ("input.color", "gbr", "input.color: got 'gbr'"),
        ("input.std", [1, 0, 1], "input.std.1: got 0"),
        ("input.mean", [0, float("nan"), 0], "input.mean.1: got nan"),
        ("input.mean", [0, 0], "input.mean"),
        ("input.width", 450, "multiple of stride"),
        ("input.width", 10**6, "input.width: got 1000000"),
        ("input.letterbox", False, "input.letterbox: got False"),
        ("outputs.maps.shape", [1, 43, 64, 111], r"expected \[1, 43, 64, 112\]"),
        ("outputs.root_depth", ..., "outputs are"),
        ("scales.paf_scale", 0, "scales.paf_scale: got 0"),
        ("joint_set", "mpi16", "joint_set: got 'mpi16'; expected one of"),
        ("joint_set", "coco17", "works on mpi15"),
        ("precision", "fp8", "precision: got 'fp8'"),
        ("kind", "smip", "kind is 'smip'; expected one of smap"),
        ("kind", ["smap"], "kind is"),
        ("name", "../scene", "name: got '../scene'"),
        ("provenance.command", ..., "provenance.command: missing"),
        ("provenance.metrics", {"pck": 0.5}, "provenance.metrics.pck"),
        ("files.model.sha256", "abc", "files.model.sha256: got 'abc'"),
        ("files.model.path", "../model.onnx", "stay inside"),
        ("files.model.path", "/etc/passwd", "stay inside"),
        ("files.model.path", "a/../../model.onnx", "stay inside"),
        ("files.model.path", "..\\model.onnx", "stay inside"),
        ("files.model.path", "c:model.onnx", "stay inside"),
        ("files.model.path", "other.onnx", "other.onnx is missing"),
        ("files.model.path", ".", "is missing"),
        ("files.model.sha256", HASH, "altered or damaged"),
        ("files.refine", {"path": "refine.onnx", "sha256": HASH}, "refine.onnx is missing"),
    ],
)
def test_wrong_manifests_are_refused(folder, path, value, words):
    edit(folder, path, value)
    with pytest.raises(BundleError, match=words):
        load_bundle(folder)


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "just words", "a: [", "\x00", "a: !!python/name:os"]
)
def test_manifests_that_are_no_mapping_are_refused(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(folder)


def test_damaged_model_is_refused_at_load_and_at_read(folder):
    bundle = load_bundle(folder)
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="altered or damaged"):
        load_bundle(folder)
    with pytest.raises(BundleError, match="altered or damaged"):
        bundle.read()
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx"):
        bundle.read()


def test_manifest_can_not_be_changed_in_memory(folder):
    bundle = load_bundle(folder)
    with pytest.raises(ValueError, match="frozen"):
        bundle.manifest.stride = 8
    with pytest.raises(BundleError, match="no 'refine'"):
        bundle.read("refine")


@pytest.mark.parametrize("name", ["no_such_model", "", ".", "..", "/", "no/such/folder"])
def test_missing_bundle_names_what_exists(name):
    with pytest.raises(BundleError, match="no bundle"):
        load_bundle(name)


def test_bundles_of_a_folder_are_listed(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "models" / "b")
    shutil.copytree(folder, tmp_path / "models" / "a")
    (tmp_path / "models" / "not_a_bundle").mkdir()
    assert list_bundles(tmp_path / "models") == ("a", "b")
    assert list_bundles(tmp_path / "nowhere") == ()


@pytest.mark.parametrize("name", list_bundles())
def test_shipped_bundles_are_whole(name):
    bundle = load_bundle(name)
    assert bundle.folder.name == name
    assert bundle.manifest.provenance.commit


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(data=st.data())
def test_any_field_replaced_by_anything_is_accepted_or_refused_in_words(data):
    manifest = copy.deepcopy(VALID)
    place: dict = manifest
    key = data.draw(st.sampled_from(sorted(place)))
    while isinstance(place[key], dict) and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(trees)
    with contextlib.suppress(BundleError):  # any other exception is a bug
        assert parse_manifest(manifest).kind == "smap"


VALID = {
    "name": "scene",
    "kind": "smap",
    "version": "1",
    "files": {"model": {"path": "model.onnx", "sha256": HASH}},
    "input": {
        "name": "image",
        "width": 448,
        "height": 256,
        "color": "bgr",
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
    },
    "outputs": {
        "maps": {"name": "heatmap_2d", "shape": [1, 43, 64, 112]},
        "bone_depth": {"name": "det_d", "shape": [1, 14, 64, 112]},
        "root_depth": {"name": "root_d", "shape": [1, 1, 64, 112]},
    },
    "scales": {
        "heatmap_scale": 1,
        "paf_scale": 1,
        "bone_depth_unit_m": 1,
        "root_depth_unit_m": 1,
    },
    "stride": 4,
    "joint_set": "mpi15",
    "precision": "fp32",
    "licence": "Apache-2.0",
    "provenance": {"data": "none", "command": "pytest", "commit": "unknown"},
}


def test_the_manifest_the_properties_start_from_is_valid():
    assert parse_manifest(VALID).name == "scene"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pose.name": "neck_pose"}, "outputs neck_pose and pose are both 'neck_pose'"),
        ({"neck_depth.name": "root_d"}, "outputs neck_depth and root_depth are both 'root_d'"),
    ],
)
def test_one_tensor_for_two_outputs_is_refused(tmp_path, changes, reason):
    """Somebody else's pose would be told, without a word."""
    shutil.copytree(load_bundle("smap_lite").folder, tmp_path / "mine")
    for path, value in changes.items():
        edit(tmp_path / "mine", f"outputs.{path}", value)
    with pytest.raises(BundleError, match=reason):
        load_bundle(tmp_path / "mine")


def test_one_tensor_for_two_outputs_of_a_second_look_is_refused(tmp_path):
    shutil.copytree(load_bundle("smap_lite").folder, tmp_path / "mine")
    edit(tmp_path / "mine", "second_look.outputs.joints.name", "pose")
    with pytest.raises(BundleError, match=r"second_look.*outputs joints and pose are both 'pose'"):
        load_bundle(tmp_path / "mine")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("min_score", True),
        ("scales.heatmap_scale", True),
        ("input.mean", [True, 0.5, 0.5]),
        ("stride", True),
        ("input.mean", [1e300, 0.5, 0.5]),
        ("scales.heatmap_scale", 1e-300),
        ("scales.root_depth_unit_m", 1e30),
    ],
)
def test_numbers_that_are_none_or_overflow_are_refused(folder, path, value):
    edit(folder, path, value)
    with pytest.raises(BundleError, match=path.rpartition(".")[2]):
        load_bundle(folder)


def test_a_field_that_is_stated_twice_is_told(folder, caplog):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(f"{text}\nversion: '7'\n")
    assert load_bundle(folder).manifest.version == "7"
    assert "'version' is stated twice" in caplog.text


def test_a_file_that_can_not_be_read_is_named(folder):
    edit(folder, "files.model.path", "x" * 5000)
    with pytest.raises(BundleError, match=r"xxx.*(File name too long|is missing)"):
        load_bundle(folder)
    edit(folder, "files.model.path", "model.onnx")
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("/proc/self/mem")
    with pytest.raises(BundleError, match=r"can't read .*model.onnx': Input/output error"):
        load_bundle(folder)


def test_files_of_a_bundle_may_change_roles(scene_manifest, tmp_path):
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "b").write_bytes(b"second")
    there = tmp_path / "bundle"
    write_bundle(there, scene_manifest(), tmp_path / "a", tmp_path / "b")
    swapped = write_bundle(there, scene_manifest(), there / "refine.onnx", there / "model.onnx")
    assert (swapped.read(), swapped.read("refine")) == (b"second", b"first")


def test_a_full_disk_costs_an_earlier_bundle_nothing(scene_manifest, tmp_path):
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    there = tmp_path / "bundle"
    write_bundle(there, scene_manifest(), tmp_path / "small")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(BundleError, match=r"can't write the bundle .*File too large"):
            write_bundle(there, scene_manifest(version="2"), tmp_path / "large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_bundle(there).read() == b"small"
    assert sorted(path.name for path in there.iterdir()) == [MANIFEST, "model.onnx"]


def test_files_that_are_links_are_replaced_not_written_through(scene_manifest, tmp_path):
    """`colcon build --symlink-install` makes them, into the sources."""
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "source").write_bytes(b"old")
    there = tmp_path / "bundle"
    there.mkdir()
    (there / "model.onnx").symlink_to(tmp_path / "source")
    assert write_bundle(there, scene_manifest(), tmp_path / "new").read() == b"new"
    assert (tmp_path / "source").read_bytes() == b"old"


def test_lists_in_lists_by_aliases_are_refused_and_not_written_out(folder):
    """Nine times nine to the twentieth: a text of which no memory holds a part."""
    *_, last = names = [f"k{k}" for k in range(20)]
    lists = [f"{a}: &{a} [{', '.join([f'*{b}'] * 9)}]" for b, a in itertools.pairwise(names)]
    text = "\n".join(["kind: smap", "k0: &k0 [x]", *lists, f"description: *{last}"])
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=r"description: got \[\[\[.*valid string"):
        load_bundle(folder)


def test_a_number_of_thousands_of_digits_is_refused(folder):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace("name: scene", f"name: 0x{'f' * 5000}"))
    with pytest.raises(BundleError, match="name: got a number of thousands of digits"):
        load_bundle(folder)
