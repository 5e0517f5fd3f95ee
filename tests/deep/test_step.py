"""What a training step asks of the machine, and what looking does without training."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from adafer import AdaFERClassifier, SourceOnlyClassifier
from adafer.deep import inference
from adafer.deep.backbones import build_network
from adafer.deep.batches import Feed
from adafer.deep.loop import Trainer
from adafer.rivals import (
    AGRAClassifier,
    CADAClassifier,
    DANNClassifier,
    DeepCORALClassifier,
    DETNClassifier,
    MCCClassifier,
    SAFNClassifier,
    SWDClassifier,
)

CPU = torch.device("cpu")

# What makes the host wait for a GPU: values that are read, shapes that depend on values.
_WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "bincount"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Waiting(TorchDispatchMode):
    """Notes operations for which the host would wait if they were a GPU's."""

    def __init__(self):
        super().__init__()
        self.found = set()
        self.count = 0
        self.paused = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        at = args[1] if name in _INDEXING else ()
        masks = [x for x in at if x is not None and x.dtype == torch.bool]
        if not self.paused:
            self.count += 1
            if name in _WAITING or masks:
                self.found.add(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def waiting(monkeypatch):
    """Watches the steps of an epoch; the host's own gathering of rows excepted."""
    found = Waiting()
    epoch, descend, collect = Trainer._epoch, Trainer._descend, Feed._collect

    def watched_epoch(self, stage, number, model, optimizer, batches, step, *more):
        def watched(model, rows):
            with found:
                return step(model, rows)

        epoch(self, stage, number, model, optimizer, batches, watched, *more)

    def watched_descend(self, *args):
        with found:
            descend(self, *args)

    def paused_collect(self, rows):
        found.paused = True
        try:
            return collect(self, rows)
        finally:
            found.paused = False

    monkeypatch.setattr(Trainer, "_epoch", watched_epoch)
    monkeypatch.setattr(Trainer, "_descend", watched_descend)
    monkeypatch.setattr(Feed, "_collect", paused_collect)
    return found


def small(method, **options):
    training = {"image_size": 16, "epochs": 1, "batch_size": 16, "random_state": 0, "device": "cpu"}
    return method("convnet", **(training | options))


@pytest.mark.parametrize("recipe", ["fused", "paper"])
def test_no_step_of_adafer_makes_the_host_wait(face_problem, waiting, recipe):
    p = face_problem
    clf = small(AdaFERClassifier, recipe=recipe, margin="learnable")
    clf.fit(p["X"], p["y"], p["X_tgt"], au_src=p["au_src"], au_tgt=p["au_tgt"])
    assert waiting.count > 1000
    assert waiting.found == set()


@pytest.mark.parametrize(
    "method",
    [
        CADAClassifier,
        DANNClassifier,
        DeepCORALClassifier,
        DETNClassifier,
        MCCClassifier,
        SAFNClassifier,
        SWDClassifier,
    ],
)
def test_no_step_of_these_rivals_makes_the_host_wait(face_problem, waiting, method):
    p = face_problem
    small(method).fit(p["X"], p["y"], p["X_tgt"])
    assert waiting.count > 1000
    assert waiting.found == set()


def test_a_step_that_would_wait_is_noticed(face_problem, waiting):
    class Waits(DeepCORALClassifier):
        def _adapt(self, trainer, feed, labels, plan):
            def objective(batch):
                return {"loss": batch.logits[batch.is_source].mean()}

            trainer.fit_jointly(feed, labels, objective, 1)

    p = face_problem
    small(Waits).fit(p["X"], p["y"], p["X_tgt"])
    assert "index" in waiting.found


def test_rows_of_either_domain_are_where_the_mask_says(face_problem, monkeypatch):
    p, seen = face_problem, []

    class Looks(DeepCORALClassifier):
        def _adapt(self, trainer, feed, labels, plan):
            def objective(batch):
                seen.append(batch)
                return {"loss": batch.source_loss()}

            trainer.fit_jointly(feed, labels, objective, 1)

    small(Looks).fit(p["X"], p["y"], p["X_tgt"])
    for batch in seen:
        assert torch.equal(batch.source_at, batch.is_source.nonzero()[:, 0])
        assert torch.equal(batch.target_at, (~batch.is_source).nonzero()[:, 0])


# ------------------------------------------------------------------------- compiling


@pytest.fixture
def compiled(monkeypatch):
    """Backbones that were compiled, by something that runs them as they are."""
    found = []

    class Compiled(torch.nn.Module):
        def __init__(self, plain):
            super().__init__()
            self.plain = plain
            found.append(self)
            self.count = 0

        def forward(self, inputs):
            self.count += 1
            return self.plain(inputs)

    monkeypatch.setattr(torch, "compile", Compiled)
    plain = Trainer.__init__

    def as_on_a_gpu(self, *args, compiled=False, **options):
        plain(self, *args, **options)
        self.compiled = compiled

    monkeypatch.setattr(Trainer, "__init__", as_on_a_gpu)
    return found


def test_the_backbone_is_compiled_for_each_stage_and_plain_afterwards(face_problem, compiled):
    p = face_problem
    known = {"au_src": p["au_src"], "au_tgt": p["au_tgt"]}
    found = [
        small(AdaFERClassifier, compile=flag).fit(p["X"], p["y"], p["X_tgt"], **known)
        for flag in (False, True)
    ]
    assert len(compiled) == 2
    assert all(backbone.count for backbone in compiled)
    for a, b in zip(*(clf.network_.state_dict().items() for clf in found), strict=True):
        assert a[0] == b[0]
        assert torch.equal(a[1], b[1])


def test_the_backbone_is_plain_after_an_error_too(face_problem, compiled):
    p, seen = face_problem, []

    class Breaks(DeepCORALClassifier):
        def _adapt(self, trainer, feed, labels, plan):
            def objective(batch):
                seen.append(trainer.network)
                raise KeyError("broken")

            trainer.fit_jointly(feed, labels, objective, 1)

    with pytest.raises(KeyError, match="broken"):
        small(Breaks, compile=True).fit(p["X"], p["y"], p["X_tgt"])
    assert not hasattr(seen[0].backbone, "plain")


def test_a_network_whose_maps_are_read_is_not_compiled(face_problem, compiled):
    p = face_problem
    small(AGRAClassifier, compile=True).fit(p["X"], p["y"], p["X_tgt"])
    assert compiled == []


def test_compiling_is_for_gpus_alone(face_problem, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", asked.append)
    small(SourceOnlyClassifier, compile=True).fit(face_problem["X"], face_problem["y"])
    assert asked == []


# ------------------------------------------------------------------ without training


def test_flipping_at_test_time_is_the_mean_of_both_views(face_problem):
    p = face_problem
    clf = small(SourceOnlyClassifier).fit(p["X"], p["y"])
    X = p["X"].copy()
    X[:, :, :8] //= 3  # not symmetric
    plain, mirrored = clf.predict_proba(X), clf.predict_proba(X[:, :, ::-1])
    features = clf.transform(X)
    both = clf.set_params(test_time_flip=True).predict_proba(X)
    assert np.abs(plain - mirrored).max() > 1e-3
    np.testing.assert_allclose(both, (plain + mirrored) / 2, atol=1e-6)
    np.testing.assert_array_equal(clf.transform(X), features)


def test_flipping_changes_nothing_for_features(feature_problem):
    p = feature_problem
    clf = SourceOnlyClassifier(epochs=1, device="cpu", random_state=0).fit(p["X"], p["y"])
    plain = clf.predict_proba(p["X"])
    flipped = clf.set_params(test_time_flip=True).predict_proba(p["X"])
    np.testing.assert_array_equal(plain, flipped)


def test_fewer_rows_are_looked_at_together_where_memory_is_short(monkeypatch):
    torch.manual_seed(0)
    network = build_network("convnet", 3, image_size=16)
    faces = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    expected = inference.infer(network, Feed([faces], CPU), first=3)
    asked = []
    plain = type(network).forward

    def short(self, inputs):
        asked.append(len(inputs))
        if len(inputs) > 5:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return plain(self, inputs)

    monkeypatch.setattr(type(network), "forward", short)
    found = inference.infer(network, Feed([faces], CPU), first=3)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert max(asked[-9:]) == 4
    monkeypatch.setattr(inference, "_INPUT_BYTES", 4 * 3 * 16 * 16 * 4)
    asked.clear()
    inference.infer(network, Feed([faces], CPU))
    assert asked == [4] * 10


def test_where_one_row_does_not_fit_the_error_is_passed_on(monkeypatch):
    network = build_network("convnet", 3, image_size=16)
    faces = np.zeros((3, 16, 16, 3), np.uint8)

    def never(self, inputs):
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(type(network), "forward", never)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        inference.infer(network, Feed([faces], CPU))
