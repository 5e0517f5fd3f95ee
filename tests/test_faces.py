"""Reading pictures of every form and of every kind of damage."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL import __version__ as PILLOW

from adafer.faces import FaceReadError, check_faces, read_face, read_faces, resize_faces


def picture(height=12, width=10, channels=3, seed=0):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def files(tmp_path):
    return [save(tmp_path / f"{i}.png", picture(10 + i, 12, seed=i)) for i in range(5)]


# What counts as pictures


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 5, 1), (4, 6, 5, 3), (4, 6, 5, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_arrays_of_every_documented_shape_become_rgb(shape, dtype):
    X = np.zeros(shape, dtype=dtype)
    faces = check_faces(X)
    assert len(faces) == 4
    assert faces.image_shape == (6, 5)
    assert faces.paths is None
    images = read_faces(X)
    assert images.shape == (4, 6, 5, 3)
    assert images.dtype == np.uint8


def test_grey_values_are_repeated_in_the_channels():
    X = picture(6, 5, 0)[None]
    np.testing.assert_array_equal(read_faces(X), np.stack([X] * 3, axis=-1))


def test_floats_are_rounded_to_the_nearest_of_256_steps():
    steps = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(read_faces(steps.astype(dtype) / 255)[..., 0], steps)
        below = (np.maximum(steps, 1) - dtype(0.4)) / dtype(255)
        np.testing.assert_array_equal(read_faces(below)[..., 0], np.maximum(steps, 1))


def test_transparent_pixels_are_laid_over_white_as_a_slow_version_does():
    rgba = picture(9, 7, 4)
    slow = np.empty((9, 7, 3))
    for index in np.ndindex(9, 7):
        alpha = rgba[index][3] / 255
        slow[index] = rgba[index][:3] * alpha + 255 * (1 - alpha)
    assert np.abs(read_faces(rgba[None])[0] - slow).max() <= 0.51


def test_lists_of_pictures_may_differ_in_size():
    pictures = [picture(6, 5), picture(7, 8, 0), picture(4, 4, 4)]
    faces = check_faces(pictures)
    assert faces.image_shape is None
    images = read_faces(pictures)
    assert [image.shape for image in images] == [(6, 5, 3), (7, 8, 3), (4, 4, 3)]
    np.testing.assert_array_equal(images[0], pictures[0])
    assert check_faces(pictures[:1] * 3).image_shape == (6, 5)


@pytest.mark.parametrize(
    "container", [list, tuple, pd.Series, lambda p: np.array([str(x) for x in p]), np.array]
)
def test_paths_come_in_every_container(files, container):
    faces = check_faces(container(files))
    assert faces.paths == [str(path) for path in files]
    assert faces.image_shape is None
    images = read_faces(container(files))
    assert [image.shape for image in images] == [(10 + i, 12, 3) for i in range(5)]


def test_judged_pictures_are_not_judged_again(files):
    faces = check_faces(files)
    assert check_faces(faces) is faces


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ([], "data is empty"),
        (np.empty((0, 4, 4), np.uint8), "data is empty"),
        (np.zeros((4, 9)), "2-D array .* features, not faces"),
        (np.zeros(9), "shape"),
        (np.zeros((9, 8, 3), np.uint8), r"one colour picture.*data\[None\]"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"channels first.*transpose\(0, 2, 3, 1\)"),
        (np.zeros((2, 8, 8, 2), np.uint8), r"shape \(2, 8, 8, 2\)"),
        (np.zeros((2, 0, 8), np.uint8), "without pixels"),
        (np.zeros((2, 8, 8), np.int64), r"got int64.*astype\(np.uint8\)"),
        (np.full((2, 8, 8), 200.0), r"floats from 200 to 200.*Divide"),
        (np.full((2, 8, 8), -0.1), "floats from -0.1"),
        (np.full((2, 8, 8), np.nan), "NaN"),
        ("folder/a.png", "single path"),
        (Path("folder/a.png"), "single path"),
        (7, "got int"),
        ([picture(), "a.png"], r"data\[1\] is str"),
        ([picture(), None], r"data\[1\] is NoneType"),
        ([picture(), np.zeros((4, 4), int)], r"data\[1\] must hold uint8"),
        ([picture(), np.zeros((4, 4, 2), np.uint8)], r"data\[1\] must have shape"),
        ([[0.1, 0.2], [0.3, 0.4]], r"data\[0\]"),
        (pd.DataFrame({"path": ["a.png"], "label": ["joy"]}), "column that holds the paths"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(X, words):
    with pytest.raises(ValueError, match=words):
        check_faces(X, name="data")


def test_a_row_without_a_path_is_named(files):
    with pytest.raises(ValueError, match=r"X\[1\] is float nan"):
        check_faces(pd.Series([str(files[0]), np.nan]))


def test_missing_files_are_named_at_once(files, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nobody.png' does not exist \(and 1 more"):
        check_faces([files[0], tmp_path / "nobody.png", tmp_path / "nothing.png"])
    with pytest.raises(FileNotFoundError, match="is a folder"):
        check_faces([tmp_path])


# Reading piece by piece


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 99])
def test_chunks_cover_every_picture_once_and_in_order(files, chunk_size):
    for X in (files, [picture(seed=i) for i in range(5)], np.zeros((5, 8, 8), np.uint8)):
        chunks = list(check_faces(X).chunks(chunk_size))
        assert np.concatenate([index for index, _ in chunks]).tolist() == [0, 1, 2, 3, 4]
        assert max(len(images) for _, images in chunks) == min(chunk_size, 5)
        assert all(len(index) == len(images) for index, images in chunks)


def test_each_file_is_opened_once(files, monkeypatch):
    opened = []
    original = os.open
    monkeypatch.setattr(os, "open", lambda p, *a: opened.append(p) or original(p, *a))
    list(check_faces(files).chunks(2))
    assert opened == [str(path) for path in files]


def test_large_pictures_make_small_chunks(files, monkeypatch):
    monkeypatch.setattr("adafer.faces._CHUNK_BYTES", 700)
    assert [len(images) for _, images in check_faces(files).chunks()] == [2, 2, 1]


def test_bad_settings_of_chunks_are_refused_before_reading(files):
    faces = check_faces(files)
    with pytest.raises(ValueError, match="chunk_size"):
        faces.chunks(0)
    with pytest.raises(ValueError, match="on_error"):
        faces.chunks(on_error="ignore")


def test_damaged_files_are_raised_or_skipped_and_listed(files):
    files[1].write_bytes(b"no picture")
    files[3].write_bytes(files[3].read_bytes()[:150])
    faces = check_faces(files)
    with pytest.raises(FaceReadError, match=r"1\.png' cannot be read"):
        list(faces.chunks())
    for _ in range(2):  # skipped files do not pile up
        chunks = list(faces.chunks(2, on_error="skip"))
        assert [index.tolist() for index, _ in chunks] == [[0], [2], [4]]
        assert [(index, path) for index, path, _ in faces.skipped] == [
            (1, str(files[1])),
            (3, str(files[3])),
        ]
        assert all(reason for _, _, reason in faces.skipped)


def test_read_faces_warns_of_what_it_leaves_out(files):
    files[1].write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"1 of the 5 pictures of X .*1\.png"):
        images = read_faces(files, size=8, on_error="skip")
    assert images.shape == (4, 8, 8, 3)


# Decoding


def test_the_rotation_noted_by_the_camera_is_applied(tmp_path):
    pixels = picture(6, 9)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    path = save(tmp_path / "turned.png", pixels, exif=exif)
    np.testing.assert_array_equal(read_face(path), np.rot90(pixels, -1))


def test_sixteen_bit_grey_is_scaled_not_cut(tmp_path):
    steps = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    for name in ("deep.png", "deep.tif"):
        path = save(tmp_path / name, steps)
        np.testing.assert_array_equal(read_face(path)[..., 0], steps // 257)


def test_float_tiffs_hold_values_up_to_one(tmp_path):
    path = save(tmp_path / "float.tif", np.full((4, 4), 0.2, np.float32))
    assert (read_face(path) == 51).all()
    with pytest.raises(FaceReadError, match=r"run from 7 to 7, expected 0\.\.1"):
        read_face(save(tmp_path / "wide.tif", np.full((4, 4), 7, np.float32)))


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("L", "a.jpg"), ("1", "a.png"), ("P", "a.gif"), ("P", "a.png"), ("CMYK", "a.jpg"),
        ("LA", "a.png"), ("RGBA", "a.webp"), ("RGB", "a.bmp"), ("YCbCr", "a.tif"),
    ],
)  # fmt: skip
def test_every_colour_mode_becomes_rgb(tmp_path, mode, name):
    if mode == "YCbCr" and int(PILLOW.split(".")[0]) < 13:
        pytest.skip("Pillow 12.0 cannot read the YCbCr TIFF that it writes; 13.0 can")
    grey = np.repeat(np.full((8, 8, 1), 255, np.uint8), 3, axis=2)
    grey[:4] = 0
    Image.fromarray(grey).convert(mode).save(tmp_path / name)
    image = read_face(tmp_path / name)
    assert image.shape == (8, 8, 3)
    assert np.abs(image.astype(int) - grey).max() <= 12


def test_transparent_palettes_are_laid_over_white(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "p.png", transparency=0)
    read = read_face(tmp_path / "p.png")
    assert read[0, 0].tolist() == [255, 255, 255]
    assert read[1, 1].tolist() == [10, 20, 30]


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    for name in ("two.gif", "two.webp"):
        options = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert np.abs(read_face(tmp_path / name)[2, 2].astype(int) - [250, 0, 0]).max() < 8


@pytest.mark.parametrize("limit", [150, 60])  # Pillow warns above it, fails above twice of it
def test_decompression_bombs_are_errors_and_the_limit_is_the_users(tmp_path, monkeypatch, limit):
    path = save(tmp_path / "big.png", picture(20, 10))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(FaceReadError, match=r"big\.png.*bomb"):
            read_face(path)
    assert limit == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_face(path).shape == (20, 10, 3)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_files_cut_short_are_errors(tmp_path, form):
    buffer = io.BytesIO()
    Image.fromarray(picture(40, 40)).save(buffer, form)
    path = tmp_path / "cut"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(FaceReadError, match="cut' cannot be read"):
        read_face(path)


def test_files_that_run_programs_are_not_opened(tmp_path):
    path = tmp_path / "a.eps"
    Image.fromarray(picture()).save(path)
    with pytest.raises(FaceReadError, match="none of"):
        read_face(path)


# Resizing


def test_resizing_keeps_flat_pictures_flat_and_averages_stripes():
    flat = resize_faces([np.full((30, 20, 3), 77, np.uint8)], 8)
    assert flat.shape == (1, 8, 8, 3)
    assert (flat == 77).all()
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize_faces([stripes], 8).astype(int) - 127.5).max() < 12  # antialiased


def test_whole_pictures_are_kept_when_sides_differ():
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, :4] = 255
    wide[:, -4:] = 255
    small = resize_faces([wide], 10)[0, 5, :, 0]
    assert small[0] > 200
    assert small[-1] > 200


def test_an_array_of_the_right_size_is_given_back_itself():
    images = np.zeros((3, 8, 8, 3), np.uint8)
    assert resize_faces(images, 8) is images
    assert read_faces(images, size=4).shape == (3, 4, 4, 3)


def test_arrays_and_lists_are_resized_alike():
    images = np.stack([picture(seed=i) for i in range(3)])
    np.testing.assert_array_equal(resize_faces(images, 7), resize_faces(list(images), 7))


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "8"])
def test_sizes_are_positive_integers(size):
    with pytest.raises(ValueError, match="'size' parameter of resize_faces"):
        resize_faces([picture()], size)


def test_resizing_takes_rgb_only():
    with pytest.raises(ValueError, match=r"\(H, W, 3\).*read_faces"):
        resize_faces([picture(channels=0)], 8)
