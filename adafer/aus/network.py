"""AUNetwork: an AU detector that is trained on faces with AU labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_is_fitted

from .._checks import check_images
from .._resumable import CHECKPOINT_CONSTRAINTS, check_checkpoints
from .._sklearn import AdaFEREstimator, Interval, StrOptions, fit_context
from ..faces import check_faces, read_faces, resize_faces
from ..target import unwrap_target
from ._au_labels import (
    au_relations,
    check_variety,
    read_au_labels,
)
from ._network_training import start, train

if TYPE_CHECKING:
    from ..deep.mlcr import MLCRNetwork

__all__ = ["AUNetwork"]


class AUNetwork(AdaFEREstimator):
    """Detect action units by two networks that were trained to agree.

    Multi-label co-regularisation (MLCR): two backbones give two views of each
    face, and each view has a classifier per AU. Three losses train them: binary
    cross-entropy on the known labels; the cosine of the two views' classifiers,
    which keeps the views different; and the divergence of their predictions,
    which needs no labels, so that unlabelled faces teach as well. A graph
    convolution over the AUs' relations lets the classifiers of AUs that come
    together learn from each other. The prediction is the mean of both views.

    A fitted network can stand behind an `AUExtractor`, see the last example.

    Parameters
    ----------
    aus : sequence of str, default=None
        Names of the columns of `Y_au`, ``"AU01"`` and so on, or which columns
        of a data frame to take. None takes all AU columns of a data frame.
    backbones : pair of str, default=("resnet18", "resnet34")
        Any torchvision classification networks, or "convnet" (small and quick,
        for faces of 32 to 64 pixels), which may be the same twice.
    weights : {None, "imagenet"}, path, or pair of these, default=None
        Where the backbones start, see `AdaFERClassifier`.
    image_size : int, default=224
        Faces are resized to this many pixels.
    presence : float, default=0.2
        An AU of this intensity or more counts as shown. Labels that are 0 or 1
        stay what they are. 0.2 of 1 is FACS level A.
    lambda_orthogonality : float, default=1.0
        Weight of the loss that keeps the views different.
    lambda_consistency : float, default=1.0
        Weight of the loss that lets the views agree. At 0, unlabelled faces are
        not used.
    relation_weight : float, default=0.2
        How much of each AU's classifier comes from those of related AUs, per
        layer of the graph convolution; 0 turns relations off.
    relation_threshold : float, default=0.2
        Relations between AUs that are weaker are taken for chance.
    epochs : int, default=30
        Each is one pass over all faces, labelled and unlabelled.
    batch_size : int, default=64
        Faces per step, both kinds in proportion.
    learning_rate : float, default=1e-3
    learning_rate_decay : float, default=0.9
        The rate is multiplied by it after each epoch.
    weight_decay : float, default=1e-4
    augment : bool, default=True
        Flip faces at random while training.
    device : str, default="auto"
        "auto" takes a GPU if there is one; else "cpu", "cuda", "cuda:1", "mps".
    precision : {"auto", "fp32", "bf16"}, default="auto"
        Of training; "auto" uses bf16 where the hardware computes it.
    checkpoint_dir : path, default=None
        A folder that keeps the state of the fit after each epoch, so that a fit
        that was interrupted goes on from there. See `AdaFERClassifier`.
    resume : {"auto", "never"}, default="auto"
        "auto" goes on from what `checkpoint_dir` holds, "never" deletes it.
    random_state : int, RandomState instance or None, default=None
        Two fits with the same number give the same network, to the bit, on the
        same CPU with the same number of threads.
    verbose : int, default=0
        1 shows a progress bar and one line per epoch.

    Attributes
    ----------
    au_names_ : list of str
        AUs in the order of the columns.
    network_ : torch.nn.Module
        The trained network, on the CPU.
    relations_ : ndarray of float64 of shape (n_aus, n_aus), values in [0, 1]
        ``|P(i | j) - P(i | not j)|`` over the labelled faces, 0 below
        `relation_threshold`, ones on the diagonal.
    image_shape_ : tuple of int
        Height, width and channels of the backbones' input.
    history_ : list of dict
        One row per epoch: losses, learning rate, speed.
    n_iter_ : int
        Epochs run.
    weights_reports_ : list of LoadReport or None
        What became of a weights file, one entry per backbone; not after `load`.

    See Also
    --------
    adafer.aus.LandmarkDetector : Needs no training.

    Notes
    -----
    Every picture gets scores, even one without a face: cut out faces first, for
    example by `adafer.FaceAligner`.

    `sklearn.base.clone` keeps what was learnt, so that a network stays fitted
    when an extractor or classifier that holds it is cloned. `fit` always starts
    anew.

    The authors' code sums the cross-entropy over 12 AUs and weighs the other
    losses by 400 and 100; here the cross-entropy is a mean over AUs, so that 33
    and 8 would be the same. Their graph convolution normalises relations by the
    AUs' degrees, which makes the classifiers of AUs with many relations hard to
    tell apart; here `relation_weight` bounds the share of the others, after
    Chen et al. Relations are taken from the labelled faces: where AUs come
    together otherwise than where the network is used, lower it.

    References
    ----------
    X. Niu, H. Han, S. Shan, X. Chen: Multi-label Co-regularization for
    Semi-supervised Facial Action Unit Recognition, NeurIPS 2019. AdaFER paper,
    section 3.5, names it as its detector.

    Z.-M. Chen, X.-S. Wei, P. Wang, Y. Guo: Multi-Label Image Recognition with
    Graph Convolutional Networks, CVPR 2019, section 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AUExtractor
    >>> from adafer.aus import AUNetwork
    >>> rng = np.random.default_rng(0)
    >>> Y_au = rng.integers(2, size=(64, 2))
    >>> X = rng.random((64, 24, 24)) / 2
    >>> X[:, 4:8] += 0.5 * Y_au[:, :1, None]
    >>> X[:, 16:20] += 0.5 * Y_au[:, 1:, None]
    >>> net = AUNetwork(
    ...     ["AU01", "AU12"], backbones=("convnet", "convnet"), image_size=24, epochs=8,
    ...     batch_size=16, device="cpu", random_state=0,
    ... )
    >>> bool(net.fit(X, Y_au).score(X, Y_au) > 0.9)
    True
    >>> AUExtractor(detector=net).fit(X).transform(X).shape
    (64, 2)
    """

    _parameter_constraints: dict = {
        "aus": [None, list, tuple, np.ndarray],
        "backbones": [list, tuple],
        "weights": [None, str, os.PathLike, list, tuple],
        "image_size": [Interval(Integral, 16, 4096, closed="both")],
        "presence": [Interval(Real, 0, 1, closed="right")],
        "lambda_orthogonality": [Interval(Real, 0, None, closed="left")],
        "lambda_consistency": [Interval(Real, 0, None, closed="left")],
        "relation_weight": [Interval(Real, 0, 1, closed="left")],
        "relation_threshold": [Interval(Real, 0, 1, closed="both")],
        "epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "learning_rate_decay": [Interval(Real, 0, 1, closed="right")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "augment": ["boolean"],
        "device": [str],
        "precision": [StrOptions({"auto", "fp32", "bf16"})],
        **CHECKPOINT_CONSTRAINTS,
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # Saves users set_fit_request: the unlabelled faces go wherever X goes.
    __metadata_request__fit = {"X_unlabelled": True}

    def __init__(
        self,
        aus: Sequence[str] | None = None,
        *,
        backbones: Sequence[str] = ("resnet18", "resnet34"),
        weights: str | Path | Sequence[str | Path | None] | None = None,
        image_size: int = 224,
        presence: float = 0.2,
        lambda_orthogonality: float = 1.0,
        lambda_consistency: float = 1.0,
        relation_weight: float = 0.2,
        relation_threshold: float = 0.2,
        epochs: int = 30,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        learning_rate_decay: float = 0.9,
        weight_decay: float = 1e-4,
        augment: bool = True,
        device: str = "auto",
        precision: str = "auto",
        checkpoint_dir: str | Path | None = None,
        resume: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.aus = aus
        self.backbones = backbones
        self.weights = weights
        self.image_size = image_size
        self.presence = presence
        self.lambda_orthogonality = lambda_orthogonality
        self.lambda_consistency = lambda_consistency
        self.relation_weight = relation_weight
        self.relation_threshold = relation_threshold
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.weight_decay = weight_decay
        self.augment = augment
        self.device = device
        self.precision = precision
        self.checkpoint_dir = checkpoint_dir
        self.resume = resume
        self.random_state = random_state
        self.verbose = verbose

    au_names_: list[str]
    network_: MLCRNetwork
    image_shape_: tuple[int, int, int]

    # ------------------------------------------------------------------ fitting

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, Y_au: ArrayLike, X_unlabelled: Any = None) -> AUNetwork:
        """Train on labelled faces, and on unlabelled ones where there are any.

        Parameters
        ----------
        X : array-like or sequence of paths
            Labelled faces in any form `adafer.faces.check_faces` takes.
        Y_au : array-like or DataFrame of shape (n, n_aus), values in [0, 1] or NaN
            Labels of 0 and 1, or intensities, see `presence`; NaN where
            unknown. All AUs of a face may be unknown.
        X_unlabelled : as X, default=None
            Any number of other faces; a 1-tuple as `adafer.as_target` makes it
            serves as well.

        Returns
        -------
        self : AUNetwork

        Raises
        ------
        ValueError
            If labels do not fit the pictures, an AU has no known label, all
            AUs have one value only, or the backbones cannot be used.
        FileNotFoundError, FaceReadError
            If a picture or a weights file cannot be read.

        Warns
        -----
        UserWarning
            If some AUs have one value only.
        """
        # what can be wrong is found before pictures are read
        faces = [check_faces(X)]
        X_unlabelled = unwrap_target(X_unlabelled)
        if X_unlabelled is not None:
            faces.append(check_faces(X_unlabelled, name="X_unlabelled"))
        labels, names = read_au_labels(
            Y_au, self.aus, presence=self.presence, n_samples=len(faces[0])
        )
        check_variety(labels, names)
        relations = au_relations(labels, self.relation_threshold)
        begun = start(self, relations)
        check_checkpoints(self)

        # without the loss they are there for, they would only cost time
        used = faces if self.lambda_consistency > 0 else faces[:1]
        inputs = [
            read_faces(part, self.image_size, name=name)
            for part, name in zip(used, ("X", "X_unlabelled"), strict=False)
        ]
        self.network_, self.weights_reports_, self.history_ = train(
            self, begun, inputs, labels, names, relations
        )
        self.n_iter_ = len(self.history_)
        self.au_names_ = names
        self.relations_ = relations
        self.image_shape_ = (int(self.image_size), int(self.image_size), 3)
        return self

    # --------------------------------------------------------------- predicting

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of each AU, the mean of both views.

        Parameters
        ----------
        X : array-like or sequence of paths
            Faces in any form `adafer.faces.check_faces` takes.

        Returns
        -------
        probabilities : ndarray of float32 of shape (n, n_aus), values in [0, 1]
            Columns in the order of `au_names_`.

        Raises
        ------
        NotFittedError
            If the network was not fitted.
        ValueError
            If `X` holds no pictures.
        FileNotFoundError, FaceReadError
            If a picture cannot be read.
        """
        check_is_fitted(self, "network_")
        return np.concatenate([self.detect(images) for _, images in check_faces(X).chunks()])

    def predict(self, X: Any) -> NDArray[np.uint8]:
        """Tell which AUs are shown: those with a probability of more than a half.

        Parameters
        ----------
        X : array-like or sequence of paths
            As `predict_proba`.

        Returns
        -------
        codes : ndarray of uint8 of shape (n, n_aus)
            0 or 1.
        """
        return (self.predict_proba(X) > 0.5).astype(np.uint8)

    def score(self, X: Any, Y_au: ArrayLike) -> float:
        """Mean area under the ROC curve over the AUs.

        Parameters
        ----------
        X : array-like or sequence of paths
            As `predict_proba`.
        Y_au : array-like or DataFrame of shape (n, n_aus), values in [0, 1] or NaN
            As in `fit`, with the same AUs.

        Returns
        -------
        auc : float
            Over the AUs that have both values among their known labels.

        Raises
        ------
        ValueError
            If labels do not fit the pictures, or no AU has both values.
        """
        check_is_fitted(self, "network_")
        faces = check_faces(X)
        labels, _ = read_au_labels(
            Y_au, self.au_names_, presence=self.presence, n_samples=len(faces)
        )
        known = ~np.isnan(labels)
        both = [k for k, column in enumerate(labels.T) if {0.0, 1.0} <= set(column[known[:, k]])]
        if not both:
            raise ValueError(
                "No AU is both shown and absent in Y_au, so that there is no ROC curve. Give more "
                "faces, or check presence=..."
            )
        found = self.predict_proba(faces)
        areas = [roc_auc_score(labels[known[:, k], k], found[known[:, k], k]) for k in both]
        return float(np.mean(areas))

    # ---------------------------------------------------------- as an AUDetector

    @property
    def au_names(self) -> tuple[str, ...]:
        """AUs in the order of the columns, as an `AUExtractor` reads them."""
        check_is_fitted(self, "network_")
        return tuple(self.au_names_)

    @property
    def identity(self) -> str:
        """Name of the network with a hash of all that changes its scores."""
        check_is_fitted(self, "network_")
        digest = hashlib.sha256(repr((self.image_shape_, self.au_names_)).encode())
        for name, tensor in self.network_.state_dict().items():
            values = tensor.detach().cpu().numpy()
            digest.update(f"{name}{values.dtype}{values.shape}".encode())
            digest.update(values.tobytes())
        return f"network-1:{digest.hexdigest()[:32]}"

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Score the AUs of faces that were read already.

        Parameters
        ----------
        images : sequence of n ndarrays of uint8 of shape (H, W, 3)
            RGB faces of any size.

        Returns
        -------
        scores : ndarray of float32 of shape (n, n_aus), values in [0, 1]
            Never NaN: a face is taken for granted.
        """
        from ..deep.batches import Feed
        from ..deep.device import resolve_device
        from ..deep.mlcr import infer_aus

        check_is_fitted(self, "network_")
        check_images(images)
        if len(images) == 0:
            return np.empty((0, len(self.au_names_)), dtype=np.float32)
        device = resolve_device(self.device)
        self.network_.to(device)
        try:
            faces = resize_faces(images, self.image_shape_[0])
            return infer_aus(self.network_, Feed([faces], device))
        finally:
            self.network_.cpu()

    # -------------------------------------------------------------------- keeping

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted network as a folder of safetensors and JSON.

        Parameters
        ----------
        path : path of the folder; an earlier model there is replaced.

        Raises
        ------
        NotFittedError
            If the network was not fitted.
        FileExistsError
            If there is a file, or a folder that is not an adafer model.
        OSError
            If it cannot be written.
        """
        from ._network_files import save_network

        save_network(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AUNetwork:
        """Read a network written by `save`; no pickled code is run.

        Parameters
        ----------
        path : path of the folder

        Returns
        -------
        network : AUNetwork
            Predicts as the saved one does. A `device` that is not on this
            machine becomes "auto".

        Raises
        ------
        FileNotFoundError
            If there is no such folder.
        ValueError
            If a file is missing, damaged, or of another format version or model.
        """
        from ._network_files import load_network

        return load_network(path)

    def __sklearn_clone__(self) -> AUNetwork:
        parameters = self.get_params(deep=False)
        copy = type(self)(**{k: clone(v, safe=False) for k, v in parameters.items()})
        for name, value in vars(self).items():
            if name.endswith("_"):
                setattr(copy, name, value)  # no fit or prediction changes it in place
        return copy

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        tags.target_tags.two_d_labels = True
        tags.target_tags.multi_output = True
        tags.non_deterministic = self.random_state is None
        return tags
