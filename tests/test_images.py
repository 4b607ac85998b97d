"""Image encodings: round trips, padding, byte order, and everything malformed."""

import struct
import zlib
from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smap_ros.bags.messages import image_from_message
from smap_ros.encodings import ENCODINGS
from smap_ros.errors import InputError
from smap_ros.images import (
    BitDepth,
    decode_compressed,
    decode_image,
    eight_bits,
    encode_compressed,
)
from tests.image_encoding import encode_image

LOSSLESS = ("bgr8", "8UC3", "rgb8", "bgra8", "8UC4", "rgba8")
GRAY = ("mono8", "8UC1", "mono16")
SUBSAMPLED = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv")


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def padded(data: bytes, height: int, step: int, padding: int) -> bytes:
    rows = np.frombuffer(data, np.uint8).reshape(height, step)
    return np.pad(rows, ((0, 0), (0, padding)), constant_values=77).tobytes()


sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))


@settings(max_examples=60)
@given(st.sampled_from(LOSSLESS), sizes, st.integers(0, 7), st.integers(0, 1000))
def test_colour_survives_encoding_and_row_padding(encoding, size, padding, seed):
    image = random_image(*size, seed)
    step, data = encode_image(image, encoding)
    data = padded(data, size[0], step, padding)
    decoded = decode_image(encoding, *size, step + padding, False, data)
    np.testing.assert_array_equal(decoded, image)


@settings(max_examples=30)
@given(st.sampled_from(GRAY), sizes, st.integers(0, 5), st.booleans(), st.integers(0, 1000))
def test_grey_survives_in_both_byte_orders(encoding, size, padding, big, seed):
    gray = random_image(*size, seed)[..., :1].repeat(3, axis=2)
    step, data = encode_image(gray, encoding)
    if encoding == "mono16" and big:
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    data = padded(data, size[0], step, padding)
    decoded = decode_image(encoding, *size, step + padding, big, data)
    np.testing.assert_array_equal(decoded, gray)


@settings(max_examples=30)
@given(st.sampled_from(SUBSAMPLED), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_subsampled_colour_survives_where_pixel_pairs_agree(encoding, height, pairs, seed):
    image = random_image(height, pairs, seed).repeat(2, axis=1)
    step, data = encode_image(image, encoding)
    decoded = decode_image(encoding, height, 2 * pairs, step, False, data)
    assert np.abs(decoded.astype(int) - image).max() <= 4


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("yuv422", [128, 235, 128, 16]),  # U Y V Y
        ("yuv422_yuy2", [235, 128, 16, 128]),  # Y U Y V
    ],
)
def test_the_two_yuv_orders_are_told_apart(encoding, data):
    decoded = decode_image(encoding, 1, 2, 4, False, bytes(data))
    np.testing.assert_array_equal(decoded, [[[255] * 3, [0] * 3]])


def as_sent(samples: np.ndarray, big: bool, padding: int) -> tuple[int, bytes]:
    """Step and data of rows of samples of 8 or 16 bits, padded."""
    if samples.itemsize == 2:
        samples = samples.astype(">u2" if big else "<u2")
    rows = np.frombuffer(samples.tobytes(), np.uint8).reshape(len(samples), -1)
    step = rows.shape[1] + padding
    return step, np.pad(rows, ((0, 0), (0, padding)), constant_values=77).tobytes()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_mosaic_has_the_colours_that_its_name_says(pattern, bits, big):
    colours = {"b": 10, "g": 100, "r": 200}
    tile = np.array([colours[c] for c in pattern], np.uint16).reshape(2, 2)
    mosaic = np.tile(tile, (3, 4)).astype(np.uint8)
    samples = mosaic if bits == 8 else mosaic.astype(np.uint16) << 8 | 1  # all 16 bits in use
    step, data = as_sent(samples, big, 6)
    decoded = decode_image(f"bayer_{pattern}{bits}", 6, 8, step, big, data)
    np.testing.assert_array_equal(decoded, np.broadcast_to([10, 100, 200], (6, 8, 3)))


def test_a_mosaic_keeps_left_and_right_and_up_and_down():
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[:4, 4:] = 255  # white in the upper right
    decoded = decode_image("bayer_grbg8", 8, 8, 8, False, mosaic.tobytes())
    assert decoded[1, 6].tolist() == [255] * 3 and decoded[1, 1].tolist() == [0] * 3
    assert decoded[6, 6].tolist() == [0] * 3 and decoded[6, 1].tolist() == [0] * 3


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_compressed_mosaic_has_the_colours_of_the_raw_one(pattern, bits):
    """image_transport compresses the mosaic itself."""
    rng = np.random.default_rng(2)
    mosaic = rng.integers(0, 256, (6, 8)).astype(np.uint8)
    samples = mosaic if bits == 8 else mosaic.astype(np.uint16) << 8 | 1
    done, png = cv2.imencode(".png", samples)
    assert done
    step, data = as_sent(samples, False, 0)
    decoded = decode_compressed(png.tobytes(), f"bayer_{pattern}{bits}; png compressed ")
    expected = decode_image(f"bayer_{pattern}{bits}", 6, 8, step, False, data)
    np.testing.assert_array_equal(decoded, expected)
    assert np.ptp(decoded, axis=2).any()


@pytest.mark.parametrize(
    "declared", ["mono8; jpeg compressed ", "bayer_what8; jpeg compressed ", ""]
)
def test_what_is_said_to_be_no_known_mosaic_stays_grey(declared):
    grey = random_image(16, 16)[..., 0]
    done, jpeg = cv2.imencode(".jpg", grey)
    assert done and not np.ptp(decode_compressed(jpeg.tobytes(), declared), axis=2).any()


def test_a_picture_of_three_channels_is_no_mosaic_whatever_it_is_said_to_be():
    """Drivers that demosaic before they compress go on naming the sensor's encoding."""
    image = random_image(16, 16)
    png = encode_compressed(image, "png")
    np.testing.assert_array_equal(decode_compressed(png, "bayer_rggb8; png compressed bgr8"), image)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize(
    ("samples", "grey"),
    [
        ([0, 0x03FF, 0x0200, 0x0004], [0, 255, 128, 1]),  # 10 bits in use
        ([0, 0x0FFF, 0x0800, 0x0010], [0, 255, 128, 1]),  # 12
        ([0, 0x3FFF, 0x2000, 0x0040], [0, 255, 128, 1]),  # 14
        ([0, 0xFFFF, 0x8000, 0x0100], [0, 255, 128, 1]),  # 16
        ([0, 0xFF00, 0x8000, 0x0100], [0, 255, 128, 1]),  # 8, in the upper byte
        ([0, 0x00FF, 0x0080, 0x0001], [0, 255, 128, 1]),  # 8, in the lower byte
    ],
)
def test_infra_red_of_any_depth_becomes_grey_by_the_bits_in_use(samples, grey, encoding, big):
    step, data = as_sent(np.array(samples, np.uint16).reshape(2, 2), big, 2)
    decoded = decode_image(encoding, 2, 2, step, big, data)
    assert decoded.tolist() == [[[g] * 3 for g in row] for row in (grey[:2], grey[2:])]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("rgb16", "rgb"), ("bgr16", "bgr"), ("16UC3", "bgr"), ("rgba16", "rgba"), ("bgra16", "bgra"),
     ("16UC4", "bgra")],
)  # fmt: skip
def test_colours_of_16_bits_keep_their_order(encoding, order, big):
    channels = {"r": 0xC8FF, "g": 0x6401, "b": 0x0A80, "a": 0xFFFF}
    samples = np.tile(np.array([channels[c] for c in order], np.uint16), (2, 3))
    step, data = as_sent(samples, big, 4)
    decoded = decode_image(encoding, 2, 3, step, big, data)
    np.testing.assert_array_equal(decoded, np.broadcast_to([0x0A, 0x64, 0xC8], (2, 3, 3)))


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(("encoding", "swapped"), [("nv12", False), ("nv21", True)])
def test_brightness_and_colour_in_planes(encoding, swapped, padding):
    """By hand, BT.601: red is Y 81, U 90, V 240; grey of brightness Y is 255 (Y - 16) / 219."""
    luma = np.array([[81, 81, 16, 235], [81, 81, 126, 126]], np.uint8)
    chroma = np.array([[90, 240, 128, 128]], np.uint8)
    if swapped:
        chroma = chroma[:, [1, 0, 3, 2]]
    step, data = as_sent(np.concatenate([luma, chroma]), False, padding)
    decoded = decode_image(encoding, 2, 4, step, False, data).astype(int)
    assert np.abs(decoded[:, :2] - [0, 0, 254]).max() <= 1
    assert decoded[0, 2:].tolist() == [[0] * 3, [255] * 3]
    assert decoded[1, 2:].tolist() == [[128] * 3] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_no_image_of_a_driver(orientation):
    """The calibration is for the pixels as they come."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, 16:] = 255
    jpeg = encode_compressed(image, "jpeg", 100)
    tag = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation])
    exif = b"Exif\0\0" + tag + b"\0\0\0\0\0\0"
    marked = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    turned = cv2.imdecode(np.frombuffer(marked, np.uint8), cv2.IMREAD_COLOR)
    assert (turned.shape != image.shape) == (orientation > 4)  # the mark is one that OpenCV knows
    np.testing.assert_array_equal(decode_compressed(marked, "jpeg"), decode_compressed(jpeg))


def test_rgb_is_not_bgr():
    red = decode_image("rgb8", 1, 1, 3, False, bytes([255, 0, 0]))
    assert red.tolist() == [[[0, 0, 255]]]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: array("B", b)])
def test_any_buffer_is_read(kind):
    image = random_image(4, 5)
    decoded = decode_image("bgr8", 4, 5, 15, False, kind(image.tobytes()))
    np.testing.assert_array_equal(decoded, image)


def test_bgr_is_not_copied():
    data = np.zeros(12, np.uint8)
    assert np.shares_memory(decode_image("bgr8", 2, 2, 6, False, data), data)


def test_last_row_may_lack_its_padding():
    data = bytes(range(14))  # two rows of 6 bytes, step 8
    decoded = decode_image("bgr8", 2, 2, 8, False, data)
    assert decoded[1].ravel().tolist() == [8, 9, 10, 11, 12, 13]


@pytest.mark.parametrize(
    ("encoding", "height", "width", "step", "size", "message"),
    [
        ("bgr8", 4, 4, 12, 47, "48: the message is truncated"),
        ("bgr8", 4, 4, 12, 0, "has 0 bytes"),
        ("bgr8", 4, 4, 11, 48, "expected at least 12 bytes per row"),
        ("bgr8", 0, 0, 0, 0, "0x0 px"),
        ("bgr8", 0, 4, 12, 0, "4x0 px"),
        ("bgr8", -1, 4, 12, 48, "4x-1 px"),
        ("bgr8", 20000, 20000, 60000, 10, "20000x20000 px; expected at most 100 megapixels"),
        ("yuv422", 2, 3, 6, 12, "expected an even width"),
        ("nv12", 4, 3, 4, 32, "expected an even width"),
        ("nv21", 3, 4, 4, 32, "expected an even height"),
        ("nv12", 4, 4, 4, 16, "has 16 bytes; expected 24: the message is truncated"),
        ("nv12", 4, 4, 3, 24, "has step 3; expected at least 4 bytes per row"),
        ("rgb16", 2, 2, 6, 12, "has step 6; expected at least 12 bytes per row"),
        ("bayer_rggb8", 2, 4, 4, 8, "expected a height of 3 or more"),
        ("bayer_grbg16", 4, 2, 4, 16, "expected a width of 3 or more"),
        ("bayer_gbrg16", 4, 4, 8, 31, "has 31 bytes; expected 32: the message is truncated"),
        ("32FC1", 2, 2, 8, 16, "distances in metres, a depth image.* take the topic of the colour"),
        ("16SC1", 2, 2, 4, 8, "signed numbers, like disparities"),
        ("", 2, 2, 4, 8, "'' is not supported; expected one of bgr8"),
        ("nv24", 2, 2, 4, 8, "image_proc"),
    ],
)
def test_malformed_images_are_refused_with_the_reason(encoding, height, width, step, size, message):
    with pytest.raises(InputError, match=message):
        decode_image(encoding, height, width, step, False, bytes(size))


@settings(max_examples=200)
@given(
    st.sampled_from([*ENCODINGS, "nonsense"]),
    st.integers(-2, 40),
    st.integers(-2, 40),
    st.integers(-5, 200),
    st.booleans(),
    st.binary(max_size=400),
)
def test_any_header_gives_an_image_or_an_input_error(encoding, height, width, step, big, data):
    try:
        image = decode_image(encoding, height, width, step, big, data)
    except InputError:
        return
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


def test_unknown_kinds_of_compression_are_refused():
    with pytest.raises(InputError, match="expected jpeg or png"):
        encode_compressed(random_image(2, 2), "webp")


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), None])
def test_only_bgr_images_are_compressed(image):
    with pytest.raises(InputError, match="expected uint8"):
        encode_compressed(image)


def test_png_is_lossless_and_jpeg_is_close():
    image = cv2.resize(random_image(4, 6), (60, 40), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(decode_compressed(encode_compressed(image, "png")), image)
    jpeg = decode_compressed(encode_compressed(image, "jpeg", 95), "bgr8; jpeg compressed bgr8")
    assert np.abs(jpeg.astype(int) - image).mean() < 4


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_files_in_buffers_that_are_longer_are_whole(kind):
    data = encode_compressed(random_image(60, 80), kind)
    np.testing.assert_array_equal(decode_compressed(data + bytes(100)), decode_compressed(data))


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("keep", [0.02, 0.1, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(kind, keep):
    data = encode_compressed(random_image(60, 80), kind)
    with pytest.raises(InputError, match=r"truncated|neither"):
        decode_compressed(data[: int(len(data) * keep)])


def test_a_damaged_png_is_refused():
    data = bytearray(encode_compressed(random_image(60, 80), "png"))
    data[60:90] = bytes(30)
    with pytest.raises(InputError, match="damaged"):
        decode_compressed(bytes(data))


def png_of_size(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither jpeg nor png; it starts with nothing"),
        (b"GIF89a", "'gif', 6 bytes"),
        (png_of_size(20000, 20000), "20000x20000 px; expected at most"),
        (png_of_size(0, 0), "0x0 px"),
    ],
)
def test_wrong_compressed_data_is_refused_before_decoding(data, message):
    with pytest.raises(InputError, match=message):
        decode_compressed(data, "gif")


@settings(max_examples=150)
@given(st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"]), st.binary(max_size=200))
def test_any_compressed_bytes_give_an_image_or_an_input_error(start, data):
    try:
        image = decode_compressed(start + data)
    except InputError:
        return
    assert image.ndim == 3


def test_a_streams_brightness_does_not_jump_with_one_bright_pixel_or_a_dark_image():
    """A camera of 12 bits: an image that needs fewer isn't shown four times as bright."""
    depth, grey = BitDepth(), np.full((4, 4), 800, np.uint16)
    bright = grey.copy()
    bright[0, 0] = 4000
    shown = [int(eight_bits(image, depth)[1, 1]) for image in (bright, bright, grey, grey // 4)]
    assert shown == [50, 50, 50, 12]
    assert all(int(eight_bits(grey, depth)[1, 1]) == 50 for _ in range(200))
    assert eight_bits(grey)[1, 1] == 200 and eight_bits(bright)[1, 1] == 50  # each alone


def test_one_odd_image_changes_nothing_for_the_others():
    grey, depth = np.full((40, 40), 800, np.uint16), BitDepth()
    flat, damaged = np.full((40, 40), 256, np.uint16), grey.copy()
    damaged[0, :20] = 65535
    assert eight_bits(np.zeros((4, 4), np.uint16), depth).max() == 0
    assert eight_bits(flat, depth)[1, 1] == 1  # upper bytes alone: nobody knows better
    shown = [eight_bits(image, depth) for image in (grey, damaged, grey)]
    assert [int(image[1, 1]) for image in shown] == [200, 200, 200]
    assert shown[1][0, 0] == 255  # too bright for the stream is white
    # Hot pixels, one of ten thousand, are no reason to show the others darker.
    large = np.full((200, 200), 800, np.uint16)
    large[0, :4] = 4000
    assert eight_bits(large)[1, 1] == 200
    large[0, :5] = 4000
    assert eight_bits(large)[1, 1] == 50


def test_the_images_of_a_topic_share_their_depth():
    depth = BitDepth()

    def shown(value, brightest):
        samples = np.full((2, 2), value, np.uint16)
        samples[0, 0] = brightest
        data = samples.astype("<u2").tobytes()
        raw = SimpleNamespace(
            encoding="mono16", height=2, width=2, step=4, is_bigendian=0, data=data
        )
        done, png = cv2.imencode(".png", samples)
        assert done
        small = SimpleNamespace(format="16UC1; png compressed", data=png.tobytes())
        return [int(image_from_message(one, depth)[1, 1, 0]) for one in (raw, small)]

    assert shown(500, 1000) == [125, 125]
    assert shown(500, 5000) == [125, 7]  # the second that needs 14 bits
    assert shown(500, 1000) == [7, 7]
