import inspect
import json
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_validate

from adafer import (
    AdaFERClassifier,
    AUExtractor,
    AUGuidedAnnotator,
    AUInputClassifier,
    AUQueryClassifier,
    PseudoLabelClassifier,
    SourceOnlyClassifier,
    as_target,
)
from adafer._network_classifier import NetworkClassifier
from adafer.deep.backbones import build_network
from adafer.deep.batches import Feed
from adafer.deep.joint import mixed_rows
from adafer.deep.loop import Trainer
from adafer.deep.pseudo import fit_pseudo_labels
from adafer.persistence import load_model

HARD, SOFT = {"labels": "hard"}, {"labels": "soft"}
METHODS = [
    pytest.param(SourceOnlyClassifier, {}, id="1"),
    pytest.param(AUQueryClassifier, {"threshold": 0.5}, id="2"),
    pytest.param(PseudoLabelClassifier, HARD, id="3"),
    pytest.param(PseudoLabelClassifier, SOFT, id="4"),
    pytest.param(AUInputClassifier, {}, id="5"),
]
CLASSES = [SourceOnlyClassifier, AUQueryClassifier, PseudoLabelClassifier, AUInputClassifier]


def make(method, options=(), **more):
    if method is AUQueryClassifier:
        return method(**dict(options))
    training = {
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 0.01,
        "random_state": 0,
        "device": "cpu",
    }
    return method(**(training | dict(options) | more))


def on_faces(method, options=(), **more):
    return make(method, options, **({"backbone": "convnet", "image_size": 24, "epochs": 2} | more))


def domains(problem, *names):
    return {name: problem[name] for name in names or ("X_tgt", "au_src", "au_tgt")}


def fitted(clf, problem):
    return clf.fit(problem["X"], problem["y"], **domains(problem))


def with_au(clf, au):
    """What predict takes beside X."""
    return {"au": au} if "au" in inspect.signature(clf.predict).parameters else {}


class BarDetector:
    """Scores that need no face: where the bright or dark bar is."""

    au_names = ("AU01", "AU02")
    identity = "bars"
    seen = 0

    def detect(self, images):
        type(self).seen += len(images)
        return np.array(
            [[abs(float(i[a : a + 6].mean()) - 128) / 128 for a in (3, 15)] for i in images],
            dtype=np.float32,
        )


# -------------------------------------------------------------- all of them


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_each_baseline_beats_chance_on_the_target(feature_problem, method, options):
    p = feature_problem
    clf = fitted(make(method, options, epochs=8), p)
    assert clf.score(p["X_tgt"], p["y_tgt"], **with_au(clf, p["au_tgt"])) > 0.45  # chance: 1/3
    proba = clf.predict_proba(p["X_tgt"], **with_au(clf, p["au_tgt"]))
    np.testing.assert_allclose(proba.sum(axis=1), 1)


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_each_baseline_learns_from_faces(face_problem, method, options):
    p = face_problem
    clf = fitted(on_faces(method, options, epochs=4), p)
    assert clf.score(p["X"], p["y"], **with_au(clf, p["au_src"])) > 0.9
    assert clf.transform(p["X"], **with_au(clf, p["au_src"])).dtype == np.float32


@pytest.mark.parametrize("method", CLASSES)
def test_labels_of_the_target_have_no_way_in(method):
    taken = set(inspect.signature(method.fit).parameters)
    assert taken == {"self", "X", "y", "X_tgt", "sample_weight", "au_src", "au_tgt"}


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_one_seed_gives_equal_bits_and_copies_keep_them(face_problem, method, options, tmp_path):
    p = face_problem
    clf = on_faces(method, options)
    first = fitted(clone(clf), p)
    au = with_au(first, p["au_tgt"])
    torch.manual_seed(5)  # what torch drew before must not matter
    joblib.dump(first, tmp_path / "clf.joblib")
    first.save(tmp_path / "model")
    for same in (
        fitted(clone(clf), p),
        pickle.loads(pickle.dumps(first)),
        joblib.load(tmp_path / "clf.joblib"),
        method.load(tmp_path / "model"),
    ):
        assert type(same) is method
        for name in ("predict_proba", "transform", "predict"):
            np.testing.assert_array_equal(
                getattr(same, name)(p["X_tgt"], **au), getattr(first, name)(p["X_tgt"], **au)
            )
        assert same.get_params() == first.get_params()
    if method is not AUQueryClassifier:
        other = fitted(clone(clf).set_params(random_state=1), p)
        assert (
            other.predict_proba(p["X"], **with_au(other, p["au_src"]))
            != first.predict_proba(p["X"], **with_au(first, p["au_src"]))
        ).any()


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_feature_models_are_saved_too(feature_problem, method, options, tmp_path):
    p = feature_problem
    X = pd.DataFrame(p["X"], columns=["a", "b", "c"])
    X_tgt = pd.DataFrame(p["X_tgt"], columns=["a", "b", "c"])
    clf = make(method, options).fit(X, p["y"], X_tgt, **domains(p, "au_src", "au_tgt"))
    clf.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    au = with_au(clf, p["au_tgt"])
    np.testing.assert_array_equal(loaded.predict_proba(X_tgt, **au), clf.predict_proba(X_tgt, **au))
    assert getattr(loaded, "au_names_", "none") == getattr(clf, "au_names_", "none")
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(X_tgt.rename(columns={"a": "z"}), **au)


def test_a_model_of_another_class_is_refused(feature_problem, tmp_path):
    make(SourceOnlyClassifier, epochs=0).fit(feature_problem["X"], feature_problem["y"]).save(
        tmp_path / "model"
    )
    with pytest.raises(ValueError, match=r"holds a SourceOnlyClassifier, expected AUInput"):
        AUInputClassifier.load(tmp_path / "model")
    assert type(load_model(tmp_path / "model")) is SourceOnlyClassifier


@pytest.mark.parametrize(("method", "options"), METHODS[:1] + METHODS[2:4])
def test_methods_without_aus_ignore_them(feature_problem, method, options):
    p = feature_problem
    given = fitted(make(method, options), p)
    without = make(method, options).fit(p["X"], p["y"], p["X_tgt"])
    np.testing.assert_array_equal(
        given.predict_proba(p["X_tgt"]), without.predict_proba(p["X_tgt"])
    )
    with pytest.raises(ValueError, match="au_tgt was given without X_tgt"):
        make(method, options).fit(p["X"], p["y"], au_tgt=p["au_tgt"])


# ------------------------------------------------------------------ #1 and #2


def test_source_only_is_adafer_without_a_target_to_the_bit(feature_problem):
    p = feature_problem
    plain = make(SourceOnlyClassifier).fit(p["X"], p["y"])
    adafer = make(AdaFERClassifier).fit(p["X"], p["y"])
    given = fitted(make(SourceOnlyClassifier), p)
    for other in (adafer, given):
        np.testing.assert_array_equal(
            plain.predict_proba(p["X_tgt"]), other.predict_proba(p["X_tgt"])
        )


def test_source_only_uses_the_target_for_norm_statistics_alone(face_problem):
    p = face_problem
    plain = on_faces(SourceOnlyClassifier).fit(p["X"], p["y"])
    given = fitted(on_faces(SourceOnlyClassifier), p)
    np.testing.assert_array_equal(given.predict_proba(p["X"]), plain.predict_proba(p["X"]))
    on_target = fitted(on_faces(SourceOnlyClassifier, norm_statistics="target"), p)
    for name, weight in plain.network_.named_parameters():
        assert torch.equal(weight, on_target.network_.get_parameter(name)), name
    means = [clf.network_.backbone[1].running_mean for clf in (plain, on_target)]
    assert (means[0] - means[1]).abs().max() > 1e-3


def test_an_unread_target_is_judged_all_the_same(face_problem):
    p = face_problem
    with pytest.raises(ValueError, match="X_tgt has images of 12x24"):
        on_faces(SourceOnlyClassifier).fit(p["X"], p["y"], p["X_tgt"][:, :12])


@pytest.mark.parametrize("backoff", ["prior", "hamming", "near"])
def test_au_query_gives_the_most_frequent_label_of_equal_codes(backoff, tmp_path):
    rng = np.random.default_rng(0)
    y = rng.choice(["joy", "fear", "anger"], 200, p=[0.5, 0.3, 0.2])
    au_src, au_new = rng.random((200, 5)), rng.random((60, 5))
    au_src[au_src[:, 0] > 0.5, 1] = 0.0  # codes that only new faces have
    au_new[7] = np.nan
    clf = AUQueryClassifier(backoff, threshold=0.5).fit(np.zeros((200, 1)), y, au_src=au_src)
    predicted = clf.predict(np.zeros((60, 1)), au=au_new)
    classes, totals = np.unique(y, return_counts=True)
    n_matched = 0
    for scores, label in zip(au_new, predicted, strict=True):
        same = [t for s, t in zip(au_src, y, strict=True) if ((s > 0.5) == (scores > 0.5)).all()]
        if same and not np.isnan(scores).any():
            n_matched += 1
            counts = [(same.count(c), n, c) for c, n in zip(classes, totals, strict=True)]
            assert label == max(counts)[2]
        elif backoff == "prior" or np.isnan(scores).any():
            assert label == "joy"
    assert 10 < n_matched < 55
    assert clf.transform(np.zeros((60, 1)), au=au_new)[7].sum() == 0
    clf.save(tmp_path / "model")
    loaded = AUQueryClassifier.load(tmp_path / "model")
    for name in ("predict", "predict_proba"):
        np.testing.assert_array_equal(
            getattr(loaded, name)(np.zeros((60, 1)), au=au_new),
            getattr(clf, name)(np.zeros((60, 1)), au=au_new),
        )


def test_au_query_backoffs_differ(feature_problem):
    p = feature_problem
    au_src = np.where(p["y"][:, None] == "joy", p["au_src"], np.maximum(p["au_src"], [0, 0, 0, 1]))
    found = [
        AUQueryClassifier(backoff, threshold=0.5)
        .fit(p["X"], p["y"], au_src=au_src)
        .predict_proba(p["X_tgt"], au=p["au_tgt"])
        for backoff in ("prior", "hamming", "near")
    ]
    assert (found[0] != found[1]).any()
    assert (found[1] != found[2]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("counts"), "wrong or missing entry"),
        (lambda t: t.update(counts=t["counts"][1:]), "expected one row per code"),
    ],
)
def test_au_codes_that_do_not_fit_are_refused(feature_problem, tmp_path, change, message):
    from safetensors.numpy import load_file, save_file

    from adafer._files import sha256

    p, folder = feature_problem, tmp_path / "model"
    AUQueryClassifier().fit(p["X"], p["y"], au_src=p["au_src"]).save(folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match="is damaged or belongs to another model"):
        load_model(folder)
    description = json.loads((folder / "model.json").read_text())
    description["sha256"] = sha256(folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match=message):
        load_model(folder)


# ------------------------------------------------------------------ #3 and #4


@pytest.mark.parametrize("norm_statistics", ["trained", "target", "running"])
@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_pseudo_labels_are_the_predictions_of_the_source_model(
    face_problem, labels, norm_statistics
):
    p = face_problem
    options = {"norm_statistics": norm_statistics}
    source = on_faces(SourceOnlyClassifier, **options).fit(p["X"], p["y"], p["X_tgt"])
    clf = on_faces(PseudoLabelClassifier, labels=labels, **options)
    clf.fit(p["X"], p["y"], p["X_tgt"])
    expected = source.predict_proba(p["X_tgt"])
    if labels == "hard":
        expected = (source.predict(p["X_tgt"])[:, None] == source.classes_).astype(float)
    np.testing.assert_allclose(clf.target_labels_, expected, atol=1e-6)
    assert [row["stage"] for row in clf.history_] == ["source"] * 2 + ["joint"] * 2
    assert {"loss", "loss_source", "loss_target"} <= set(clf.history_[-1])
    assert "margin" not in clf.history_[-1]


def test_a_warm_start_labels_by_the_model_of_the_last_fit(face_problem):
    p = face_problem
    clf = on_faces(PseudoLabelClassifier, SOFT, warm_start=True).fit(p["X"], p["y"])
    assert not hasattr(clf, "target_labels_")
    before = clf.predict_proba(p["X_tgt"])
    clf.set_params(source_epochs=0).fit(p["X"], p["y"], p["X_tgt"])
    np.testing.assert_allclose(clf.target_labels_, before, atol=1e-6)


def one_joint_step(problem, *, beta, soft, target_labels):
    """Gradients of the backbone at the first step, the same weights for every call."""
    torch.manual_seed(0)
    network = build_network("convnet", 2, image_size=24)
    device = torch.device("cpu")
    trainer = Trainer(
        network,
        device=device,
        precision="fp32",
        batch_size=1000,
        learning_rate=1e-3,
        learning_rate_decay=0.9,
        weight_decay=0.0,
        augmented=False,
        rng=np.random.default_rng(0),
        verbose=0,
    )
    labels = (problem["y"] == "sad").astype(np.int64)
    feed = Feed([problem["X"], problem["X_tgt"]], device)
    fit_pseudo_labels(trainer, feed, labels, target_labels, 1, soft=soft, beta=beta)
    return torch.cat([weight.grad.flatten() for weight in network.backbone.parameters()])


@pytest.mark.parametrize("soft", [False, True])
def test_the_target_loss_reaches_the_backbone(face_problem, soft):
    p = face_problem
    target_labels = np.tile([0.2, 0.8] if soft else [0.0, 1.0], (len(p["X_tgt"]), 1))
    without, once, twice = (
        one_joint_step(p, beta=beta, soft=soft, target_labels=target_labels) for beta in (0, 1, 2)
    )
    of_target = once - without
    assert torch.isfinite(of_target).all()
    assert of_target.norm() > 1e-3
    torch.testing.assert_close(twice - once, of_target, rtol=1e-2, atol=1e-5)


def test_fine_tuning_moves_the_network_towards_its_hard_labels(face_problem):
    p = face_problem
    agreement = []
    for beta in (0.0, 3.0):
        clf = on_faces(PseudoLabelClassifier, HARD, beta=beta).fit(p["X"], p["y"], p["X_tgt"])
        agreement.append((clf.predict_proba(p["X_tgt"]) * clf.target_labels_).sum(axis=1).mean())
    assert agreement[1] > agreement[0] + 0.02


def test_mixed_rows_hold_each_row_once_with_two_of_the_other_domain():
    rows = mixed_rows(30, 20, np.random.default_rng(0))
    assert rows.shape == (50, 3)
    np.testing.assert_array_equal(rows[:, 0], np.arange(50))
    assert ((rows[:30, 1:] >= 30) & (rows[:30, 1:] < 50)).all()
    assert ((rows[30:, 1:] >= 0) & (rows[30:, 1:] < 30)).all()
    assert len(np.unique(rows[:30, 1:])) > 15


def test_a_joint_epoch_has_as_many_steps_and_pictures_as_adafers(feature_problem, monkeypatch):
    p = feature_problem
    n_steps = []
    epoch = Trainer._epoch

    def count(self, stage, number, model, optimizer, batches, *rest):
        n_steps.append((stage, [len(rows) for rows in batches]))
        return epoch(self, stage, number, model, optimizer, batches, *rest)

    monkeypatch.setattr(Trainer, "_epoch", count)
    annotator = AUGuidedAnnotator(matching="near", n_neighbors=20)
    # the fused recipe leaves some triplets out
    fitted(make(AdaFERClassifier, epochs=1, recipe="paper", annotator=annotator), p)
    fitted(make(PseudoLabelClassifier, epochs=1), p)
    adafer, pseudo = n_steps[:2], n_steps[2:]
    assert adafer == pseudo
    assert pseudo[1] == ("joint", [30] * 9)  # 270 samples in batches of at most 32


# -------------------------------------------------------------------------- #5


def test_image_and_aus_both_count(face_problem):
    p = face_problem
    clf = fitted(on_faces(AUInputClassifier), p)
    base = clf.predict_proba(p["X_tgt"], au=p["au_tgt"])
    assert np.abs(clf.predict_proba(p["X_tgt"], au=p["au_tgt"][::-1]) - base).max() > 0.01
    assert np.abs(clf.predict_proba(p["X_tgt"][::-1], au=p["au_tgt"]) - base).max() > 0.01
    missing = p["au_tgt"].copy()
    missing[3] = np.nan
    found = clf.predict_proba(p["X_tgt"], au=missing)
    assert np.isfinite(found).all()
    mean = np.where(np.isnan(missing), p["au_src"].mean(axis=0), missing)
    np.testing.assert_allclose(found, clf.predict_proba(p["X_tgt"], au=mean), atol=1e-6)


def test_soft_labels_of_the_au_network_are_its_source_models(face_problem):
    p = face_problem
    source = on_faces(AUInputClassifier).fit(p["X"], p["y"], au_src=p["au_src"])
    clf = fitted(on_faces(AUInputClassifier), p)
    np.testing.assert_allclose(
        clf.target_labels_, source.predict_proba(p["X_tgt"], au=p["au_tgt"]), atol=1e-6
    )


@pytest.mark.parametrize("method", [AUInputClassifier, AUQueryClassifier])
def test_aus_are_computed_once_and_again_at_predict(face_problem, method, tmp_path):
    p = face_problem
    BarDetector.seen = 0
    clf = on_faces(method, {"au_extractor": AUExtractor(detector=BarDetector())})
    clf.fit(p["X"], p["y"], p["X_tgt"])
    n_read = 48 if method is AUQueryClassifier else 88
    assert BarDetector.seen == n_read
    computed = clf.predict_proba(p["X_tgt"])
    assert BarDetector.seen == n_read + 40
    scores = clf.au_extractor_.transform(p["X_tgt"])
    np.testing.assert_array_equal(computed, clf.predict_proba(p["X_tgt"], au=scores))
    assert clf.au_names_ == ["AU01", "AU02"]
    clf.save(tmp_path / "model")
    loaded = method.load(tmp_path / "model")
    with pytest.raises(ValueError, match=r"lacks .* and adds"):  # another extractor by default
        loaded.set_params(au_extractor=AUExtractor(detector=OtherDetector())).predict(p["X_tgt"])
    loaded.set_params(au_extractor=AUExtractor(detector=BarDetector()))
    np.testing.assert_array_equal(loaded.predict_proba(p["X_tgt"]), computed)


class OtherDetector(BarDetector):
    au_names = ("AU01", "AU12")


def test_aus_at_predict_are_routed_to_score(feature_problem):
    p = feature_problem
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_validate(
            make(AUInputClassifier),
            p["X"],
            p["y"],
            cv=2,
            params={
                "X_tgt": as_target(p["X_tgt"]),
                "au_src": p["au_src"],
                "au_tgt": as_target(p["au_tgt"]),
                "au": p["au_src"],
            },
            error_score="raise",
        )
    assert (found["test_score"] > 0.8).all()


def test_fit_transform_gives_the_sources_features(feature_problem):
    p = feature_problem
    for method in (AUInputClassifier, AUQueryClassifier):
        features = make(method).fit_transform(p["X"], p["y"], **domains(p))
        expected = fitted(make(method), p).transform(p["X"], au=p["au_src"])
        np.testing.assert_array_equal(features, expected)


@pytest.mark.parametrize("method", [AUInputClassifier, AUQueryClassifier])
def test_missing_and_wrong_aus_are_told(feature_problem, face_problem, method):
    p = feature_problem
    with pytest.raises(ValueError, match="cannot be computed from 2-D features: give au_src"):
        make(method).fit(p["X"], p["y"])
    clf = fitted(make(method), p)
    with pytest.raises(ValueError, match="cannot be computed from 2-D features: give au,"):
        clf.predict(p["X_tgt"])
    with pytest.raises(ValueError, match="au has 119 rows but there are 120 pictures"):
        clf.predict(p["X_tgt"], au=p["au_tgt"][:-1])
    with pytest.raises(ValueError, match="au has 3 AUs but au_src in fit has 4"):
        clf.predict(p["X_tgt"], au=p["au_tgt"][:, :3])
    p = face_problem
    clf = on_faces(method, {"au_extractor": AUExtractor(detector=BarDetector())})
    clf.fit(p["X"], p["y"], p["X_tgt"])
    fitted(clf, p)
    assert not hasattr(clf, "au_extractor_")  # that of the fit before must not answer
    with pytest.raises(ValueError, match="au_src had no column names in fit"):
        clf.predict(p["X_tgt"])


def test_a_warm_start_on_other_aus_is_refused(feature_problem):
    p = feature_problem
    clf = fitted(make(AUInputClassifier, warm_start=True), p)
    fitted(clf, p)
    with pytest.raises(ValueError, match="network of 4 AUs, but au_src has 3"):
        clf.fit(p["X"], p["y"], au_src=p["au_src"][:, :3])
    clf.predict(p["X_tgt"], au=p["au_tgt"])


# --------------------------------------------------- a method on the base class


class MeanMatchingClassifier(NetworkClassifier):
    """Brings the mean features of both domains together, and has a module of its own."""

    _parameter_constraints = {**NetworkClassifier._parameter_constraints, "weight": [float]}

    def __init__(self, backbone="resnet18", *, weight=1.0, **shared):
        super().__init__(backbone, **shared)
        self.weight = weight

    def _adapt(self, trainer, feed, labels, plan):
        self.scale_ = torch.nn.Linear(1, 1)
        self.first_ = self.scale_.bias.item()
        self.progress_ = []

        def objective(batch):
            assert (batch.labels >= 0).eq(batch.is_source).all()
            self.progress_.append(batch.progress)
            means = [batch.features[mask].mean(0) for mask in (batch.is_source, ~batch.is_source)]
            distance = (means[0] - means[1]).square().sum()
            own = (self.scale_(distance.detach().view(1, 1)) - 1).square().sum()
            loss = batch.source_loss() + self.weight * distance + own
            return {"loss": loss, "loss_means": distance}

        trainer.fit_jointly(feed, labels, objective, self.epochs, modules=[self.scale_])


def test_a_new_method_is_one_objective(feature_problem):
    p = feature_problem
    distances = []
    for weight in (0.0, 5.0):
        clf = make(MeanMatchingClassifier, weight=weight)
        assert clone(clf).get_params() == clf.get_params()
        clf.fit(p["X"], p["y"], p["X_tgt"])
        difference = clf.transform(p["X"]).mean(axis=0) - clf.transform(p["X_tgt"]).mean(axis=0)
        distances.append(np.linalg.norm(difference))
        assert np.diff(clf.progress_).min() > 0
        assert clf.progress_[0] == 0
        assert 0.9 < clf.progress_[-1] < 1
        assert abs(clf.scale_.bias.item() - clf.first_) > 0.01
    assert distances[1] < 0.7 * distances[0]
    assert "weight" in inspect.signature(MeanMatchingClassifier).parameters
    assert "epochs" in inspect.signature(MeanMatchingClassifier).parameters
    with pytest.raises(ValueError, match="classifier must be one of adafer's"):
        clf.save("nowhere")
