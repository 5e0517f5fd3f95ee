import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from adafer import SourceOnlyClassifier, datasets, rivals
from adafer.deep.backbones import build_network
from adafer.deep.batches import Feed
from adafer.deep.loop import Trainer
from adafer.deep.mmd import mmd_loss
from adafer.deep.normalization import norm_parameters, only_trained, with_input_affine
from adafer.persistence import load_model
from adafer.rivals import (
    BatchStatisticsClassifier,
    DETNClassifier,
    ECANClassifier,
    LPLClassifier,
    SelfTrainingClassifier,
    SHOTClassifier,
    T3AClassifier,
    TENTClassifier,
)

WITH_BOTH_DOMAINS = [LPLClassifier, DETNClassifier, ECANClassifier, SelfTrainingClassifier]
SOURCE_FREE = [SHOTClassifier, BatchStatisticsClassifier, TENTClassifier, T3AClassifier]
METHODS = WITH_BOTH_DOMAINS + SOURCE_FREE


def make(method, **options):
    training = {
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 0.003,
        "random_state": 0,
        "device": "cpu",
    }
    return method(**(training | options))


def on_faces(method, **options):
    return make(method, **({"backbone": "convnet", "image_size": 24, "epochs": 2} | options))


def clusters(seed, *, degrees=0, shift=(0, 0), shares=(1 / 3, 1 / 3, 1 / 3), n=150):
    """Three clusters on a circle; in the target turned, moved, or in other shares."""
    rng = np.random.default_rng(seed)
    angles = 2 * np.pi * np.arange(3) / 3
    centres = 3 * np.column_stack([np.cos(angles), np.sin(angles)])
    y_src, y_tgt = rng.integers(3, size=n), rng.choice(3, size=n, p=shares)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    X_src = centres[y_src] + 0.5 * rng.normal(size=(n, 2))
    X_tgt = (centres[y_tgt] + 0.5 * rng.normal(size=(n, 2))) @ [[c, s], [-s, c]] + shift
    return X_src.astype(np.float32), y_src, X_tgt.astype(np.float32), y_tgt


SHIFTS = {"turned": {"degrees": 52}, "moved": {"shift": (2.0, 1.2)}}
SEEDS = range(5)


@lru_cache
def score(method, seed, shift):
    """Accuracy on a shifted target."""
    X, y, X_tgt, y_tgt = clusters(seed, n=120, **SHIFTS[shift])
    return make(method, epochs=12, random_state=seed).fit(X, y, X_tgt).score(X_tgt, y_tgt)


# ----------------------------------------------------------------- all of them


@pytest.mark.parametrize(
    ("method", "shift"),
    [
        (LPLClassifier, "turned"),
        (DETNClassifier, "moved"),
        (ECANClassifier, "turned"),
        (SHOTClassifier, "turned"),
        (SelfTrainingClassifier, "turned"),
        (BatchStatisticsClassifier, "moved"),
        (TENTClassifier, "moved"),
        (T3AClassifier, "turned"),
    ],
)
def test_each_beats_source_only_on_a_known_shift(method, shift):
    gains = [
        score(method, seed, shift) - score(SourceOnlyClassifier, seed, shift) for seed in SEEDS
    ]
    assert np.mean(gains) > 0.05, gains


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_equal_bits_and_saving_keeps_them(face_problem, method, tmp_path):
    p = face_problem
    clf = on_faces(method, epochs=1)
    first = clone(clf).fit(p["X"], p["y"], p["X_tgt"])
    torch.manual_seed(5)  # what torch drew before must not matter
    first.save(tmp_path / "model")
    for same in (clone(clf).fit(p["X"], p["y"], p["X_tgt"]), load_model(tmp_path / "model")):
        assert type(same) is method
        for name in ("predict_proba", "transform", "predict"):
            np.testing.assert_array_equal(
                getattr(same, name)(p["X_tgt"]), getattr(first, name)(p["X_tgt"])
            )
        assert same.get_params() == first.get_params()
        assert len(same.history_) == first.n_iter_
    other = clone(clf).set_params(random_state=1).fit(p["X"], p["y"], p["X_tgt"])
    assert (other.predict_proba(p["X_tgt"]) != first.predict_proba(p["X_tgt"])).any()


@pytest.mark.parametrize("method", METHODS)
def test_models_of_features_are_saved_too(feature_problem, method, tmp_path):
    p = feature_problem
    clf = make(method).fit(p["X"], p["y"], p["X_tgt"])
    clf.save(tmp_path / "model")
    np.testing.assert_array_equal(
        load_model(tmp_path / "model").predict_proba(p["X_tgt"]), clf.predict_proba(p["X_tgt"])
    )


@pytest.mark.parametrize("method", METHODS)
def test_without_a_target_it_is_source_only_training(feature_problem, method):
    p = feature_problem
    np.testing.assert_array_equal(
        make(method).fit(p["X"], p["y"]).predict_proba(p["X_tgt"]),
        make(SourceOnlyClassifier).fit(p["X"], p["y"]).predict_proba(p["X_tgt"]),
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_source_model_is_adapted_without_training_it_again(face_problem, method):
    p = face_problem
    clf = on_faces(method, warm_start=True).fit(p["X"], p["y"])
    before = clf.predict_proba(p["X_tgt"])
    clf.set_params(source_epochs=0).fit(p["X"], p["y"], p["X_tgt"])
    assert np.abs(clf.predict_proba(p["X_tgt"]) - before).max() > 1e-3
    assert all(row["stage"] == "joint" for row in clf.history_)
    assert all(weight.requires_grad for weight in clf.network_.parameters())


# ------------------------------------------------------------------- gradients


def last_gradient(clf, problem, part="backbone"):
    """Gradient of the last step, which is the only one on both domains."""
    clf.set_params(source_epochs=1, epochs=1, batch_size=1000, weight_decay=0.0, augment=False)
    clf.fit(problem["X"], problem["y"], problem["X_tgt"])
    assert [row["stage"] for row in clf.history_] == ["source", "joint"]
    weights = getattr(clf.network_, part).parameters()
    return torch.cat([weight.grad.flatten() for weight in weights])


@pytest.mark.parametrize(
    ("method", "weight"),
    [
        (LPLClassifier, "locality_weight"),
        (DETNClassifier, "mmd_weight"),
        (ECANClassifier, "mmd_weight"),
        (ECANClassifier, "conditional_weight"),
        (SHOTClassifier, "beta"),
        (SelfTrainingClassifier, "beta"),
    ],
)
def test_each_loss_reaches_the_backbone(face_problem, method, weight):
    without, once, twice = (
        last_gradient(on_faces(method, **{weight: value}), face_problem) for value in (0, 1, 2)
    )
    part = once - without
    assert torch.isfinite(part).all()
    assert part.norm() > 1e-4
    torch.testing.assert_close(twice - once, part, rtol=1e-2, atol=1e-5)


def test_consistency_reaches_the_classifier_but_discrepancies_do_not(face_problem):
    def of_classifier(method, **weights):
        with_it, without = (
            last_gradient(
                on_faces(method, **{name: value * on for name, value in weights.items()}),
                face_problem,
                "classifier",
            )
            for on in (1, 0)
        )
        return (with_it - without).norm()

    assert of_classifier(SelfTrainingClassifier, beta=1.0) > 1e-3
    assert of_classifier(LPLClassifier, locality_weight=1.0) < 1e-7
    assert of_classifier(ECANClassifier, mmd_weight=1.0, conditional_weight=1.0) < 1e-7


# --------------------------------------------------------- LPL, DETN and ECAN


def test_locality_makes_classes_compact():
    X, y, X_tgt, y_tgt = clusters(0, shift=(1.0, 0.5))
    spreads = []
    for weight in (0.0, 3.0):
        clf = make(LPLClassifier, locality_weight=weight, epochs=8).fit(X, y, X_tgt)
        features = np.concatenate([clf.transform(X), clf.transform(X_tgt)])
        labels = np.concatenate([y, y_tgt])
        spreads.append(sum(features[labels == c].std(axis=0).sum() for c in range(3)))
    assert spreads[1] < 0.9 * spreads[0]


@pytest.mark.parametrize("method", [DETNClassifier, ECANClassifier])
def test_discrepancy_falls_and_class_shares_of_the_target_are_found(method):
    shares = np.array([0.6, 0.3, 0.1])
    X, y, X_tgt, y_tgt = clusters(1, shift=(1.0, 0.5), shares=shares)
    is_source = torch.arange(len(X) + len(X_tgt)) < len(X)
    found = []
    for weight in (0.0, 1.0):
        options = {"mmd_weight": weight}
        if method is ECANClassifier:
            options["conditional_weight"] = weight
        clf = make(method, epochs=10, **options).fit(X, y, X_tgt)
        features = torch.from_numpy(np.concatenate([clf.transform(X), clf.transform(X_tgt)]))
        ratio = np.bincount(y_tgt) / np.bincount(y)
        weights = torch.from_numpy(np.concatenate([ratio[y], np.zeros(len(X_tgt))])).float()
        found.append(mmd_loss(features, is_source, weights).item())
    assert found[1] < 0.5 * found[0]
    np.testing.assert_allclose(clf.class_weights_, ratio, rtol=0.25)
    assert "loss_mmd" in clf.history_[-1]
    assert ("loss_conditional_mmd" in clf.history_[-1]) == (method is ECANClassifier)


def test_ecan_without_its_own_term_is_detn(feature_problem):
    p = feature_problem
    ecan = make(ECANClassifier, conditional_weight=0.0).fit(p["X"], p["y"], p["X_tgt"])
    detn = make(DETNClassifier).fit(p["X"], p["y"], p["X_tgt"])
    np.testing.assert_array_equal(ecan.predict_proba(p["X_tgt"]), detn.predict_proba(p["X_tgt"]))


# --------------------------------------------------------------- self-training


def test_self_training_learns_from_more_targets_as_it_goes():
    X, y, X_tgt, _ = clusters(0, **SHIFTS["turned"])
    options = {"portion": 0.3, "portion_step": 0.2, "max_portion": 0.6}
    clf = make(SelfTrainingClassifier, epochs=4, **options).fit(X, y, X_tgt)
    joint = [row for row in clf.history_ if row["stage"] == "joint"]
    shares = [row["labelled_share"] for row in joint]
    np.testing.assert_allclose(shares, [0.3, 0.5, 0.6, 0.6], atol=0.02)
    assert joint[-1]["loss_consistency"] > 0
    assert clf.thresholds_.shape == (3,)
    assert ((clf.thresholds_ > 1 / 3) & (clf.thresholds_ <= 1)).all()


def test_self_training_starts_with_the_source_models_surest_predictions():
    X, y, X_tgt, _ = clusters(0, **SHIFTS["turned"])
    source = make(SourceOnlyClassifier).fit(X, y).predict_proba(X_tgt)
    clf = make(SelfTrainingClassifier, source_epochs=4, epochs=1).fit(X, y, X_tgt)
    for c in range(3):
        own = np.sort(source[source.argmax(axis=1) == c].max(axis=1))[::-1]
        expected = own[max(1, round(0.2 * len(own))) - 1]
        np.testing.assert_allclose(clf.thresholds_[c], expected, rtol=1e-5)


def test_the_source_is_learnt_on_strong_views_too(feature_problem):
    p = feature_problem
    losses = []
    for strength in (0.0, 2.0):
        options = {"source_epochs": 1, "epochs": 1, "batch_size": 1000, "strength": strength}
        clf = make(SelfTrainingClassifier, **options).fit(p["X"], p["y"], p["X_tgt"])
        losses.append(clf.history_[-1]["loss_source"])  # of the only step, before it is made
    assert losses[1] > losses[0] + 0.005


def test_labels_follow_the_network_while_it_trains():
    X, y, X_tgt, _ = clusters(0, **SHIFTS["turned"])
    first, last = (
        make(SelfTrainingClassifier, source_epochs=4, epochs=epochs, portion_step=0.0)
        .fit(X, y, X_tgt)
        .thresholds_
        for epochs in (1, 6)
    )
    assert (last > first + 0.01).any()


# ------------------------------------------------ after the source stage, alone


def poisoned(method):
    """The method, with a source that is worthless once the source stage is over."""

    class Poisoned(method):
        def _adapt(self, trainer, feed, labels, plan):
            # the source's statistics are part of what the source stage leaves
            self._estimate_statistics(trainer, feed, len(labels), len(labels))
            if self.poison:
                nothing = 0 if feed.is_faces else torch.nan
                feed.parts[0] = torch.full_like(feed.parts[0], nothing)
                labels[:] = 0
            self._estimate_statistics = lambda *_: None
            super()._adapt(trainer, feed, labels, plan)
            del self._estimate_statistics

    return Poisoned


@pytest.mark.parametrize("method", SOURCE_FREE)
@pytest.mark.parametrize("kind", ["faces", "features"])
def test_the_source_is_not_touched_after_its_stage(request, method, kind):
    p = request.getfixturevalue(f"{'face' if kind == 'faces' else 'feature'}_problem")
    found = []
    for poison in (False, True):
        clf = (on_faces if kind == "faces" else make)(poisoned(method))
        clf.poison = poison
        X, y = p["X"].copy(), p["y"].copy()
        found.append(clf.fit(X, y, p["X_tgt"]).predict_proba(p["X_tgt"]))
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(*found)


def test_methods_with_both_domains_do_feel_a_poisoned_source(face_problem):
    p = face_problem
    found = []
    for poison in (False, True):
        clf = on_faces(poisoned(DETNClassifier))
        clf.poison = poison
        found.append(clf.fit(p["X"], p["y"], p["X_tgt"]).predict_proba(p["X_tgt"]))
    assert np.abs(found[0] - found[1]).max() > 0.01


@pytest.mark.parametrize("method", SOURCE_FREE)
def test_a_saved_source_model_is_adapted_without_the_sources_data(face_problem, method, tmp_path):
    p = face_problem
    on_faces(method).fit(p["X"], p["y"]).save(tmp_path / "source")
    found = []
    for few in (p["X"][:10], 255 - p["X"][:10]):
        clf = method.load(tmp_path / "source").set_params(warm_start=True, source_epochs=0)
        clf.fit(few, np.repeat(clf.classes_, 5), p["X_tgt"])
        found.append(clf.predict_proba(p["X_tgt"]))
    np.testing.assert_array_equal(*found)


def changed_since_the_source_stage(clf, problem):
    """Names of the weights that adaptation moved."""
    source = clone(clf).fit(problem["X"], problem["y"]).network_
    clf.fit(problem["X"], problem["y"], problem["X_tgt"])
    return {
        name
        for name, weight in clf.network_.named_parameters()
        if not torch.equal(weight, source.get_parameter(name))
    }


def test_each_source_free_method_moves_its_own_weights_only(face_problem):
    p = face_problem
    network = build_network("convnet", 2, image_size=24)
    everything = {name for name, _ in network.named_parameters()}
    of_norms = {id(weight) for weight in norm_parameters(network)}
    norms = {name for name, weight in network.named_parameters() if id(weight) in of_norms}
    classifier = {"classifier.weight", "classifier.bias"}
    assert len(norms) == 8
    assert changed_since_the_source_stage(on_faces(BatchStatisticsClassifier), p) == set()
    assert changed_since_the_source_stage(on_faces(TENTClassifier), p) == norms
    assert changed_since_the_source_stage(on_faces(T3AClassifier), p) == classifier
    assert changed_since_the_source_stage(on_faces(SHOTClassifier), p) == everything - classifier


def test_shot_gives_each_target_a_label_and_sees_targets_only():
    X, y, X_tgt, _ = clusters(0, **SHIFTS["turned"])
    clf = make(SHOTClassifier, epochs=15).fit(X, y, X_tgt)
    np.testing.assert_array_equal(clf.target_labels_.sum(axis=1), 1)
    joint = [row for row in clf.history_ if row["stage"] == "joint"]
    assert joint[-1]["cluster_agreement"] > joint[0]["cluster_agreement"]
    assert joint[-1]["loss_entropy"] < joint[0]["loss_entropy"]
    assert clf.target_labels_.argmax(axis=1).tolist() == clf.predict(X_tgt).tolist()


def test_shot_trains_with_the_statistics_of_its_batches(face_problem, monkeypatch):
    p = face_problem
    modes = []
    epoch = Trainer._epoch

    def note(self, *rest):
        modes.append([module.training for module in self.network.modules()])
        return epoch(self, *rest)

    monkeypatch.setattr(Trainer, "_epoch", note)
    on_faces(SHOTClassifier, source_epochs=1, epochs=2).fit(p["X"], p["y"], p["X_tgt"])
    assert len(modes) == 3
    assert all(all(mode) for mode in modes)


# -------------------------------------------------------- batch statistics, TENT


def test_batch_statistics_are_source_only_with_the_targets_statistics(face_problem):
    p = face_problem
    expected = on_faces(SourceOnlyClassifier, norm_statistics="target")
    expected.fit(p["X"], p["y"], p["X_tgt"])
    found = on_faces(BatchStatisticsClassifier).fit(p["X"], p["y"], p["X_tgt"])
    np.testing.assert_allclose(
        found.predict_proba(p["X_tgt"]), expected.predict_proba(p["X_tgt"]), atol=1e-5
    )


def test_prior_size_keeps_a_share_of_the_sources_statistics(face_problem):
    p = face_problem
    means = {}
    for name, options, X_tgt in (
        ("source", {}, None),
        ("target", {}, p["X_tgt"]),
        ("mixed", {"prior_size": 120}, p["X_tgt"]),
    ):
        clf = on_faces(BatchStatisticsClassifier, **options).fit(p["X"], p["y"], X_tgt)
        layer = clf.network_.backbone[1]
        means[name] = torch.stack([layer.running_mean, layer.running_var])
    assert (means["source"] - means["target"]).abs().max() > 0.01
    # 40 targets and a prior of 120
    expected = 0.75 * means["source"] + 0.25 * means["target"]
    torch.testing.assert_close(means["mixed"], expected, rtol=1e-4, atol=1e-5)


def test_prior_size_mixes_the_scaling_of_features():
    X, y, X_tgt, _ = clusters(0, shift=(4.0, 4.0))
    clf = make(BatchStatisticsClassifier, prior_size=150).fit(X, y, 3 * X_tgt)
    expected = (X.mean(axis=0) + 3 * X_tgt.mean(axis=0)) / 2
    np.testing.assert_allclose(clf.network_.mean, expected, rtol=1e-4)
    expected = np.sqrt((X.var(axis=0) + 9 * X_tgt.var(axis=0)) / 2)
    np.testing.assert_allclose(clf.network_.std, expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["faces", "features"])
def test_tent_is_surer_than_batch_statistics(request, kind):
    p = request.getfixturevalue(f"{'face' if kind == 'faces' else 'feature'}_problem")
    make_it = on_faces if kind == "faces" else make
    entropies = []
    for method, options in (
        (BatchStatisticsClassifier, {}),
        (TENTClassifier, {"adaptation_epochs": 10}),
    ):
        # one source epoch leaves something to be unsure of
        clf = make_it(method, epochs=1, **options).fit(p["X"], p["y"], p["X_tgt"])
        probabilities = clf.predict_proba(p["X_tgt"])
        entropies.append(-(probabilities * np.log(probabilities)).sum(axis=1).mean())
    assert entropies[1] < entropies[0] - 0.01


def test_tent_takes_each_target_once_per_pass(face_problem, monkeypatch):
    p = face_problem
    seen = []
    epoch = Trainer._epoch

    def count(self, stage, number, model, optimizer, batches, *rest):
        seen.append((stage, np.sort(np.concatenate([rows.ravel() for rows in batches]))))
        return epoch(self, stage, number, model, optimizer, batches, *rest)

    monkeypatch.setattr(Trainer, "_epoch", count)
    on_faces(TENTClassifier, epochs=1, adaptation_epochs=2).fit(p["X"], p["y"], p["X_tgt"])
    assert [stage for stage, _ in seen] == ["source", "joint", "joint"]
    for _, rows in seen[1:]:
        np.testing.assert_array_equal(rows, 48 + np.arange(40))


@pytest.mark.parametrize("method", [BatchStatisticsClassifier, TENTClassifier])
def test_networks_without_normalisation_are_refused_before_training(face_problem, method):
    p = face_problem
    clf = on_faces(method, backbone="vgg11", image_size=32)
    with pytest.raises(ValueError, match="'vgg11' has no"):
        clf.fit(p["X"], p["y"], p["X_tgt"])


def test_the_trained_input_scale_is_folded_into_the_first_layer():
    network = build_network("mlp", 3, feature_mean=torch.zeros(4), feature_std=torch.ones(4))
    names = list(network.state_dict())
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    with with_input_affine(network):
        affine = network.backbone[0]
        assert norm_parameters(network) == [affine.weight, affine.bias]
        with torch.no_grad():
            affine.weight.copy_(torch.tensor([2.0, 0.0, -1.0, 0.5]))
            affine.bias.copy_(torch.tensor([1.0, -1.0, 0.0, 3.0]))
        during = network(inputs)[1]
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(inputs)[1], during)


def test_frozen_weights_are_freed_even_after_an_error():
    network = build_network("convnet", 2, image_size=24)

    def fail_while_frozen():
        with only_trained(network, [network.classifier.bias]):
            free = [name for name, weight in network.named_parameters() if weight.requires_grad]
            raise RuntimeError(f"stop with {free}")

    with pytest.raises(RuntimeError, match=r"stop with \['classifier.bias'\]"):
        fail_while_frozen()
    assert all(weight.requires_grad for weight in network.parameters())


# -------------------------------------------------------------------------- T3A


def test_the_order_of_the_target_does_not_matter_to_t3a(face_problem):
    p = face_problem
    found = [
        on_faces(T3AClassifier, n_supports=5).fit(p["X"], p["y"], X_tgt).predict_proba(p["X"])
        for X_tgt in (p["X_tgt"], p["X_tgt"][::-1])
    ]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_t3a_classifies_by_templates_of_length_one(face_problem):
    p = face_problem
    clf = on_faces(T3AClassifier).fit(p["X"], p["y"], p["X_tgt"])
    weight = clf.network_.classifier.weight.detach()
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(2))
    assert (clf.network_.classifier.bias == 0).all()
    # features are normalised in transform, which changes no order
    nearest = (clf.transform(p["X_tgt"]) @ weight.numpy().T).argmax(axis=1)
    np.testing.assert_array_equal(clf.classes_[nearest], clf.predict(p["X_tgt"]))


def test_features_that_the_classifier_takes_keep_their_length(face_problem):
    from adafer.deep.inference import pooled_features

    clf = on_faces(T3AClassifier).fit(face_problem["X"], face_problem["y"])
    feed = Feed([face_problem["X"]], torch.device("cpu"))
    features = pooled_features(clf.network_, feed, first=3)
    normalised = features / features.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(normalised, clf.transform(face_problem["X"][3:]), atol=1e-5)
    assert features.norm(dim=1).std() > 1e-3


# ------------------------------------------------------------------------- docs

PAGES = Path(__file__).parents[2] / "docs" / "rivals"


def test_the_page_that_helps_to_choose_names_all_and_its_code_runs(monkeypatch):
    """On few faces and for one epoch: the code must be right, it need not be good."""
    page = (PAGES / "README.md").read_text(encoding="utf-8")
    modules = set(rivals._EXPORTS.values())
    assert modules == set(re.findall(r"\((\w+)\.md\)", page))
    load = datasets.load_facs_faces

    def load_some(**options):
        faces = load(**options)
        some = np.concatenate([np.flatnonzero(faces.target == c)[:4] for c in faces.target_names])
        return type(faces)(images=faces.images[some], target=faces.target[some])

    monkeypatch.setattr(datasets, "load_facs_faces", load_some)
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(compile(block.replace("epochs=5", "epochs=1"), "README.md", "exec"), names)
    assert names["clf"].predict_proba(names["target"].images).shape == (28, 7)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_a_page(method):
    module = rivals._EXPORTS[method.__name__]
    page = (PAGES / f"{module}.md").read_text(encoding="utf-8")
    assert f"`adafer.rivals.{method.__name__}`" in page
    for part in (
        "**Idea.**",
        "**Formula.**",
        "**When to use it.**",
        "**What differs from the paper",
    ):
        assert part in page
