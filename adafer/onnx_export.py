"""Models as one ONNX file, with all that `predict_proba` does to its input inside."""

from __future__ import annotations

import json
import os
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._files import check_output_file, new_file
from ._network_classifier import NetworkClassifier
from ._versions import versions

if TYPE_CHECKING:
    import torch

__all__ = ["ExportReport", "export_onnx"]

# the first set whose operators do all that the exporter asks for
OPSET = 18
# float32 sums differ in their order
_TOLERANCE = 1e-4


class ExportReport(NamedTuple):
    """What was written, and how well it agrees with the model.

    Attributes
    ----------
    input_name : str
        "faces" or "features".
    input_form : str
        dtype and shape, for people.
    classes : list of str
        In the order of the columns of the output "probabilities".
    opset : int
    n_checked : int
        Samples that both the file, by onnxruntime, and the model classified.
    difference : float
        Largest difference of their probabilities.
    """

    input_name: str
    input_form: str
    classes: list[str]
    opset: int
    n_checked: int
    difference: float


def export_onnx(classifier: Any, path: str | os.PathLike[str]) -> ExportReport:
    """Write a fitted classifier as an ONNX file that needs nothing of adafer.

    The file takes raw input and gives class probabilities. Faces may have any
    height and width, the same within a batch; they are resized as Pillow does, to
    the bit where they are as wide as high or wider, within one in 255 where they
    are higher. Those more than six times as large as the network's input differ
    by some more. Before the file gets its name, onnxruntime runs it on samples drawn
    at random, and its probabilities are compared with `predict_proba`'s.

    The file's metadata holds ``adafer.classes`` (a JSON list in the order of the
    columns), ``adafer.class`` and ``adafer.versions``.

    Parameters
    ----------
    classifier : AdaFERClassifier, or another whose `predict` is its network alone
        Fitted, on faces or on features. Not AUQueryClassifier and
        AUInputClassifier, which need action units at `predict`.
    path : path
        The file; input "faces", uint8 of shape (n, height, width, 3), RGB, or
        "features", float32 of shape (n, n_features); output "probabilities",
        float32 of shape (n, n_classes).

    Returns
    -------
    report : ExportReport

    Raises
    ------
    ImportError
        If onnx, onnxscript or onnxruntime are missing.
    NotFittedError
        If the classifier is not fitted.
    ValueError
        If it has no network, or its network needs more than pictures, or its
        backbone cannot be exported.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AdaFERClassifier
    >>> X, y = np.random.default_rng(0).normal(size=(20, 3)), np.repeat(["joy", "sad"], 10)
    >>> clf = AdaFERClassifier(epochs=1, device="cpu", random_state=0).fit(X, y)
    >>> report = clf.export_onnx("model.onnx")
    >>> report.input_name, report.classes, report.difference < 1e-5
    ('features', ['joy', 'sad'], True)
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession("model.onnx")
    >>> [probabilities] = session.run(None, {"features": X.astype(np.float32)})
    >>> bool(np.allclose(probabilities, clf.predict_proba(X), atol=1e-5))
    True
    """
    _check_packages()
    check_output_file(path)
    name = type(classifier).__name__
    if not isinstance(classifier, NetworkClassifier):
        raise ValueError(
            f"{name} has no network to export: expected AdaFERClassifier or another that trains "
            "one."
        )
    if classifier._n_aus_to_predict() is not None:
        raise ValueError(
            f"{name} needs action units at predict, which an ONNX file cannot find in pictures. "
            "Export a classifier whose predict is its network alone, such as AdaFERClassifier."
        )
    check_is_fitted(classifier, "network_")
    samples = _samples(classifier)
    classes = [str(label) for label in classifier.classes_]
    with new_file(path) as temporary:
        _write(classifier, samples[0], temporary)
        _add_metadata(temporary, classifier, classes)
        difference = max(_difference(classifier, temporary, some) for some in samples)
        if not difference < _TOLERANCE:
            raise ValueError(
                f"The ONNX file gives other probabilities than the model: they differ by up to "
                f"{difference:.2g}, expected less than {_TOLERANCE}. The backbone "
                f"{classifier.backbone!r} cannot be exported with these versions of torch and "
                "onnxruntime; use another."
            )
    faces = samples[0].ndim == 4
    return ExportReport(
        "faces" if faces else "features",
        "uint8 (n, height, width, 3), RGB"
        if faces
        else f"float32 (n, {classifier.n_features_in_})",
        classes,
        OPSET,
        sum(map(len, samples)),
        difference,
    )


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"ONNX files need onnx, onnxscript and onnxruntime ({error}). Install them with: pip "
            'install "adafer[onnx]"'
        ) from error


def _samples(classifier: NetworkClassifier) -> list[NDArray]:
    """Draw inputs to export with and to compare on: of the model's size, smaller, larger."""
    rng = np.random.default_rng(0)
    network = classifier.network_
    if hasattr(classifier, "n_features_in_"):
        # as far from the mean as the samples of the fit were
        mean, std = network.mean.numpy(), network.std.numpy()
        draws = [mean + std * rng.normal(size=(n, len(mean))) for n in (3, 16)]
        return [draw.astype(np.float32) for draw in draws]
    size = classifier.image_shape_[0]
    shapes = [
        (3, size - 3, size + 5),
        (2, size, size),
        (1, size // 2, size),
        (2, 2 * size, 3 * size),
    ]
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def _module(classifier: NetworkClassifier) -> torch.nn.Module:
    """Make the module to export: a copy, in the memory layout that ONNX has."""
    import copy

    import torch

    from .deep.onnx_graph import FaceClassifier, FeatureClassifier

    network = copy.deepcopy(classifier.network_).eval()
    network = network.to(memory_format=torch.contiguous_format)
    if hasattr(classifier, "n_features_in_"):
        return FeatureClassifier(network)
    return FaceClassifier(network, classifier.image_shape_[0])


def _write(classifier: NetworkClassifier, sample: NDArray, path: Path) -> None:
    import torch

    module = _module(classifier).eval()
    faces = sample.ndim == 4
    name = "faces" if faces else "features"
    axes = {0: torch.export.Dim("n")}
    if faces:
        axes |= {1: torch.export.Dim("height"), 2: torch.export.Dim("width")}
    # what the exporter tells of its steps is of no use here
    with warnings.catch_warnings(), torch.no_grad(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module,
                (torch.from_numpy(sample),),
                dynamo=True,
                input_names=[name],
                output_names=["probabilities"],
                opset_version=OPSET,
                dynamic_shapes=(axes,),
                verbose=False,
            )
        except Exception as error:
            raise ValueError(
                f"This {type(classifier).__name__} with backbone={classifier.backbone!r} cannot be "
                f"exported to ONNX ({type(error).__name__}: {str(error).splitlines()[0]}). Use "
                "another backbone, such as 'resnet18', or another method."
            ) from error
        assert program is not None
        program.save(path, external_data=False)


def _add_metadata(path: Path, classifier: NetworkClassifier, classes: list[str]) -> None:
    """Say what the file is, and take out what the exporter says of this machine."""
    import onnx

    model = onnx.load(path)
    # lines of source code with the paths of this machine
    for node in _nodes(model):
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.doc_string = "Facial expressions; the labels are in the metadata, adafer.classes."
    told = {
        "adafer.class": type(classifier).__name__,
        "adafer.classes": json.dumps(classes, ensure_ascii=False),
        "adafer.versions": json.dumps(versions()),
    }
    onnx.helper.set_model_props(model, told)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _nodes(model: Any) -> list[Any]:
    functions = [node for function in model.functions for node in function.node]
    for function in model.functions:
        del function.metadata_props[:]
    return [*model.graph.node, *functions]


def _difference(classifier: NetworkClassifier, path: Path, samples: NDArray) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [found] = session.run(["probabilities"], {session.get_inputs()[0].name: samples})
    return float(np.abs(found - classifier.predict_proba(samples)).max())
