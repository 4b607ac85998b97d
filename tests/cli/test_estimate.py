"""`smap-ros estimate` as a process: the contract of its files and exit codes."""

import json
import math

import cv2
import numpy as np
import pytest

from smap_ros.offline.results import read_bodies
from smap_ros.sources import open_source
from smap_ros.viz.video import VideoWriter
from tests.video_bundle import write_video_bundle

FOV = 80  # of the scene's camera
RUNTIME = ("--engine", "onnxruntime", "--threads", 1)  # auto would measure first


def estimate_in_a_process(python, clip, bundle):
    """``smap-ros estimate`` of a clip as a user calls it; results go to the folder ``out``."""
    words = ("--fov", FOV, "--bundle", bundle, *RUNTIME, "--out", "out")
    return python("-m", "smap_ros", "estimate", clip, *words)


def test_a_video_gives_the_files_of_the_contract(python, bundle, clip, tmp_path, scene):
    done = estimate_in_a_process(python, clip, bundle)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "out" / "bodies.json").read_text())
    assert list(data) == ["frames"]
    frames = data["frames"]
    assert [frame["index"] for frame in frames] == list(range(8))
    assert [len(frame["bodies"]) for frame in frames] == [3, 3, 3, 0, 3, 3, 3, 3]
    for frame in frames:
        assert set(frame) == {"source", "index", "stamp", "camera", "bodies"}
        assert frame["source"] == "clip.mp4"
        assert frame["stamp"] == pytest.approx(frame["index"] / 10, abs=1e-3)
        assert set(frame["camera"]) == {"fx", "fy", "cx", "cy", "width", "height"}
        for body in frame["bodies"]:
            assert set(body) == {"id", "score", "joints_2d", "joints_3d"}
            assert np.shape(body["joints_2d"]) == (15, 3)
            assert np.shape(body["joints_3d"]) == (15, 4)
    # The same people all along, also after the frame in which nobody was seen.
    assert {body["id"] for frame in frames for body in frame["bodies"]} == {0, 1, 2}
    depths = sorted(body["joints_3d"][2][2] for body in frames[0]["bodies"])
    np.testing.assert_allclose(depths, scene.joints[:, 2, 2], rtol=0.02)


def test_a_video_gives_pictures_that_show_the_people(smap_ros, bundle, clip, tmp_path):
    done = smap_ros("estimate", clip, "--fov", FOV, "--bundle", bundle, *RUNTIME, "--out", "out")
    names = ("annotated.mp4", "bodies.json", "contact_sheet.png", "poses_3d.png")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert all(name in done.stdout for name in names)
    assert "frames with people   7 of 8" in done.stdout
    assert all(stage in done.stdout for stage in ("network", "association", "total"))
    drawn = [frame.image for frame in open_source(str(tmp_path / "out" / "annotated.mp4"))]
    assert len(drawn) == 8
    painted = [(np.ptp(image[50:600].astype(int), axis=2) > 60).sum() for image in drawn]
    assert min(painted[:3]) > 2000
    assert painted[3] < 50


def test_pictures_and_folders_are_annotated_one_by_one(smap_ros, bundle, picture, tmp_path):
    done = smap_ros(
        "estimate", picture, tmp_path, "--fov", FOV, "--bundle", bundle, *RUNTIME, "--out", "out"
    )
    assert done.returncode == 0, done.stderr
    frames = read_bodies(tmp_path / "out" / "bodies.json")
    assert [len(frame) for frame in frames] == [3, 3]
    assert {body.id for frame in frames for body in frame} == {None}
    made = sorted(path.name for path in (tmp_path / "out" / "annotated").iterdir())
    assert made == ["bright.jpg", "bright_2.jpg"]


def test_every_and_max_frames_thin_out(smap_ros, bundle, clip, tmp_path):
    words = (
        "--fov",
        FOV,
        "--bundle",
        bundle,
        *RUNTIME,
        "--every",
        2,
        "--max-frames",
        3,
        "--out",
        "out",
    )
    assert smap_ros("estimate", clip, *words).returncode == 0
    indices = [frame.index for frame in read_bodies(tmp_path / "out" / "bodies.json")]
    assert indices == [0, 2, 4]


def test_a_calibration_is_scaled_to_the_images(smap_ros, bundle, picture, tmp_path, scene):
    camera = scene.camera.resized(640, 360)
    matrix = ", ".join(str(v) for v in camera.matrix.reshape(-1))
    (tmp_path / "half.yaml").write_text(
        f"image_width: 640\nimage_height: 360\ncamera_matrix: {{data: [{matrix}]}}\n"
    )
    words = ("--camera", "half.yaml", "--bundle", bundle, *RUNTIME, "--out", "out")
    assert smap_ros("estimate", picture, *words).returncode == 0
    (frame,) = read_bodies(tmp_path / "out" / "bodies.json")
    assert frame.camera.fx == pytest.approx(scene.camera.fx)
    np.testing.assert_allclose(frame.bodies[0].root, scene.joints[0, 2], atol=0.06)


def test_a_truncated_video_is_used_up_to_the_damage_with_a_warning(python, bundle, clip, tmp_path):
    data = clip.read_bytes()
    clip.write_bytes(data[: int(len(data) * 0.75)])
    done = estimate_in_a_process(python, clip, bundle)
    assert done.returncode == 0, done.stderr
    assert "warning: clip.mp4" in done.stderr
    assert "damaged" in done.stderr
    assert 0 < len(read_bodies(tmp_path / "out" / "bodies.json")) < 8


def test_a_black_image_whose_network_output_is_nan_shows_nobody(smap_ros, bundle, tmp_path, scene):
    cv2.imwrite(str(tmp_path / "black.png"), scene.image(0))
    words = ("black.png", "--fov", FOV, "--bundle", bundle, *RUNTIME, "--out", "out")
    assert smap_ros("estimate", *words).returncode == 0
    (frame,) = read_bodies(tmp_path / "out" / "bodies.json")
    assert len(frame) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["IMAGE", "--out", "out"], "give --camera CALIBRATION.yaml, or state the horizontal"),
        (["IMAGE", "--fov", "0", "--out", "out"], "expected the horizontal field of view"),
        (["IMAGE", "--fov", "x", "--out", "out"], "Invalid value for '--fov'"),
        (["IMAGE", "--fov", "60"], "Missing option '--out'"),
        (["IMAGE", "--fov", "60", "--camera", "IMAGE", "--out", "out"], "can't read the calib"),
        (["IMAGE", "--camera", "no.yaml", "--out", "out"], "can't read the calibration no.yaml"),
        (["no.mp4", "--fov", "60", "--out", "out"], "input 'no.mp4' doesn't exist"),
        (["IMAGE", "--fov", "60", "--bundle", "no", "--out", "out"], "no bundle 'no'"),
        (["IMAGE", "--fov", "60", "--engine", "no", "--out", "out"], "Invalid value for '--engine"),
        (["IMAGE", "--fov", "60", "--out", "IMAGE"], "can't write to the output folder"),
        (["--out", "out"], "Missing argument 'INPUT'"),
    ],
)
def test_what_the_user_must_change_is_said_in_one_line(smap_ros, bundle, picture, words, message):
    words = [str(picture) if word == "IMAGE" else word for word in words]
    if "--bundle" not in words:
        words += ["--bundle", str(bundle)]
    if "--engine" not in words:
        words += ["--engine", "onnxruntime"]
    done = smap_ros("estimate", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not done.stdout


def test_an_altered_bundle_is_refused(smap_ros, bundle, picture):
    model = bundle / "model.onnx"
    model.write_bytes(model.read_bytes() + b"x")
    done = smap_ros("estimate", picture, "--fov", FOV, "--bundle", bundle, *RUNTIME, "--out", "out")
    assert done.returncode == 2
    assert "was altered or damaged" in done.stderr


def test_distances_follow_the_field_of_view(smap_ros, bundle, picture, tmp_path):
    roots = []
    for fov in (FOV, 40):
        words = ("--fov", fov, "--bundle", bundle, *RUNTIME, "--out", f"out{fov}")
        assert smap_ros("estimate", picture, *words).returncode == 0
        (frame,) = read_bodies(tmp_path / f"out{fov}" / "bodies.json")
        roots.append(frame.bodies[0].root[2])
    ratio = math.tan(math.radians(FOV / 2)) / math.tan(math.radians(20))
    assert roots[1] / roots[0] == pytest.approx(ratio, rel=0.02)


def test_a_video_model_sees_the_images_after_each(smap_ros, bundle, scene, tmp_path, crop_manifest):
    """Every image gets its own people, the last ones too, and other people than without a delay."""
    sway = write_video_bundle(bundle.parent, crop_manifest()).folder
    clip = tmp_path / "brighter.mp4"
    writer = VideoWriter(clip, rate=10)
    for k in range(6):
        writer.add(scene.image(160 + 15 * k), k / 10)
    writer.close()
    heads = []
    for delay in (0, 3):
        words = ("--fov", FOV, "--bundle", sway, *RUNTIME, "--out", f"out{delay}")
        done = smap_ros("estimate", clip, *words, "--delay", delay, "--stride", delay + 1)
        assert done.returncode == 0, done.stderr
        frames = read_bodies(tmp_path / f"out{delay}" / "bodies.json")
        assert [frame.index for frame in frames] == list(range(6))
        assert [len(frame.bodies) for frame in frames] == [3] * 6
        heads.append([frame.bodies[0].joints_3d[1] for frame in frames])
    assert np.linalg.norm(np.subtract(*heads), axis=1)[:3].min() > 0.01


def test_a_delay_is_refused_by_models_that_look_at_single_images(smap_ros, bundle, picture):
    words = ("--fov", FOV, "--bundle", bundle, *RUNTIME, "--out", "out", "--delay", 1)
    done = smap_ros("estimate", picture, *words)
    assert done.returncode == 2 and "'delay'" in done.stderr
