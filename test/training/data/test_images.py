"""Image files as they are found: bytes behind their end, no end marker, half there, turned, or no pictures."""

import cv2
import numpy as np
import pytest

from training.data.images import ImageError, dark_notes, image_size, read_image, read_unchanged

PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 16, 3), dtype=np.uint8), (320, 180))


@pytest.fixture(params=[".png", ".jpg"])
def file(request, tmp_path):
    path = tmp_path / f"000000{request.param}"
    cv2.imwrite(str(path), PICTURE)
    return path


@pytest.mark.parametrize("tail", [b"\0", b"\r\n", bytes(9000), b"\xff\xda" + bytes(60)])
def test_bytes_behind_the_end_do_not_matter(file, tail):
    clean = read_image(file)
    file.write_bytes(file.read_bytes() + tail)
    np.testing.assert_array_equal(read_image(file), clean)
    assert image_size(file) == (320, 180)


def test_a_missing_end_marker_does_not_matter(file):
    clean = read_image(file)
    file.write_bytes(file.read_bytes()[: -12 if file.suffix == ".png" else -2])
    np.testing.assert_array_equal(read_image(file), clean)
    assert image_size(file) == (320, 180)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_half_an_image_is_refused(file, share):
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    for read in (read_image, read_unchanged, image_size):
        with pytest.raises(ImageError, match=file.name):
            read(file)


def test_a_large_preview_before_the_image_hides_nothing(tmp_path):
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), PICTURE)
    data = path.read_bytes()
    segment = b"\xff\xe2" + (65535).to_bytes(2, "big") + bytes(65533)
    path.write_bytes(data[:2] + 5 * segment + data[2:])
    assert image_size(path) == (320, 180)


def test_an_orientation_does_not_turn_the_pixels(tmp_path):
    """Calibrations are of the sensor; EXIF says how people hold the camera."""
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), PICTURE)
    clean, data = read_image(path), path.read_bytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    np.testing.assert_array_equal(read_image(path), clean)
    assert cv2.imread(str(path)).shape[:2] == (320, 180), "OpenCV turns it"


def test_what_is_no_picture_is_named(tmp_path):
    depth = tmp_path / "depth.png"
    cv2.imwrite(str(depth), np.full((9, 9), 5000, np.uint16))
    with pytest.raises(ImageError, match="as depth images have"):
        read_image(depth)
    assert read_unchanged(depth).dtype == np.uint16
    pointer = tmp_path / "a.png"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n")
    with pytest.raises(ImageError, match="git lfs pull"):
        image_size(pointer)


@pytest.mark.parametrize(("bits", "told"), [(10, True), (12, True), (14, True), (16, False)])
def test_fewer_bits_than_a_16_bit_file_has_are_told_once(tmp_path, bits, told):
    files = [tmp_path / f"{i}.png" for i in range(5)]
    for file in files:
        cv2.imwrite(str(file), np.full((9, 16, 3), 2**bits - 1, np.uint16))
    notes = dark_notes(files)
    assert len(notes) == told
    assert all(note.startswith("5 images have 16 bits, such as 0.png") and f"{bits} bits" in note for note in notes)


def test_one_bright_frame_clears_dark_ones_and_8_bits_need_no_note(tmp_path, file):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(files):
        cv2.imwrite(str(path), np.full((9, 16, 3), (900, 900, 60000)[i], np.uint16))
    assert dark_notes(files) == dark_notes([file]) == dark_notes([]) == []
    assert dark_notes(files[:2]) != []
