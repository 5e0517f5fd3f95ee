"""What becomes of pictures that are broken, empty, crowded, turned, tiny or huge."""

import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from adafer import AUExtractor, SourceOnlyClassifier
from adafer.aus import LandmarkDetector
from adafer.cli import app
from adafer.datasets import load_facs_faces
from adafer.faces import FaceReadError

pytest.importorskip("ai_edge_litert")
BACKGROUND = (110, 120, 115)


@pytest.fixture(scope="module")
def faces():
    return load_facs_faces(domain="studio", split="test").images[::9][:12]


@pytest.fixture(scope="module")
def extractor(faces):
    return AUExtractor().fit(faces)


@pytest.fixture(scope="module")
def upright(extractor, faces):
    """Scores of the faces as they are."""
    return extractor.score_faces(faces)


def scaled(face, side):
    return Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC)


def alike(scores, others):
    """Correlation of each row's scores with those of the other table's row."""
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(scores, others, strict=True)])


def broken(path):
    good = path.with_suffix(".good.jpg")
    Image.new("RGB", (64, 64), BACKGROUND).save(good)
    content = good.read_bytes()
    good.unlink()
    path.write_bytes({"cut": content[:400], "empty": b"", "text": b"no picture"}[path.stem])


@pytest.mark.parametrize("name", ["cut.jpg", "empty.jpg", "text.jpg"])
def test_a_broken_picture_is_an_error_that_names_it(tmp_path, faces, name):
    broken(tmp_path / name)
    Image.fromarray(faces[0]).save(tmp_path / "whole.png")
    with pytest.raises(FaceReadError, match=name):
        AUExtractor(threshold=0.5).fit_transform([tmp_path / "whole.png", tmp_path / name])


@pytest.mark.parametrize("name", ["cut.jpg", "empty.jpg", "text.jpg"])
def test_a_fit_may_leave_broken_pictures_out_and_lists_them(tmp_path, faces, name):
    paths = []
    for number, face in enumerate(faces):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(face).save(paths[-1])
    broken(tmp_path / name)
    labels = ["one", "other"] * (len(faces) // 2) + ["one"]
    classifier = SourceOnlyClassifier(
        "convnet", image_size=16, epochs=1, on_error="skip", device="cpu"
    )
    classifier.fit([*paths, tmp_path / name], labels)
    ((index, path, reason),) = classifier.skipped_["X"]
    assert (index, path) == (len(faces), str(tmp_path / name))
    assert reason


def test_the_command_lists_broken_pictures_and_those_without_a_face(tmp_path, faces):
    folder = tmp_path / "pictures"
    folder.mkdir()
    broken(folder / "cut.jpg")
    Image.new("RGB", (64, 64), BACKGROUND).save(folder / "flat.png")
    Image.fromarray(faces[0]).save(folder / "whole.png")
    table = tmp_path / "aus.csv"
    arguments = ["aus", str(folder), "--output", str(table)]
    stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 2
    assert "cut.jpg" in stopped.output
    assert not table.exists()
    done = CliRunner().invoke(app, [*arguments, "--on-error", "skip"])
    assert done.exit_code == 0
    assert "1 of 3 pictures have action unit scores" in done.output
    assert "1 show no face" in done.output
    assert "1 could not be read" in done.output
    lines = table.read_text().splitlines()
    assert len(lines) == 4
    assert [line.split(",")[0] for line in lines[1:] if line.endswith(",")] == [
        "cut.jpg",
        "flat.png",
    ]


@pytest.mark.parametrize("kind", ["noise", "flat", "slope", "stripes"])
def test_a_picture_without_a_face_has_a_row_of_nan(extractor, faces, upright, kind):
    rows, columns = np.mgrid[:96, :96]
    grey = {
        "noise": np.random.default_rng(0).integers(0, 256, (96, 96)),
        "flat": np.full((96, 96), 128),
        "slope": columns * 2,
        "stripes": rows // 8 % 2 * 200,
    }[kind].astype(np.uint8)
    scores = extractor.score_faces([np.repeat(grey[..., None], 3, axis=2), faces[0]])
    assert np.isnan(scores[0]).all()
    np.testing.assert_array_equal(scores[1], upright[0])


def test_of_five_faces_the_largest_counts(extractor, faces, upright):
    picture = Image.new("RGB", (560, 260), BACKGROUND)
    for place, (face, side) in enumerate(zip(faces, (60, 80, 170, 70, 50), strict=False)):
        picture.paste(scaled(face, side), (10 + 100 * place - (40 if place == 2 else 0), 30))
    scores = extractor.score_faces([np.asarray(picture)])
    each = alike(np.repeat(scores, 5, axis=0), upright[:5])
    assert each.argmax() == 2
    assert each[2] > 0.95


@pytest.mark.parametrize("degrees", [30, -30, 90, 180, 270])
def test_a_rotated_face_scores_like_an_upright_one(extractor, faces, upright, degrees):
    pictures = []
    for face in faces:
        picture = Image.new("RGB", (200, 200), BACKGROUND)
        picture.paste(scaled(face, 110), (45, 45))
        pictures.append(np.asarray(picture.rotate(degrees, fillcolor=BACKGROUND)))
    scores = extractor.score_faces(pictures)
    assert not np.isnan(scores).any()
    assert np.median(alike(scores, upright)) > 0.97


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_crop_on_its_side_or_head_scores_like_an_upright_one(extractor, faces, upright, quarters):
    scores = extractor.score_faces([np.rot90(face, quarters) for face in faces])
    assert np.median(alike(scores, upright)) > 0.97


def test_a_crop_of_20_pixels_has_scores_which_are_poor(extractor, faces, upright):
    """They are given, since it is a face; 40 pixels are enough, 20 are not."""
    tiny, small = (
        extractor.score_faces([np.asarray(scaled(face, side)) for face in faces])
        for side in (20, 40)
    )
    assert not np.isnan(tiny).any()
    assert alike(small, upright).mean() > 0.9
    assert 0.2 < alike(tiny, upright).mean() < 0.8


def test_a_face_of_20_pixels_in_a_larger_picture_is_not_found(extractor, faces):
    pictures = []
    for face in faces[:3]:
        picture = Image.new("RGB", (200, 200), BACKGROUND)
        picture.paste(scaled(face, 20), (90, 90))
        pictures.append(np.asarray(picture))
    assert np.isnan(extractor.score_faces(pictures)).all()


@pytest.fixture(scope="module")
def photograph(tmp_path_factory, faces):
    """40 megapixels with one face."""
    picture = Image.new("RGB", (8000, 5000), BACKGROUND)
    picture.paste(scaled(faces[2], 2400), (3000, 1500))
    path = tmp_path_factory.mktemp("large") / "photograph.jpg"
    picture.save(path, quality=90)
    return path


def test_a_photograph_of_40_megapixels_is_scored_in_bounded_time_and_memory(
    extractor, photograph, upright
):
    tracemalloc.start()
    started = time.perf_counter()
    scores = extractor.transform([photograph])
    seconds = time.perf_counter() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert alike(scores, upright[2:3])[0] > 0.97
    assert peak < 600e6  # the picture alone takes 120
    assert seconds < 60


def test_a_small_face_in_a_large_photograph_is_cut_out_first(tmp_path, faces, extractor, upright):
    pytest.importorskip("onnxruntime")
    from adafer import FaceAligner

    picture = Image.new("RGB", (4000, 2500), BACKGROUND)
    picture.paste(scaled(faces[2], 300), (2500, 500))
    picture.save(tmp_path / "party.jpg")
    assert np.isnan(extractor.transform([tmp_path / "party.jpg"])).all()
    cut = FaceAligner().fit_transform([tmp_path / "party.jpg"])
    assert alike(extractor.score_faces(cut), upright[2:3])[0] > 0.8


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_other_kinds_of_pictures_are_scored_alike(tmp_path, extractor, faces, upright, mode):
    picture = Image.fromarray(faces[3])
    if mode == "I;16":
        deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        picture = Image.fromarray(deep)
    else:
        picture = picture.convert(mode)
    path = tmp_path / ("face.tif" if mode == "CMYK" else "face.png")
    picture.save(path)
    scores = extractor.transform([path])
    assert alike(scores, upright[3:4])[0] > 0.9


def test_the_largest_pictures_are_not_searched_slower_than_others(faces):
    """Looking is on pieces of fixed size: it does not grow with the picture."""
    detector = LandmarkDetector()
    detector.detect(list(faces[:2]))
    seconds = {}
    for side in (400, 3200):
        pictures = [np.asarray(scaled(face, side)) for face in faces[:4]]
        started = time.perf_counter()
        detector.detect(pictures)
        seconds[side] = time.perf_counter() - started
    assert seconds[3200] < 20 * seconds[400]
