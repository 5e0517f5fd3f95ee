"""AU heads: alignment and scores against slow versions, files, faults."""

import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.spatial.transform import Rotation

from adafer.aus import AUExtractor, LandmarkDetector
from adafer.aus.appearance import gradient_histograms
from adafer.aus.heads import NameHeads, TrainedHeads, load_heads, look_at
from adafer.aus.measurements import (
    BLENDSHAPE_NAMES,
    MOVEMENTS,
    Measurements,
    align_points,
    average_sides,
    blendshape_features,
    landmark_features,
)


def draw_measurements(n, seed=0):
    rng = np.random.default_rng(seed)
    return Measurements(
        points=rng.normal(0, 40, (n, 478, 3)),
        blendshapes=rng.random((n, 52)).astype(np.float32),
        faces=rng.integers(0, 256, (n, 64, 64), dtype=np.uint8),
        presence=np.ones(n),
    )


def draw_heads(au_names=("AU01", "AU09"), seed=0):
    rng = np.random.default_rng(seed)
    n = len(au_names)

    def draw(*shape):
        return rng.normal(0, 1, shape).astype(np.float32)

    reference = draw(478, 3)
    return TrainedHeads(
        au_names=tuple(au_names),
        reference=reference / np.linalg.norm(reference),
        mirror=rng.permutation(478),
        landmarks=draw(957, n),
        blendshapes=draw(len(MOVEMENTS) + 1, n),
        appearance=draw(577, n),
        named=np.stack(
            [[2.0 if au != "AU09" else 0.0 for au in au_names], np.full(n, -0.5)]
        ).astype(np.float32),
        calibration=draw(2, n),
    )


# What is computed from the measurements


def test_aligning_undoes_place_size_and_rotation():
    rng = np.random.default_rng(0)
    shape = rng.normal(0, 1, (30, 3))
    shape -= shape.mean(axis=0)
    shape /= np.linalg.norm(shape)
    turns = Rotation.random(20, random_state=1).as_matrix()
    moved = 50 * rng.uniform(0.2, 3, (20, 1, 1)) * (shape @ turns) + rng.normal(0, 99, (20, 1, 3))
    np.testing.assert_allclose(align_points(moved, shape), np.repeat(shape[None], 20, 0), atol=1e-9)


def test_aligning_equals_the_best_rotation_found_otherwise():
    rng = np.random.default_rng(2)
    faces, reference = rng.normal(0, 1, (8, 12, 3)), rng.normal(0, 1, (12, 3))
    reference -= reference.mean(axis=0)
    for face, aligned in zip(faces, align_points(faces, reference), strict=True):
        centred = face - face.mean(axis=0)
        centred /= np.linalg.norm(centred)
        best, _ = Rotation.align_vectors(reference, centred)
        np.testing.assert_allclose(aligned, best.apply(centred), atol=1e-9)


def test_a_mirror_image_is_not_turned_into_the_face():
    face = np.random.default_rng(3).normal(0, 1, (10, 3))
    face -= face.mean(axis=0)
    face /= np.linalg.norm(face)
    assert np.abs(align_points(face[None] * [-1, 1, 1], face)[0] - face).max() > 0.05


def test_landmark_features_do_not_tell_left_from_right():
    heads = load_heads("trained")
    rng = np.random.default_rng(4)
    points = 80 * (heads.reference + rng.normal(0, 0.003, (5, 478, 3)))
    mirrored = points[:, heads.mirror] * [-1, 1, 1]
    features = landmark_features(points, heads.reference, heads.mirror)
    assert features.shape == (5, 956)
    np.testing.assert_allclose(
        features, landmark_features(mirrored, heads.reference, heads.mirror), atol=1e-6
    )
    assert features.std(axis=0).max() > 1e-4


def test_movements_are_means_of_both_sides():
    values = np.random.default_rng(5).random((4, 52))
    movements = average_sides(values)
    at = BLENDSHAPE_NAMES.index
    both = (values[:, at("mouthSmileLeft")] + values[:, at("mouthSmileRight")]) / 2
    np.testing.assert_allclose(movements[:, MOVEMENTS.index("mouthSmile")], both)
    np.testing.assert_allclose(movements[:, MOVEMENTS.index("jawOpen")], values[:, at("jawOpen")])
    np.testing.assert_allclose(blendshape_features(values) ** 2, movements)


# Heads by name


def test_heads_by_name_take_the_blendshape_of_the_name():
    measured = draw_measurements(6)
    measured.points[:, [13, 14, 33, 263]] = [[0, 10, 0], [0, 13, 9], [-15, 0, 0], [15, 0, 5]]
    scores = dict(zip(NameHeads.au_names, NameHeads().scores(measured).T, strict=True))
    values = dict(zip(BLENDSHAPE_NAMES, measured.blendshapes.T, strict=True))
    np.testing.assert_allclose(scores["AU01"], values["browInnerUp"], rtol=1e-6)
    for au, movement in (("AU07", "eyeSquint"), ("AU12", "mouthSmile"), ("AU43", "eyeBlink")):
        mean = (values[f"{movement}Left"] + values[f"{movement}Right"]) / 2
        np.testing.assert_allclose(scores[au], mean, rtol=1e-6)
    np.testing.assert_allclose(scores["AU06"], np.sqrt(scores["AU07"] * scores["AU12"]), rtol=1e-5)
    np.testing.assert_allclose(scores["AU25"], 3 / (30 / 3), rtol=1e-6)  # depth does not count
    assert {score.dtype for score in scores.values()} == {np.dtype(np.float32)}


# Trained heads


def test_scores_equal_a_slow_version():
    heads, measured = draw_heads(), draw_measurements(7)
    scores = heads.scores(measured)
    assert scores.dtype == np.float32
    by_name = NameHeads().scores(measured)[:, NameHeads.au_names.index("AU01")]
    for row in range(7):
        one = measured.rows(slice(row, row + 1))
        features = [
            landmark_features(one.points, heads.reference, heads.mirror)[0],
            blendshape_features(one.blendshapes)[0],
            gradient_histograms(one.faces)[0],
        ]
        for column, au in enumerate(heads.au_names):
            opinions = [
                float(np.append(view, 1.0) @ weights[:, column].astype(float))
                for view, weights in zip(
                    features, (heads.landmarks, heads.blendshapes, heads.appearance), strict=True
                )
            ]
            if au == "AU01":
                opinions.append(2.0 * float(by_name[row]) - 0.5)
            slope, constant = heads.calibration[:, column].astype(float)
            expected = 1 / (1 + np.exp(-(slope * np.mean(opinions) + constant)))
            assert scores[row, column] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_a_face_scores_the_same_alone_and_among_others():
    heads, measured = load_heads("trained"), draw_measurements(9)
    together = heads.scores(measured)
    alone = np.concatenate([heads.scores(measured.rows(slice(i, i + 1))) for i in range(9)])
    np.testing.assert_array_equal(together, alone)


def test_views_have_an_opinion_each_and_none_by_a_name_that_is_not_there():
    heads, measured = draw_heads(), draw_measurements(3)
    views = look_at(measured, heads.au_names, heads.reference, heads.mirror)
    opinions = heads.opinions(views)
    assert opinions.shape == (4, 3, 2)
    assert np.isnan(opinions[3, :, 1]).all()
    assert np.isfinite(opinions[:3]).all()
    assert np.isfinite(opinions[3, :, 0]).all()


def test_files_keep_heads_to_the_bit(tmp_path):
    heads, measured = draw_heads(), draw_measurements(3)
    heads.save(tmp_path / "heads.safetensors")
    again = TrainedHeads.load(tmp_path / "heads.safetensors")
    assert again.identity == heads.identity
    assert again.au_names == heads.au_names
    np.testing.assert_array_equal(again.scores(measured), heads.scores(measured))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heads.safetensors"]


@pytest.mark.parametrize("part", ["reference", "landmarks", "appearance", "named", "calibration"])
def test_identity_tells_other_weights_apart(part):
    heads, other = draw_heads(), draw_heads()
    getattr(other, part).flat[3 % getattr(other, part).size] += 0.25
    assert other.identity != heads.identity


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "heads.safetensors"
    with pytest.raises(FileNotFoundError, match="'trained' or 'blendshape-names'"):
        TrainedHeads.load(path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match="no AU heads of this version"):
        TrainedHeads.load(path)
    draw_heads().save(path)
    arrays = load_file(path)
    meta = {"format": "1", "au_names": json.dumps(["AU01", "AU09"])}
    for broken, named, message in (
        ({**arrays, "landmarks": arrays["landmarks"][:9]}, meta, "landmarks has shape"),
        ({**arrays, "named": arrays["named"] * np.nan}, meta, "named holds NaN"),
        ({**arrays, "mirror": arrays["mirror"] * 0}, meta, "no permutation"),
        (arrays, {**meta, "format": "9"}, "format is '9'"),
        (arrays, {**meta, "au_names": "[1]"}, "no AU heads"),
        ({"calibration": arrays["calibration"]}, meta, "missing"),
    ):
        save_file(broken, path, metadata=named)
        with pytest.raises(ValueError, match=message):
            TrainedHeads.load(path)


def test_own_heads_serve_detector_and_extractor(tmp_path):
    path = tmp_path / "mine.safetensors"
    heads = draw_heads()
    heads.save(path)
    detector = LandmarkDetector(heads=path)
    assert detector.au_names == ("AU01", "AU09")
    assert heads.identity in detector.identity
    assert pickle.loads(pickle.dumps(detector)).identity == detector.identity
    assert detector.identity != LandmarkDetector().identity
    assert LandmarkDetector(heads="blendshape-names").au_names == NameHeads.au_names
    extractor = AUExtractor(heads="blendshape-names")
    assert extractor._current_detector().au_names == NameHeads.au_names
    extractor.set_params(heads="trained")
    assert extractor._current_detector().au_names == load_heads("trained").au_names


def test_no_heads_of_a_wrong_name():
    with pytest.raises(FileNotFoundError, match="no AU heads at 'trainde'"):
        LandmarkDetector(heads="trainde")
