"""What the steps of DANN, CADA, Deep CORAL, MCC, SAFN and SWD change."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from adafer.deep.backbones import build_network
from adafer.deep.batches import Feed
from adafer.deep.joint import FurtherStep
from adafer.deep.loop import Trainer
from adafer.rivals import (
    CADAClassifier,
    DANNClassifier,
    DeepCORALClassifier,
    MCCClassifier,
    SAFNClassifier,
    SWDClassifier,
)


def make(method, **options):
    training = {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 0.003,
        "random_state": 0,
        "device": "cpu",
    }
    if "hidden_units" in method._get_param_names():
        training["hidden_units"] = 64
    return method(**(training | options))


def first_step(method, problem, **options):
    """Gradients of the network in the first joint step, all rows in one batch."""
    clf = make(method, **options)
    torch.manual_seed(0)
    network = build_network("mlp", 3, feature_mean=torch.zeros(3), feature_std=2 * torch.ones(3))
    labels = np.unique(problem["y"], return_inverse=True)[1]
    feed = Feed([problem["X"], problem["X_tgt"]], torch.device("cpu"))
    trainer = clf._trainer(network, torch.device("cpu"), np.random.default_rng(0))
    trainer.batch_size = 10_000
    found = {}

    def keep(optimizer, loss, trained=None):
        found["loss"] = loss.item()
        loss.backward()
        found.update({name: weight.grad for name, weight in network.named_parameters()})
        raise StopIteration

    trainer._descend = keep
    with pytest.raises(StopIteration):
        clf._adapt(trainer, feed, labels, None)
    return found


@pytest.mark.parametrize(
    ("method", "off"),
    [
        (DeepCORALClassifier, {"coral_weight": 0.0}),
        (MCCClassifier, {"confusion_weight": 0.0}),
        (SAFNClassifier, {"norm_weight": 0.0}),
    ],
)
def test_the_objective_s_own_term_reaches_backbone_and_classifier(feature_problem, method, off):
    with_term, without = (first_step(method, feature_problem, **o) for o in ({}, off))
    moved = {
        name: (with_term[name] - without[name]).abs().max() > 1e-7
        for name in with_term
        if name != "loss"
    }
    assert all(flag for name, flag in moved.items() if name.startswith("backbone"))
    reached = any(flag for name, flag in moved.items() if name.startswith("classifier"))
    assert reached == (method is not SAFNClassifier)  # norms are the backbone's affair
    assert with_term["loss"] > without["loss"]


@pytest.mark.parametrize("method", [DANNClassifier, CADAClassifier])
def test_the_raw_discriminator_does_not_move_the_network_yet(feature_problem, method):
    weight = "backbone.0.weight"
    started = first_step(method, feature_problem)[weight]
    without = first_step(method, feature_problem, adversarial_weight=0.0)[weight]
    torch.testing.assert_close(started, without, rtol=0, atol=0)


def test_norms_grow_and_are_told(feature_problem):
    p = feature_problem
    grown, kept = (
        make(SAFNClassifier, norm_weight=weight).fit(p["X"], p["y"], p["X_tgt"]).history_[-1]
        for weight in (0.05, 0.0)
    )
    for side in ("norm_source", "norm_target"):
        assert grown[side] > 1.3 * kept[side]


def trainer_of(network, n_rows):
    return Trainer(
        network,
        device=torch.device("cpu"),
        precision="fp32",
        batch_size=n_rows,
        learning_rate=0.01,
        learning_rate_decay=0.9,
        weight_decay=0.1,
        augmented=False,
        rng=np.random.default_rng(0),
        verbose=0,
    )


def test_further_steps_change_what_they_train_and_nothing_else(feature_problem):
    p = feature_problem
    torch.manual_seed(0)
    network = build_network("mlp", 3, feature_mean=torch.zeros(3), feature_std=torch.ones(3))
    second = torch.nn.Linear(64, 3)
    labels = np.unique(p["y"], return_inverse=True)[1]
    trainer = trainer_of(network, 10_000)
    seen, states = [], []

    def state():
        return {
            **{name: weight.detach().clone() for name, weight in network.named_parameters()},
            **{
                f"second.{name}": weight.detach().clone()
                for name, weight in second.named_parameters()
            },
        }

    def objective(batch):
        states.append(state())
        seen.append(batch)
        loss = batch.source_loss() + second(batch.pooled).square().mean()
        return {"loss": loss, "a": loss}

    trainer.fit_jointly(
        Feed([p["X"], p["X_tgt"]], torch.device("cpu")),
        labels,
        objective,
        1,
        modules=[second],
        further=[
            FurtherStep(
                lambda batch: {**objective(batch), "b": batch.progress * torch.ones(())}, [second]
            ),
            FurtherStep(objective, [network.backbone]),
        ],
    )
    states.append(state())
    changed = [
        {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        for before, after in pairwise(states)
    ]
    assert changed == [{"backbone", "classifier", "second"}, {"second"}, {"backbone"}]
    for batch in seen[1:]:
        assert torch.equal(batch.rows, seen[0].rows)
        assert batch.progress == 0
    torch.testing.assert_close(torch.nn.functional.normalize(seen[0].pooled), seen[0].features)
    row = trainer.history[-1]
    assert {"loss", "a", "b"} <= set(row)
    assert row["loss"] != row["a"]  # the loss is the first step's


def test_two_classifiers_seek_dispute_and_the_backbone_ends_it(feature_problem, monkeypatch):
    p = feature_problem
    steps = []
    plain = Trainer._descend

    def watched(self, optimizer, loss, trained=None):
        plain(self, optimizer, loss, trained)
        steps.append(None if trained is None else [type(module).__name__ for module in trained])

    monkeypatch.setattr(Trainer, "_descend", watched)
    clf = make(SWDClassifier, epochs=1).fit(p["X"], p["y"], p["X_tgt"])
    n_source_steps = -(-len(p["y"]) // 32)
    joint = steps[n_source_steps:]
    assert joint[:3] == [None, ["Linear", "Linear"], ["MLP"]]
    assert len(joint) % 3 == 0
    assert {"loss_source", "discrepancy_sought", "discrepancy_left"} <= set(clf.history_[-1])


def test_the_second_step_raises_dispute_and_the_third_ends_it(feature_problem, monkeypatch):
    p = feature_problem
    plain = Trainer.fit_jointly

    def found_after(kept, weight=1.0):
        def fit(self, *args, further=(), **more):
            return plain(self, *args, further=[further[i] for i in kept], **more)

        monkeypatch.setattr(Trainer, "fit_jointly", fit)
        clf = make(SWDClassifier, epochs=4, discrepancy_weight=weight)
        clf.fit(p["X"], p["y"], p["X_tgt"])
        return clf.history_[-1]["discrepancy_sought"]

    sought = found_after([0])
    assert sought > 2 * found_after([0], weight=0.0)
    assert sought > 2 * found_after([0, 1])


def test_both_classifiers_speak_with_one_voice():
    from adafer.rivals.swd import _average, _second_classifier

    torch.manual_seed(0)
    first, features = torch.nn.Linear(5, 3), torch.randn(4, 5)
    second = _second_classifier(first)
    assert not torch.allclose(first.weight, second.weight)
    expected = (first(features) + second(features)) / 2
    _average(first, second)
    torch.testing.assert_close(first(features), expected)
