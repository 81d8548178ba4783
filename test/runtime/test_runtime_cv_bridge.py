"""cv_bridge against numpy and OpenCV called directly, and against malformed messages."""

import array

import cv2
import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError, getCvType
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

BRIDGE = CvBridge()
RNG = np.random.default_rng(3)
H, W = 6, 10
COLORS = {"mono": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}


def pixels(dtype, channels):
    shape = (H, W) if channels == 1 else (H, W, channels)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def rgb_of(image, color):
    """The image in the order red, green, blue, by indexing alone."""
    if color == "mono":
        return np.repeat(image[..., None], 3, axis=-1)
    return image[..., [0, 1, 2] if color.startswith("rgb") else [2, 1, 0]]


def padded(image, encoding, padding, big_endian):
    """An Image message made byte by byte, independently of the bridge."""
    rows = image.astype(image.dtype.newbyteorder(">" if big_endian else "<")).reshape(H, -1)
    width = rows.shape[1] * rows.dtype.itemsize
    data = b"".join(row.tobytes() + b"\xaa" * padding for row in rows)
    msg = Image(height=H, width=W, encoding=encoding, step=width + padding, is_bigendian=int(big_endian))
    msg.data = array.array("B", data)
    return msg


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("color", COLORS)
def test_every_layout_gives_the_same_pixels(color, padding, big_endian, bits):
    image = pixels(np.dtype(f"uint{bits}"), COLORS[color])
    msg = padded(image, f"{color}{bits}", padding, big_endian)
    got = BRIDGE.imgmsg_to_cv2(msg)
    assert got.dtype == image.dtype
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, image)
    for target in ("rgb", "bgr"):
        got = BRIDGE.imgmsg_to_cv2(msg, f"{target}{bits}")
        np.testing.assert_array_equal(rgb_of(got, target), rgb_of(image, color))
    for target in ("rgba", "bgra"):
        got = BRIDGE.imgmsg_to_cv2(msg, f"{target}{bits}")
        assert got.shape == (H, W, 4)
        np.testing.assert_array_equal(rgb_of(got, target), rgb_of(image, color))


@pytest.mark.parametrize("source", ["mono", "rgb", "bgra"])
def test_depths_scale_as_upstream(source):
    deep = pixels(np.uint16, COLORS[source])
    shallow = BRIDGE.imgmsg_to_cv2(padded(deep, f"{source}16", 0, False), f"{source}8")
    np.testing.assert_array_equal(shallow, np.rint(deep / 257.0).astype(np.uint8))
    back = BRIDGE.imgmsg_to_cv2(padded(shallow, f"{source}8", 0, False), f"{source}16")
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, shallow.astype(np.uint16) * 257)


@pytest.mark.parametrize("encoding, code", [("rgb8", cv2.COLOR_RGB2GRAY), ("bgra16", cv2.COLOR_BGRA2GRAY)])
def test_gray_is_opencvs(encoding, code):
    image = pixels(np.dtype("uint8" if encoding.endswith("8") else "uint16"), 4 if "a" in encoding else 3)
    got = BRIDGE.imgmsg_to_cv2(padded(image, encoding, 3, False), "mono16" if encoding.endswith("16") else "mono8")
    np.testing.assert_array_equal(got, cv2.cvtColor(image, code))


@pytest.mark.parametrize(
    "encoding, y, u, v", [("yuv422", 1, 0, 2), ("uyvy", 1, 0, 2), ("yuv422_yuy2", 0, 1, 3), ("yuyv", 0, 1, 3)]
)
def test_yuv_follows_bt601(encoding, y, u, v):
    values = RNG.integers(60, 190, (H, W // 2, 4)).astype(np.uint8)
    msg = padded(values.reshape(H, W, 2), encoding, 6, False)
    luma = values[..., y::2].astype(float).reshape(H, W) - 16
    blue, red = (np.repeat(values[..., c].astype(float) - 128, 2, axis=1) for c in (u, v))
    expected = np.stack(
        [1.164 * luma + 1.596 * red, 1.164 * luma - 0.813 * red - 0.391 * blue, 1.164 * luma + 2.018 * blue], axis=-1
    )
    got = BRIDGE.imgmsg_to_cv2(msg, "rgb8")
    assert np.abs(got - expected.clip(0, 255)).max() < 2
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(msg, "bgr8"), got[..., ::-1])
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(msg, "mono8"), values[..., y::2].reshape(H, W))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_give_their_colour_back(pattern, bits):
    """A plain colour seen through the filter must come back plain: a wrong pattern swaps or mixes the channels."""
    plain = {"r": 200, "g": 90, "b": 30}
    mosaic = np.zeros((H, W), np.dtype(f"uint{bits}"))
    for place, letter in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = plain[letter]
    got = BRIDGE.imgmsg_to_cv2(padded(mosaic, f"bayer_{pattern}{bits}", 2, bits == 16), f"rgb{bits}")
    np.testing.assert_array_equal(got[2:-2, 2:-2], np.broadcast_to([200, 90, 30], (H - 4, W - 4, 3)))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_arrays_survive_the_round_trip(dtype, channels):
    image = (RNG.random((H, W, channels)) * 100).astype(dtype)
    image = image[..., 0] if channels == 1 else image
    header = Header(frame_id="camera")
    msg = BRIDGE.cv2_to_imgmsg(image[:, ::2], header=header)
    assert (msg.height, msg.width, msg.header) == (H, W // 2, header)
    assert msg.step * msg.height == len(msg.data)
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(msg), image[:, ::2])
    swapped = image.astype(image.dtype.newbyteorder(">"))
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(swapped)), image)


def test_types_agree_with_opencv():
    assert getCvType("rgb8") == BRIDGE.encoding_to_cvtype2("8UC3") == cv2.CV_8UC3
    assert getCvType("mono16") == cv2.CV_16UC1
    assert BRIDGE.encoding_to_dtype_with_channels("bgra16") == ("uint16", 4)
    assert BRIDGE.encoding_to_dtype_with_channels("32FC1") == ("float32", 1)
    assert BRIDGE.encoding_to_dtype_with_channels("yuv422") == ("uint8", 2)
    assert BRIDGE.cvtype2_to_dtype_with_channels(cv2.CV_64FC2) == ("float64", 2)
    assert BRIDGE.dtype_with_channels_to_cvtype2(np.dtype("int16"), 3) == "16SC3"


def test_generic_encodings_keep_upstreams_rules():
    image = pixels(np.uint8, 3)
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(padded(image, "bgr8", 0, False), "8UC3"), image)
    with pytest.raises(CvBridgeError, match="which colours"):
        BRIDGE.imgmsg_to_cv2(padded(image, "8UC3", 0, False), "bgr8")
    depth = np.array([[-3.0, 0.4, 0.6, 300.0, np.nan]] * H, np.float32)
    msg = BRIDGE.cv2_to_imgmsg(depth)
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(msg, "8UC1")[0], [0, 0, 1, 255, 0])


def broken(**fields):
    msg = padded(pixels(np.uint8, 3), "rgb8", 0, False)
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"data": array.array("B", b"\x00" * (3 * W * H - 1))}, "truncated: 179 bytes, but height 6 . step 30 is 180"),
        ({"data": array.array("B")}, "truncated"),
        ({"step": 29}, "step is 29 bytes, but a row of 10 pixels of rgb8 takes 30"),
        ({"step": 0}, "step is 0"),
        ({"height": 0}, "empty: 10x0"),
        ({"width": 0}, "empty: 0x6"),
        ({"width": 4_000_000_000}, "step is 30"),
        ({"height": 4_000_000_000}, "truncated"),
        ({"encoding": "rgb"}, "unknown image encoding 'rgb'; known are .*rgb8"),
        ({"encoding": ""}, "unknown image encoding ''"),
        ({"encoding": "nv12"}, "'nv12' is not supported"),
        ({"encoding": "8UC0"}, "'8UC0' is not supported"),
        ({"encoding": "64FC99999"}, "step is 30"),
    ],
)
def test_malformed_images_say_what_is_wrong(fields, reason):
    with pytest.raises(CvBridgeError, match=reason):
        BRIDGE.imgmsg_to_cv2(broken(**fields), "rgb8")


@given(
    encoding=st.sampled_from(["rgb8", "mono16", "bayer_rggb8", "yuv422", "bgra16", "32FC1", "8UC3", "nv21", "x"]),
    target=st.sampled_from(["passthrough", "rgb8", "mono8", "mono16", "bgra16", "32FC3", "yuv422", "bayer_rggb8", "y"]),
    height=st.integers(0, 5),
    width=st.integers(0, 9),
    step=st.integers(0, 80),
    size=st.integers(0, 400),
    big=st.booleans(),
)
def test_no_message_crashes_the_bridge(encoding, target, height, width, step, size, big):
    msg = Image(height=height, width=width, encoding=encoding, step=step, is_bigendian=int(big))
    msg.data = array.array("B", bytes(size))
    try:
        image = BRIDGE.imgmsg_to_cv2(msg, target)
    except CvBridgeError as error:
        assert str(error)
    else:
        assert image.shape[:2] == (height, width)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_png_is_lossless(channels, bits):
    image = pixels(np.dtype(f"uint{bits}"), channels)
    msg = BRIDGE.cv2_to_compressed_imgmsg(image, "png")
    assert msg.format == "png"
    np.testing.assert_array_equal(BRIDGE.compressed_imgmsg_to_cv2(msg), image)
    got = BRIDGE.compressed_imgmsg_to_cv2(msg, f"rgb{bits}")
    np.testing.assert_array_equal(got, rgb_of(image, {1: "mono", 3: "bgr", 4: "bgra"}[channels]))
    assert BRIDGE.compressed_imgmsg_to_cv2(msg, "rgb8").dtype == np.uint8


def test_jpeg_is_opencvs():
    image = cv2.resize(pixels(np.uint8, 3), (64, 48))
    msg = BRIDGE.cv2_to_compressed_imgmsg(image)
    decoded = cv2.imdecode(np.frombuffer(msg.data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(BRIDGE.compressed_imgmsg_to_cv2(msg, "rgb8"), decoded[..., ::-1])


@pytest.mark.parametrize("form", ["jpg", "png"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.97])
def test_truncated_files_are_errors(form, keep):
    whole = BRIDGE.cv2_to_compressed_imgmsg(cv2.resize(pixels(np.uint8, 3), (64, 48)), form).data
    msg = CompressedImage(format=form, data=whole[: int(keep * len(whole))])
    with pytest.raises(CvBridgeError, match=r"truncated|cannot be decoded"):
        BRIDGE.compressed_imgmsg_to_cv2(msg, "bgr8")


def test_other_data_is_an_error():
    for form, data in (("jpeg", b"no picture"), ("16UC1; compressedDepth", b"\x00" * 40)):
        with pytest.raises(CvBridgeError, match=form):
            BRIDGE.compressed_imgmsg_to_cv2(CompressedImage(format=form, data=array.array("B", data)))


@pytest.mark.parametrize(
    "value, encoding, reason",
    [
        ([[1, 2]], "mono8", "numpy array"),
        (np.zeros((H, W, 3), np.uint8), "mono8", "8UC1, but the array's are 8UC3"),
        (np.zeros((H, W), np.uint8), "mono16", "16UC1"),
        (np.zeros((H, W), bool), "passthrough", "bool"),
        (np.zeros(7, np.uint8), "passthrough", "dimensions"),
        (np.zeros((H, W), np.uint8), "gray", "unknown"),
    ],
)
def test_what_is_no_image_is_refused(value, encoding, reason):
    with pytest.raises(CvBridgeError, match=reason):
        BRIDGE.cv2_to_imgmsg(value, encoding)
