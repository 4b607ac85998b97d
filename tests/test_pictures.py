"""Picture files: any name, upright, whole, of any depth; or refused with the reason."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from smap_ros.errors import InputError
from smap_ros.images import MAX_PIXELS, decode_compressed, decode_image, eight_bits
from smap_ros.pictures import printable, read_picture, write_picture
from smap_ros.sources import open_source


def smooth(height: int = 60, width: int = 80) -> np.ndarray:
    """A photo-like picture, bgr."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def saved(image: np.ndarray, kind: str, mode: str = "RGB", **options: object) -> bytes:
    """As Pillow writes it, which other software resembles more than OpenCV does."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).convert(mode).save(
        file, kind, **options
    )
    return file.getvalue()


def turned(image: np.ndarray, orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, kind, exif=exif)


def test_names_that_are_not_utf8_are_read_and_written(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    image = smooth()
    write_picture(folder / "b\udce9ta.png", image)
    np.testing.assert_array_equal(read_picture(folder / "b\udce9ta.png"), image)
    assert [path.name for path in folder.iterdir()] == ["b\udce9ta.png"]
    (frame,) = open_source(str(folder))
    assert frame.source == "béta.png"
    frame.source.encode()  # text that every reader of bodies.json takes
    assert printable("plain.png") == "plain.png"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_files_are_turned_upright_as_their_exif_says(tmp_path, kind, orientation):
    image = smooth()
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(turned(image, orientation, kind))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))[..., ::-1]
    found = read_picture(path)
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_never_turns_a_compressed_image(kind):
    assert decode_compressed(turned(smooth(), 6, kind)).shape == (60, 80, 3)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_images_of_16_bits_are_as_bright_as_their_camera_meant(tmp_path, bits, suffix):
    grey = smooth()[..., 0].astype(np.uint16)
    grey[0, :2] = 0, 255
    samples = (grey << (bits - 8)) | (grey >> 1 if bits > 8 else 0) % (1 << max(bits - 8, 1))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, samples)[1].tobytes())
    found = read_picture(path)
    assert np.abs(found[..., 0].astype(int) - grey).max() <= 1
    message = samples.astype("<u2").tobytes()
    raw = decode_image("mono16", *samples.shape, 2 * samples.shape[1], False, message)
    np.testing.assert_array_equal(raw[..., 0], found[..., 0])
    big = samples.astype(">u2").tobytes()
    raw = decode_image("mono16", *samples.shape, 2 * samples.shape[1], True, big)
    np.testing.assert_array_equal(raw[..., 0], found[..., 0])


def test_samples_that_fill_the_upper_byte_alone_keep_it():
    samples = np.array([[0, 0x0100, 0x3F00]], np.uint16)  # dark, but of 16 bits
    assert eight_bits(samples).tolist() == [[0, 1, 0x3F]]
    assert eight_bits(np.zeros((2, 3), np.uint16)).tolist() == [[0] * 3] * 2


def test_colours_for_print_are_those_of_the_photo(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(smooth(), "JPEG", "CMYK", quality=95))
    assert np.abs(read_picture(path).astype(int) - smooth()).mean() < 3


@pytest.mark.parametrize("shape", [(40, 1, 3), (1, 40, 3), (1, 1, 3)])
def test_a_picture_may_be_one_pixel_wide(tmp_path, shape):
    write_picture(tmp_path / "a.png", np.full(shape, 7, np.uint8))
    assert read_picture(tmp_path / "a.png").shape == shape


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "TIFF"])
def test_the_first_of_several_pictures_is_taken(tmp_path, kind, caplog):
    first, second = (Image.new("RGB", (20, 10), (v, v, v)) for v in (50, 200))
    path = tmp_path / f"a.{kind.lower()}"
    first.save(path, kind, save_all=True, append_images=[second])
    assert abs(int(read_picture(path).mean()) - 50) <= 2
    assert "holds 2 pictures; the first is taken" in caplog.text


def bomb(width: int, height: int) -> bytes:
    """A whole PNG of one colour."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + width)
    body = b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return head + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    data = bomb(14_000, 7_000)
    assert len(data) < 300_000 and MAX_PIXELS > 14_000 * 7_000
    path = tmp_path / "a.png"
    path.write_bytes(data)

    def decoded(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(cv2, "imdecode", decoded)
    with pytest.raises(InputError, match="98 megapixels of next to nothing"):
        read_picture(path)
    with pytest.raises(InputError, match="decompression bomb"):
        decode_compressed(data)


def test_a_black_picture_of_usual_size_is_no_bomb(tmp_path):
    data = bomb(3840, 2160)
    (tmp_path / "a.png").write_bytes(data)
    assert read_picture(tmp_path / "a.png").shape == (2160, 3840, 3)
    assert decode_compressed(data).shape == (2160, 3840, 3)


HEIC = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(64)


def broken_files() -> dict[str, tuple[bytes, str]]:
    whole = {kind: saved(smooth(), kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")}
    damaged = bytearray(whole["PNG"])
    damaged[60:120] = bytes(60)
    measured = cv2.imencode(".tiff", np.ones((4, 4, 3), np.float32))[1].tobytes()
    return {
        **{
            f"cut.{kind.lower()}": (data[: len(data) // 2], kind.lower())
            for kind, data in whole.items()
        },
        "damaged.png": (bytes(damaged), "damaged"),
        "empty.jpg": (b"", "isn't an image"),
        "text.png": (b"hello", "isn't an image"),
        "phone.heic": (HEIC, "HEIF"),
        "phone.jpg": (HEIC, "HEIF"),
        "depths.tiff": (measured, "depths"),
        "huge.png": (bomb(20, 20).replace(struct.pack(">II", 20, 20), b"\0\1\0\0\0\1\0\0"), "huge"),
    }


@pytest.mark.parametrize("name", broken_files())
def test_broken_pictures_are_refused_with_a_reason(tmp_path, name):
    data, reason = broken_files()[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=reason) as refusal:
        read_picture(tmp_path / name)
    assert name in str(refusal.value)


@pytest.mark.parametrize(
    ("samples", "shape", "said"),
    [
        (np.float32, (4, 4, 3), "is a TIFF of 3 floating-point samples of 32 bits a pixel"),
        (np.float64, (4, 4, 3), "is a TIFF of 3 floating-point samples of 64 bits a pixel"),
        (np.int32, (4, 4, 3), "is a TIFF of 3 signed samples of 32 bits a pixel"),
        (np.float32, (4, 4), "a TIFF of 1 floating-point sample of 32 bits a pixel"),
    ],
)
def test_of_a_tiff_that_is_no_photo_its_samples_are_told(tmp_path, samples, shape, said):
    """TIFF is among what is read, so that "expected tiff" would help nobody."""
    path = tmp_path / "measured.tif"
    path.write_bytes(cv2.imencode(".tiff", np.ones(shape, samples))[1].tobytes())
    with pytest.raises(
        InputError, match=rf"{said}.*expected .*8 or 16 bits.*convert it"
    ) as refusal:
        read_picture(path)
    assert "isn't an image" not in str(refusal.value)


def test_a_folder_never_loses_its_other_pictures(tmp_path, caplog):
    for name, (data, _) in broken_files().items():
        (tmp_path / name).write_bytes(data)
    write_picture(tmp_path / "0.png", smooth())
    write_picture(tmp_path / "z.png", smooth())
    assert [frame.source for frame in open_source(str(tmp_path))] == ["0.png", "z.png"]
    for name in broken_files():
        assert any(name in record.getMessage() for record in caplog.records), name


def test_a_full_disk_leaves_no_half_picture(tmp_path):
    with pytest.raises(InputError, match="can't write /dev/full"):
        write_picture(Path("/dev/full/a.png"), smooth())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can't write"):
        write_picture(tmp_path / "file" / "a.png", smooth())
