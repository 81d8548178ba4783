"""The cache of decoded images gives what the files have, whatever happened to it and to them."""

import os
import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.attached_data import attached

from training.data import image_cache
from training.data.data_module import KittiData
from training.data.image_cache import IMAGES, INDEX, ImageCache, decoded, encoded
from training.data.images import read_image
from training.data.kitti.splits import read_ids
from training.errors import TrainingError


@pytest.fixture
def paths(tmp_path):
    rng, made = np.random.default_rng(0), []
    for i in range(6):
        made.append(tmp_path / "images" / f"{i}.png")
        made[-1].parent.mkdir(exist_ok=True)
        cv2.imwrite(str(made[-1]), rng.integers(0, 255, (20 + i, 30, 3), np.uint8))
    return made


def filled(folder, paths):
    cache = ImageCache(folder)
    cache.add(paths)
    return cache


def equal(cache, paths):
    return all(np.array_equal(cache.read(path), read_image(path)) for path in paths)


@pytest.fixture
def decoding(monkeypatch):
    """The files that are decoded."""
    done = []
    monkeypatch.setattr(image_cache, "read_image", lambda path: (done.append(path), read_image(path))[1])
    return done


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_an_image_comes_back_as_it_was(image):
    np.testing.assert_array_equal(decoded(encoded(image), *image.shape[:2]), image)


def test_each_image_is_decoded_once_and_read_by_other_processes(paths, tmp_path, decoding):
    cache = filled(tmp_path / "cache", paths[:4])
    assert sorted(decoding) == paths[:4] and equal(cache, paths[:4])
    again = pickle.loads(pickle.dumps(filled(tmp_path / "cache", paths)))
    assert sorted(decoding) == paths and equal(again, paths) and sorted(decoding) == paths


def test_a_file_that_changed_is_decoded_again(paths, tmp_path, decoding):
    filled(tmp_path / "cache", paths)
    cv2.imwrite(str(paths[2]), np.full((5, 7, 3), 9, np.uint8))
    os.utime(paths[4], ns=(1, 1))
    del decoding[:]
    cache = filled(tmp_path / "cache", paths)
    assert sorted(decoding) == [paths[2], paths[4]] and equal(cache, paths)
    filled(tmp_path / "cache", paths)
    assert len(decoding) == 2


@pytest.mark.parametrize("name", [IMAGES, INDEX])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
def test_a_killed_writer_loses_what_it_had_begun(name, share, paths, tmp_path, decoding):
    filled(tmp_path / "cache", paths)
    whole = (tmp_path / "cache" / name).read_bytes()
    (tmp_path / "cache" / name).write_bytes(whole[: int(share * len(whole))])
    del decoding[:]
    cache = filled(tmp_path / "cache", paths)
    assert 0 < len(decoding) <= (1 if share == 0.999 else 6) and equal(cache, paths)
    assert (tmp_path / "cache" / IMAGES).stat().st_size == max(entry.end for entry in cache._entries.values())


def test_what_is_damaged_is_read_from_its_file(paths, tmp_path):
    cache = filled(tmp_path / "cache", paths)
    blobs = bytearray((tmp_path / "cache" / IMAGES).read_bytes())
    blobs[len(blobs) // 2] ^= 255
    (tmp_path / "cache" / IMAGES).write_bytes(blobs)
    assert equal(cache, paths)


def test_a_folder_that_cannot_be_written_is_one_sentence(paths, tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(TrainingError, match="cannot write"):
        filled(tmp_path / "cache", paths)


def test_a_training_takes_the_same_images_from_it(kitti_mini, tmp_path):
    ids = tmp_path / "three.txt"
    ids.write_text("".join(f"{i}\n" for i in read_ids(kitti_mini / "ImageSets" / "train.txt")[:3]))
    frames = []
    for cache in (None, str(tmp_path / "cache")):
        data = attached(KittiData(str(kitti_mini), str(ids), str(ids), num_workers=0, image_cache=cache))
        data.setup("fit")
        frames.append(data.frames(0))
    for index in range(3):
        np.testing.assert_array_equal(frames[0].sample(index).image, frames[1].sample(index).image)
    assert len((tmp_path / "cache" / INDEX).read_text().splitlines()) == 3
