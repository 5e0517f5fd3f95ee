"""py-feat behind AUExtractor, played by a stand-in with its interface."""

import pickle
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from adafer import AUExtractor
from adafer.aus import AUDetector, PyFeatDetector

AUS = PyFeatDetector.au_names


class StandIn:
    """Finds a face of 8 x 8 pixels at each place where red is at its largest.

    AU01 is the green there, all others the blue.
    """

    made: list[dict] = []
    calls: list[dict] = []

    def __init__(self, **settings):
        self.made.append(settings)
        warnings.warn("no head pose", stacklevel=1)

    def detect(self, inputs, data_type="image", batch_size=1, face_detection_threshold=0.5,
               progress_bar=True):  # fmt: skip
        assert data_type == "tensor"
        assert inputs.dtype == torch.uint8
        assert inputs.shape[1] == 3
        self.calls.append({"shape": tuple(inputs.shape), "threshold": face_detection_threshold,
                           "batch_size": batch_size})  # fmt: skip
        print("progress", file=sys.stderr)
        rows = []
        for frame, (red, green, blue) in enumerate(inputs.numpy()):
            sizes = red[red >= 200]
            for size in sizes.tolist():
                at = np.argwhere(red == size)[0]
                box = {"FaceRectWidth": float(size - 190), "FaceRectHeight": 10.0}
                aus = dict.fromkeys(AUS, blue[tuple(at)] / 255) | {"AU01": green[tuple(at)] / 255}
                rows.append(box | aus | {"frame": frame, "input": "tensor"})
            if not len(sizes):
                # older versions fill AUs although there is no box
                empty = dict.fromkeys(("FaceRectWidth", "FaceRectHeight"), np.nan)
                rows.append(empty | dict.fromkeys(AUS, 0.3) | {"frame": frame, "input": "tensor"})
        return pd.DataFrame(rows)


@pytest.fixture
def feat(monkeypatch):
    module = types.ModuleType("feat")
    module.Detectorv1, module.__version__ = StandIn, "2.9"
    monkeypatch.setitem(sys.modules, "feat", module)
    monkeypatch.setattr(StandIn, "made", [])
    monkeypatch.setattr(StandIn, "calls", [])
    return module


def picture(*faces, height=20, width=30):
    image = np.zeros((height, width, 3), np.uint8)
    for place, face in enumerate(faces):
        image[2, 3 * place] = face
    return image


def test_scores_come_in_the_order_of_the_pictures_whatever_their_sizes(feat):
    greens = [10, 20, 30, 40, 50]
    images = [
        picture((200, green, 51), height=20 + 5 * (green % 20)) for green in greens
    ]  # two sizes, mixed
    scores = PyFeatDetector().detect(images)
    assert scores.shape == (5, 20)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[:, 0], np.array(greens) / 255, rtol=1e-6)
    np.testing.assert_allclose(scores[:, 1:], 51 / 255, rtol=1e-6)
    assert sorted(call["shape"][0] for call in feat.Detectorv1.calls) == [2, 3]


def test_the_largest_of_several_faces_counts(feat):
    small, large = (201, 100, 0), (250, 200, 0)
    for faces in ((small, large), (large, small)):
        scores = PyFeatDetector().detect([picture(small), picture(*faces)])
        np.testing.assert_allclose(scores[:, 0], [100 / 255, 200 / 255], rtol=1e-6)


def test_pictures_without_a_face_are_nan_rows(feat):
    scores = PyFeatDetector().detect([picture(), picture((200, 9, 9)), picture()])
    assert np.isnan(scores).all(axis=1).tolist() == [True, False, True]
    assert PyFeatDetector().detect([]).shape == (0, 20)


def test_large_pictures_are_shrunk(feat):
    image = np.full((200, 400, 3), 210, np.uint8)
    assert not np.isnan(PyFeatDetector(max_side=100).detect([image])).any()
    assert feat.Detectorv1.calls[0]["shape"] == (1, 3, 50, 100)


def test_settings_reach_pyfeat_and_only_aus_are_computed(feat, capsys):
    detector = PyFeatDetector("svm", min_confidence=0.8, batch_size=3, device="cuda")
    assert feat.Detectorv1.made == []  # models are loaded when first needed
    detector.detect([picture()])
    detector.detect([picture()])
    (made,) = feat.Detectorv1.made
    assert made["au_model"] == "svm"
    assert made["device"] == "cuda"
    assert [name for name, model in made.items() if model is None] == [
        "emotion_model", "identity_model", "gaze_model"
    ]  # fmt: skip
    assert feat.Detectorv1.calls[0]["threshold"] == 0.8
    assert feat.Detectorv1.calls[0]["batch_size"] == 3
    assert capsys.readouterr().err == ""


def test_the_identity_names_all_that_changes_scores(feat):
    settings = [{}, {"au_model": "svm"}, {"face_model": "img2pose"}, {"min_confidence": 0.6},
                {"landmark_model": "pfld"}, {"max_side": 64}]  # fmt: skip
    names = [PyFeatDetector(**setting).identity for setting in settings]
    feat.__version__ = "3.0"
    names.append(PyFeatDetector().identity)
    assert len(set(names)) == len(settings) + 1
    assert PyFeatDetector(device="cuda", batch_size=2).identity == names[-1]


def test_the_extractor_runs_pyfeat_by_name(feat, tmp_path):
    images = [picture((200, green, 255 - green)) for green in (10, 200, 90)] + [picture()]
    extractor = AUExtractor("py-feat", min_presence=0.7, cache=tmp_path / "scores").fit(images)
    assert isinstance(extractor.detector_, PyFeatDetector)
    assert isinstance(extractor.detector_, AUDetector)
    assert extractor.au_names_ == list(AUS)
    assert extractor.n_faces_missing_ == 1
    assert {call["threshold"] for call in feat.Detectorv1.calls} == {0.7}
    calls = len(feat.Detectorv1.calls)
    scores = extractor.transform(images)
    assert len(feat.Detectorv1.calls) == calls  # all came from the cache
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(extractor)).transform(images), scores)


def test_pickles_leave_the_models_out(feat):
    detector = PyFeatDetector(max_side=99)
    detector.detect([picture()])
    twin = pickle.loads(pickle.dumps(detector))
    assert twin.max_side == 99
    twin.detect([picture()])
    assert len(feat.Detectorv1.made) == 2


def test_a_missing_or_old_package_is_told_before_pictures_are_read(monkeypatch, tmp_path):
    words = r'pip install "py-feat>=2\.0".*adafer\.aus\.read_pyfeat'
    monkeypatch.setitem(sys.modules, "feat", None)
    with pytest.raises(ImportError, match=words):
        PyFeatDetector()
    broken = tmp_path / "a.png"
    broken.write_bytes(b"broken")
    with pytest.raises(ImportError, match=words):
        AUExtractor("py-feat").fit([broken])
    old = types.ModuleType("feat")
    old.__version__ = "0.6.2"
    monkeypatch.setitem(sys.modules, "feat", old)
    with pytest.raises(ImportError, match=r"feat 0\.6\.2, expected py-feat 2\.0 or newer"):
        PyFeatDetector()


def test_a_table_without_the_aus_is_refused(feat, monkeypatch):
    monkeypatch.setattr(
        StandIn, "detect", lambda self, inputs, **_: pd.DataFrame({"frame": [0], "AU01": [0.5]})
    )
    with pytest.raises(ValueError, match=r"py-feat 2\.9 gave a table without FaceRectWidth"):
        PyFeatDetector().detect([picture()])
