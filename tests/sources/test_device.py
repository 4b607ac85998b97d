"""Cameras behind URLs: streams that stall, vanish and come back; films; what a device is asked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.paths import config_directory
from smap_ros.sources import Mode, device, is_camera, open_source
from smap_ros.sources.base import public_name
from smap_ros.sources.device import request
from tests.mjpeg_server import NetworkCamera

CLIP = config_directory() / "demo" / "clip.mp4"
PATIENCE = 30.0


@pytest.fixture
def camera():
    one = NetworkCamera(film=CLIP.read_bytes())
    yield one
    one.stalled.clear()
    one.vanish()


@contextmanager
def watching(source):
    """The frames of a source as another thread takes them."""
    frames = []
    thread = threading.Thread(target=lambda: frames.extend(_each(source, frames)), daemon=True)
    thread.start()
    yield frames, thread
    source.close()
    thread.join(5)
    assert not thread.is_alive()


def _each(source, frames):
    for frame in source:
        frames.append(frame)
    return []


def wait(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_a_stream_that_vanishes_is_opened_again_with_growing_pauses(camera, caplog):
    caplog.set_level("INFO")
    source = open_source(f"{camera.url}/stream")
    assert source.live and source.problem == ""
    with watching(source) as (frames, _):
        wait(lambda: len(frames) > 5, "images")
        camera.vanish()
        wait(lambda: "every 2 s" in source.problem, "two attempts in vain")
        assert "is lost after" in source.problem
        before = len(frames)
        camera.appear()
        wait(lambda: len(frames) > before + 5, "images again")
        assert source.problem == ""
    pauses = [m.partition("every ")[2] for m in caplog.messages if "is lost" in m]
    assert pauses[:3] == ["0.5 s", "1 s", "2 s"]
    assert f"camera {camera.url}/stream gives images again" in caplog.messages
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[0].image.shape == (48, 64, 3) and abs(frames[-1].stamp - time.time()) < 60


def test_a_stream_that_stalls_is_told_and_the_iteration_can_be_ended_meanwhile(camera, caplog):
    source = open_source(f"{camera.url}/stream")
    with watching(source) as (frames, thread):
        wait(lambda: frames, "images")
        camera.stalled.set()
        wait(lambda: "gives no image for 1 s" in source.problem, "the stall")
        assert thread.is_alive()  # waits, while a read blocks
    assert "gives no image" in caplog.text


@pytest.mark.parametrize("silence", ["vanishes", "stalls"])
def test_patience_with_a_camera_has_a_limit_if_one_is_stated(camera, silence):
    source = open_source(f"{camera.url}/stream", patience=1.2)
    frames = iter(source)
    next(frames)
    if silence == "vanishes":
        camera.vanish()
    else:
        camera.stalled.set()
    with pytest.raises(InputError, match=r"gave no image for 1\.2 s, after \d+ images; check its"):
        list(frames)


def test_a_film_behind_a_url_is_a_film_with_an_end(camera):
    source = open_source(f"{camera.url}/film.mp4")
    assert (source.live, source.count, source.rate) == (False, 90, 15.0)
    assert sum(1 for _ in source) == 90


def test_a_film_that_stalls_ends_like_one_that_was_cut_off(camera, caplog):
    source = open_source(f"{camera.url}/film.mp4", patience=1.0)
    camera.stalled.set()
    with watching(source) as (frames, thread):
        wait(lambda: not thread.is_alive(), "the end")
    assert 0 < len(frames) < 90
    (told,) = caplog.messages
    assert told.startswith(f"film.mp4 is damaged after {len(frames)} of 90 frames (nothing came ")
    assert "(nothing came for 1 s)" in told


def test_a_server_that_says_nothing_is_told(camera, monkeypatch):
    monkeypatch.setattr(device, "TIMEOUT", 500)
    source = open_source(f"{camera.url}/film.mp4", patience=0.5)
    camera.silent.set()
    with pytest.raises(InputError, match=r"can't be opened as a video: nothing came for 0\.5 s"):
        list(source)
    with pytest.raises(InputError, match=r"film.mp4 can't be opened: nothing came for 0\.5 s; che"):
        open_source(f"{camera.url}/film.mp4")


def transport_stream(path, pixel_aspect: Fraction) -> bytes:
    """A second of grey, whose pixels have that shape."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        stream.codec_context.gop_size = 5
        for _ in range(25):
            grey = np.full((48, 64, 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="bgr24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_the_pixels_of_a_stream_have_the_shape_that_it_states(camera, tmp_path):
    """720x576 of digital television, say, is shown as 1024x576."""
    camera.live = transport_stream(tmp_path / "wide.ts", Fraction(64, 45))
    source = open_source(f"{camera.url}/live")
    assert source.live
    with watching(source) as (frames, _):
        wait(lambda: frames, "images")
        camera.vanish()  # and opened again, it states another shape
        camera.live = transport_stream(tmp_path / "square.ts", Fraction(1))
        camera.appear()
        wait(lambda: frames[-1].pixel_aspect == 1, "square pixels")
    assert frames[0].pixel_aspect == pytest.approx(64 / 45)
    assert next(iter(open_source(tmp_path / "wide.ts"))).pixel_aspect == frames[0].pixel_aspect


def test_what_is_no_camera_is_refused(camera):
    url = f"{camera.url}/stream"
    camera.vanish()
    with pytest.raises(InputError, match="can't be opened"):
        open_source(url)
    with pytest.raises(InputError, match=r"640x480 px is for V4L2 devices; http"):
        open_source(url, mode=Mode(640, 480))
    with pytest.raises(InputError, match=r"any px MJPG is for V4L2 devices; .*clip.mp4 is none"):
        open_source(str(CLIP), mode=Mode(pixel_format="MJPG"))
    assert open_source(str(CLIP), mode=Mode(rate=5.0)).count == 90  # files have a pace, too
    with pytest.raises(InputError, match="expected four letters"):
        Mode(pixel_format="yuv")


def test_a_link_to_a_device_is_that_device(tmp_path):
    link = tmp_path / "cam_front"
    link.symlink_to("/dev/video97")
    (tmp_path / "by-id").symlink_to(link)
    other = tmp_path / "cam_other"
    other.symlink_to("/dev/null")
    for spec, expected in (
        (str(link), True), (str(tmp_path / "by-id"), True), ("/dev/video97", True), ("0", True),
        (str(other), False), (str(CLIP), False), ("nowhere", False), (os.devnull, False),
    ):  # fmt: skip
        assert is_camera(spec) is expected, spec
    with pytest.raises(InputError, match=r"camera .*cam_front can't be opened"):
        open_source(str(link))


def test_what_a_device_gives_is_logged_and_what_it_does_not_give(caplog):
    """A file stands for a device that takes no wishes."""
    caplog.set_level("INFO", logger="smap_ros")
    capture = cv2.VideoCapture(str(CLIP))
    given = request(capture, "/dev/cam_front", Mode(768, 432, 15.0))
    assert (given.width, given.height, given.rate) == (768, 432, 15.0)
    assert caplog.messages[-1] == f"camera /dev/cam_front gives {given}"
    request(capture, "/dev/cam_front", Mode(640, 480, 30.0, "MJPG"))
    assert caplog.messages[-1].endswith("asked for was 640x480 px MJPG at 30 Hz")
    assert caplog.messages[-1].startswith("camera /dev/cam_front gives 768x432 px ")


def test_a_password_is_in_no_result(camera):
    source = open_source(f"{camera.url.replace('://', '://admin:secret@')}/stream")
    with watching(source) as (frames, _):
        wait(lambda: frames, "no image came")
    assert {source.name, frames[0].source} == {f"{camera.url}/stream"}


def test_what_a_url_keeps_secret_is_in_no_result_and_no_error(camera, caplog):
    query = f"?token=secret&signature={'secret' * 60}"  # longer than a file's name may be
    url = f"{camera.url.replace('://', '://admin:secret@')}/film.mp4{query}"
    source = open_source(url)
    assert {source.name, next(iter(source)).source} == {"film.mp4"}
    with pytest.raises(InputError, match=f"folders of images; {camera.url}/film.mp4 is none$"):
        open_source(url, fps=10)
    camera.vanish()
    with pytest.raises(InputError, match=f"{camera.url}/film.mp4 can't be opened as a") as error:
        list(source)
    with pytest.raises(InputError, match=f"{camera.url}/film.mp4 can't be opened: ") as again:
        open_source(url)
    assert "secret" not in f"{error.value}{again.value}{caplog.text}"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("http://10.0.0.7/a.mp4?x=1", "http://10.0.0.7/a.mp4"),
        ("rtsp://me:a@b@cam/1/2#secret", "rtsp://cam/1/2"),
        ("rtsp://me:p?w@cam/1", "rtsp://cam/1"),
        ("rtsp://cam/user=a&password=s3cret&channel=1", "rtsp://cam/user=a&password=***&channel=1"),
        (
            "rtsp://cam/user=a_password=s3_ret_channel=1_s=0.sdp?real",
            "rtsp://cam/user=a_password=***_channel=1_s=0.sdp",
        ),
        ("http://cam:80/Passwd=s3/cret", "http://cam:80/Passwd=***"),
        ("http://cam/a/pwd=s3cret/b=1", "http://cam/a/pwd=***/b=1"),
        ("http://cam/my_compass=3", "http://cam/my_compass=3"),
        ("rtsp://me:s3/cret@cam:554/x", "rtsp://cam:554/x"),
        ("http://cam:8080/a@2x.mp4", "http://cam:8080/a@2x.mp4"),
        ("http://[fe80::1]:8080/a@2x.mp4", "http://[fe80::1]:8080/a@2x.mp4"),
        ("http://[fe80::1%25eth0]/a@2x.mp4", "http://[fe80::1%25eth0]/a@2x.mp4"),
        ("http://[::1]?token=a@secret", "http://[::1]"),
        ("http://me:s3/cret@[::1]:80/a@2x.mp4", "http://2x.mp4"),
        ("rtsp://me:s3/cret@[::1]:80/x", "rtsp://[::1]:80/x"),
        ("rtsp://[me:s3/cret@cam/x", "rtsp://cam/x"),
        ("rtsp://me:s3@cr/et@10.0.0.7/x", "rtsp://10.0.0.7/x"),
        ("rtsp://me@mail.com:s3/cret@cam/x", "rtsp://cam/x"),
        ("rtsp://me:s3@c?ret@cam/x", "rtsp://***"),
        ("http://me:s3cret@cam/a.mp4?token=a@secret", "http://***"),
        ("http://cam:80?token=a@secret", "http://***"),
        ("rtsp://me:s3/c?ret@cam/x", "rtsp://cam/x"),
        ("rtsp://me:s3://cret@cam/x", "rtsp://cam/x"),
        ("http://proxy/http://me:s3cret@cam/x", "http://proxy/http://cam/x"),
        ("http://cam/a@b/c@2x.mp4?token=a@secret", "http://cam/a@b/c@2x.mp4"),
        ("clip?#1@2.mp4", "clip?#1@2.mp4"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_of_a_url_only_the_place_is_told(spec, told):
    assert public_name(spec) == told


LATE_READER = """
import time
import numpy as np
from smap_ros.sources import Mode
from smap_ros.sources.device import DeviceSource

class Camera:
    def get(self, what):
        return 0.0
    def read(self):
        time.sleep(0.3)
        return True, np.zeros((4, 4, 3), np.uint8)
    def release(self):
        print("released", flush=True)

for frame in DeviceSource("rtsp://camera", Mode(), Camera()):
    break
print("done", flush=True)
"""


def test_the_end_of_a_program_waits_for_a_read_that_goes_on():
    """A thread that comes back from OpenCV while Python ends aborts the process."""
    done = subprocess.run(
        [sys.executable, "-c", LATE_READER], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["done", "released"]


def test_a_film_that_was_cut_without_being_encoded_anew_is_whole(tmp_path, caplog):
    """Its file holds frames before the cut, which an edit list leaves out."""
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    with av.open(str(whole), "w") as out:
        stream = out.add_stream("libx264", rate=15, options={"g": "60", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(60):
            picture = np.full((48, 64, 3), 4 * k, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        out.mux(stream.encode())
    with av.open(str(whole)) as film, av.open(str(cut), "w") as out:
        old = film.streams.video[0]
        new = out.add_stream_from_template(old)
        shift = round(1.5 / old.time_base)
        for packet in film.demux(old):
            if packet.dts is not None:
                packet.dts, packet.pts, packet.stream = packet.dts - shift, packet.pts - shift, new
                out.mux(packet)
    source = open_source(str(cut))
    frames = len(list(source))
    assert 36 <= frames <= 39 and source.count == pytest.approx(frames, abs=1)
    assert not caplog.records
