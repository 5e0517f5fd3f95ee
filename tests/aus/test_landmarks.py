"""Face landmarks: geometry against slow versions, behaviour on faces."""

import copy
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections import defaultdict
from importlib.resources import files

import joblib
import numpy as np
import pytest
from PIL import Image

from adafer.aus import AUDetector, LandmarkDetector, _face_models, landmarks
from adafer.aus._face_models import FaceModels, Picture, Region, cut_region, decode_boxes
from adafer.aus._face_search import region_around
from adafer.datasets import load_facs_faces

MODEL = files("adafer.aus").joinpath("models", "face_landmarker.task")
BACKGROUND = (110, 120, 115)


@pytest.fixture(scope="module")
def faces():
    """Some rendered faces of each expression, with their true AUs."""
    bunch = load_facs_faces(domain="studio", split="test")
    rows = np.arange(0, len(bunch.images), len(bunch.images) // 40)[:40]
    return list(bunch.images[rows]), bunch.au[rows], list(bunch.au_names)


@pytest.fixture(scope="module")
def detector():
    return LandmarkDetector()


@pytest.fixture(scope="module")
def scores(detector, faces):
    return detector.detect(faces[0])


def on_canvas(face, height, width, side, x, y, angle=0.0):
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    picture = Image.fromarray(face).resize((side, side))
    canvas.paste(picture.rotate(angle, expand=True, fillcolor=BACKGROUND), (x, y))
    return np.asarray(canvas)


# Scores


def test_every_face_is_found_and_scored_in_unit_range(scores, detector, faces):
    assert scores.shape == (len(faces[0]), len(detector.au_names))
    assert scores.dtype == np.float32
    assert not np.isnan(scores).any()
    assert scores.min() >= 0
    assert scores.max() <= 1


@pytest.mark.parametrize("au", ["AU01", "AU02", "AU06", "AU12", "AU25", "AU26"])
def test_shown_aus_score_higher(scores, detector, faces, au):
    _, truth, names = faces
    shown = truth[:, names.index(au)] > 0.5
    absent = truth[:, names.index(au)] < 0.1
    column = scores[:, detector.au_names.index(au)]
    assert np.median(column[shown]) > np.median(column[absent]) + 0.02
    pairs = column[shown][:, None] > column[absent][None]
    assert pairs.mean() > 0.7  # area under the ROC curve


def test_no_two_columns_are_the_same(scores):
    assert (scores.std(axis=0) > 1e-4).all()
    correlations = np.corrcoef(scores.T) - np.eye(scores.shape[1])
    assert correlations.max() < 0.999


def test_pictures_without_a_face_have_nan_rows_and_do_not_disturb_others(detector, faces, scores):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    flat = np.full((50, 70, 3), 128, np.uint8)
    tiny = np.zeros((1, 1, 3), np.uint8)
    mixed = detector.detect([noise, faces[0][0], flat, faces[0][1], tiny])
    assert np.isnan(mixed).all(axis=1).tolist() == [True, False, True, False, True]
    np.testing.assert_array_equal(mixed[[1, 3]], scores[:2])


def test_min_presence_decides_what_is_a_face(faces):
    never = LandmarkDetector(min_presence=1.0).detect(faces[0][:3])
    always = LandmarkDetector(min_presence=0.0).detect([np.zeros((30, 30, 3), np.uint8)])
    assert np.isnan(never).all()
    assert not np.isnan(always).any()


def test_an_empty_list_gives_an_empty_table(detector):
    assert detector.detect([]).shape == (0, len(detector.au_names))


def test_size_and_shape_of_the_picture_hardly_matter(detector, faces, scores):
    large = [np.asarray(Image.fromarray(f).resize((700, 700), 3)) for f in faces[0][:8]]
    assert np.abs(detector.detect(large) - scores[:8]).mean() < 0.02


def test_small_faces_in_photographs_are_found(detector, faces, scores):
    photos = [on_canvas(face, 480, 640, 150, 420, 60) for face in faces[0][:8]]
    found = detector.detect(photos)
    assert not np.isnan(found).any()
    assert np.abs(found - scores[:8]).mean() < 0.04


def test_tilted_faces_score_like_upright_ones(detector, faces, scores):
    photos = [on_canvas(face, 480, 640, 240, 120, 60, angle=25) for face in faces[0][:8]]
    assert np.abs(detector.detect(photos) - scores[:8]).mean() < 0.06


def test_of_two_faces_the_larger_counts(detector, faces, scores):
    smile = detector.au_names.index("AU12")
    order = np.argsort(scores[:, smile])
    photo = on_canvas(faces[0][order[-1]], 480, 900, 220, 560, 120).copy()
    photo[200:310, 100:210] = np.asarray(Image.fromarray(faces[0][order[0]]).resize((110, 110)))
    both = detector.detect([photo])[0, smile]
    assert abs(both - scores[order[-1], smile]) < abs(both - scores[order[0], smile])


# One detector, several threads, copies


@pytest.fixture
def built(monkeypatch):
    """Sets of interpreters that are built, from none on."""
    made = []

    class Counted(FaceModels):
        def __init__(self, content):
            super().__init__(content)
            made.append(self)

    monkeypatch.setattr(landmarks, "FaceModels", Counted)
    monkeypatch.setattr(landmarks, "_idle", defaultdict(list))
    return made


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_threads_give_the_same_scores(faces, scores, built, n_jobs):
    detector = LandmarkDetector(n_jobs=n_jobs)
    np.testing.assert_array_equal(detector.detect(faces[0][:10]), scores[:10])
    assert 1 <= len(built) <= n_jobs


def test_processes_give_the_same_scores_and_measurements(detector, faces, scores, built):
    with joblib.parallel_config("loky", n_jobs=2):
        np.testing.assert_array_equal(detector.detect(faces[0][:10]), scores[:10])
        there = detector.measure(faces[0][:5])
    assert not built  # nothing was computed here
    for column, expected in zip(there, detector.measure(faces[0][:5]), strict=True):
        np.testing.assert_array_equal(column, expected)


def test_faces_score_alone_as_they_do_together(detector, faces, scores):
    alone = np.concatenate([detector.detect([face]) for face in faces[0][:6]])
    np.testing.assert_allclose(alone, scores[:6], atol=2e-6)  # rounded to 6 digits


def test_interpreters_are_built_once_for_all_detectors(faces, built):
    for heads in ("trained", "trained", "blendshape-names"):
        LandmarkDetector(heads=heads).detect(faces[0][:1])
    assert len(built) == 1


def test_a_failure_gives_the_interpreters_back(detector, faces, built, monkeypatch):
    def fail(*_):
        raise ValueError("broken")

    monkeypatch.setattr("adafer.aus.landmarks.find_face", fail)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            detector.detect(faces[0][:2])
    assert len(built) == 1


def test_what_is_no_picture_is_refused_before_an_interpreter_is_built(detector, faces, built):
    with pytest.raises(TypeError, match=r"images\[1\] must be an array"):
        detector.detect([faces[0][0], None])
    assert len(built) == 0


def test_copies_and_pickles_give_the_same_scores(detector, faces, scores):
    for twin in (copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))):
        assert twin.identity == detector.identity
        np.testing.assert_array_equal(twin.detect(faces[0][:2]), scores[:2])
    assert len(pickle.dumps(detector)) < 150_000  # weights of the heads, no networks


def test_the_detector_keeps_the_protocol(detector):
    assert isinstance(detector, AUDetector)
    assert list(detector.au_names) == sorted(set(detector.au_names))
    assert detector.identity != LandmarkDetector(min_presence=0.7).identity
    assert "n_jobs=None" in repr(detector)


# The model file


def test_another_file_is_refused_unless_its_hash_is_given(tmp_path, faces, scores):
    other = tmp_path / "other.task"
    shutil.copy(MODEL, other)
    LandmarkDetector(other)  # the same bytes elsewhere
    other.write_bytes(other.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"SHA-256.*expected 64184e22.*damaged or another"):
        LandmarkDetector(other)
    digest = LandmarkDetector(other, sha256=None)._digest
    detector = LandmarkDetector(other, sha256=digest.upper())
    assert detector.identity != LandmarkDetector().identity
    np.testing.assert_array_equal(detector.detect(faces[0][:1]), scores[:1])


def test_missing_and_unusable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.task' cannot be read\. Check model_path"):
        LandmarkDetector(tmp_path / "none.task")
    image = [np.zeros((8, 8, 3), np.uint8)]
    (tmp_path / "no.task").write_bytes(b"no zip file")
    with pytest.raises(ValueError, match="Expected a zip file with face_detector"):
        LandmarkDetector(tmp_path / "no.task", sha256=None).detect(image)
    with zipfile.ZipFile(tmp_path / "part.task", "w") as archive:
        archive.writestr("face_detector.tflite", b"")
    with pytest.raises(ValueError, match="cannot be used"):
        LandmarkDetector(tmp_path / "part.task", sha256=None).detect(image)


def test_a_file_changed_after_the_check_is_refused(tmp_path):
    path = tmp_path / "model.task"
    shutil.copy(MODEL, path)
    detector = LandmarkDetector(path)
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="SHA-256"):
        detector.detect([np.zeros((8, 8, 3), np.uint8)])


def test_without_litert_the_error_says_what_to_install(monkeypatch, built):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    detector = LandmarkDetector()
    with pytest.raises(ImportError, match=r'"pip install ai-edge-litert".*au_src'):
        detector.detect([np.zeros((8, 8, 3), np.uint8)])


def test_importing_takes_neither_torch_nor_litert():
    code = (
        "import sys, adafer.aus\n"
        "print([name for name in sys.modules if name in ('torch', 'ai_edge_litert')])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_licence_travels_with_the_model():
    folder = files("adafer.aus").joinpath("models")
    assert "Apache License" in folder.joinpath("LICENSE-APACHE-2.0").read_text()
    assert _face_models.MODEL_SHA256 in folder.joinpath("NOTICE").read_text()


# Geometry


def slow_cut(image, region, size, replicate):
    """Bilinear samples, one pixel at a time."""
    height, width = image.shape[:2]
    crop = np.zeros((size, size, 3))

    def pixel(x, y):
        if replicate:
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        return image[y, x].astype(float)

    for v in range(size):
        for u in range(size):
            du, dv = (np.array([u, v]) + 0.5 - size / 2) * region.side / size
            x = region.x + np.cos(region.angle) * du - np.sin(region.angle) * dv
            y = region.y + np.sin(region.angle) * du + np.cos(region.angle) * dv
            if not replicate and not (0 <= x < width and 0 <= y < height):
                continue
            x, y = x - 0.5, y - 0.5
            left, top = int(np.floor(x)), int(np.floor(y))
            if not replicate:  # the border's pixels end half a pixel beyond their centres
                x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
                left, top = min(int(x), width - 2), min(int(y), height - 2)
            fx, fy = x - left, y - top
            crop[v, u] = (
                pixel(left, top) * (1 - fx) * (1 - fy)
                + pixel(left + 1, top) * fx * (1 - fy)
                + pixel(left, top + 1) * (1 - fx) * fy
                + pixel(left + 1, top + 1) * fx * fy
            )
    return crop


@pytest.mark.parametrize("replicate", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_cut_regions_equal_those_of_a_slow_version(seed, replicate):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((30, 24)))
    region = Region(*rng.uniform(0, 25, 2), rng.uniform(10, 45), rng.uniform(-3, 3))
    crop, to_image = cut_region(image, region, 32, replicate=replicate)
    slow = slow_cut(image, region, 32, replicate)
    assert np.abs(crop - slow).max() < 2
    np.testing.assert_allclose(to_image @ [16, 16, 1], [region.x, region.y])


def test_cutting_far_down_averages_pixels():
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 250
    crop, _ = cut_region(stripes, Region(300, 300, 500, 0.3), 64)
    assert np.abs(crop.astype(int) - 125).max() < 40  # single samples: 125


def test_cutting_far_down_keeps_its_place():
    image = np.zeros((500, 700, 3), np.uint8)
    image[200:260, 400:480] = 255  # centre (440, 230)
    for angle in (0.0, 0.7):
        crop, to_image = cut_region(image, Region(400, 250, 640, angle), 64)
        v, u = np.nonzero(crop[..., 0] > 127)
        centre = to_image @ [u.mean() + 0.5, v.mean() + 0.5, 1]
        np.testing.assert_allclose(centre, [440, 230], atol=6)


def test_parts_of_a_picture_are_reduced_once_and_are_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (120, 150, 3), dtype=np.uint8)
    picture = Picture(pixels)
    regions = [Region(75, 60, 190, angle) for angle in (0.0, 0.5, 1.0)]  # all of it
    regions += [Region(50, 50, 60, 0.2), Region(60, 50, 100), *regions]
    reduced = []
    reduce = Image.Image.reduce
    cut = [[cut_region(pixels, region, size)[0] for region in regions] for size in (16, 32)]

    def counted(image, factor):
        reduced.append(factor)
        return reduce(image, factor)

    monkeypatch.setattr(Image.Image, "reduce", counted)
    for size, expected in zip((16, 32), cut, strict=True):
        for region, crop in zip(regions, expected, strict=True):
            np.testing.assert_array_equal(cut_region(picture, region, size)[0], crop)
    assert sorted(reduced) == [3, 3, 5, 6, 11]


@pytest.mark.parametrize("region", [Region(-500, -500, 20), Region(900, 3, 20, 1), Region(5, 5, 1)])
def test_regions_beside_the_picture_can_be_cut(region):
    image = np.full((10, 12, 3), 9, np.uint8)
    assert (cut_region(image, region, 16)[0] == 9).all()


def test_the_region_around_turned_landmarks_is_turned():
    rng = np.random.default_rng(0)
    upright = np.vstack([rng.uniform(-10, 10, (476, 2)), [[-10, -14], [10, 14]]])
    upright[33], upright[263] = (-6, -3), (6, -3)
    for angle in (-2.0, 0.0, 0.4):
        cos, sin = np.cos(angle), np.sin(angle)
        turned = upright @ np.array([[cos, sin], [-sin, cos]]) + [50, 70]
        region = region_around(turned)
        np.testing.assert_allclose(region, [50, 70, 42, angle], atol=1e-9)


def slow_boxes(regressors, logits):
    """Faces one by one, after the description of the short-range detector."""
    anchors = []
    for cells, count in ((16, 2), (8, 6)):
        for row in range(cells):
            for column in range(cells):
                anchors += [((column + 0.5) / cells, (row + 0.5) / cells)] * count
    boxes = []
    for values, logit, (x, y) in zip(regressors, logits, anchors, strict=True):
        score = 1 / (1 + np.exp(-float(logit)))
        if score >= 0.5:
            box = values.astype(float) / 128
            box[0::2] += x
            box[1::2] += y
            box[2:4] -= x, y
            boxes.append((score, box))
    boxes.sort(key=lambda pair: -pair[0])

    def overlap(a, b):
        sides = [
            min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2)
            - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2)
            for i in (0, 1)
        ]
        both = max(sides[0], 0) * max(sides[1], 0)
        return both / (a[2] * a[3] + b[2] * b[3] - both)

    found = []
    while boxes:
        same = [pair for pair in boxes if overlap(boxes[0][1], pair[1]) > 0.3]
        boxes = [pair for pair in boxes if not overlap(boxes[0][1], pair[1]) > 0.3]
        weights = sum(score for score, _ in same)
        found.append(sum(score * box for score, box in same) / weights)
    return sorted(found, key=lambda box: -box[2] * box[3])


@pytest.mark.parametrize("seed", range(3))
def test_boxes_equal_those_of_a_slow_version(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(-3, 1, 896).astype(np.float32)
    logits[rng.choice(896, 40, replace=False)] = rng.uniform(0.5, 4, 40)
    regressors = rng.normal(0, 12, (896, 16)).astype(np.float32)
    regressors[:, 2:4] = rng.uniform(10, 60, (896, 2))
    boxes = decode_boxes(regressors, logits)
    np.testing.assert_allclose(boxes, slow_boxes(regressors, logits), rtol=1e-5)


def test_no_box_is_no_face():
    assert decode_boxes(np.zeros((896, 16), np.float32), np.full(896, -9, np.float32)).shape == (
        0,
        16,
    )
    models = FaceModels(MODEL.read_bytes())
    assert models.largest_face(np.zeros((90, 120, 3), np.uint8)) is None


def test_the_face_detector_knows_where_a_face_is(faces):
    models = FaceModels(MODEL.read_bytes())
    region = models.largest_face(on_canvas(faces[0][0], 480, 640, 160, 400, 100))
    assert abs(region.x - 480) < 30
    assert abs(region.y - 180) < 40
    assert 80 < region.side < 260
