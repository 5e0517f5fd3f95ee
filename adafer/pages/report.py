"""The report of one model: a page that needs no other file."""

from __future__ import annotations

from importlib.resources import files
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from sklearn.utils.validation import check_is_fitted

from .._checks import naming
from .._domain_classifier import DomainClassifier
from .._files import check_output_file, new_file
from .._sklearn import N_JOBS, StrOptions, judged
from ..faces import OnError
from ..study.blocks import Block, Heading, Paragraph, to_html
from .face_blocks import face_blocks
from .model_blocks import fact_blocks, fit_blocks, settings_blocks
from .seen import look_at

__all__ = ["RESPONSIBLE_USE", "write_report"]

RESPONSIBLE_USE = (
    "A face that shows an expression need not feel the emotion of that name. Inferring emotions "
    "is unlawful in some places and unsound in many; use faces only with the consent of the "
    "people whose faces they are."
)


@judged(
    model=[str, PathLike, DomainClassifier],
    faces=[None, str, PathLike],
    pictures=["boolean"],
    title=[None, str],
    on_error=[StrOptions({"raise", "skip"})],
    n_jobs=N_JOBS,
)
def write_report(
    model: Any,
    output: str | PathLike[str],
    *,
    faces: str | PathLike[str] | None = None,
    pictures: bool = True,
    title: str | None = None,
    on_error: OnError = "raise",
    n_jobs: int | None = None,
) -> Path:
    """Write what is known of a model, and what it says of faces, as one HTML file.

    Parameters
    ----------
    model : path or fitted classifier
        What `save` wrote, or any classifier of adafer.
    output : path
        The file; an earlier one is replaced.
    faces : path, optional
        A folder of pictures. If folders in it are named like classes of the
        model, they are labels, and the model is scored.
    pictures : bool, default=True
        Put small copies of the faces into the page.
    title : str, optional
        By default the name of the model's folder, or of its class.
    on_error : {"raise", "skip"}, default="raise"
        What to do with pictures that cannot be read.
    n_jobs : int, optional
        Threads that score AUs.

    Returns
    -------
    output : pathlib.Path

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    FileNotFoundError, ValueError, TypeError
        If the model or the faces cannot be read, the model takes features and
        faces are given, or another argument is wrong.
    OSError
        If the page cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from adafer import AdaFERClassifier
    >>> from adafer.pages import write_report
    >>> X, y = np.random.default_rng(0).normal(size=(20, 3)), np.repeat(["joy", "sad"], 10)
    >>> clf = AdaFERClassifier(epochs=1, device="cpu").fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(clf, folder + "/report.html")
    ...     text = page.read_text(encoding="utf-8")
    >>> "AdaFERClassifier" in text
    True
    """
    with naming("output"):
        path = check_output_file(output)
    if isinstance(model, (str, PathLike)):
        from ..persistence import load_model

        title = title or Path(fspath(model)).resolve().name
        with naming("model"):
            model = load_model(model)
    check_is_fitted(model)
    title = f"Model {title or type(model).__name__}"
    blocks: list[Block] = [Heading(title, 1), Paragraph(RESPONSIBLE_USE), *fact_blocks(model)]
    if faces is not None:
        folder = Path(faces)
        seen = look_at(model, folder, on_error=on_error, n_jobs=n_jobs, pictures=pictures)
        blocks += face_blocks(model, seen, folder.resolve().name)
        if pictures:
            blocks.insert(2, Paragraph("This page holds small pictures of faces: personal data."))
    blocks += fit_blocks(model)
    blocks += settings_blocks(model)
    assets = files("adafer.pages").joinpath("assets")
    style, script = (
        assets.joinpath(name).read_text(encoding="utf-8") for name in ("report.css", "report.js")
    )
    page = to_html(title, blocks, style=style, script=script)
    with new_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
