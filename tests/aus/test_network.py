"""AUNetwork: each loss against a slow version, what it moves, and scikit-learn's conventions."""

import json
import pickle
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from torch import nn

from adafer import AdaFERClassifier, AUExtractor, as_target
from adafer.aus import AUDetector, AUNetwork
from adafer.aus._au_labels import au_relations, balance_weights
from adafer.deep.mlcr import (
    build_mlcr_network,
    consistency_loss,
    labelled_loss,
    mixed_batches,
    orthogonality_loss,
)

NAMES = ["AU01", "AU06", "AU12"]
RELATIONS = np.array([[1, 0.6, 0.2, 0], [0.3, 1, 0, 0], [0.3, 0.1, 1, 0], [0, 0, 0, 1]])


def bars(n, seed):
    """Grey noise with a bright bar in place k where AU k is shown."""
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 2, (n, len(NAMES)))
    X = rng.integers(40, 110, (n, 24, 24))
    for k in range(len(NAMES)):
        X[:, 3 + 7 * k : 6 + 7 * k] += 80 * shown[:, k, None, None]
    return X.astype(np.uint8), shown.astype(float)


def small(**options):
    settings = {
        "backbones": ("convnet", "convnet"),
        "image_size": 24,
        "epochs": 1,
        "batch_size": 32,
        "device": "cpu",
        "random_state": 0,
    }
    return AUNetwork(NAMES, **(settings | options))


@pytest.fixture(scope="module")
def problem():
    X, Y = bars(96, 0)
    Y[np.random.default_rng(2).random(Y.shape) < 0.3] = np.nan
    return X, Y, bars(64, 1)[0]


@pytest.fixture(scope="module")
def fitted(problem):
    return small(epochs=6).fit(*problem)


@pytest.fixture
def saved(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    return tmp_path / "model"


def tensors(network):
    return network.network_.state_dict()


def assert_same_bits(first, second):
    for (name, a), (other, b) in zip(tensors(first).items(), tensors(second).items(), strict=True):
        assert name == other
        assert torch.equal(a, b), name


def gradients(module):
    return [torch.zeros(1) if p.grad is None else p.grad for p in module.parameters()]


# ----------------------------------------------------------------- the losses


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return (4 * torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)).requires_grad_()


@pytest.fixture
def labels():
    found = np.random.default_rng(3).integers(0, 2, (7, 3)).astype(float)
    found[[0, 2, 2, 5], [1, 0, 2, 1]] = np.nan
    found[6] = np.nan
    return torch.from_numpy(found)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_labelled_loss_is_the_balanced_mean_over_known_labels(logits, labels):
    balance = torch.tensor([[0.6, 1.0, 2.0], [3.0, 1.0, 0.7]], dtype=torch.float64)
    losses = []
    for view in logits.detach().numpy():
        for i, k in zip(*np.nonzero(~np.isnan(labels.numpy())), strict=True):
            y, p = int(labels[i, k]), sigmoid(view[i, k])
            losses.append(-balance[y, k].item() * np.log(p if y else 1 - p))
    np.testing.assert_allclose(labelled_loss(logits, labels, balance).item(), np.mean(losses))


def test_orthogonality_loss_is_the_mean_absolute_cosine():
    classifiers = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))
    a, b = classifiers.numpy()
    cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    found = orthogonality_loss(classifiers).item()
    np.testing.assert_allclose(found, np.mean(np.abs(cosines)), rtol=1e-5)


def test_consistency_loss_is_the_jensen_shannon_divergence(logits):
    def entropy(p):
        return -p * np.log(p) - (1 - p) * np.log(1 - p)

    p, q = sigmoid(logits.detach().numpy())
    expected = (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).mean()
    np.testing.assert_allclose(consistency_loss(logits).item(), expected)


def test_consistency_loss_stays_finite_for_certain_predictions():
    certain = torch.tensor([[[200.0, 200.0]], [[-200.0, 200.0]]], requires_grad=True)
    loss = consistency_loss(certain)
    loss.backward()
    np.testing.assert_allclose(loss.item(), np.log(2) / 2, rtol=1e-5)
    assert torch.isfinite(certain.grad).all()


def test_unknown_labels_have_no_loss_and_no_gradient(logits, labels):
    balance = torch.ones(2, 3, dtype=torch.float64)
    labelled_loss(logits, labels, balance).backward()
    unknown = labels.isnan().expand_as(logits)
    assert (logits.grad[unknown] == 0).all()
    assert (logits.grad[~unknown] != 0).all()

    other = torch.where(unknown, 50.0, logits.detach()).requires_grad_()
    labelled_loss(other, labels, balance).backward()
    assert torch.equal(other.grad, logits.grad)


def test_a_batch_without_labels_has_loss_zero(logits):
    loss = labelled_loss(logits, torch.full((7, 3), torch.nan), torch.ones(2, 3))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.fixture
def module():
    torch.manual_seed(0)
    return build_mlcr_network(("convnet", "convnet"), RELATIONS, 0.4, image_size=24)[0]


@pytest.mark.parametrize("loss", ["labelled", "consistency"])
def test_prediction_losses_reach_both_backbones_classifiers_and_graph(module, loss):
    logits, _ = module(torch.randn(4, 3, 24, 24))
    if loss == "labelled":
        labelled_loss(logits, torch.eye(4), torch.ones(2, 4)).backward()
    else:
        consistency_loss(logits).backward()
    for part in (*module.views, module.graph):
        for name, parameter in part.named_parameters():
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


def test_orthogonality_reaches_classifiers_and_graph_but_no_backbone(module):
    _, classifiers = module(torch.randn(4, 3, 24, 24))
    orthogonality_loss(classifiers).backward()
    for view in module.views:
        assert all((grad == 0).all() for grad in gradients(view.backbone))
    for part in (module.graph, *(view.classifier for view in module.views)):
        assert all(torch.isfinite(grad).all() and grad.abs().max() > 0 for grad in gradients(part))


def test_the_graph_follows_its_two_layers(module):
    # 0.4 of the others, in proportion to RELATIONS; the last AU has none
    mixing = np.array([[0.6, 0.3, 0.1, 0], [0.4, 0.6, 0, 0], [0.3, 0.1, 0.6, 0], [0, 0, 0, 1]])
    graph = module.graph
    first, second = graph.first.detach().numpy(), graph.second.detach().numpy()
    for view, found in zip(module.views, module.classifiers().detach().numpy(), strict=True):
        weight, bias = (p.detach().numpy() for p in view.classifier.parameters())
        hidden = mixing @ np.column_stack([weight, bias]) @ first
        hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
        np.testing.assert_allclose(found, mixing @ hidden @ second, atol=1e-5)


def test_classifiers_are_passed_on_between_related_aus_only(module):
    before = module.classifiers().detach()
    with torch.no_grad():
        module.views[0].classifier.weight[0] += 1
    moved = (module.classifiers() - before).abs().amax(dim=2) > 1e-6
    assert moved.tolist() == [[True, True, True, False], [False] * 4]


def test_scores_are_those_of_the_classifiers_on_the_pooled_features(module):
    module.eval()
    inputs = torch.randn(2, 3, 24, 24)
    logits, classifiers = module(inputs)
    for view, weights, found in zip(module.views, classifiers, logits, strict=True):
        expected = nn.functional.linear(view.backbone(inputs), weights[:, :-1], weights[:, -1])
        torch.testing.assert_close(found, expected)


# --------------------------------------------------------- statistics of labels


def test_relations_follow_their_definition_over_faces_with_both_labels():
    rng = np.random.default_rng(0)
    labels = (rng.random((60, 4)) < [0.5, 0.3, 0.6, 0.5]).astype(float)
    labels[:, 3] = labels[:, 0]
    labels[rng.random(labels.shape) < 0.2] = np.nan
    found = au_relations(labels)
    for i in range(4):
        for j in range(4):
            rows = [row for row in labels if not np.isnan(row[[i, j]]).any()]
            with_j = np.mean([row[i] for row in rows if row[j] == 1])
            without = np.mean([row[i] for row in rows if row[j] == 0])
            np.testing.assert_allclose(found[i, j], abs(with_j - without))
    assert found[0, 3] == found[3, 0] == 1
    weak = (found > 0) & (found < 0.2)
    assert weak.any()
    np.testing.assert_array_equal(au_relations(labels, 0.2), np.where(weak, 0, found))


def test_statistics_stay_finite_where_labels_cannot_tell():
    labels = np.array([[1, 0, np.nan], [1, 1, np.nan], [1, np.nan, 1.0]])
    relations = au_relations(labels)
    np.testing.assert_array_equal(relations, np.eye(3))
    assert np.isfinite(balance_weights(labels)).all()


def test_balance_gives_absence_and_presence_equal_shares_up_to_a_limit():
    labels = np.zeros((1000, 3))
    labels[:250, 0] = 1
    labels[:500, 1] = np.nan
    labels[500:700, 1] = 1
    labels[0, 2] = 1
    weights = balance_weights(labels)
    np.testing.assert_allclose(weights[:, 0], [1000 / 1500, 1000 / 500])
    np.testing.assert_allclose(weights[:, 1], [500 / 600, 500 / 400])
    assert weights[1, 2] == 20


def test_batches_hold_every_face_once_and_labelled_ones_in_proportion():
    batches = mixed_batches(40, 90, 20, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == list(range(130))
    assert {(batch < 40).sum() for batch in batches} <= {5, 6}
    assert max(map(len, batches)) <= 20
    assert sorted(mixed_batches(5, 0, 20, np.random.default_rng(0))[0]) == list(range(5))


# -------------------------------------------------------------------- learning


def test_bars_are_learnt_from_incomplete_labels(fitted):
    X, Y = bars(80, 5)
    found = fitted.predict_proba(X)
    assert found.shape == (80, 3)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    areas = [roc_auc_score(Y[:, k], found[:, k]) for k in range(3)]
    assert np.mean(areas) > 0.9
    np.testing.assert_allclose(fitted.score(X, Y), np.mean(areas))
    np.testing.assert_array_equal(fitted.predict(X), found > 0.5)


def test_score_leaves_out_unknown_labels_and_aus_of_one_value(fitted):
    X, Y = bars(40, 6)
    Y[:, 0] = 1
    Y[:20, 1] = np.nan
    Y[:, 2] = np.nan
    expected = roc_auc_score(Y[20:, 1], fitted.predict_proba(X)[20:, 1])
    np.testing.assert_allclose(fitted.score(X, Y), expected)
    Y[:, 1] = 0
    with pytest.raises(ValueError, match="no ROC curve"):
        fitted.score(X, Y)


def test_the_prediction_is_the_mean_of_both_views(fitted):
    X, _ = bars(5, 7)
    network = fitted.network_
    inputs = torch.from_numpy(np.repeat(X[:, None], 3, axis=1)).float() / 255
    with torch.no_grad():
        logits, _ = network(network.normalize(inputs))
    expected = torch.sigmoid(logits).mean(dim=0).numpy()
    np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=1e-5)


def test_history_has_a_row_per_epoch(fitted):
    assert len(fitted.history_) == fitted.n_iter_ == 6
    losses = [row["loss_labelled"] for row in fitted.history_]
    assert losses[-1] < losses[0] / 2
    for row in fitted.history_:
        parts = (row[f"loss_{part}"] for part in ("labelled", "orthogonality", "consistency"))
        np.testing.assert_allclose(row["loss"], sum(parts), rtol=1e-4)
        assert "margin" not in row


def test_same_seed_gives_same_bits(problem, fitted):
    again, other = small(epochs=6).fit(*problem), small(random_state=1).fit(*problem)
    assert_same_bits(fitted, again)
    assert [row["loss"] for row in again.history_] == [row["loss"] for row in fitted.history_]
    assert not torch.equal(tensors(fitted)["graph.first"], tensors(other)["graph.first"])


def test_fit_leaves_the_random_state_of_others_alone(problem):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    small().fit(*problem)
    assert torch.equal(torch.rand(1), expected)


def test_unlabelled_faces_teach_through_consistency_only(problem):
    X, Y, X_unlabelled = problem
    without = small(lambda_consistency=0).fit(X, Y)
    assert_same_bits(without, small(lambda_consistency=0).fit(X, Y, X_unlabelled))
    with_them = small().fit(X, Y, X_unlabelled)
    other = small().fit(X, Y, 255 - X_unlabelled)
    assert not torch.equal(tensors(with_them)["graph.first"], tensors(other)["graph.first"])


def test_consistency_brings_the_views_together_on_unlabelled_faces(problem):
    X, X_unlabelled = problem[0][:24], problem[2][:48]
    # labels without sense: each view learns them in its own way
    Y = np.random.default_rng(9).integers(0, 2, (24, 3))
    faces = torch.from_numpy(np.repeat(X_unlabelled[:, None], 3, axis=1)).float() / 255

    def divergence(weight):
        net = small(epochs=15, batch_size=24, lambda_consistency=weight)
        network = net.fit(X, Y, X_unlabelled).network_
        with torch.no_grad():
            return consistency_loss(network(network.normalize(faces))[0]).item()

    assert divergence(10.0) < 0.2 * divergence(1e-9)


def test_orthogonality_parts_the_views(problem):
    def cosine(weight):
        net = small(epochs=3, lambda_orthogonality=weight).fit(*problem).network_
        return orthogonality_loss(net.classifiers().detach()).item()

    assert cosine(10.0) < 0.5 * cosine(0.0)


def test_intensities_count_as_shown_from_presence_on(problem):
    X, Y, _ = problem
    intensity = np.where(Y == 1, 0.3, 0.29) * np.where(np.isnan(Y), np.nan, 1)
    assert_same_bits(small(presence=0.3).fit(X, intensity), small().fit(X, Y))


def test_data_frames_name_and_order_the_columns(problem):
    pd = pytest.importorskip("pandas")
    X, Y, _ = problem
    frame = pd.DataFrame({"au_12": Y[:, 2], "file": "a.png", "AU1_r": Y[:, 0], "AU06": Y[:, 1]})
    net = small().set_params(aus=None).fit(X, frame)
    assert net.au_names_ == NAMES
    assert_same_bits(net, small().fit(X, Y))
    assert small().set_params(aus=["AU12"]).fit(X, frame).predict(X).shape == (len(X), 1)
    with pytest.raises(ValueError, match="lacks the columns AU02"):
        small().set_params(aus=["AU02"]).fit(X, frame)


def test_backbones_of_different_width_share_the_smaller_one(problem, tmp_path):
    X, Y, _ = problem
    net = small(epochs=0, backbones=["convnet", "resnet18"]).fit(X[:20], Y[:20])
    assert net.network_.classifiers().shape == (2, 3, 257)
    net.save(tmp_path / "model")
    loaded = AUNetwork.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X[:4]), net.predict_proba(X[:4]))


def test_backbones_start_from_weights_files(problem, fitted, tmp_path):
    X, Y, _ = problem
    path = tmp_path / "weights.pth"
    torch.save(fitted.network_.views[1].backbone.state_dict(), path)
    net = small(epochs=0, weights=(None, path)).fit(X, Y)
    start = net.network_.views[1].backbone.state_dict()
    for name, tensor in fitted.network_.views[1].backbone.state_dict().items():
        assert torch.equal(start[name], tensor)
    assert net.weights_reports_[0] is None
    assert not net.weights_reports_[1].missing


# ------------------------------------------------------ scikit-learn's manners


def test_parameters_go_round(fitted):
    assert small().get_params() == clone(small()).get_params()
    net = clone(fitted).set_params(epochs=2, aus=("AU01",))
    assert (net.epochs, net.aus) == (2, ("AU01",))
    assert fitted.epochs == 6


def test_clones_keep_what_was_learnt_until_they_are_fitted(problem, fitted):
    X, Y, _ = problem
    before = fitted.predict_proba(X)
    copy = clone(fitted)
    np.testing.assert_array_equal(copy.predict_proba(X), before)
    copy.set_params(epochs=1).fit(X, Y)
    assert len(copy.history_) == 1
    assert_same_bits(copy, small().fit(X, Y))
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    with pytest.raises(NotFittedError):
        clone(small()).predict(X)


def test_pickles_predict_the_same(problem, fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict_proba(problem[0]), fitted.predict_proba(problem[0]))
    assert copy.identity == fitted.identity


def test_a_search_leaves_unlabelled_faces_whole(problem):
    X, Y, X_unlabelled = problem
    search = GridSearchCV(small(), {"lambda_consistency": [0.0, 1.0]}, cv=2, error_score="raise")
    search.fit(X, Y, X_unlabelled=as_target(X_unlabelled))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_fit_that_fails_leaves_the_fitted_network_whole(problem, fitted):
    net = clone(fitted).set_params(learning_rate=1e30, aus=["AU02", "AU04", "AU05"])
    with pytest.raises(FloatingPointError):
        net.fit(*problem)
    assert net.au_names_ == NAMES
    np.testing.assert_array_equal(net.predict_proba(problem[0]), fitted.predict_proba(problem[0]))


@pytest.mark.parametrize("use", ["predict", "predict_proba", "detect", "score", "save"])
def test_unfitted_networks_say_so(problem, use, tmp_path):
    arguments = {"score": problem[:2], "save": [tmp_path / "model"]}.get(use, [problem[0]])
    with pytest.raises(NotFittedError):
        getattr(small(), use)(*arguments)
    for name in ("au_names", "identity"):
        with pytest.raises(NotFittedError):
            getattr(small(), name)


# ------------------------------------------------------------- as an AUDetector


def test_it_stands_behind_an_extractor(problem, fitted, saved, tmp_path):
    X = problem[0]
    assert isinstance(fitted, AUDetector)
    extractor = AUExtractor(detector=AUNetwork.load(saved), cache=tmp_path / "aus.sqlite").fit(X)
    assert extractor.au_names_ == NAMES
    for _ in range(2):  # the second time from the cache
        np.testing.assert_allclose(extractor.transform(X), fitted.predict_proba(X), atol=1e-6)
    # scikit-learn's tools clone extractors before they use them
    np.testing.assert_allclose(
        clone(extractor).fit_transform(X), fitted.predict_proba(X), atol=1e-6
    )


def test_a_classifier_adapts_by_its_aus(fitted, problem):
    X, _, X_tgt = problem
    clf = AdaFERClassifier(
        "convnet", image_size=24, epochs=1, au_extractor=AUExtractor(detector=fitted), device="cpu"
    )
    clf.fit(X, (fitted.predict(X)[:, 2]).astype(str), X_tgt)
    assert clf.au_names_ == NAMES


def test_detect_takes_pictures_of_any_size_and_none(fitted):
    sizes = ((24, 24, 3), (60, 50, 3))
    assert fitted.detect([np.zeros(size, np.uint8) for size in sizes]).shape == (2, 3)
    assert fitted.detect([]).shape == (0, 3)


def test_the_identity_tells_weights_and_settings(fitted, saved):
    assert AUNetwork.load(saved).identity == fitted.identity == clone(fitted).identity
    others = [pickle.loads(pickle.dumps(fitted)) for _ in range(3)]
    others[0].network_.graph.second.data[0, 0] += 1e-3
    others[1].au_names_ = ["AU02", "AU06", "AU12"]
    others[2].image_shape_ = (32, 32, 3)
    assert len({net.identity for net in (fitted, *others)}) == 4


# ------------------------------------------------------------------- on disk


def test_a_saved_network_predicts_the_same(problem, fitted, saved):
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "model.safetensors"]
    loaded = AUNetwork.load(saved)
    np.testing.assert_array_equal(
        loaded.predict_proba(problem[0]), fitted.predict_proba(problem[0])
    )
    assert loaded.get_params() == fitted.get_params() | {"aus": tuple(NAMES)}
    assert loaded.au_names == tuple(NAMES)
    np.testing.assert_array_equal(loaded.relations_, fitted.relations_)
    assert loaded.history_ == fitted.history_
    # another memory layout may sum in another order
    layouts = [[p.stride() for p in net.network_.parameters()] for net in (fitted, loaded)]
    assert layouts[0] == layouts[1]
    loaded.save(saved)  # over the earlier one
    assert AUNetwork.load(saved).identity == fitted.identity


def test_a_network_for_another_machine_is_loaded_too(saved):
    edit(saved, lambda found: found["parameters"].update(device="cuda:77"))
    assert AUNetwork.load(saved).device == "auto"


def edit(folder, change):
    found = json.loads((folder / "model.json").read_text())
    change(found)
    found.pop("description_sha256", None)  # as a file of another version
    (folder / "model.json").write_text(json.dumps(found))


def edit_tensors(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


DAMAGES = {
    "is missing": lambda folder: (folder / "model.safetensors").unlink(),
    "no complete safetensors": lambda folder: (folder / "model.safetensors").write_bytes(b"x"),
    "is not JSON": lambda folder: (folder / "model.json").write_text("{"),
    "no AUNetwork": lambda folder: edit(folder, lambda d: d.update({"class": "AdaFERClassifier"})),
    "format version 99": lambda folder: edit(folder, lambda d: d.update(format_version=99)),
    "wrong or missing entry": lambda folder: edit(folder, lambda d: d.pop("network")),
    "image_size 100000": lambda folder: edit(
        folder, lambda d: d["network"].update(image_size=100000)
    ),
    "'graph.adjacency': got shape": lambda folder: edit_tensors(
        folder, lambda state: state.update({"graph.adjacency": torch.eye(4)})
    ),
    "does not fit the network": lambda folder: edit_tensors(
        folder, lambda state: state.pop("graph.first")
    ),
    "SHA-256": lambda folder: edit_tensors(folder, lambda state: state["graph.first"].add_(1)),
    "relations of shape": lambda folder: edit(folder, lambda d: d.update(relations=[[1.0]])),
    "does not know: colour": lambda folder: edit(
        folder, lambda d: d["parameters"].update(colour="red")
    ),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged_models_are_refused(saved, message):
    DAMAGES[message](saved)
    with pytest.raises(ValueError, match=re.escape(message)):
        AUNetwork.load(saved)


def test_models_of_other_kinds_are_told_apart(saved, tmp_path):
    with pytest.raises(ValueError, match="'AUNetwork'"):
        AdaFERClassifier.load(saved)
    with pytest.raises(FileNotFoundError, match="no model"):
        AUNetwork.load(tmp_path / "nothing")


def test_other_folders_are_not_replaced(fitted, tmp_path):
    shutil.copy(__file__, tmp_path / "notes.py")
    with pytest.raises(FileExistsError, match="not replaced"):
        fitted.save(tmp_path)
    with pytest.raises(ValueError, match="changed after fit"):
        clone(fitted).set_params(backbones=("convnet", "resnet18")).save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


# -------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "labels", "message"),
    [
        ({}, lambda Y: Y[:-1], "95 rows but there are 96 pictures"),
        ({}, lambda Y: Y[:, :2], r"shape \(n_samples, 3\).*\(96, 2\)"),
        ({}, lambda Y: Y[:, 0], r"shape \(n_samples, 3\)"),
        ({}, lambda Y: 5 * Y, "Divide intensities"),
        ({}, lambda Y: Y - 1, "unknown labels as NaN"),
        ({}, lambda Y: np.where(Y == 1, np.inf, Y), "must lie in"),
        ({}, lambda Y: Y.astype(str) + "x", "must hold numbers"),
        ({}, lambda Y: Y * [1, np.nan, 1], "No label is known for AU06"),
        ({}, lambda Y: Y * 0, "nothing can be learnt"),
        ({"aus": None}, lambda Y: Y, "have no names"),
        ({"aus": ["AU01", "AU1", "AU12"]}, lambda Y: Y, "each once"),
        ({"aus": ["AU01", "smile", "AU12"]}, lambda Y: Y, "is no AU's name"),
        ({"backbones": ("convnet",)}, lambda Y: Y, "2 entries"),
        ({"backbones": ("convnet", "resnet19")}, lambda Y: Y, "not known"),
        ({"backbones": ("mlp", "convnet")}, lambda Y: Y, "networks for pictures"),
        ({"weights": [None]}, lambda Y: Y, "2 entries"),
        ({"device": "cuda:77"}, lambda Y: Y, "not on this machine"),
        ({"presence": 0.0}, lambda Y: Y, "presence"),
        ({"lambda_consistency": -1}, lambda Y: Y, "lambda_consistency"),
    ],
)
def test_what_cannot_work_is_told(problem, options, labels, message):
    X, Y, _ = problem
    with pytest.raises(ValueError, match=message):
        small().set_params(**options).fit(X, labels(Y))


def test_errors_come_before_pictures_are_read(problem, tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="rows but there are 2 pictures"):
        small().fit([path, path], problem[1])
    with pytest.raises(FileNotFoundError, match="X_unlabelled"):
        small().fit(*problem[:2], ["nowhere.png"])


def test_aus_of_one_value_are_warned_of(problem):
    X, Y, _ = problem
    Y = Y * [1, 0, 1]
    with pytest.warns(UserWarning, match="AU06 has one value only") as caught:
        net = small().fit(X, Y)
    assert caught[0].filename == __file__
    assert np.isfinite(net.predict_proba(X)).all()
