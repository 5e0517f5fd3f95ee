"""What all methods that train a network share: all but how they adapt."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._domain_classifier import DomainClassifier
from ._files import check_output_folder
from ._network_options import NetworkOptions
from ._ranks import this_rank
from ._resumable import (
    CHECKPOINT_CONSTRAINTS,
    check_checkpoints,
    data_digests,
    open_checkpoints,
)
from ._sklearn import N_JOBS, Interval, StrOptions
from .aus import AUExtractor
from .domains import DomainInputs
from .faces import Faces, OnError

if TYPE_CHECKING:
    import torch

    from .deep.backbones import AdaFERNetwork
    from .deep.batches import Feed
    from .deep.loop import Trainer
    from .deep.trainer_state import SharedCheckpoints
    from .onnx_export import ExportReport

__all__ = ["NetworkClassifier", "NetworkOptions", "column_scale"]

# Pictures that the statistics of batch normalisation are estimated on, at most.
_STATISTICS_ROWS = 10_000


class _Start(NamedTuple):
    """What training starts from: the network, whether it is new, the generator of all draws."""

    network: AdaFERNetwork
    is_new: bool
    rng: np.random.Generator
    drawn: int
    again: Callable[[int], Any]  # the same with another number drawn


class NetworkClassifier(DomainClassifier):
    """Base of classifiers that train a network on the source and then adapt it.

    `fit` runs the source stage; with target data the joint stage follows, which
    a subclass writes in `_adapt`. Without one this is source-only training.

    Parameters
    ----------
    backbone : str, default="resnet18"
        Any torchvision classification network, or "convnet" (small and quick,
        for faces of 32 to 64 pixels). 2-D input always uses a small MLP.
    weights : {None, "imagenet"} or path, default=None
        Where the backbone starts: at random, from ImageNet weights downloaded
        before, or from a state dict (plain, under ``state_dict``, or with
        ``module.`` prefixes).
    image_size : int, default=224
        Faces are resized to this many pixels. Below 96 the network's first
        pooling is removed.
    epochs : int, default=40
        Epochs of the joint stage, in which the method adapts.
    source_epochs : int or None, default=None
        Epochs of the source stage; None means `epochs`.
    batch_size : int, default=128
        Pictures per step of the source stage. A step of the joint stage takes
        three times as many, of both domains (in AdaFER, the pictures of as many
        triplets).
    learning_rate : float, default=1e-3
    learning_rate_decay : float, default=0.9
        The rate is multiplied by it after each epoch; each stage starts anew.
    weight_decay : float, default=1e-4
    augment : bool, default=True
        Flip faces and erase parts of them at random while training.
    norm_statistics : {"trained", "target", "running"}, default="trained"
        What batch normalisation uses in `predict`: statistics estimated after
        the last epoch, over the pictures of the last stage ("trained": the
        source, or both domains) or over the target's alone ("target"); or the
        running averages that training leaves behind ("running"), which lag
        behind the weights and make short trainings a matter of luck.
    on_error : {"raise", "skip"}, default="raise"
        What to do with pictures that cannot be read in `fit`: an error before
        training starts, or leave them out and list them in `skipped_`.
    warm_start : bool, default=False
        Start from the network of the last `fit`. With ``source_epochs=0``, a
        source-only model is adapted without training it again.
    device : str, default="auto"
        "auto" takes a GPU if there is one; else "cpu", "cuda", "cuda:1", "mps".
    precision : {"auto", "fp32", "bf16"}, default="auto"
        "auto" uses bf16 where the hardware computes it.
    compile : bool, default=False
        Compile the backbone by `torch.compile` while it trains on a GPU; without
        effect elsewhere. That takes a minute or more, and pays in long fits.
    test_time_flip : bool, default=False
        Predict the mean of the probabilities of a face and of its mirror image,
        which takes twice the time. Features are those of the face alone.
    store : path, default=None
        A folder that keeps the faces of files as they were decoded, in
        `image_size`, and their AU scores: a later fit on the same files decodes
        nothing. It holds pictures. By default nothing is kept.
    checkpoint_dir : path, default=None
        A folder that keeps the state of the fit after each epoch, so that a fit
        that was interrupted, even killed, goes on from there: on the CPU to the
        same network, to the bit. It belongs to one fit; another one, by its
        parameters or data, is refused. Under cross-validation and grid search
        put ``{fit}`` into the name, as in ``"checkpoints/{fit}"``: that becomes a
        folder per fit. A fit that was finished is there at once when it is asked
        for again. Where `random_state` is no number, the one drawn at first is
        kept there. The folder holds no pictures; delete it when all is done.
    resume : {"auto", "never"}, default="auto"
        "auto" goes on from what `checkpoint_dir` holds, and starts anew if it
        holds nothing; "never" deletes the checkpoints there.
    n_jobs : int, default=None
        Threads that decode pictures, and workers that score AUs, where those are
        used. None means one, -1 one per core.
    random_state : int, RandomState instance or None, default=None
        Two fits with the same number give the same network, to the bit, on the
        same CPU with the same number of threads.
    verbose : int, default=0
        1 shows a progress bar and one line per epoch.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network, on the CPU.
    history_ : list of dict
        One row per epoch: stage, losses, speed.
    n_iter_ : int
        Epochs run, both stages.
    weights_report_ : LoadReport or None
        What became of a weights file.
    image_shape_ : tuple of int
        Height, width and channels of the network's input; only after a fit on
        faces.
    %(shared_attributes)s
    """

    _parameter_constraints: dict = {
        "backbone": [str],
        "weights": [None, str, os.PathLike],
        "image_size": [Interval(Integral, 16, 4096, closed="both")],
        "epochs": [Interval(Integral, 0, None, closed="left")],
        "source_epochs": [None, Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "learning_rate_decay": [Interval(Real, 0, 1, closed="right")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "augment": ["boolean"],
        "norm_statistics": [StrOptions({"trained", "target", "running"})],
        "on_error": [StrOptions({"raise", "skip"})],
        "warm_start": ["boolean"],
        "device": [str],
        "precision": [StrOptions({"auto", "fp32", "bf16"})],
        "compile": ["boolean"],
        "test_time_flip": ["boolean"],
        "store": [None, str, os.PathLike],
        "n_jobs": N_JOBS,
        **CHECKPOINT_CONSTRAINTS,
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        weights: str | Path | None = None,
        image_size: int = 224,
        epochs: int = 40,
        source_epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        learning_rate_decay: float = 0.9,
        weight_decay: float = 1e-4,
        augment: bool = True,
        norm_statistics: str = "trained",
        on_error: OnError = "raise",
        warm_start: bool = False,
        device: str = "auto",
        precision: str = "auto",
        compile: bool = False,
        test_time_flip: bool = False,
        store: str | Path | None = None,
        checkpoint_dir: str | Path | None = None,
        resume: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.image_size = image_size
        self.epochs = epochs
        self.source_epochs = source_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.weight_decay = weight_decay
        self.augment = augment
        self.norm_statistics = norm_statistics
        self.on_error = on_error
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.compile = compile
        self.test_time_flip = test_time_flip
        self.store = store
        self.checkpoint_dir = checkpoint_dir
        self.resume = resume
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    _au_parameter = "au"  # of `fit`, with _src or _tgt

    network_: AdaFERNetwork
    image_shape_: tuple[int, int, int]
    history_: list[dict]

    # ------------------------------------------- hooks: what a method may say

    def _plan(self, source: DomainInputs, y: NDArray, target: DomainInputs) -> Any:
        """Work out what `_adapt` needs, before any training: what cannot work fails here.

        Parameters
        ----------
        source, target : DomainInputs
            Inputs, and AU scores if `_au_use` asks for them.
        y : ndarray of shape (n_source,)
            Labels of the source, as names.

        Returns
        -------
        plan : object
            Goes to `_adapt`.
        """

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: Any) -> None:
        """Train on after the source stage; called with target data only.

        Random numbers come from ``trainer.rng``, or from torch, which is seeded
        here. Fitted attributes may be set.

        Parameters
        ----------
        trainer : Trainer
            Holds the network; `Trainer.fit_jointly` takes an objective.
        feed : Feed
            Source rows first, then target rows.
        labels : ndarray of int64 of shape (n_source,)
            Class indices of the source rows.
        plan : object
            What `_plan` gave.
        """

    def _finish_network(
        self, network: AdaFERNetwork, source: DomainInputs, *, is_new: bool
    ) -> AdaFERNetwork:
        """Change the network once the source is read; torch is seeded here."""
        return self._extend_network(network) if is_new else network

    def _extend_network(self, network: AdaFERNetwork) -> AdaFERNetwork:
        """Give a plain network what the method adds by its parameters alone.

        Also called for a saved model, whose tensors are then read into it.
        """
        return network

    def _n_aus_to_predict(self) -> int | None:
        """How many AU scores each sample needs in `predict`; None where it needs none."""
        return None

    def _feed(self, domains: list[DomainInputs], device: torch.device) -> Feed:
        """Lay the domains' inputs one after the other."""
        from .deep.batches import Feed

        return Feed([domain.inputs for domain in domains], device)

    def _trainer(
        self, network: AdaFERNetwork, device: torch.device, rng: np.random.Generator
    ) -> Trainer:
        """Make the trainer of both stages."""
        from .deep.loop import Trainer

        return Trainer(
            network,
            device=device,
            precision=self.precision,
            compiled=self.compile,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            learning_rate_decay=self.learning_rate_decay,
            weight_decay=self.weight_decay,
            augmented=self.augment,
            rng=rng,
            verbose=self.verbose,
        )

    # ----------------------------------------------------------------- fitting

    def _prepare(self, X: Faces | NDArray, classes: NDArray) -> _Start:
        """Make the network, or take that of the last fit; and the generator of all draws."""
        from .deep.device import resolve_device
        from .deep.distributed import join

        _, group = join(resolve_device(self.device))
        # without a number as random_state each process would have another
        drawn = group.shared(check_random_state(self.random_state).randint(2**31 - 1))
        if self.store is not None:
            check_output_folder(self.store)
        check_checkpoints(self)
        return self._start(X, classes, drawn)

    def _start(self, X: Faces | NDArray, classes: NDArray, drawn: int) -> _Start:
        import torch

        from .deep.backbones import build_network
        from .deep.device import seeded
        from .deep.weights import load_weights

        rng = np.random.default_rng(drawn)
        seed = int(rng.integers(2**31))
        again = partial(self._start, X, classes)
        if self.warm_start and hasattr(self, "network_"):
            if not np.array_equal(self.classes_, classes):
                raise ValueError(
                    "warm_start=True goes on with a network of the classes "
                    f"{self.classes_.tolist()}, but y has {classes.tolist()}. Set "
                    "warm_start=False or give the same classes."
                )
            # a fit that fails leaves the network as it was
            return _Start(deepcopy(self.network_), False, rng, drawn, again)
        self.weights_report_ = None
        with seeded(seed, torch.device("cpu")):
            if not isinstance(X, Faces):
                mean, std = column_scale(X)
                network = build_network("mlp", len(classes), feature_mean=mean, feature_std=std)
                return _Start(network, True, rng, drawn, again)
            network = build_network(self.backbone, len(classes), image_size=self.image_size)
            if self.weights is not None:
                self.weights_report_ = load_weights(network, self.weights, self.backbone)
            return _Start(network, True, rng, drawn, again)

    def _scorer(self, extractor: AUExtractor) -> Any:
        """Let each process of a group score its share of the pictures."""
        if this_rank().count == 1:
            return extractor
        from .deep.device import resolve_device
        from .deep.distributed import SplitScorer, join

        return SplitScorer(extractor, join(resolve_device(self.device))[1])

    def _fit(
        self,
        source: DomainInputs,
        labels: NDArray,
        target: DomainInputs | None,
        classes: NDArray,
        prepared: _Start,
    ) -> None:
        data = {}
        if self.checkpoint_dir is not None:
            started = None if prepared.is_new else prepared.network
            data = data_digests(self, source, labels, target, classes, started)
        with open_checkpoints(self, data, prepared.drawn) as checkpoints:
            if checkpoints is not None and checkpoints.seed != prepared.drawn:
                prepared = prepared.again(checkpoints.seed)
            self._train(source, labels, target, classes, prepared, checkpoints)

    def _train(
        self,
        source: DomainInputs,
        labels: NDArray,
        target: DomainInputs | None,
        classes: NDArray,
        prepared: _Start,
        checkpoints: SharedCheckpoints | None,
    ) -> None:
        from .deep.device import resolve_device, seeded

        network, is_new, rng = prepared[:3]
        plan = None if target is None else self._plan(source, classes[labels], target)
        device = resolve_device(self.device)
        with seeded(int(rng.integers(2**31)), device):
            network = self._finish_network(network, source, is_new=is_new)
            trainer = self._trainer(network, device, rng)
            trainer.checkpoints = checkpoints
            trainer.weigh_source(source.weights)
            feed = self._feed([source] if target is None else [source, target], device)
            source_epochs = self.epochs if self.source_epochs is None else self.source_epochs
            trainer.fit_source(feed, labels, source_epochs)
            if target is not None:
                self._adapt(trainer, feed, labels, plan)
            self._estimate_statistics(trainer, feed, len(labels), len(feed))
        self.network_ = network.cpu().eval()
        if source.inputs.ndim == 4:
            self.image_shape_ = (self.image_size, self.image_size, 3)
        self.history_ = trainer.history
        self.n_iter_ = len(trainer.history)

    def _estimate_statistics(
        self, trainer: Trainer, feed: Feed, n_source: int, n_trained: int
    ) -> None:
        """Set what batch normalisation uses in `predict`, as `norm_statistics` says."""
        from .deep.inference import estimate_statistics
        from .deep.joint import mixed_rows

        if not trainer.history or self.norm_statistics == "running":
            return
        if self.norm_statistics == "target" and len(feed) > n_source:
            rows = np.arange(n_source, len(feed))
        elif n_trained > n_source:
            # domains in the shares that the joint stage's batches had
            rows = mixed_rows(n_source, n_trained - n_source, trainer.rng).ravel()
        else:
            rows = np.arange(n_source)
        estimate_statistics(trainer.network, feed, trainer.rng.permutation(rows)[:_STATISTICS_ROWS])

    # -------------------------------------------------------------- predicting

    def _infer(self, X: Any, au: Any = None) -> tuple[NDArray, NDArray]:
        """Features and probabilities of new samples."""
        from .deep.device import resolve_device
        from .deep.inference import infer

        check_is_fitted(self, "network_")
        device = resolve_device(self.device)
        size = self.image_shape_[0] if hasattr(self, "image_shape_") else 0
        domains = self._read_to_predict(X, au, image_size=size, n_aus=self._n_aus_to_predict())
        self.network_.to(device)
        try:
            parts = [
                infer(self.network_, self._feed([domain], device), flipped=self.test_time_flip)
                for domain in domains
            ]
        finally:
            self.network_.cpu()
        features, probabilities = zip(*parts, strict=True)
        return np.concatenate(features), np.concatenate(probabilities)

    # ------------------------------------------------------------------ saving

    def export_onnx(self, path: str | os.PathLike) -> ExportReport:
        """Write the model as one ONNX file, preprocessing inside.

        Parameters
        ----------
        path : path of the file

        Returns
        -------
        report : ExportReport
            See `adafer.onnx_export.export_onnx`.
        """
        from .onnx_export import export_onnx

        return export_onnx(self, path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.random_state is None
        return tags


def column_scale(values: NDArray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each column, 1 where a column is constant.

    Parameters
    ----------
    values : ndarray of shape (n, n_columns)

    Returns
    -------
    mean, std : Tensor of float32 of shape (n_columns,)
    """
    import torch

    mean = values.mean(axis=0, dtype=np.float64)
    std = values.std(axis=0, dtype=np.float64)
    std[std < 1e-12] = 1.0
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(std.astype(np.float32))
