"""Public data sets in their official schema, made small here, become what training reads."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.io import savemat
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_ros.estimators.second_look.region import region_around
from smap_ros.evaluation.pck2d.truth import read_lspet
from smap_train.cli import app
from smap_train.data.convert import cmu
from smap_train.data.convert.cmu import JOINTS, PARENTS, convert_cmu
from smap_train.data.convert.photos import LSPET_JOINTS, convert_ccp, convert_lspet
from smap_train.data.convert.pseudo import convert_pseudo
from smap_train.data.convert.told import convert_labelled
from smap_train.data.people import load_ccp, load_lspet
from smap_train.virtual.bodies import SEGMENT_INDEX
from smap_train.virtual.motion import MotionLibrary

UNIT_M = 0.0254 / 0.45


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["data", "convert", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()


# --- Leeds Sports Pose Extended -----------------------------------------------------------------


def standing(middle: tuple[float, float], height: float) -> np.ndarray:
    """Joints of an upright person [14, 3], all labelled."""
    x = {"r_": -1, "l_": 1}
    up = {"ankle": 0.0, "knee": 0.25, "hip": 0.5, "wrist": 0.5, "elbow": 0.65, "shoulder": 0.8}
    rows = []
    for name in LSPET_JOINTS:
        side, part = x.get(name[:2], 0), name[2:] if name[:2] in x else name
        share = {"neck": 0.83, "head_top": 1.0, **up}[part]
        rows.append((middle[0] + side * 0.1 * height, middle[1] + (0.5 - share) * height, 1))
    return np.array(rows)


def lspet_files(joints: np.ndarray, sizes: list[tuple[int, int]]) -> dict[str, bytes]:
    """Photos with a bright square at each right wrist."""
    stored = io.BytesIO()
    savemat(stored, {"joints": joints})
    files = {"lspet_dataset/joints.mat": stored.getvalue(), "lspet_dataset/README.txt": b"Leeds"}
    people = joints if joints.shape[0] == 14 else joints.transpose(1, 0, 2)
    for k, (width, height) in enumerate(sizes):
        image = np.full((height, width, 3), 60, np.uint8)
        x, y = people[LSPET_JOINTS.index("r_wrist"), :2, k].astype(int)
        image[y - 8 : y + 9, x - 8 : x + 9] = 250
        files[f"lspet_dataset/images/im{k + 1:05d}.jpg"] = jpeg(image)
    return files


def written(path: Path, files: dict[str, bytes], *, zipped: bool) -> Path:
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


PEOPLE = np.stack(
    [standing((400, 400), 500), standing((60, 80), 100), standing((50, 50), 60)], axis=-1
)
SIZES = [(900, 900), (120, 160), (100, 100)]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2)], ids=["14x3xN", "3x14xN"])
def test_lspet_becomes_what_training_reads(tmp_path, zipped, axes):
    people = PEOPLE.copy()
    people[:, 2, 2] = 0  # nobody is labelled in the third
    people[0, 2, 1] = 0
    files = lspet_files(people.transpose(axes), SIZES)
    source = written(tmp_path / "lspet", files, zipped=zipped)
    out = tmp_path / "new" / "lspet.zip"
    assert "2 photos of a labelled person" in run("lspet", source, out)
    photos = read_lspet(out)
    assert [photo.name for photo in photos] == ["images/00001.jpg", "images/00002.jpg"]
    assert max(photos[0].width, photos[0].height) == 320  # cut 1,000 px high, at the border
    content = json.loads(zipfile.ZipFile(out).read("annotations.json"))
    assert content["joint_names"] == list(LSPET_JOINTS)
    assert [row[2] for row in content["images"][1]["joints"]] == [0] + [1] * 13
    for photo, entry in zip(photos, content["images"], strict=True):
        image = photo.image()
        assert image.shape[1::-1] == (entry["width"], entry["height"])
        bright = np.argwhere(image[..., 0] > 150).mean(axis=0)[::-1]
        wrist = entry["joints"][LSPET_JOINTS.index("r_wrist")][:2]
        np.testing.assert_allclose(bright, wrist, atol=0.4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.pop("lspet_dataset/joints.mat"), "has no joints.mat"),
        (lambda f: f.pop("lspet_dataset/images/im00002.jpg"), r"2 photos im\*.jpg and 3 labels"),
        (lambda f: f.update({"lspet_dataset/joints.mat": b"x" * 200}), "can't be read as a MATLAB"),
        (
            lambda f: f.update({"lspet_dataset/images/im00001.jpg": b"\xff\xd8\xff"}),
            "photo lspet_dataset/images/im00001.jpg",
        ),
    ],
)
def test_an_incomplete_lspet_is_refused(tmp_path, change, words):
    files = lspet_files(PEOPLE, SIZES)
    change(files)
    with pytest.raises(InputError, match=words):
        convert_lspet(written(tmp_path / "lspet", files, zipped=True), tmp_path / "out.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["lspet"]


# --- Clothing Co-Parsing, and pseudo labels -----------------------------------------------------


def ccp_files() -> dict[str, bytes]:
    """Two photos of 550 x 832 with a person of 200 x 600, the first with labels of clothes."""
    image = np.full((832, 550, 3), 90, np.uint8)
    labels = np.zeros((832, 550), np.uint8)
    image[150:750, 180:380], labels[150:750, 180:380] = 220, 41
    labels[150:250, 180:380] = 19  # hair; what it is doesn't matter
    stored = io.BytesIO()
    savemat(stored, {"groundtruth": labels})
    return {
        "photos/0001.jpg": jpeg(image),
        "photos/0002.jpg": jpeg(image[:, ::-1]),
        "annotations/pixel-level/0001.mat": stored.getvalue(),
        "annotations/image-level/0002.mat": b"",
        "example.jpg": b"",
    }


def blaze(image: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A detector: 33 points down the middle of what is bright, one metre in 200 pixels."""
    ys, xs = np.nonzero(image[..., 0] > 150)
    if not len(ys):
        return None
    places = np.column_stack([np.full(33, xs.mean()), np.linspace(ys.min(), ys.max(), 33)])
    spread = np.column_stack([(np.arange(33) % 2 - 0.5) * 20, np.zeros(33)])
    pixels = places + spread
    metres = (pixels - pixels.mean(axis=0)) / 200
    return np.column_stack([pixels, np.full(33, 0.9)]), np.column_stack([metres, metres[:, :1]])


def test_ccp_and_its_pseudo_labels_become_what_training_reads(tmp_path):
    source = written(tmp_path / "ccp", ccp_files(), zipped=False)
    out = tmp_path / "ccp.zip"
    assert "2 photos, 1 masks" in run("ccp", source, out)
    labels = tmp_path / "ccp.npz"
    assert convert_pseudo(out, labels, blaze) == (2, 2)
    stored = np.load(labels)
    assert stored["names"].tolist() == ["photos/0001.jpg", "photos/0002.jpg"]
    assert stored["landmarks"].shape == stored["world_m"].shape == (2, 33, 3)
    first, second = load_ccp(out, labels)
    assert first.image().shape == (416, 275, 3) and second.person_mask() is None
    mask = first.person_mask()
    np.testing.assert_allclose(np.argwhere(mask > 0).mean(axis=0), [224.5, 139.5], atol=1)
    assert (mask > 0).mean() == pytest.approx(600 * 200 / (832 * 550), rel=0.02)
    assert first.metres_per_pixel == pytest.approx(1 / 200, rel=0.02)


def test_pseudo_labels_tell_where_nobody_is_found(tmp_path):
    people = written(tmp_path / "lspet", lspet_files(PEOPLE, SIZES), zipped=True)
    convert_lspet(people, tmp_path / "lspet.zip")

    def tall(image: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        return blaze(image) if image.shape[0] > 200 else None

    assert convert_pseudo(tmp_path / "lspet.zip", tmp_path / "lspet.npz", tall) == (3, 1)
    assert len(load_lspet(tmp_path / "lspet.zip", tmp_path / "lspet.npz")) == 3
    assert np.isnan(np.load(tmp_path / "lspet.npz")["landmarks"][1:]).all()


@pytest.fixture
def pseudo_labelled(tmp_path):
    """Photos of CCP and their pseudo labels."""
    out, labels = tmp_path / "ccp.zip", tmp_path / "ccp.npz"
    run("ccp", written(tmp_path / "ccp", ccp_files(), zipped=False), out)
    convert_pseudo(out, labels, blaze)
    return out, labels


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    "damage", [lambda d: b"", lambda d: b"garbage" * 99, lambda d: d[: len(d) // 2]]
)
def test_damaged_photos_or_pseudo_labels_are_refused_in_one_line(pseudo_labelled, which, damage):
    file = pseudo_labelled[which]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=rf"{file} can't be read .* expected .* make it") as caught:
        load_ccp(*pseudo_labelled)
    assert "\n" not in str(caught.value)


def encrypted(data):
    changed = bytearray(data)
    changed[changed.find(b"PK\x01\x02") + 8] |= 1  # what the archive's list says of its first file
    return bytes(changed)


def test_photos_that_are_encrypted_are_refused(pseudo_labelled):
    photos, _ = pseudo_labelled
    photos.write_bytes(encrypted(photos.read_bytes()))
    with pytest.raises(InputError, match=rf"{photos} can't be read .*is encrypted.* expected"):
        load_ccp(*pseudo_labelled)


def test_pseudo_labels_of_another_form_are_refused(pseudo_labelled):
    photos, labels = pseudo_labelled
    stored = dict(np.load(labels))
    np.savez(labels, **{**stored, "landmarks": stored["landmarks"][:, :17]})
    with pytest.raises(InputError, match=r"landmarks has .*17.* for 2 names.*expected an npz"):
        load_ccp(photos, labels)
    np.savez(labels, names=stored["names"], landmarks=stored["landmarks"])
    with pytest.raises(InputError, match=r"can't be read .*world_m.* expected an npz"):
        load_lspet(photos, labels)
    np.savez(labels, **{**stored, "names": np.array(["photos/0001.jpg", "photos/9.jpg"])})
    with pytest.raises(InputError, match=r"ccp\.zip can't be read .*photos/9\.jpg.* is missing"):
        load_ccp(photos, labels)


def landmark_network(path, landmarks, world, size=256):
    """A network of BlazePose's form that tells the same of every crop."""
    values = {
        "Identity": np.pad(landmarks, ((0, 6), (0, 0))).reshape(1, -1),
        "Identity_1": np.ones((1, 1)),
        "Identity_4": np.pad(world, ((0, 6), (0, 0))).reshape(1, -1),
    }
    constants = [
        numpy_helper.from_array(np.asarray(value, np.float32), f"{name}_value")
        for name, value in values.items()
    ]
    constants.append(numpy_helper.from_array(np.zeros((1,), np.float32), "zero"))
    nodes = [
        helper.make_node("ReduceMean", ["input_1"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        *(helper.make_node("Add", [f"{name}_value", "nothing"], [name]) for name in values),
    ]
    shapes = {name: value.shape for name, value in values.items()}
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in values]
    seen = helper.make_tensor_value_info("input_1", TensorProto.FLOAT, (1, size, size, 3))
    graph = helper.make_graph(nodes, "landmarks", [seen], told, constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def test_labelled_people_are_looked_at_where_they_are_and_mirrored(tmp_path):
    """A hand at the left of every crop: beside its mirror image's, both are at equal distances."""
    people = written(tmp_path / "lspet", lspet_files(PEOPLE, SIZES), zipped=True)
    convert_lspet(people, tmp_path / "lspet.zip")
    landmarks, world = np.zeros((33, 5)), np.zeros((33, 3))
    landmarks[:, :2], landmarks[:, 3] = 128, 20
    left, right = 15, 16
    landmarks[left, :2], landmarks[right, :2] = (60, 90), (120, 130)
    world[left], world[right] = (-0.6, 0.1, 0.2), (0.2, 0.3, 0.4)
    landmark_network(tmp_path / "net.onnx", landmarks, world)
    out = tmp_path / "told.npz"
    args = (tmp_path / "lspet.zip", out, "--network", tmp_path / "net.onnx")
    assert "3 photos, somebody found in 3" in run("pseudo", *args)
    told = np.load(out)
    for k, photo in enumerate(read_lspet(tmp_path / "lspet.zip")):
        assert told["names"][k] == photo.name
        region = region_around(photo.joints_2d, 1.25, 256)
        hands = np.array([[(60 + 256 - 120) / 2, 110], [(120 + 256 - 60) / 2, 110]])
        got = told["landmarks"][k]
        np.testing.assert_allclose(got[[left, right], :2], region.to_image(hands), rtol=2e-3)
        np.testing.assert_allclose(got[:, 2], 1, atol=1e-3)
        metres = np.array([[(-0.6 - 0.2) / 2, 0.2], [(0.2 + 0.6) / 2, 0.2]]) @ region.turn.T
        np.testing.assert_allclose(told["world_m"][k][[left, right], :2], metres, atol=1e-3)
        np.testing.assert_allclose(told["world_m"][k][[left, right], 2], 0.3, atol=1e-3)
    assert len(load_lspet(tmp_path / "lspet.zip", out)) == 3


def test_earlier_pseudo_labels_say_where_to_look(pseudo_labelled, tmp_path):
    photos, labels = pseudo_labelled
    landmarks = np.zeros((33, 5))
    landmarks[:, :2], landmarks[:, 3] = np.random.default_rng(0).uniform(20, 236, (33, 2)), 20
    landmark_network(tmp_path / "net.onnx", landmarks, np.zeros((33, 3)))
    out = tmp_path / "again.npz"
    assert convert_labelled(labels, out, tmp_path / "net.onnx") == (2, 2)
    assert np.load(out)["names"].tolist() == np.load(labels)["names"].tolist()
    assert [person.place for person in load_ccp(photos, out)] == [
        person.place for person in load_ccp(photos, labels)
    ]
    few = dict(np.load(labels))
    few["landmarks"][:, :, 2] = 0
    np.savez(labels, **few)
    with pytest.raises(InputError, match=r"ccp\.npz labels nobody well enough"):
        convert_labelled(labels, out, tmp_path / "net.onnx")


def test_what_is_no_landmark_network_is_refused(pseudo_labelled, tmp_path):
    _, labels = pseudo_labelled
    (tmp_path / "text.tflite").write_bytes(b"TFL3" * 40)
    with pytest.raises(InputError, match=r"text\.tflite.*expected pose_landmark_heavy") as caught:
        convert_labelled(labels, tmp_path / "out.npz", tmp_path / "text.tflite")
    assert "\n" not in str(caught.value)
    landmark_network(tmp_path / "other.onnx", np.zeros((33, 5)), np.zeros((33, 3)), size=128)
    with pytest.raises(InputError, match=r"inputs and outputs of .*128.*expected .*256"):
        convert_labelled(labels, tmp_path / "out.npz", tmp_path / "other.onnx")


@pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is not None, reason="MediaPipe is installed here"
)
def test_without_mediapipe_the_way_to_it_is_said(tmp_path):
    written(tmp_path / "a.zip", {"images/1.jpg": jpeg(np.zeros((9, 9, 3), np.uint8))}, zipped=True)
    with pytest.raises(InputError, match=r"pip install '.*' mediapipe==0\.10\.21"):
        convert_pseudo(tmp_path / "a.zip", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: [f.pop(n) for n in list(f) if n.startswith("photos")], "has no photos"),
        (lambda f: f.update({"photos/0001.jpg": f["photos/0001.jpg"][:50]}), "photo photos/0001"),
    ],
)
def test_an_incomplete_ccp_is_refused(tmp_path, change, words):
    files = ccp_files()
    change(files)
    with pytest.raises(InputError, match=words):
        convert_ccp(written(tmp_path / "ccp", files, zipped=False), tmp_path / "out.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["ccp"]


# --- CMU: one motion written in three forms -----------------------------------------------------

SIDES = {"l": "Left", "r": "Right"}
OFFSETS = np.array(cmu._LI_OFFSETS.split(), float).reshape(-1, 3)  # a skeleton in the database
ENDS = [k for k, name in enumerate(JOINTS) if name.endswith("_end")]
FRAMES = 9


def motion() -> tuple[np.ndarray, np.ndarray]:
    """Root [F, 3] and Euler angles [F, 38, 3], degrees about x, y, z, of a person who turns."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(-40, 40, (FRAMES, len(JOINTS), 3))
    angles[:, ENDS] = 0
    return rng.uniform(0, 20, (FRAMES, 3)), angles


ROOT, ANGLES = motion()


def rotations(angles: np.ndarray) -> Rotation:
    """x turns first, then y, then z: column vectors."""
    return Rotation.from_euler("xyz", angles, degrees=True)


def bvh_text(root: np.ndarray, angles: np.ndarray) -> str:
    lines = ["HIERARCHY"]
    order: list[int] = []

    def joint(k: int, depth: int) -> None:
        pad = "\t" * depth
        end = k in ENDS
        name = cmu._BVH_NAMES[k]
        head = "End Site" if end else f"{'JOINT' if depth else 'ROOT'} {name}"
        lines.extend([f"{pad}{head}", f"{pad}{{"])
        lines.append(f"{pad}\tOFFSET {' '.join(map(str, OFFSETS[k]))}")
        if not end:
            order.append(k)
            moves = "Xposition Yposition Zposition " if not depth else ""
            count = 3 if depth else 6
            lines.append(f"{pad}\tCHANNELS {count} {moves}Zrotation Yrotation Xrotation")
        for child, parent in enumerate(PARENTS):
            if parent == k:
                joint(child, depth + 1)
        lines.append(f"{pad}}}")

    joint(0, 0)
    lines += ["MOTION", f"Frames:\t{len(root)}", "Frame Time:\t.0083333"]
    for place, turned in zip(root, angles, strict=True):
        numbers = [*place, *(turned[k, axis] for k in order for axis in (2, 1, 0))]
        lines.append(" ".join(f"{number:.6f}" for number in numbers))
    return "\n".join(lines) + "\n"


def li_text(root: np.ndarray, angles: np.ndarray) -> str:
    """Rotation vectors of row vectors, which is those of column vectors turned back."""
    turns = -rotations(angles.reshape(-1, 3)).as_rotvec().reshape(len(root), -1)
    return "\n".join(",".join(f"{x:.9g}" for x in row) for row in np.hstack([root, turns]))


AXIS = (10.0, -20.0, 30.0)  # of every bone but the root, to see that it is taken into account


def asf_text() -> str:
    """Bones start at joints; the root's three branches and the chest's start with none."""
    bones, hierarchy = [], []
    for k, name in enumerate(cmu._ASF_NAMES):
        if k == 0 or k in ENDS:
            continue
        children = [c for c, parent in enumerate(PARENTS) if parent == k]
        vector = next((OFFSETS[c] for c in children if OFFSETS[c].any()), OFFSETS[children[0]])
        length = float(np.linalg.norm(vector))
        direction = vector / length if length else np.array([1.0, 0, 0])
        bones.append(
            f"  begin\n    id {k}\n    name {name}\n"
            f"    direction {' '.join(f'{x:.12f}' for x in direction)}\n    length {length:.12f}\n"
            f"    axis {' '.join(map(str, AXIS))} XYZ\n    dof rx ry rz\n"
            "    limits (-180 180)\n           (-180 180)\n           (-180 180)\n  end\n"
        )
        hierarchy.append(f"    {cmu._ASF_NAMES[PARENTS[k]]} {name}")
    return (
        "# made here\n:version 1.10\n:name VICON\n:units\n  mass 1.0\n  length 0.45\n  angle deg\n"
        ":root\n   order TX TY TZ RX RY RZ\n   axis XYZ\n   position 0 0 0\n   orientation 0 0 0\n"
        ":bonedata\n" + "".join(bones) + ":hierarchy\n  begin\n    " + "\n".join(hierarchy).strip()
        + "\n  end\n"
    )  # fmt: skip


def amc_text(root: np.ndarray, angles: np.ndarray) -> str:
    axes = rotations(np.array(AXIS))
    lines = ["#!OML:ASF made here", ":FULLY-SPECIFIED", ":DEGREES"]
    for number, (place, turned) in enumerate(zip(root, angles, strict=True), start=1):
        lines.append(str(number))
        lines.append(f"root {' '.join(f'{x:.8f}' for x in (*place, *turned[0]))}")
        for k, name in enumerate(cmu._ASF_NAMES):
            if k == 0 or k in ENDS:
                continue
            own = axes.inv() * rotations(turned[k]) * axes
            values = own.as_euler("xyz", degrees=True)
            lines.append(f"{name} {' '.join(f'{x:.8f}' for x in values)}")
    return "\n".join(lines) + "\n"


def positions(path: Path, name: str) -> np.ndarray:
    """Joints [F, 38, 3] as the file's own rule has them, row vectors: metres."""
    data = np.load(path)
    turns = data[f"seq/{name}/rotvec"].astype(float)
    local = Rotation.from_rotvec(turns.reshape(-1, 3)).as_matrix().reshape(*turns.shape, 3)
    world, places = np.empty_like(local), np.empty_like(turns)
    for k, parent in enumerate(data["parents"]):
        if parent < 0:
            world[:, k], places[:, k] = local[:, k], data[f"seq/{name}/root_m"]
        else:
            world[:, k] = local[:, k] @ world[:, parent]
            places[:, k] = data["offsets_m"][k] @ world[:, parent] + places[:, parent]
    return places


def expected_positions() -> np.ndarray:
    """Every other frame, computed with column vectors down the tree."""
    places = np.empty((FRAMES, len(JOINTS), 3))
    world: list[Rotation] = []
    for k, parent in enumerate(PARENTS):
        own = rotations(ANGLES[:, k])
        world.append(own if parent < 0 else world[parent] * own)
        places[:, k] = ROOT if parent < 0 else places[:, parent] + world[parent].apply(OFFSETS[k])
    return places[::2] * UNIT_M


@pytest.mark.parametrize("form", ["txt", "bvh", "amc"])
def test_cmu_motions_become_what_synth_reads(tmp_path, form):
    folder = tmp_path / "07"
    folder.mkdir()
    text = {"txt": li_text, "bvh": bvh_text, "amc": amc_text}[form](ROOT, ANGLES)
    (folder / f"07_01.{form}").write_text(text)
    if form == "amc":
        (folder / "07.asf").write_text(asf_text())
    out = tmp_path / "cmu.npz"
    assert "1 motions, 07_01" in run("cmu", folder, out)
    data = np.load(out)
    assert data["joint_names"].tolist() == list(JOINTS) and float(data["fps"]) == 60
    compared = [k for k in range(len(JOINTS)) if form != "amc" or "thumb" not in JOINTS[k]]
    got, expected = positions(out, "07_01")[:, compared], expected_positions()[:, compared]
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 3e-3  # metres; stored as fp16
    library = MotionLibrary(out)
    taken = library["07_01"]
    assert len(taken) == 5 and taken.leg_length == pytest.approx(0.84, abs=0.02)
    knee = expected[:, JOINTS.index("l_knee")] - expected[:, JOINTS.index("l_hip")]
    down = taken.poses[:, SEGMENT_INDEX["l_thigh"]] @ [0, 0, -1]
    shown = np.column_stack([knee[:, 0], -knee[:, 2], knee[:, 1]])
    np.testing.assert_allclose(down, shown / np.linalg.norm(shown, axis=1)[:, None], atol=0.01)


def test_actors_of_other_sizes_share_one_skeleton(tmp_path):
    """Offsets are the mean; a path is as long beside the legs as it was."""
    (tmp_path / "a.bvh").write_text(bvh_text(ROOT, ANGLES))
    larger = bvh_text(ROOT, ANGLES).splitlines()
    for k, line in enumerate(larger):
        if "OFFSET" in line:
            larger[k] = "OFFSET " + " ".join(str(2 * float(x)) for x in line.split()[1:])
    (tmp_path / "b.bvh").write_text("\n".join(larger))
    convert_cmu([tmp_path], tmp_path / "cmu.npz")
    data = np.load(tmp_path / "cmu.npz")
    np.testing.assert_allclose(data["offsets_m"], 1.5 * OFFSETS * UNIT_M, atol=1e-6)
    np.testing.assert_allclose(data["seq/a/root_m"], 1.5 * ROOT[::2] * UNIT_M, rtol=1e-5)
    np.testing.assert_allclose(data["seq/b/root_m"], 0.75 * ROOT[::2] * UNIT_M, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.bvh", "HIERARCHY\nROOT Hips\n{\n", "is no BVH file.*no MOTION"),
        ("a.bvh", "HIERARCHY ROOT Hips { OFFSET 0 0 MOTION", "is no BVH file"),
        ("a.bvh", bvh_text(ROOT, ANGLES).replace("LeftUpLeg", "Thigh"), "lacks LeftUpLeg"),
        ("a.bvh", bvh_text(ROOT, ANGLES) + "1 2 3", "got .* numbers for 9 frames"),
        ("a.bvh", bvh_text(ROOT, ANGLES).replace(".0083333", ".02"), "has 50.0 frames a second"),
        ("a.bvh", bvh_text(ROOT, ANGLES).replace(".0083333", "nan"), "9 frames, nan a second"),
        ("a.bvh", bvh_text(ROOT[:0], ANGLES[:0]), "has 0 frames"),
        ("a.txt", "1,2,3\n", "got 3 numbers a line, expected 3"),
        ("a.txt", "hello", "can't be read as lines of numbers"),
        ("a.amc", amc_text(ROOT, ANGLES), r"needs its skeleton beside it: .*a\.asf is missing"),
        ("a.doc", "", r"no \.txt, \.bvh or \.amc in"),
    ],
)
def test_what_is_no_motion_of_cmu_is_refused(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        convert_cmu([tmp_path], tmp_path / "cmu.npz")
    assert not (tmp_path / "cmu.npz").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (r"length \S+", "length 0", "is no Acclaim skeleton"),
        (r"length 0\.45", "length nan", "legs of nan m, with NaN among the numbers"),
    ],
)
def test_skeletons_without_lengths_are_refused(tmp_path, old, new, words):
    (tmp_path / "07_01.amc").write_text(amc_text(ROOT, ANGLES))
    (tmp_path / "07.asf").write_text(re.sub(old, new, asf_text()))
    with pytest.raises(InputError, match=words):
        convert_cmu([tmp_path], tmp_path / "cmu.npz")
    assert not (tmp_path / "cmu.npz").exists()


def test_two_motions_of_one_name_are_refused(tmp_path):
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "walking_1.txt").write_text(li_text(ROOT, ANGLES))
    with pytest.raises(InputError, match="have one name; leave one out"):
        convert_cmu([tmp_path], tmp_path / "cmu.npz")
