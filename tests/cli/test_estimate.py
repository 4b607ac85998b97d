"""`smap-ros estimate` as a process: the contract of its files and exit codes."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.offline.results import read_bodies
from smap_ros.pictures import write_picture
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


def test_a_video_may_be_smoothed_and_no_image_is_lost(smap_ros, bundle, clip, tmp_path):
    words = ("estimate", clip, "--bundle", bundle, "--fov", FOV, *RUNTIME)
    done = smap_ros(*words, "--out", "out", "--smoothing", "rts", "--smoothing-delay", 2)
    assert done.returncode == 0, done.stderr
    frames = read_bodies(tmp_path / "out" / "bodies.json")
    assert [frame.index for frame in frames] == list(range(8))
    assert [len(frame) for frame in frames] == [3, 3, 3, 0, 3, 3, 3, 3]
    done = smap_ros(*words, "--out", "no", "--smoothing", "split", "--smoothing-delay", 2)
    assert done.returncode == 2 and "choose auto or rts" in done.stderr


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


@pytest.mark.parametrize("delay", [0, 2])
def test_a_folder_with_a_rate_is_a_film(
    smap_ros, bundle, scene, tmp_path, crop_manifest, delay, caplog
):
    """Its people are those of the same images as a video: tracked, and seen over time."""
    sway = write_video_bundle(bundle.parent, crop_manifest()).folder
    (tmp_path / "frames").mkdir()
    for k in range(6):
        write_picture(tmp_path / "frames" / f"{k}.png", scene.image(160 + 15 * k))
    words = ("--fov", FOV, "--bundle", sway, *RUNTIME, "--delay", delay)
    done = smap_ros("estimate", "frames", "--fps", 10, *words, "--out", "film")
    assert done.returncode == 0, done.stderr
    film = read_bodies(tmp_path / "film" / "bodies.json")
    assert [frame.index for frame in film] == list(range(6))
    assert [frame.stamp for frame in film] == pytest.approx([k / 10 for k in range(6)])
    assert [frame.source for frame in film] == [f"{k}.png" for k in range(6)]
    assert {body.id for frame in film for body in frame} == {0, 1, 2}
    assert (tmp_path / "film" / "annotated.mp4").exists() and "--fps" not in caplog.text
    done = smap_ros("estimate", "frames", *words, "--out", "alone")
    alone = read_bodies(tmp_path / "alone" / "bodies.json")
    assert "say how many come a second with --fps" in caplog.text
    moved = [
        np.linalg.norm(a.bodies[0].joints_3d[1] - b.bodies[0].joints_3d[1])
        for a, b in zip(film, alone, strict=True)
    ]
    assert max(moved) > 0.01


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("clip.mp4", "--fps", 10), "images per second (10) are for folders"),
        ((".", "--fps", 0), "images per second are 0; expected a positive number"),
        ((".", "--fps", 1e300), "images per second are 1e+300; expected a positive number, from"),
        ((".", "--fps", 1e-300), "images per second are 1e-300; expected a positive number, from"),
    ],
)
def test_a_rate_is_for_folders(smap_ros, clip, words, complaint):
    done = smap_ros("estimate", *words, "--fov", FOV, "--out", "out")
    assert done.returncode == 2 and complaint in done.stderr


def test_an_output_folder_holds_one_run(smap_ros, bundle, clip, scene, tmp_path):
    for name in ("a", "b", "c"):
        write_picture(tmp_path / name / f"{name}.png", scene.image(250))
    words = ("--fov", FOV, "--bundle", bundle, *RUNTIME, "--out", "out")
    assert smap_ros("estimate", "a", "b", "a/a.png", clip, *words).returncode == 0
    out = tmp_path / "out"
    pictures = ["a.jpg", "a_2.jpg", "b.jpg"]
    assert sorted(path.name for path in (out / "annotated").iterdir()) == pictures
    (out / "annotated" / "mine.jpg").write_bytes(b"kept")
    (out / "notes.txt").write_text("kept")
    assert smap_ros("estimate", "c", *words).returncode == 0
    assert sorted(path.name for path in (out / "annotated").iterdir()) == ["c.jpg", "mine.jpg"]
    assert not list(out.glob("*.mp4")) and (out / "notes.txt").exists()
    done = smap_ros("estimate", "out/annotated", *words)
    assert done.returncode == 2 and "choose another --out" in done.stderr
    assert (out / "annotated" / "c.jpg").exists()


def test_one_of_several_pictures_may_be_bad(smap_ros, bundle, scene, tmp_path, caplog):
    write_picture(tmp_path / "good.png", scene.image(250))
    (tmp_path / "bad.png").write_bytes(b"nothing")
    words = ("--fov", FOV, "--bundle", bundle, *RUNTIME, "--out", "out")
    assert smap_ros("estimate", "bad.png", "good.png", *words).returncode == 0
    assert [frame.source for frame in read_bodies(tmp_path / "out" / "bodies.json")] == ["good.png"]
    assert "skipped" in caplog.text and "bad.png" in caplog.text


@pytest.mark.parametrize("shape", [(720, 1), (1, 1280), (1, 1)])
def test_a_picture_one_pixel_wide_costs_nobody_else(smap_ros, bundle, scene, tmp_path, shape):
    write_picture(tmp_path / "in" / "a.png", scene.image(250))
    write_picture(tmp_path / "in" / "b.png", np.full((*shape, 3), 250, np.uint8))
    write_picture(tmp_path / "in" / "c.png", scene.image(250))
    words = ("--fov", FOV, "--bundle", bundle, *RUNTIME, "--out", "out")
    done = smap_ros("estimate", "in", *words)
    assert done.returncode == 0, done.stderr
    frames = read_bodies(tmp_path / "out" / "bodies.json")
    assert {"a.png", "c.png"} <= {frame.source for frame in frames}
    assert [len(frame) for frame in frames if frame.source != "b.png"] == [3, 3]


def test_a_user_without_a_home_gets_people_all_the_same(
    smap_ros, bundle, picture, monkeypatch, caplog
):
    def homeless() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    words = ("--fov", FOV, "--bundle", bundle, "--engine", "openvino", "--out", "out")
    done = smap_ros("estimate", picture, *words)
    assert done.returncode == 0, done.stderr
    assert "set XDG_CACHE_HOME" in caplog.text
