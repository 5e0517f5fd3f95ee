"""What files may be and cost: kinds of files, names, formats, limits."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from adafer import SourceOnlyClassifier, faces
from adafer.faces import (
    FaceReadError,
    PictureLimits,
    check_faces,
    decode_face,
    picture_limits,
    read_face,
    read_faces,
)

JPEG = {"quality": 100, "subsampling": 0}
FORMS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"]


def colours(height=12, width=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def content_of(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png(width, height, data=b""):
    """A PNG that says to be of this size."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


# --------------------------------------------------------------- what is no file


def test_a_pipe_with_the_name_of_a_picture_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(FaceReadError, match=r"pipe\.jpg.*is a pipe, socket or device"):
        read_face(tmp_path / "pipe.jpg")
    with pytest.raises(FileNotFoundError, match=r"pipe\.jpg' is a pipe"):
        check_faces([tmp_path / "pipe.jpg"])


def test_devices_folders_and_links_to_nothing_are_named_as_such(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "nothing.jpg").symlink_to("gone.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name, words in {
        "folder.jpg": "is a folder",
        "nothing.jpg": "is a link to nothing",
        "loop.jpg": "is a link to nothing",
        "gone.jpg": "does not exist",
    }.items():
        with pytest.raises(FileNotFoundError, match=f"{name}' {words}"):
            check_faces([tmp_path / name])
        with pytest.raises(FaceReadError, match=name):
            read_face(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="is a pipe, socket or device"):
        check_faces(["/dev/zero"])
    with pytest.raises(FaceReadError, match="is a pipe, socket or device"):
        read_face("/dev/zero")


def test_a_nul_in_a_name_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="NUL"):
        check_faces([str(tmp_path / "a\0.jpg")])
    with pytest.raises(ValueError, match="path must name a file"):
        read_face(str(tmp_path / "a\0.jpg"))


def test_a_file_that_goes_away_before_it_is_read_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "gone.png"
    Image.fromarray(colours()).save(path)
    judged = check_faces([path])
    path.unlink()
    with pytest.raises(FaceReadError, match=r"gone\.png.*No such file"):
        list(judged.chunks())


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"a\nb.png", b"..png", b" .png", b"-rf.png"])
def test_odd_names_are_names(tmp_path, name):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    picture = colours()
    Image.fromarray(picture).save(path, "PNG")
    np.testing.assert_array_equal(read_face(path), picture)
    np.testing.assert_array_equal(read_faces([path])[0], picture)

    class BytesPath(os.PathLike):
        def __fspath__(self):
            return os.fsencode(path)

    assert check_faces([BytesPath()]).paths == [path]


# ----------------------------------------------------------------------- formats


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", [".jpg", ".png", ".txt", ""])
def test_the_content_tells_the_format_and_not_the_name(tmp_path, form, ending):
    options = {"quality": 100, "lossless": True} if form == "WEBP" else {}
    path = tmp_path / f"picture{ending}"
    path.write_bytes(content_of(Image.fromarray(colours()), form, **options))
    found = read_face(path)
    assert found.shape == (12, 20, 3)
    if form not in ("JPEG", "GIF"):
        np.testing.assert_array_equal(found, colours())


@pytest.mark.parametrize("form", ["EPS", "PDF", "TGA", "PCX", "ICO", "SGI", "DDS", "MSP"])
def test_formats_that_are_not_listed_are_not_tried(form):
    image = Image.fromarray(colours()).convert("1" if form == "MSP" else "RGB")
    try:
        content = content_of(image, form)
    except (OSError, KeyError):
        pytest.skip(f"Pillow here cannot write {form}")
    with pytest.raises(FaceReadError, match="none of BMP, GIF"):
        decode_face(content)


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\xff\xd8", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBP"]
)
def test_what_is_empty_or_only_begins_like_a_picture_is_refused(content):
    with pytest.raises(FaceReadError, match="cannot be read"):
        decode_face(content)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_eight_turns_of_exif_are_undone(turn, form):
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:8, :16], upright[:8, 16:], upright[8:, :16] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    # what a camera stores so that undoing the turn gives the upright picture
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[turn]
    exif = Image.Exif()
    exif[274] = turn
    options = {"lossless": True} if form == "WEBP" else JPEG if form == "JPEG" else {}
    image = Image.fromarray(np.ascontiguousarray(stored))
    found = decode_face(content_of(image, form, exif=exif, **options))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).max() < 40


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_animations_and_several_pages_the_first_is_taken(form):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    content = content_of(frames[0], form, save_all=True, append_images=frames[1:], **options)
    found = decode_face(content)
    assert found.shape == (6, 8, 3)
    assert (found == (255, 0, 0)).all()


def test_pictures_of_pillow_in_a_list_are_not_taken_for_their_palette_or_alpha():
    picture = Image.fromarray(colours(8, 8) // 64 * 64)
    for mode in ("P", "CMYK", "YCbCr", "RGBA", "L", "I;16", "1", "HSV", "LA", "PA"):
        if mode == "I;16":
            grey = np.asarray(picture.convert("L"))
            image = Image.fromarray(grey.astype(np.uint16) * 257)
        else:
            image = picture.convert(mode, **({"colors": 256} if mode == "P" else {}))
        expected = np.asarray(image.convert("L" if mode == "I;16" else "RGB"))
        if mode == "I;16":
            expected = np.repeat(grey[..., None], 3, axis=2)
        (found,) = read_faces([image])
        assert np.abs(found.astype(int) - expected).max() <= 1, mode


# ------------------------------------------------------------------------ limits


def test_limits_are_positive_numbers():
    for wrong in (0, -1, 2.5, True, "1"):
        with pytest.raises(ValueError, match="max_pixels must be an integer"):
            PictureLimits(max_pixels=wrong)
    with pytest.raises(ValueError, match="max_bytes must be an integer"):
        PictureLimits(max_bytes=None)
    with pytest.raises(ValueError, match="max_seconds must be a number above 0"):
        PictureLimits(max_seconds=float("nan"))
    with pytest.raises(ValueError, match=r"got \['max_pixel'\]; expected some of"):
        picture_limits(max_pixel=3).__enter__()


@pytest.mark.parametrize("form", FORMS)
def test_pictures_of_more_pixels_are_refused_by_whatever_reads_them(tmp_path, form):
    path = tmp_path / "large"
    path.write_bytes(content_of(Image.fromarray(colours()), form))
    tight = PictureLimits(max_pixels=239)
    with pytest.raises(FaceReadError, match=r"20 x 12 pixels, more than the 239"):
        read_face(path, limits=tight)
    with pytest.raises(FaceReadError, match=r"large.*more than the 239"):
        read_faces([path], limits=tight)
    with picture_limits(max_pixels=239):
        with pytest.raises(FaceReadError, match="more than the 239"):
            read_face(path)
        judged = check_faces([path])
        with picture_limits(max_pixels=240):
            assert read_face(path).shape == (12, 20, 3)
    # what was judged keeps its limits, in the threads that decode, too
    with pytest.raises(FaceReadError, match="more than the 239"):
        list(judged.chunks(n_jobs=2))
    assert read_face(path).shape == (12, 20, 3)


def test_limits_reach_estimators(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for i in range(6):
        paths.append(tmp_path / f"{i}.png")
        side = 40 if i == 5 else 24
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(paths[-1])
    clf = SourceOnlyClassifier(backbone="convnet", image_size=24, epochs=0, on_error="skip")
    with picture_limits(max_pixels=1000):
        clf.fit(paths, ["joy", "sad"] * 3)
    assert [row.index for row in clf.skipped_["X"]] == [5]
    assert len(clf.predict(check_faces(paths))) == 6
    with pytest.raises(FaceReadError, match="more than the 1000"):
        clf.set_params(on_error="raise").fit(
            check_faces(paths, limits=PictureLimits(max_pixels=1000)), ["joy", "sad"] * 3
        )


def test_files_of_more_bytes_are_not_read(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(png(1, 1, b"\0\0\0\0"))
    with path.open("r+b") as stream:
        stream.truncate(2**40)  # takes no room on the disk
    with pytest.raises(FaceReadError, match="has 1099511627776 bytes, more than the 536870912"):
        read_face(path)
    with pytest.raises(FaceReadError, match="bytes, more than the 10"):
        decode_face(png(1, 1, b"\0\0\0\0"), limits=PictureLimits(max_bytes=10))


def test_decoding_that_takes_long_is_given_up():
    text = b"P3\n1000 3000\n255\n" + b"1 2 3 " * 3_000_000
    started = time.monotonic()
    with pytest.raises(FaceReadError, match=r"took longer than the 0\.2 s"):
        decode_face(text, limits=PictureLimits(max_seconds=0.2))
    assert time.monotonic() - started < 5


def bomb(form, side=60_000):
    """A small file that says to be of 60,000 x 60,000 pixels, or as many as it can."""
    small = Image.new("RGB", (64, 64))
    content = bytearray(content_of(small, form))
    if form == "PNG":
        return png(side, side, bytes(10_000))
    if form == "GIF":
        content[6:10] = struct.pack("<HH", side, side)
        at = content.index(b",")
        content[at + 5 : at + 9] = struct.pack("<HH", side, side)
    if form == "BMP":
        content[18:26] = struct.pack("<ii", side, side)
    if form == "JPEG":
        at = content.index(b"\xff\xc0")
        content[at + 5 : at + 9] = struct.pack(">HH", side, side)
    if form == "TIFF":
        with Image.open(io.BytesIO(bytes(content))) as image:
            start = struct.unpack("<I", content[4:8])[0]
            for i in range(len(image.tag_v2)):
                at = start + 2 + 12 * i
                if struct.unpack("<H", content[at : at + 2])[0] in (256, 257):
                    content[at + 2 : at + 12] = struct.pack("<HII", 4, 1, side)
    if form == "WEBP":
        content = bytearray(content_of(small, form, save_all=True, append_images=[small]))
        content[24:30] = (16_382).to_bytes(3, "little") * 2
    return bytes(content)


@pytest.mark.parametrize("form", FORMS)
def test_decompression_bombs_are_refused_before_their_memory_is_taken(form):
    content = bomb(form)
    assert len(content) < 30_000
    code = (
        "import sys, resource; from adafer.faces import decode_face, FaceReadError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: decode_face(sys.stdin.buffer.read())\n"
        "except FaceReadError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, check=True
    )
    *words, grown = done.stdout.decode().splitlines()
    assert "cannot be read" in " ".join(words)
    assert int(grown) < 200_000  # KiB


def test_limits_hold_in_threads_that_silence_warnings_at_the_same_time(monkeypatch):
    """Filters of warnings are shared by threads: no limit may hang on them."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    monkeypatch.setattr("adafer.picture_files.strict_pillow", contextlib.nullcontext)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(FaceReadError, match="more than the 200"):
            decode_face(content_of(Image.fromarray(colours()), "PNG"))


def test_transparent_pictures_take_little_more_memory_than_their_pixels():
    import tracemalloc

    pixels = np.full((3000, 2000, 4), 128, dtype=np.uint8)
    tracemalloc.start()
    (found,) = read_faces([pixels])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * pixels.nbytes
    assert (found == (128 * 128 + 255 * 127 + 127) // 255).all()


# -------------------------------------------------------------- arrays and lists


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.full((2, 8, 8), np.inf), "from inf to inf"),
        (np.full((2, 8, 8), -np.inf), "expected .0, 1."),
        (np.full((2, 8, 8), 1e300), "from 1e.300"),
        (np.full((2, 8, 8), np.nan), "NaN"),
        (np.zeros((2, 8, 8), complex), "complex128"),
        (np.zeros((2, 8, 8), np.int64), "int64"),
        (np.zeros((2, 8, 8), bool), "bool"),
        (np.zeros((2, 8, 8), np.uint16), "uint16"),
        (np.zeros((2, 8, 8), "datetime64[s]"), "datetime64"),
        (np.zeros((2, 8, 8), [("r", "u1")]), "must hold uint8"),
        (np.zeros((2, 8, 8, 2), np.uint8), "shape"),
        (np.zeros((2, 1, 8, 8, 3), np.uint8), "shape"),
        (np.zeros((0, 8, 8), np.uint8), "empty"),
        (np.zeros((2, 0, 8), np.uint8), "without pixels"),
        ([[[1, 2], [3]], [[1, 2], [3, 4]]], r"X\[0\]"),
        ([[1, 2, 3], [4, 5]], r"X\[0\]"),
        ([np.zeros((4, 4), np.uint8), None], r"X\[1\]"),
        ([np.zeros((4, 4), np.uint8), "a.png"], r"X\[1\]"),
        ([np.full((4, 4), np.nan)], r"X\[0\] holds NaN"),
        ({"a.png": 1}, "single value"),
        ({"a.png"}, "single value"),
        (object(), "object"),
        (b"a.png", "single path"),
    ],
)
def test_what_holds_no_pictures_is_a_value_error_that_says_so(X, words):
    with pytest.raises(ValueError, match=words):
        check_faces(X)


def test_tensors_are_taken_and_those_with_a_gradient_refused():
    torch = pytest.importorskip("torch")
    tensor = torch.zeros((2, 8, 8, 3), dtype=torch.uint8)
    assert len(check_faces(tensor)) == 2
    with pytest.raises(ValueError, match="Tensor, which makes no array"):
        check_faces(torch.zeros((2, 8, 8, 3), requires_grad=True))


def test_public_names_of_faces_are_there():
    for name in faces.__all__:
        assert hasattr(faces, name)
