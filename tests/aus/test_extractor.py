"""AUExtractor: scikit-learn's conventions, and each picture scored once."""

import pickle
import re
import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError

from adafer import AUExtractor
from adafer.aus import LandmarkDetector, extractor
from adafer.aus.facs import binarize, fit_thresholds
from adafer.datasets import load_facs_faces
from adafer.faces import FaceReadError, check_faces


class Means:
    """Scores the mean of each colour; black pictures show no face."""

    au_names = ("AU01", "AU12", "AU25")
    identity = "means"

    def __init__(self):
        self.seen = 0

    def detect(self, images):
        self.seen += len(images)
        scores = np.array([image.mean(axis=(0, 1)) / 255 for image in images], dtype=np.float32)
        scores[scores.sum(axis=1) == 0, 0] = np.nan
        return scores


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    colours = rng.integers(1, 256, (20, 1, 1, 3), dtype=np.uint8)
    colours[[3, 11]] = 0
    return np.broadcast_to(colours, (20, 6, 5, 3))


def expected_scores(X):
    scores = X[:, 0, 0].astype(np.float32) / 255
    scores[[3, 11]] = np.nan
    return scores


def test_scores_come_in_order_with_nan_rows_for_missing_faces(X):
    extractor = AUExtractor(Means()).fit(X)
    np.testing.assert_allclose(extractor.transform(X), expected_scores(X), rtol=1e-6)
    assert extractor.n_faces_missing_ == 2
    assert extractor.au_names_ == ["AU01", "AU12", "AU25"]
    assert extractor.n_features_out_ == 3
    np.testing.assert_allclose(extractor.thresholds_, fit_thresholds(expected_scores(X)), rtol=1e-6)


def test_codes_keep_missing_faces_as_nan(X):
    extractor = AUExtractor(Means(), output="codes", threshold=0.5)
    codes = extractor.fit_transform(X)
    expected = binarize(expected_scores(X), [0.5] * 3).astype(float)
    expected[[3, 11]] = np.nan
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(extractor.transform(X), expected)


def test_fit_transform_scores_each_picture_once(X):
    detector = Means()
    first = AUExtractor(detector).fit_transform(X)
    assert detector.seen == len(X)
    np.testing.assert_array_equal(first, AUExtractor(Means()).fit(X).transform(X))


@pytest.mark.parametrize("form", ["array", "list", "paths", "series", "float"])
def test_every_form_of_pictures_is_taken(X, tmp_path, form):
    paths = [tmp_path / f"{i:02d}.png" for i in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray(np.ascontiguousarray(image)).save(path)
    forms = {
        "array": X, "list": list(X), "paths": paths, "series": pd.Series(paths), "float": X / 255,
    }  # fmt: skip
    scores = AUExtractor(Means()).fit_transform(forms[form])
    np.testing.assert_allclose(scores, expected_scores(X), rtol=1e-6)


def test_scores_can_be_had_before_fit_and_fitted_later(X):
    detector = Means()
    extractor = AUExtractor(detector, quantile=0.4)
    scores = np.concatenate([extractor.score_faces(list(X[:9])), extractor.score_faces(X[9:])])
    with pytest.raises(NotFittedError):
        extractor.transform(X)
    assert extractor.fit_scores(scores) is extractor
    assert detector.seen == len(X)
    whole = AUExtractor(Means(), quantile=0.4).fit(X)
    np.testing.assert_array_equal(extractor.thresholds_, whole.thresholds_)
    assert extractor.n_faces_missing_ == whole.n_faces_missing_ == 2


def test_scores_of_other_columns_are_refused(X):
    with pytest.raises(ValueError, match=r"one column per AU of the detector, 3: \['AU01'"):
        AUExtractor(Means()).fit_scores(np.zeros((4, 2)))


def test_no_face_at_all_is_an_error_and_few_faces_a_warning(X):
    with pytest.raises(ValueError, match="No face was found in any of the 4 pictures"):
        AUExtractor(Means()).fit(np.zeros((4, 6, 5, 3), np.uint8))
    mostly_black = X.copy()
    mostly_black[:12] = 0
    with pytest.warns(UserWarning, match="No face was found in 12 of 20 pictures"):
        AUExtractor(Means()).fit(mostly_black)


def test_unreadable_and_wrong_pictures_are_errors(tmp_path):
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(FaceReadError, match=r"a\.png"):
        AUExtractor(Means()).fit([tmp_path / "a.png"])
    with pytest.raises(ValueError, match="features, not faces"):
        AUExtractor(Means()).fit(np.zeros((5, 4)))


def test_detectors_that_break_the_protocol_are_found(X):
    class Short(Means):
        def detect(self, images):
            return super().detect(images)[:, :2]

    class Intensities(Means):
        def detect(self, images):
            return super().detect(images) * 5

    class Nameless:
        def detect(self, images):
            return np.zeros((len(images), 1))

    for detector, words in ((Short(), "one row per picture"), (Intensities(), "divided by 5"),
                            (Nameless(), "no attribute au_names")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            AUExtractor(detector).fit(X)


@pytest.mark.parametrize(
    "setting",
    [
        {"detector": "other"}, {"detector": object()}, {"threshold": 1.2}, {"threshold": "mean"},
        {"quantile": 1.0}, {"output": "labels"}, {"min_presence": -0.1}, {"n_jobs": 1.5},
        {"model_path": 7}, {"verbose": "loud"}, {"cache": True},
    ],
)  # fmt: skip
def test_bad_parameters_are_named_at_fit(X, setting):
    parameters = {"detector": Means()} | setting
    name = next(iter(setting))
    for fit in ("fit", "fit_transform"):
        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of AUExtractor"):
            getattr(AUExtractor(**parameters), fit)(X)
    with pytest.raises(InvalidParameterError, match=f"'{name}' parameter"):
        AUExtractor(**parameters).fit_scores(np.random.default_rng(0).random((5, 3)))


def test_the_constructor_only_stores():
    detector, path = Means(), "somewhere/else"
    extractor = AUExtractor(detector, model_path=path, threshold="nonsense")
    assert vars(extractor) == extractor.get_params(deep=False)
    assert extractor.get_params()["detector"] is detector
    assert extractor.set_params(quantile=0.9).quantile == 0.9


def test_clones_are_unfitted_and_equal(X):
    extractor = AUExtractor(Means(), output="codes", quantile=0.6).fit(X)
    twin = clone(extractor)
    assert not hasattr(twin, "thresholds_")
    assert not hasattr(twin, "detector_")
    np.testing.assert_array_equal(twin.fit_transform(X), extractor.transform(X))


def test_columns_have_names_in_pandas(X):
    extractor = AUExtractor(Means()).set_output(transform="pandas")
    frame = extractor.fit_transform(X)
    assert list(frame.columns) == list(extractor.get_feature_names_out()) == list(Means.au_names)
    pd.testing.assert_frame_equal(extractor.transform(X), frame)
    with pytest.raises(NotFittedError):
        AUExtractor(Means()).get_feature_names_out()


def test_tags_say_that_input_is_pictures():
    tags = get_tags(AUExtractor())
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.three_d_array
    assert not tags.target_tags.required


def test_aus_are_features_of_a_pipeline(X):
    y = np.where(X[:, 0, 0, 0] > 127, "red", "pale")
    pipeline = make_pipeline(AUExtractor(Means()), SimpleImputer(), LogisticRegression(C=100))
    assert pipeline.fit(X, y).score(X, y) > 0.85
    assert list(pipeline[:-1].get_feature_names_out()) == list(Means.au_names)


def test_verbose_tells_how_far_it_is(X, capsys):
    AUExtractor(Means(), verbose=1).fit(X)
    assert "20 of 20 pictures scored" in capsys.readouterr().out
    AUExtractor(Means()).fit(X)
    assert capsys.readouterr().out == ""


# With a cache


def test_a_second_run_with_a_cache_detects_nothing_and_scores_are_equal_to_the_bit(X, tmp_path):
    path, detector = tmp_path / "scores.sqlite", Means()
    plain = AUExtractor(Means()).fit_transform(X)
    first = AUExtractor(detector, cache=path).fit_transform(X)
    assert detector.seen == len(X)
    again = Means()
    extractor = AUExtractor(again, cache=str(path)).fit(X)
    second = extractor.transform(X)
    assert again.seen == 0
    assert plain.tobytes() == first.tobytes() == second.tobytes()
    assert extractor.n_faces_missing_ == 2


def test_only_pictures_that_the_cache_does_not_know_are_detected(X, tmp_path):
    detector = Means()
    extractor = AUExtractor(detector, cache=tmp_path / "scores.sqlite")
    extractor.score_faces(list(X[[1, 4, 11]]))
    assert detector.seen == 3
    scores = extractor.score_faces(X)
    unseen = len(X) - len({1, 4, 11, 3})  # pictures 3 and 11 are equal
    assert detector.seen == 3 + unseen
    np.testing.assert_array_equal(scores, AUExtractor(Means()).score_faces(X))


def test_the_cache_tells_detectors_and_columns_apart(X, tmp_path):
    AUExtractor(Means(), cache=tmp_path / "scores.sqlite").fit(X)
    for name, value in (("identity", "other means"), ("au_names", ("AU01", "AU02", "AU04"))):
        other = Means()
        setattr(other, name, value)
        AUExtractor(other, cache=tmp_path / "scores.sqlite").fit(X)
        assert other.seen == len(X)


def test_scores_that_are_refused_are_not_kept(X, tmp_path):
    class Intensities(Means):
        def detect(self, images):
            return super().detect(images) * 5

    with pytest.raises(ValueError, match="divided by 5"):
        AUExtractor(Intensities(), cache=tmp_path / "scores.sqlite").fit(X)
    detector = Means()
    AUExtractor(detector, cache=tmp_path / "scores.sqlite").fit(X)
    assert detector.seen == len(X)


@pytest.mark.parametrize("identity", [None, "", 7])
def test_detectors_without_an_identity_cannot_be_cached(X, tmp_path, identity):
    detector = Means()
    detector.identity = identity
    AUExtractor(detector).fit(X)
    words = f"has identity={identity!r}; with cache, expected a text .* or pass cache=None"
    with pytest.raises(ValueError, match=words):
        AUExtractor(detector, cache=tmp_path / "scores.sqlite").fit(X)
    assert not (tmp_path / "scores.sqlite").exists()


def test_clones_and_pickles_share_the_cache(X, tmp_path):
    extractor = AUExtractor(Means(), cache=tmp_path / "scores.sqlite")
    assert extractor.get_params()["cache"] == tmp_path / "scores.sqlite"
    scores = extractor.fit_transform(X)
    for twin in (clone(extractor).fit(X), pickle.loads(pickle.dumps(extractor))):
        seen = twin.detector_.seen
        assert twin.transform(X).tobytes() == scores.tobytes()
        assert twin.detector_.seen == seen
    without = clone(extractor).set_params(cache=None)
    without.fit(X)
    assert without.detector_.seen == 2 * len(X)


# Reading while scoring


def test_the_next_chunk_is_read_while_one_is_scored(monkeypatch):
    read = threading.Event()
    in_memory = check_faces(np.zeros((3, 4, 4, 3), np.uint8))

    def chunks(size):
        yield np.array([0]), [np.full((4, 4, 3), 51, np.uint8)]
        read.set()
        yield np.array([1, 2]), [np.full((4, 4, 3), 102, np.uint8)] * 2

    class Waiting(Means):
        def detect(self, images):
            assert read.wait(20)  # for ever, if reading waited for scoring
            return super().detect(images)

    monkeypatch.setattr(in_memory, "chunks", chunks)
    scores = AUExtractor(Waiting())._score(in_memory)
    np.testing.assert_allclose(scores[:, 0], [0.2, 0.4, 0.4], rtol=1e-6)


def test_pictures_are_read_in_order_and_errors_come_through(tmp_path, monkeypatch):
    paths = []
    for k in range(5):
        paths.append(tmp_path / f"{k}.png")
        Image.new("RGB", (4, 4), (50 * k, 9 + k, 90 - k)).save(paths[-1])
    monkeypatch.setattr(extractor, "_CHUNK", 2)
    monkeypatch.setattr(extractor, "_CHUNK_PER_WORKER", 1)
    scores = AUExtractor(Means()).fit_transform(paths)
    np.testing.assert_allclose(scores[:, 0], np.arange(5) * 50 / 255, rtol=1e-6)
    paths[3].write_bytes(b"no picture")
    detector = Means()
    with pytest.raises(FaceReadError, match=r"3\.png"):
        AUExtractor(detector).fit(paths)
    assert detector.seen == 2
    assert not any(t.name.startswith("ThreadPool") for t in threading.enumerate())


def test_more_workers_get_more_pictures_at_a_time():
    sizes = []

    class Counting(Means):
        def detect(self, images):
            sizes.append(len(images))
            return super().detect(images)

    X = np.full((200, 2, 2, 3), 9, np.uint8)
    X[0] = 3
    AUExtractor(Counting()).fit(X)
    AUExtractor(Counting(), n_jobs=5).fit(X)
    assert sizes == [128, 72, 160, 40]


# With the landmark detector


@pytest.fixture(scope="module")
def faces():
    return load_facs_faces(domain="wild", split="test").images[::30]


def test_landmarks_are_the_default_and_survive_a_pickle(faces):
    extractor = AUExtractor(output="codes", n_jobs=2).fit(faces)
    assert isinstance(extractor.detector_, LandmarkDetector)
    assert extractor.n_faces_missing_ == 0
    codes = extractor.transform(faces)
    assert set(np.unique(codes)) == {0, 1}
    data = pickle.dumps(extractor)
    assert len(data) < 150_000  # weights of the heads, no networks
    np.testing.assert_array_equal(pickle.loads(data).transform(faces), codes)


def test_landmarks_are_cached_by_model_and_presence(faces, tmp_path):
    path = tmp_path / "scores.sqlite"
    scores = AUExtractor().score_faces(faces[:2])
    assert AUExtractor(cache=path).score_faces(faces[:2]).tobytes() == scores.tobytes()
    cached = AUExtractor(cache=path)
    cached._current_detector().detect = None  # would fail if it were called
    assert cached.score_faces(faces[:2]).tobytes() == scores.tobytes()
    assert np.isnan(AUExtractor(cache=path, min_presence=1.0).score_faces(faces[:2])).all()


def test_parameters_reach_the_landmark_detector(faces, tmp_path):
    extractor = AUExtractor(min_presence=1.0)
    assert np.isnan(extractor.score_faces(faces[:2])).all()
    before = extractor.detector_
    assert extractor.score_faces(faces[:1]) is not None
    assert extractor.detector_ is before  # built once
    extractor.set_params(min_presence=0.5)
    assert not np.isnan(extractor.score_faces(faces[:2])).any()  # and again when it must be
    with pytest.raises(FileNotFoundError, match=re.escape("none.task")):
        AUExtractor(model_path=tmp_path / "none.task").fit(faces[:2])
