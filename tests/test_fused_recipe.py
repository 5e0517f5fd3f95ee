"""The fused recipe of AdaFERClassifier."""

import numpy as np
import pandas as pd
import pytest
import torch

from adafer import AdaFERClassifier, AUGuidedAnnotator, SourceOnlyClassifier
from adafer.deep.fused import RenewedLabels
from adafer.fusion import OpinionFusion


def small(**options):
    settings = {
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 0.01,
        "random_state": 0,
        "device": "cpu",
    }
    return AdaFERClassifier(**(settings | options))


def adapted(p, **options):
    return small(**options).fit(p["X"], p["y"], p["X_tgt"], au_src=p["au_src"], au_tgt=p["au_tgt"])


def weights_of(classifier):
    return [tensor.clone() for tensor in classifier.network_.state_dict().values()]


def same(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(weights_of(first), weights_of(second), strict=True)
    )


def test_it_is_the_default_and_beats_source_only_and_the_paper_s(feature_problem):
    p = feature_problem
    assert AdaFERClassifier().recipe == "fused"
    gains = []
    for seed in range(3):
        options = {"random_state": seed, "epochs": 8}
        before = small(**options).fit(p["X"], p["y"]).score(p["X_tgt"], p["y_tgt"])
        after = adapted(p, **options).score(p["X_tgt"], p["y_tgt"])
        gains.append(after - before)
    assert min(gains) > 0.05


def test_faces_are_learnt(face_problem):
    p = face_problem
    options = {"backbone": "convnet", "image_size": 24, "epochs": 6, "learning_rate": 0.003}
    clf = adapted(p, **options)
    assert clf.score(p["X_tgt"], p["y_tgt"]) > 0.9


def test_fitted_attributes_tell_what_happened(feature_problem):
    p = feature_problem
    clf = adapted(p)
    assert clf.target_labels_.shape == (120, 3)
    np.testing.assert_allclose(clf.target_labels_.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(clf.classes_[clf.target_labels_.argmax(axis=1)] == p["y_tgt"]) > 0.9
    assert set(clf.opinion_accuracies_) == {"network", "aus"}
    truth = SourceOnlyClassifier(
        **{
            k: v
            for k, v in small().get_params().items()
            if k in SourceOnlyClassifier().get_params()
        }
    )
    source_only = truth.fit(p["X"], p["y"]).score(p["X_tgt"], p["y_tgt"])
    assert clf.opinion_accuracies_["network"] == pytest.approx(source_only, abs=0.2)
    assert clf.opinion_accuracies_["aus"] > clf.opinion_accuracies_["network"]
    last = clf.history_[-1]
    for name in ("loss", "loss_source", "loss_fused", "loss_confusion", "loss_triplet"):
        assert np.isfinite(last[name])
    assert last["coverage"] == clf.coverage_
    assert last["n_triplets"] + last["n_skipped_anchors"] == 270


@pytest.mark.parametrize(
    "options",
    [
        {"beta": 0.0},
        {"epsilon": 0.0},
        {"confusion_weight": 0.0},
        {"label_momentum": 1.0},
        {"label_momentum": 0.0},
        {"margin": "learnable"},
        {"anchors": "source"},
        {"annotator": AUGuidedAnnotator(threshold=0.5)},
        {"annotator": AUGuidedAnnotator(matching="near", metric="euclidean")},
    ],
)
def test_each_switch_changes_the_network(feature_problem, options):
    p = feature_problem
    clf = adapted(p, **options)
    assert not same(clf, adapted(p))
    assert clf.score(p["X_tgt"], p["y_tgt"]) > 0.5
    for name, loss in (("epsilon", "loss_triplet"), ("confusion_weight", "loss_confusion")):
        assert (loss in clf.history_[-1]) == (options.get(name) != 0)


def test_two_fits_are_equal_to_the_bit_and_names_of_aus_may_come_in_any_order(feature_problem):
    p = feature_problem
    names = ["AU01", "AU02", "AU12", "AU25"]
    first = adapted(
        {
            **p,
            "au_src": pd.DataFrame(p["au_src"], columns=names),
            "au_tgt": pd.DataFrame(p["au_tgt"], columns=names),
        }
    )
    target = pd.DataFrame(p["au_tgt"], columns=names)[names[::-1]]
    second = adapted({**p, "au_src": pd.DataFrame(p["au_src"], columns=names), "au_tgt": target})
    assert same(first, second)


def test_a_saved_model_knows_its_recipe_and_what_it_trusted(feature_problem, tmp_path):
    p = feature_problem
    clf = adapted(p, epochs=1)
    clf.save(tmp_path / "model")
    again = AdaFERClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(p["X_tgt"]), clf.predict_proba(p["X_tgt"]))
    assert again.recipe == "fused"
    assert again.opinion_accuracies_ == clf.opinion_accuracies_


def test_target_labels_cannot_matter_because_none_are_taken(feature_problem):
    p = dict(feature_problem)
    first = adapted(p)
    p["y_tgt"] = p["y_tgt"][::-1]
    assert same(first, adapted(p))


@pytest.mark.parametrize("n_targets", [3, 10])
def test_few_targets_do_no_harm(feature_problem, n_targets):
    p = feature_problem
    few = {**p, "X_tgt": p["X_tgt"][:n_targets], "au_tgt": p["au_tgt"][:n_targets]}
    clf = adapted(few)
    before = small().fit(p["X"], p["y"]).score(p["X_tgt"], p["y_tgt"])
    assert clf.score(p["X_tgt"], p["y_tgt"]) > before - 0.05
    assert np.isfinite(clf.target_labels_).all()


def test_aus_that_tell_nothing_are_not_trusted(feature_problem):
    p = dict(feature_problem)
    rng = np.random.default_rng(0)
    p["au_src"], p["au_tgt"] = rng.random(p["au_src"].shape), rng.random(p["au_tgt"].shape)
    clf = adapted(p)
    before = small().fit(p["X"], p["y"]).score(p["X_tgt"], p["y_tgt"])
    assert clf.score(p["X_tgt"], p["y_tgt"]) > before - 0.1


def test_faces_without_aus_and_a_single_au_are_coped_with(feature_problem):
    p = dict(feature_problem)
    p["au_tgt"] = p["au_tgt"].copy()
    p["au_tgt"][::3] = np.nan
    assert adapted(p).score(p["X_tgt"], p["y_tgt"]) > 0.6
    p["au_src"], p["au_tgt"] = p["au_src"][:, :1], p["au_tgt"][:, :1]
    assert np.isfinite(adapted(p).target_labels_).all()


# ---------------------------------------------------------------------- labels


def renewed(momentum, seed=0):
    rng = np.random.default_rng(seed)
    network = rng.dirichlet(np.ones(3), size=50)
    evidence = rng.normal(size=(50, 3))
    evidence[::5] = 0
    fusion = OpinionFusion(evidence, 0.6, 0.7)
    return RenewedLabels(fusion, network, momentum, torch.device("cpu")), fusion, network


def test_labels_begin_as_the_fusion_gives_them():
    labels, fusion, network = renewed(0.5)
    np.testing.assert_allclose(labels.all_labels(), fusion.labels(network), atol=1e-5)


def test_labels_follow_the_network_by_a_running_average():
    labels, fusion, network = renewed(0.75)
    said = np.random.default_rng(1).dirichlet(np.ones(3), size=2)
    labels.look(torch.tensor([4, 7]), torch.tensor(said, dtype=torch.float32))
    expected = network.copy()
    expected[[4, 7]] = 0.75 * network[[4, 7]] + 0.25 * said
    np.testing.assert_allclose(labels.average.numpy(), expected, atol=1e-6)
    labels.renew()
    np.testing.assert_allclose(labels.all_labels(), fusion.labels(expected), atol=1e-4)


def test_a_network_that_grows_sure_does_not_make_its_labels_sure():
    labels, _, network = renewed(0.0)
    everyone = torch.arange(50)
    sure = torch.eye(3)[torch.tensor(network.argmax(axis=1))] * 0.99 + 0.01 / 3
    labels.look(everyone, sure)
    labels.renew()
    no_aus = labels.all_labels()[::5]
    assert no_aus.max(axis=1).mean() == pytest.approx(0.6, abs=0.01)


def test_momentum_of_one_keeps_the_first_labels():
    labels, *_ = renewed(1.0)
    before = labels.all_labels()
    labels.look(torch.arange(50), torch.full((50, 3), 1 / 3))
    labels.renew()
    np.testing.assert_array_equal(labels.all_labels(), before)
