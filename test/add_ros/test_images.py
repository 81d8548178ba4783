"""sensor_msgs images to RGB, against pictures encoded here by hand."""

import io
import os
import re
import struct
import sys
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from add_model.image_headers import image_size
from add_ros.bounds import require_bounded
from add_ros.errors import FrameRejectedError
from add_ros.images import ENCODINGS, can_be_halved, encoded_size, rgb_from_compressed, rgb_from_image

HEIGHT, WIDTH = 12, 20
SMALL = {s: cv2.imencode(s, np.full((9, 31, 3), 90, np.uint8))[1].tobytes() for s in (".png", ".jpg", ".tiff")}


@pytest.fixture
def picture() -> np.ndarray:
    """Smooth, so that demosaicing and chroma subsampling lose little."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([40 + 5 * u, 60 + 8 * v, 200 - 4 * u - 2 * v], axis=-1).astype(np.uint8)


def message(pixels: np.ndarray, encoding: str, padding: int = 0, bigendian: bool = False) -> Image:
    """An Image of rows of pixels as they are in memory, each followed by `padding` bytes of rubbish."""
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if bigendian else "<"))
    rows = stored.reshape(len(stored), -1).view(np.uint8)
    rows = np.hstack([rows, np.full((len(rows), padding), 0xAB, np.uint8)])
    image = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=rows.shape[1], is_bigendian=int(bigendian))
    image.data = rows.tobytes()
    return image


class Upstream:
    """What a distribution's cv_bridge needs: names that Humble's knows, and this machine's byte order.

    As in its cv_bridge.cpp (getCvType) and core.py, whose call NumPy 2 no longer has.
    """

    def imgmsg_to_cv2(self, given, desired_encoding):
        if not re.fullmatch(r"((rgb|bgr)a?|mono|bayer_(rggb|bggr|gbrg|grbg))(8|16)|yuv422(_yuy2)?", given.encoding):
            raise CvBridgeError(f"Unrecognized image encoding [{given.encoding}]")
        if given.is_bigendian == (sys.byteorder == "little"):
            np.zeros(1, np.uint8).byteswap().newbyteorder()
        return CvBridge().imgmsg_to_cv2(given, desired_encoding)


@pytest.fixture(params=["here", "upstream"])
def bridge(request, monkeypatch):
    if request.param == "upstream":
        monkeypatch.setattr("add_ros.images.CvBridge", Upstream)


COLOUR = {
    "rgb8": [0, 1, 2],
    "bgr8": [2, 1, 0],
    "8UC3": [2, 1, 0],
    "rgba8": [0, 1, 2, 0],
    "bgra8": [2, 1, 0, 0],
    "8UC4": [2, 1, 0, 0],
    "rgb16": [0, 1, 2],
    "bgr16": [2, 1, 0],
    "rgba16": [0, 1, 2, 0],
    "bgra16": [2, 1, 0, 0],
}


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("encoding", COLOUR)
def test_colour_encodings_are_exact(picture, encoding, padding, bigendian):
    pixels = picture[..., COLOUR[encoding]]
    if encoding.endswith("16"):
        pixels, padding = pixels.astype(np.uint16) * 257, 2 * padding
    given = message(np.ascontiguousarray(pixels), encoding, padding, bigendian)
    result = rgb_from_image(given)
    assert result.dtype == np.uint8 and result.flags.c_contiguous
    np.testing.assert_array_equal(result, picture)
    assert (given.encoding, given.is_bigendian) == (encoding, bigendian)


@pytest.mark.parametrize("padding", [1, 4])
def test_padding_does_not_depend_on_cv_bridge(picture, monkeypatch, padding):
    """Rows padded to 4 bytes, read by the arithmetic of Humble's cv_bridge: whole pixels for each step."""

    class Humble:
        def imgmsg_to_cv2(self, given, desired_encoding):
            assert given.encoding == desired_encoding == "rgb8"
            shape = (given.height, int(given.step / 3), 3)
            return np.ndarray(shape, np.uint8, bytes(given.data))[: given.height, : given.width]

    monkeypatch.setattr("add_ros.images.CvBridge", Humble)
    np.testing.assert_array_equal(rgb_from_image(message(picture, "rgb8", padding)), picture)


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize(("encoding", "scale"), [("mono8", 1), ("8UC1", 1), ("mono16", 257)])
@pytest.mark.parametrize("bigendian", [False, True])
def test_grey_fills_all_three_channels(picture, encoding, scale, bigendian):
    grey = np.ascontiguousarray(picture[..., 0])
    pixels = grey if scale == 1 else grey.astype(np.uint16) * scale
    result = rgb_from_image(message(pixels, encoding, 4, bigendian))
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=2))


def mosaic_of(picture: np.ndarray, pattern: str, depth: int) -> np.ndarray:
    """The picture through a colour filter, (H, W) uint8 or uint16; `pattern` names the first two rows."""
    mosaic = np.empty(picture.shape[:2], np.uint8)
    for i, letter in enumerate(pattern):
        row, column = divmod(i, 2)
        mosaic[row::2, column::2] = picture[row::2, column::2, "rgb".index(letter)]
    return mosaic if depth == 8 else mosaic.astype(np.uint16) * 257


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_name_the_first_two_rows(picture, pattern, depth, bigendian):
    result = rgb_from_image(message(mosaic_of(picture, pattern, depth), f"bayer_{pattern}{depth}", 2, bigendian))
    np.testing.assert_allclose(result[2:-2, 2:-2].astype(int), picture[2:-2, 2:-2], atol=6)


@pytest.mark.usefixtures("bridge")
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv422_orders(picture, encoding):
    # ITU-R BT.601, limited range.
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
    y, cb, cr = np.moveaxis(np.rint(picture / 255 @ matrix.T + (16, 128, 128)).astype(np.uint8), -1, 0)
    chroma = np.where(np.arange(WIDTH) % 2 == 0, cb, np.roll(cr, 1, axis=1))
    packed = np.stack([y, chroma] if "yuy" in encoding else [chroma, y], axis=-1)
    result = rgb_from_image(message(packed, encoding, 6)).astype(int)
    np.testing.assert_allclose(result[:, 2:-2], picture[:, 2:-2], atol=10)


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv422_of_odd_width_is_refused_in_words(encoding):
    """Two pixels share their colours."""
    image = Image(height=4, width=5, encoding=encoding, step=12, data=bytes(48))
    with pytest.raises(FrameRejectedError) as caught:
        rgb_from_image(image)
    assert str(caught.value) == f"the width of a {encoding} (YUV 4:2:2) image must be even, got 5x4"


@pytest.mark.parametrize("name", ["nv12", "nv21"])
def test_semi_planar(name):
    image = Image(height=HEIGHT, width=WIDTH, encoding=name, step=WIDTH + 4)
    planes = np.full((HEIGHT * 3 // 2, WIDTH + 4), 128, np.uint8)
    planes[HEIGHT:, int(name == "nv12") : WIDTH : 2] = 220  # V, that is red
    image.data = planes.tobytes()
    red, green, blue = rgb_from_image(image)[HEIGHT // 2, WIDTH // 2].astype(int)
    assert red > 200 and green < 100 and 100 < blue < 160


def test_every_named_encoding_converts_or_says_so():
    for encoding in ENCODINGS:
        image = Image(height=4, width=4, encoding=encoding, step=32)
        image.data = bytes(32 * 6)
        assert rgb_from_image(image).shape == (4, 4, 3), encoding


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"encoding": "bgr9"}, "unsupported encoding", "'bgr9'"),
        ({"encoding": "32FC1"}, "unsupported encoding", "'32FC1'"),
        ({"encoding": ""}, "unsupported encoding", "''"),
        ({"width": 0}, "malformed image", "0x12"),
        ({"height": 0}, "malformed image", "20x0"),
        ({"step": 0}, "malformed image", "step 0"),
        ({"step": 3 * WIDTH - 1}, "malformed image", "step 59"),
        ({"height": HEIGHT + 1}, "truncated image", f"{3 * WIDTH * HEIGHT} bytes"),
        ({"width": 2**31, "step": 2**32 - 1}, "malformed image", "step"),
        ({"height": 2**32 - 1}, "truncated image", "rows"),
    ],
)
def test_malformed_images_are_refused_in_one_sentence(picture, change, reason, words):
    image = message(picture, "rgb8")
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(FrameRejectedError) as caught:
        rgb_from_image(image)
    assert caught.value.reason == reason
    assert words in str(caught.value) and "\n" not in str(caught.value)


# --- compressed images, with the formats that compressed_image_transport of Humble and Rolling writes ----------------


def compressed(data: bytes, kind: str) -> CompressedImage:
    image = CompressedImage(format=kind)
    image.data = data
    return image


@pytest.mark.parametrize(("suffix", "tolerance"), [(".png", 0), (".jpg", 6)])
def test_compressed(picture, suffix, tolerance):
    big = cv2.resize(picture, (200, 120))
    _, data = cv2.imencode(suffix, big[..., ::-1])
    for kind in (f"rgb8; {suffix[1:]} compressed bgr8", f"bgr8; {suffix[1:]} compressed bgr8", suffix[1:]):
        result = rgb_from_compressed(compressed(data.tobytes(), kind))
        np.testing.assert_allclose(result.astype(int), big, atol=tolerance)


@pytest.mark.parametrize(
    "kind", ["mono8; png compressed ", "mono8; tiff compressed ", "bayer_rggb8; jpeg compressed mono8"]
)
def test_compressed_grey(picture, kind):
    """The transport makes a mosaic grey before it writes a JPEG."""
    grey = np.ascontiguousarray(picture[..., 0])
    _, data = cv2.imencode(f".{kind.split()[1]}", grey)
    result = rgb_from_compressed(compressed(data.tobytes(), kind))
    np.testing.assert_array_equal(result, np.repeat(result[..., :1], 3, axis=2))
    np.testing.assert_allclose(result[..., 0].astype(int), grey, atol=6 if "jpeg" in kind else 0)


@pytest.mark.parametrize("codec", ["png", "tiff"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_compressed_mosaic_is_the_same_as_a_raw_one(picture, pattern, depth, codec):
    mosaic, encoding = mosaic_of(picture, pattern, depth), f"bayer_{pattern}{depth}"
    _, data = cv2.imencode(f".{codec}", mosaic)
    result = rgb_from_compressed(compressed(data.tobytes(), f"{encoding}; {codec} compressed "))
    np.testing.assert_allclose(result[2:-2, 2:-2].astype(int), picture[2:-2, 2:-2], atol=6)
    np.testing.assert_array_equal(result, rgb_from_image(message(mosaic, encoding)))


@pytest.mark.parametrize("encoding", [name for name in COLOUR if name[:3] in ("rgb", "bgr")])
def test_tiff_holds_the_channels_in_the_order_of_the_source(picture, encoding):
    pixels = picture[..., COLOUR[encoding]].astype(np.uint16 if encoding.endswith("16") else np.uint8)
    _, data = cv2.imencode(".tiff", pixels * 257 if encoding.endswith("16") else pixels)
    result = rgb_from_compressed(compressed(data.tobytes(), f"{encoding}; tiff compressed "))
    np.testing.assert_array_equal(result, picture)


def test_compressed_16_bit_values_are_scaled_as_raw_ones_are():
    deep = np.random.default_rng(0).integers(0, 65535, (HEIGHT, WIDTH, 3), np.uint16, endpoint=True)
    _, data = cv2.imencode(".png", deep[..., ::-1])
    result = rgb_from_compressed(compressed(data.tobytes(), "rgb16; png compressed bgr16"))
    np.testing.assert_array_equal(result, np.rint(deep * (255 / 65535)))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
def test_truncated_compressed_images_are_refused(picture, suffix, share):
    _, data = cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8))
    with pytest.raises(FrameRejectedError) as caught:
        rgb_from_compressed(compressed(data.tobytes()[: int(share * len(data))], "jpeg"))
    assert caught.value.reason in ("truncated image", "malformed image")


def test_compressed_rubbish_and_depth_are_refused():
    with pytest.raises(FrameRejectedError, match="neither JPEG, PNG nor TIFF"):
        rgb_from_compressed(compressed(b"hello" * 100, "jpeg"))
    with pytest.raises(FrameRejectedError, match="depth"):
        rgb_from_compressed(compressed(b"hello", "16UC1; compressedDepth png"))
    _, data = cv2.imencode(".tiff", np.ones((HEIGHT, WIDTH), np.float32))
    with pytest.raises(FrameRejectedError, match="pixels of float32"):
        rgb_from_compressed(compressed(data.tobytes(), "tiff"))
    for source in ("16UC1", "32FC1"):
        with pytest.raises(FrameRejectedError, match="depth"):
            rgb_from_compressed(compressed(data.tobytes(), f"{source}; tiff compressed "))


# --- intact and broken data, by what decoding says --------------------------------------------------------------------


def coded(suffix: str, seed: int = 0, *options: int) -> bytes:
    """A picture of 320x180 with a smooth sky and a road of fine grain, like a street."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8), (320, 180), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 12, (180, 320, 1)) * np.linspace(0, 1, 180)[:, None, None] ** (1 + seed)
    picture = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    return cv2.imencode(suffix, picture, list(options))[1].tobytes()


def decoded(data: bytes, kind: str = "jpeg", by_half: bool = False) -> np.ndarray:
    return rgb_from_compressed(compressed(data, kind), by_half=by_half)


def refusal(data: bytes, by_half: bool) -> str | None:
    """Why a JPEG is refused, None where it is not."""
    try:
        decoded(data, by_half=by_half)
    except FrameRejectedError as error:
        return str(error)
    return None


PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize(
    "tail",
    ["the end of an older frame", "a whole older frame", "zeros", "one byte", "dhav", "a start of scan", "a newline"],
)
def test_bytes_behind_the_end_of_an_image_do_not_matter(suffix, tail):
    data, older = coded(suffix), coded(suffix, seed=1)
    tails = {
        "the end of an older frame": older[-700:],
        "a whole older frame": older,
        "zeros": bytes(9000),
        "one byte": b"\0",
        "dhav": b"dhav\x59\x19\x01\x00",
        "a start of scan": b"\xff\xda" + bytes(50),
        "a newline": b"\r\n",
    }
    np.testing.assert_array_equal(decoded(data + tails[tail]), decoded(data))


@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_marker_is_whole(missing):
    data = coded(".jpg")
    np.testing.assert_array_equal(decoded(data[:-missing]), decoded(data))


def test_a_png_without_its_end_chunk_is_whole():
    data = coded(".png")
    np.testing.assert_array_equal(decoded(data[:-12]), decoded(data))


@pytest.mark.parametrize(("fill", "count"), [(0, 1), (0, 2), (0, 5), (0, 300), (0x20, 4), (0xAA, 300)])
def test_a_buffer_that_is_filled_up_before_the_end_marker_is_whole(fill, count):
    """Many USB cameras do so; libjpeg calls it corrupt."""
    data = coded(".jpg")
    np.testing.assert_array_equal(decoded(data[:-2] + bytes([fill] * count) + data[-2:]), decoded(data))


def test_what_a_broken_scan_leaves_behind_is_no_fill():
    data = coded(".jpg")
    with pytest.raises(FrameRejectedError, match="corrupt"):
        decoded(data[:-2] + bytes(range(1, 40)) + data[-2:])


def png_header(width: int, height: int) -> bytes:
    """A PNG of which only the header says a size; the rest is that of a small picture."""
    data = bytearray(coded(".png"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def jpeg_header(width: int, height: int) -> bytes:
    data = bytearray(coded(".jpg", 0, *PROGRESSIVE))
    start = data.index(b"\xff\xc2")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def tiff_header(width: int, height: int) -> bytes:
    """One strip of nothing, in a directory of big-endian numbers."""
    tags = ((256, 4, width), (257, 4, height), (258, 4, 8), (259, 4, 1), (262, 4, 1), (273, 4, 8), (279, 4, 1))
    entries = b"".join(struct.pack(">HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("make", [png_header, jpeg_header, tiff_header])
def test_what_is_too_large_by_its_header_is_not_decoded(make, monkeypatch):
    """A PNG of 32000x32000 has 3 MB and would take 6 GB; here the pixels are not even there."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(FrameRejectedError, match="32000x32001 pixels, 100 million are read at most") as caught:
        decoded(make(32000, 32001))
    assert caught.value.reason == "oversized image"
    message = compressed(make(32000, 32001), "jpeg")
    assert encoded_size(message) == (32000, 32001)


@settings(max_examples=300)
@given(st.sampled_from([".png", ".jpg", ".tiff"]), st.integers(0, 600), st.integers(0, 400), st.binary(max_size=12))
def test_headers_of_any_bytes_give_a_size_or_none(suffix, keep, at, junk):
    data = bytearray(SMALL[suffix][:keep])
    data[at : at + len(junk)] = junk
    size = image_size(bytes(data))
    assert size is None or (len(size) == 2 and min(size) >= 0)


def test_headers_give_the_size_that_decoding_gives():
    for suffix, data in SMALL.items():
        assert image_size(data) == cv2.imdecode(np.frombuffer(data, np.uint8), -1).shape[1::-1], suffix


@pytest.mark.parametrize(
    ("suffix", "name"), [(".webp", "WebP"), (".bmp", "BMP"), (".ppm", "PNM"), (".jp2", "JPEG 2000")]
)
def test_formats_that_no_document_names_are_refused_by_name(suffix, name):
    try:
        data = cv2.imencode(suffix, np.zeros((256, 256, 3), np.uint8))[1].tobytes()
    except cv2.error:
        pytest.skip(f"this OpenCV writes no {suffix}")
    with pytest.raises(FrameRejectedError, match=f"it is {name}: JPEG, PNG and TIFF are read") as caught:
        decoded(data)
    assert caught.value.reason == "unsupported encoding"


def test_what_a_png_unpacks_to_beyond_its_size_is_not_unpacked():
    """Its end is missing, so that its pixels are counted: those that it says it has, not the megabytes that come."""
    pixels = zlib.compress(bytes(64 << 20))
    data = SMALL[".png"][:33] + struct.pack(">I", len(pixels)) + b"IDAT" + pixels + bytes(4)
    tracemalloc.start()
    with pytest.raises(FrameRejectedError):  # libpng has the check sum
        decoded(data + bytes(60))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("format", "j" * 300, "the format has 300 characters, 255 at most are taken: 'jjj"),
        ("frame_id", "x\n\x1b" * 4_000_000, "the frame_id has 12000000 characters"),
    ],
)
def test_endless_texts_are_refused_in_a_short_line(field, value, words):
    message = compressed(coded(".jpg"), "jpeg")
    setattr(message.header if field == "frame_id" else message, field, value)
    with pytest.raises(FrameRejectedError, match=re.escape(words)) as caught:
        require_bounded(message)
    assert caught.value.reason == "oversized text" and len(str(caught.value)) < 200 and str(caught.value).isprintable()


def test_an_embedded_preview_is_not_the_image():
    """A JPEG in a segment of a JPEG, with end markers of its own."""
    preview, data = coded(".jpg", 3)[:60000], coded(".jpg")
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    np.testing.assert_array_equal(decoded(data[:2] + segment + data[2:]), decoded(data))
    with pytest.raises(FrameRejectedError):
        decoded(data[:2] + segment + data[2 : len(data) // 2])


@pytest.mark.parametrize("options", [(), PROGRESSIVE, (cv2.IMWRITE_JPEG_RST_INTERVAL, 40)])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("tail", [b"", b"\xff\xd9", "older"])
def test_a_part_of_a_jpeg_is_never_taken_for_the_whole(options, share, tail):
    """Not even where the buffer still has the end of an older frame: the sky of one and the road of another."""
    data, older = coded(".jpg", 0, *options), coded(".jpg", 1, *options)
    cut = int(share * len(data))
    if tail == "older":
        tail = older[cut:]
    elif options == PROGRESSIVE and tail:
        return  # a progressive image that ends between its scans is a coarser one, and legal
    for by_half in (False, True):
        with pytest.raises(FrameRejectedError) as caught:
            decoded(data[:cut] + tail, by_half=by_half)
        assert caught.value.reason in ("truncated image", "malformed image") and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["jpg", "png", "tiff"])
def test_data_that_the_decoder_complains_of_is_refused(kind, capfd):
    data, refused = coded(f".{kind}"), 0
    start = data.index(b"\xff\xda") + 20 if kind == "jpg" else 200
    for position in np.linspace(start, len(data) - 200, 20).astype(int):
        broken = bytearray(data)
        broken[position] ^= 0xA5
        try:
            decoded(bytes(broken), kind)
        except FrameRejectedError as error:
            refused += 1
            assert error.reason in ("malformed image", "truncated image")
        if kind == "jpg":
            assert refusal(bytes(broken), by_half=True) == refusal(bytes(broken), by_half=False)
    assert refused >= {"jpg": 5, "png": 20, "tiff": 3}[kind], "some changes make another valid image"
    assert capfd.readouterr().err == ""


def test_what_others_write_while_an_image_is_decoded_is_not_lost(capfd, monkeypatch):
    decode, imdecode = decoded, cv2.imdecode

    def talking(*given):
        os.write(2, b"a line of another thread\n")
        return imdecode(*given)

    monkeypatch.setattr(cv2, "imdecode", talking)
    decode(coded(".jpg"))
    assert capfd.readouterr().err == "a line of another thread\n"


@pytest.mark.parametrize(("bits", "shift"), [(8, 0), (10, 0), (12, 0), (14, 0), (12, 4), (14, 2), (16, 0)])
@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bayer_rggb16"])
def test_fewer_bits_than_the_encoding_has_are_told(encoding, bits, shift):
    shape = (HEIGHT, WIDTH, 3) if encoding == "rgb16" else (HEIGHT, WIDTH)
    values = np.random.default_rng(0).integers(0, 2**bits, shape).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    for big in (False, True):
        notes = []
        rgb_from_image(message(values << shift, encoding, 2, big), notes.append)
        assert len(notes) == (bits + shift <= 14) and all(f"seems to hold {bits} bits" in note for note in notes)
    notes = []
    data = cv2.imencode(".png", values << shift)[1].tobytes()
    rgb_from_compressed(compressed(data, f"{encoding}; png compressed "), notes.append)
    assert len(notes) == (bits + shift <= 14)


@pytest.mark.parametrize("kind", ["png", "16UC1; png compressed ", "16UC1; compressedDepth png"])
def test_a_depth_image_is_no_picture(kind):
    """cv_bridge's cv2_to_compressed_imgmsg names the codec only."""
    data = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 5000, np.uint16))[1].tobytes()
    with pytest.raises(FrameRejectedError, match="depth image") as caught:
        rgb_from_compressed(compressed(data, kind))
    assert caught.value.reason == "unsupported encoding"
    assert rgb_from_compressed(compressed(data, "mono16; png compressed ")).shape == (HEIGHT, WIDTH, 3)


# --- JPEG at half its size --------------------------------------------------------------------------------------------


def exif(data: bytes) -> bytes:
    """The JPEG with a segment that says: turn me by 90 degrees."""
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def cmyk(picture: np.ndarray) -> bytes:
    """As Adobe writes it: inverted."""
    pil, file = pytest.importorskip("PIL.Image"), io.BytesIO()
    pil.fromarray(picture).convert("CMYK").save(file, "JPEG", quality=95)
    return file.getvalue()


def jpeg(picture: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95, *options])[1].tobytes()


@pytest.mark.parametrize(("width", "height"), [(320, 180), (319, 179), (1, 1)])
@pytest.mark.parametrize(
    "make",
    [
        jpeg,
        lambda picture: jpeg(picture, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        lambda picture: jpeg(picture, *PROGRESSIVE),
        lambda picture: exif(jpeg(picture)),
        cmyk,
        lambda picture: cv2.imencode(".jpg", picture[..., 0])[1].tobytes(),
    ],
    ids=["4:2:0", "4:4:4", "progressive", "to be turned", "CMYK", "grey"],
)
def test_half_a_jpeg_is_the_mean_of_two_by_two(make, width, height):
    v, u = np.mgrid[:height, :width] / 320
    picture = np.stack([40 + 150 * u, 60 + 180 * v, 200 - 100 * u - 50 * v], axis=-1).astype(np.uint8)
    data = make(picture)
    whole, half = decoded(data), decoded(data, by_half=True)
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    means = np.pad(whole, odd, "edge").reshape(-(-height // 2), 2, -(-width // 2), 2, 3).mean((1, 3))
    assert half.shape == means.shape and half.dtype == np.uint8
    np.testing.assert_allclose(half, means, atol=3)


@pytest.mark.parametrize(
    ("suffix", "kind", "possible"),
    [
        (".jpg", "jpeg", True),
        (".jpg", "rgb8; jpeg compressed bgr8", True),
        (".jpg", "png", True),  # what it is counts, not what it is called
        (".jpg", "bayer_rggb8; jpeg compressed ", False),
        (".png", "rgb8; png compressed bgr8", False),
        (".tiff", "tiff", False),
    ],
)
def test_what_can_be_halved(suffix, kind, possible):
    assert can_be_halved(compressed(SMALL[suffix], kind)) is possible
    assert not can_be_halved(Image()) and not can_be_halved(compressed(b"", "jpeg"))
