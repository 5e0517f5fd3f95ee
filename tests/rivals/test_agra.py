"""AGRA: points and clusters."""

import numpy as np
import pytest

from adafer.rivals import AGRAClassifier


def make(**options):
    training = {
        "epochs": 2,
        "hidden_units": 64,
        "batch_size": 32,
        "learning_rate": 0.003,
        "random_state": 0,
        "device": "cpu",
    }
    return AGRAClassifier(**(training | options))


def on_faces(**options):
    return make(**({"backbone": "convnet", "image_size": 24, "epochs": 1} | options))


def test_points_are_taken_in_fit_and_predict(face_problem):
    p = face_problem
    rng = np.random.default_rng(0)
    of_source, of_target = (rng.random((len(p[name]), 5, 2)) for name in ("X", "X_tgt"))
    plain = on_faces().fit(p["X"], p["y"], p["X_tgt"])
    given = on_faces().fit(
        p["X"], p["y"], (p["X_tgt"],), points_src=of_source, points_tgt=(of_target,)
    )
    found = [
        plain.predict_proba(p["X_tgt"]),
        plain.predict_proba(p["X_tgt"], points=of_target),
        given.predict_proba(p["X_tgt"], points=of_target),
    ]
    assert (found[0] != found[1]).any()
    assert (found[1] != found[2]).any()
    nowhere = np.full_like(of_target, np.nan)
    for name in ("predict", "predict_proba", "transform"):
        call = getattr(plain, name)
        np.testing.assert_array_equal(call(p["X_tgt"], points=nowhere), call(p["X_tgt"]))
    truth = plain.predict(p["X_tgt"], points=of_target)
    assert plain.score(p["X_tgt"], truth, points=of_target) == 1


def test_points_of_unreadable_pictures_are_left_out(face_problem, tmp_path, monkeypatch):
    from PIL import Image

    from adafer.deep import graphs

    p = face_problem
    paths = []
    for i, face in enumerate(p["X"]):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(face).save(paths[-1])
    paths[5].write_bytes(b"no picture")
    points = np.tile(np.arange(len(paths))[:, None, None] / len(paths), (1, 5, 2))
    seen = []
    plain = graphs.GraphFeed.__init__

    def watched(self, parts, given, *more):
        seen.append(given[0])
        plain(self, parts, given, *more)

    monkeypatch.setattr(graphs.GraphFeed, "__init__", watched)
    on_faces(on_error="skip", epochs=1).fit(paths, p["y"], points_src=points)
    np.testing.assert_array_equal(seen[0], np.delete(points, 5, axis=0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"points_src": np.zeros((3, 5, 2))},
            r"points_src has shape \(3, 5, 2\); expected \(48, 5",
        ),
        ({"points_tgt": np.full((40, 5, 2), 12)}, r"points_tgt has values from 12 to 12; expected"),
        ({"X_tgt": None, "points_tgt": np.zeros((40, 5, 2))}, "points_tgt was given without X_tgt"),
    ],
)
def test_wrong_points_are_refused(face_problem, change, message):
    p = face_problem
    given = {"X_tgt": p["X_tgt"], **change}
    with pytest.raises(ValueError, match=message):
        on_faces().fit(p["X"], p["y"], **given)


def test_points_need_faces_and_a_network_with_maps(face_problem, feature_problem):
    p, f = face_problem, feature_problem
    with pytest.raises(ValueError, match="points_src was given, but X holds 2-D features"):
        make().fit(f["X"], f["y"], points_src=np.zeros((150, 5, 2)))
    clf = on_faces(backbone="mobilenet_v3_small", image_size=32)
    with pytest.raises(ValueError, match="'mobilenet_v3_small' has no map to look points up in"):
        clf.fit(p["X"], p["y"], points_src=np.full((48, 5, 2), 0.5))
    fitted = on_faces(epochs=1).fit(p["X"], p["y"])
    with pytest.raises(ValueError, match=r"points has shape \(2,\); expected \(48, 5, 2\)"):
        fitted.predict(p["X"], points=[1, 2])


def test_clusters_are_found_before_the_joint_stage_and_follow_it(face_problem):
    p = face_problem
    alone = on_faces().fit(p["X"], p["y"]).network_
    assert alone.has_means == 0
    clf = on_faces(n_clusters=3).fit(p["X"], p["y"], p["X_tgt"])
    assert clf.network_.has_means == 1
    assert clf.network_.means.shape == (2, 3, 6 * 64)
    still = on_faces(n_clusters=3, mean_momentum=0.0)
    still.fit(p["X"], p["y"], p["X_tgt"])
    assert (clf.network_.means - still.network_.means).abs().max() > 1e-3
    assert (clf.network_.means[0] - clf.network_.means[1]).abs().max() > 1e-3


def test_equal_faces_make_one_cluster(feature_problem):
    p = feature_problem
    clf = make().fit(p["X"], p["y"], np.tile(p["X_tgt"][:1], (9, 1)))
    assert np.isfinite(clf.predict_proba(p["X_tgt"])).all()
