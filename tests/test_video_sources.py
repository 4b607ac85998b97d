"""Videos turned and mirrored, of uneven rates, and with names that are no text."""

import io
import os
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from smap_ros.errors import InputError
from smap_ros.sources import open_source
from smap_ros.sources.video import VideoSource
from tests.test_sources import shade, write_video

# Bright in one corner, so that each way of turning and mirroring makes another picture.
CORNER = np.zeros((48, 64, 3), np.uint8)
CORNER[:16, :24] = 100


def with_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Write it into the track's header; an image's x goes to a x + c y, its y to b x + d y."""
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    numbers = [round(0x10000 * v) for v in (a, b, 0, c, d, 0, 0, 0)] + [0x40000000]
    matrix = b"".join(v.to_bytes(4, "big", signed=True) for v in numbers)
    path.write_bytes(data[:at] + matrix + data[at + 36 :])
    return path


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda image: image),
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda image: image[::-1, ::-1].swapaxes(0, 1)),
    ],
)
def test_a_video_is_turned_and_mirrored_as_the_file_says(tmp_path, matrix, shown, caplog):
    path = write_video(tmp_path / "a.mp4", frames=2)
    plain = next(iter(open_source(str(path)))).image
    image = next(iter(open_source(str(with_matrix(path, *matrix))))).image
    np.testing.assert_array_equal(image, shown(plain))
    assert VideoSource(path).survey().size == image.shape[1::-1]
    assert not caplog.text


def with_exif(image: np.ndarray, orientation: int) -> bytes:
    """A camera's JPEG, which says how it was held."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(
        file, "JPEG", exif=exif, quality=95
    )
    return file.getvalue()


def write_jpegs(path: Path, jpegs: list[bytes]) -> Path:
    """A film of JPEGs as they are: an AVI, or one after the other."""
    if path.suffix == ".mjpeg":
        path.write_bytes(b"".join(jpegs))
        return path
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for k, jpeg in enumerate(jpegs):
            packet = av.Packet(jpeg)
            packet.stream, packet.pts, packet.dts = stream, k, k
            packet.time_base = Fraction(1, 10)
            container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".avi", ".mjpeg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_film_of_jpegs_is_turned_and_mirrored_as_their_exif_says(
    tmp_path, suffix, orientation, caplog
):
    jpeg = with_exif(shade(1) // 2 + CORNER, orientation)
    path = write_jpegs(tmp_path / f"a{suffix}", [jpeg] * 3)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg)))
    upright = np.asarray(turned.convert("RGB"))[..., ::-1].astype(int)
    images = [frame.image for frame in VideoSource(path)]
    assert [image.shape for image in images] == [upright.shape] * 3
    assert all(np.abs(image - upright).mean() < 4 for image in images)
    assert VideoSource(path).survey().size == upright.shape[1::-1]
    assert not caplog.text


def test_a_video_at_an_odd_angle_is_told_once(tmp_path, caplog):
    turn = np.deg2rad(30)
    matrix = np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)
    path = with_matrix(write_video(tmp_path / "a.mp4", frames=3), *matrix)
    assert [frame.image.shape for frame in open_source(str(path))] == [(48, 64, 3)] * 3
    assert caplog.text.count("people lean") == 1


def write_uneven_video(path: Path, milliseconds: list[int]) -> Path:
    """A film whose frames come when something changes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = 1
        for k, time in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(shade(k), format="bgr24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_video_of_uneven_rate_is_damaged_only_where_its_end_is_missing(tmp_path, caplog):
    times = [0, 10, 500, 510, *range(1000, 4100, 500), 4010]
    path = write_uneven_video(tmp_path / "a.mkv", sorted(times))
    source = open_source(str(path))
    assert len(list(source)) == len(times) < source.count / 2
    assert not caplog.text
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    assert 0 < len(list(open_source(str(path)))) < len(times)
    assert "damaged" in caplog.text


def test_a_video_whose_name_is_not_utf8_is_read_and_named(tmp_path):
    path = write_video(tmp_path / "clip.mp4", frames=2)
    odd = path.rename(tmp_path / os.fsdecode(b"clip\xff.mp4"))
    (first, _) = open_source(odd)
    assert first.source == "clip\xff.mp4" and first.source.encode()
    odd.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"clip.[.]mp4 can.t be opened as a video"):
        open_source(odd)


def numbers(frames) -> list[int]:
    return [frame.index for frame in frames]


def test_a_video_is_read_several_times_at_once(tmp_path):
    source = open_source(str(write_video(tmp_path / "a.mp4", frames=12)))
    first, second = iter(source), iter(source)
    assert [next(first).index, next(second).index, next(first).index] == [0, 0, 1]
    del second  # collected in the middle of the other one
    assert numbers(first) == list(range(2, 12))
    assert all(one.index == other.index for one, other in zip(source, source, strict=True))


def test_a_video_that_is_closed_ends_after_the_frame_it_is_at(tmp_path, caplog):
    source = open_source(str(write_video(tmp_path / "a.mp4", frames=12)))
    seen = []
    for frame in source:
        seen.append(frame.index)
        if frame.index == 4:
            closer = threading.Thread(target=source.close)
            closer.start()
            closer.join()
    assert seen == [0, 1, 2, 3, 4] and not caplog.text
    assert numbers(source) == list(range(12))


def test_a_name_with_colons_is_no_protocol(tmp_path, monkeypatch):
    write_video(tmp_path / "12:30:00.mp4", frames=2)
    monkeypatch.chdir(tmp_path)
    assert [frame.source for frame in open_source("12:30:00.mp4")] == ["12:30:00.mp4"] * 2
