"""The data set FERPlus: FER2013's pictures with ten annotators' votes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._sklearn import judged
from ._arguments import reader
from ._reading import (
    SPLITS,
    as_returned,
    check_options,
    existing,
    expected,
    first_existing,
    make_bunch,
)
from .fer2013 import FER2013_TABLES, read_fer2013_rows, usage_splits
from .labels import FERPLUS, canonical_label

__all__ = ["load_ferplus", "majority_label", "plurality_label", "vote_probabilities"]

Rule: TypeAlias = Callable[[NDArray[np.int64]], Any]

# ten annotators, and room for sets that were voted on by more
_MAX_VOTES = 10_000
_N_EXPRESSIONS = len(FERPLUS)
_VOTES = (*FERPLUS.values(), "unknown", "NF")
_NAMES = np.array(list(FERPLUS.values()))
_LAYOUT = """\
<path>/fer2013new.csv with the columns Usage, Image name, neutral, happiness, surprise,
  sadness, anger, disgust, fear, contempt, unknown, NF
<path>/fer2013.csv, whose rows are the same pictures in the same order"""


@reader
def load_ferplus(
    path: str | PathLike[str],
    *,
    split: str = "all",
    return_X_y: bool = False,
    label_rule: Literal["majority", "plurality", "probability"] | Rule = "majority",
    contempt: bool = False,
    fer2013: str | PathLike[str] | None = None,
) -> Any:
    r"""Load FERPlus, the pictures of FER2013 with new labels.

    Rows without an image name hold no face and are left out.

    Parameters
    ----------
    path : str or path
        ``fer2013new.csv``, or the folder that holds it.
    split : {"all", "train", "val", "test"}, default="all"
        "val" is PublicTest, "test" is PrivateTest.
    return_X_y : bool, default=False
        Give ``(images, target)`` instead of a Bunch.
    label_rule : {"majority", "plurality", "probability"} or callable, default="majority"
        How ten votes become a label: `majority_label` and `vote_probabilities`
        are the rules of the authors' program, `plurality_label` keeps more
        pictures. A callable gets the votes, of shape (n, 10), and gives the
        names of the expressions, of shape (n,), with "" for pictures to be
        left out; or probabilities of the eight expressions, of shape (n, 8),
        with rows of zeros for these.
    contempt : bool, default=False
        Keep the pictures that are labelled contempt, which few data sets know.
    fer2013 : str or path, optional
        ``fer2013.csv``, or the folder that holds it; by default it is beside
        ``fer2013new.csv``.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        images : ndarray of uint8 of shape (n, 48, 48)
            Grey pictures.
        target : ndarray of str of shape (n,)
            Expressions.
        target_names : list of str
            The labels that occur, sorted.
        split : ndarray of str of shape (n,)
            "train", "val" or "test".
        subject : None
        votes : ndarray of int64 of shape (n, 10)
            In the order of `vote_names`.
        vote_names : list of str
        probabilities : ndarray of float64 of shape (n, 8) or (n, 7)
            Rows sum to one, in the order of `probability_names`; without
            `contempt` its share is dropped. Only if the rule gives
            probabilities.
        probability_names : list of str
        name : ndarray of str of shape (n,)
            The image's name, such as "fer0000000.png".
        row : ndarray of int64 of shape (n,)
            The row in the table, from 0.
        missing : list of str
            Empty.
        DESCR : str

    (images, target) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If one of the two tables is not there.
    ValueError
        If a table is damaged, or they do not belong together.

    References
    ----------
    Barsoum, Zhang, Canton Ferrer, Zhang. Training deep networks for facial
    expression recognition with crowd-sourced label distribution. ICMI, 2016.

    Examples
    --------
    >>> from pathlib import Path
    >>> from adafer.datasets import load_ferplus
    >>> names = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    >>> votes = ["Usage,Image name," + names, "Training,fer0000000.png,1,8,0,0,0,0,0,0,1,0"]
    >>> rows = ["emotion,pixels,Usage", "6," + "9 " * 48 * 48 + ",Training"]
    >>> _ = Path("fer2013new.csv").write_text("\n".join(votes))
    >>> _ = Path("fer2013.csv").write_text("\n".join(rows))
    >>> load_ferplus(".").target.tolist()
    ['happiness']
    """
    check_options("FERPlus", split, SPLITS)
    if not callable(label_rule) and label_rule not in _RULES:
        raise ValueError(
            f"label_rule must be one of {list(_RULES)} or a callable; got {label_rule!r}."
        )
    place = existing(path, _LAYOUT, file=True)
    new = first_existing(place, ["fer2013new.csv"], _LAYOUT) if place.is_dir() else place
    old = existing(fer2013 or new.parent, _LAYOUT, file=True)
    if old.is_dir():
        old = first_existing(old, FER2013_TABLES, _LAYOUT)

    usage, names, votes = _read_votes(new)
    splits = usage_splits(usage, new)
    target, probabilities = _judge(votes, label_rule, contempt)
    kept = (names != "") & (target != "")
    wanted = kept & (splits == split) if split != "all" else kept
    rows = read_fer2013_rows(old, lambda row, _: row < len(wanted) and bool(wanted[row]))
    if len(rows.usage) != len(usage) or (rows.usage != usage).any():
        raise ValueError(
            f"The {len(usage)} rows of {str(new)!r} are not those of the {len(rows.usage)} in "
            f"{str(old)!r}: they must agree in number and Usage. Take both tables as they were "
            f"published, neither sorted nor shortened. {expected(_LAYOUT)}"
        )
    at = rows.kept
    columns: dict[str, Any] = {
        "images": rows.images,
        "target": target[at],
        "subject": None,
        "split": splits[at],
        "votes": votes[at],
        "name": names[at],
        "row": at,
    }
    if probabilities is not None:
        columns["probabilities"] = probabilities[at]
    bunch = make_bunch("FERPlus", new, columns, layout=_LAYOUT)
    bunch.vote_names = list(_VOTES)
    if probabilities is not None:
        bunch.probability_names = list(_VOTES[: probabilities.shape[1]])
    return as_returned(bunch, return_X_y)


def _check_votes(votes: Any) -> None:
    counts = np.asarray(votes)
    if counts.ndim != 2 or counts.shape[1] != 10 or counts.dtype.kind not in "iu":
        raise ValueError(
            f"votes must be whole numbers of shape (n, 10); got {counts.dtype} of shape "
            f"{counts.shape}."
        )
    if counts.size and counts.min() < 0:
        raise ValueError(f"votes must not be negative; got {counts.min()}.")


@judged(votes=_check_votes)
def majority_label(votes: NDArray[np.int64]) -> NDArray[np.str_]:
    """Label what most annotators agree on, by the rule of the authors' program.

    Single votes are taken for slips and become zero. The column with the most
    votes wins if it holds more than half of what is left.

    Parameters
    ----------
    votes : ndarray of int of shape (n, 10)
        Eight expressions, "unknown" and "NF" (no face).

    Returns
    -------
    labels : ndarray of str of shape (n,)
        "" where no expression wins.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.datasets import majority_label
    >>> majority_label(np.array([[5, 3, 1, 1, 0, 0, 0, 0, 0, 0]])).tolist()
    ['neutral']
    """
    votes = _without_slips(votes)
    return _peak_label(votes, 2 * votes.max(axis=1) > votes.sum(axis=1))


@judged(votes=_check_votes)
def plurality_label(votes: NDArray[np.int64]) -> NDArray[np.str_]:
    """Label the expression with the most votes, however few.

    Parameters
    ----------
    votes : ndarray of int of shape (n, 10)
        Eight expressions, "unknown" and "NF" (no face).

    Returns
    -------
    labels : ndarray of str of shape (n,)
        "" where two columns share the most votes, or "unknown" or "NF" has them.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.datasets import plurality_label
    >>> votes = [[4, 3, 2, 1, 0, 0, 0, 0, 0, 0], [4, 4, 2, 0, 0, 0, 0, 0, 0, 0]]
    >>> plurality_label(np.array(votes)).tolist()
    ['neutral', '']
    """
    votes = np.asarray(votes)
    return _peak_label(votes, (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1)


@judged(votes=_check_votes)
def vote_probabilities(votes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Turn votes into probabilities, by the rule of the authors' program.

    Single votes become zero. The columns with the most votes are taken, those
    with equal votes together, until they hold three quarters of what is left,
    are three, or "unknown" or "NF" is met. The picture is left out if more
    than three were taken or if they hold no more than half.

    Parameters
    ----------
    votes : ndarray of int of shape (n, 10)
        Eight expressions, "unknown" and "NF" (no face).

    Returns
    -------
    probabilities : ndarray of float64 of shape (n, 8)
        Rows sum to one, or are zero where the picture is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.datasets import vote_probabilities
    >>> vote_probabilities(np.array([[5, 3, 1, 1, 0, 0, 0, 0, 0, 0]]))
    array([[0.625, 0.375, 0.   , 0.   , 0.   , 0.   , 0.   , 0.   ]])
    """
    votes = _without_slips(votes)
    n, total = len(votes), votes.sum(axis=1)
    order = np.argsort(-votes, axis=1, kind="stable")
    taken = np.zeros(votes.shape)
    held, count = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    going, opened = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
    every, previous = np.arange(n), np.full(n, -1)
    for column in order.T:
        value = votes[every, column]
        # columns with equal votes are let in together, by what was held before them
        fresh = value != previous
        opened = np.where(fresh, (4 * held < 3 * total) & (count < 3), opened) & going
        previous = value
        held += np.where(opened, value, 0)
        no_expression = column >= _N_EXPRESSIONS
        going &= ~(opened & no_expression)
        # a first "unknown" or "NF" counts and so shuts the picture out; a later one does not
        counted = opened & ~(no_expression & (count > 0))
        count += counted
        taken[every[counted], column[counted]] = value[counted]
    kept = (2 * taken.sum(axis=1) > total) & (count <= 3)
    kept &= taken[:, _N_EXPRESSIONS:].sum(axis=1) == 0
    taken = np.where(kept[:, None], taken, 0)[:, :_N_EXPRESSIONS]
    return taken / np.maximum(taken.sum(axis=1, keepdims=True), 1)


_RULES: dict[str, Rule] = {
    "majority": majority_label,
    "plurality": plurality_label,
    "probability": vote_probabilities,
}


def _without_slips(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    votes = np.asarray(votes)
    return np.where(votes <= 1, 0, votes)


def _peak_label(votes: NDArray, kept: NDArray[np.bool_]) -> NDArray[np.str_]:
    peak = votes.argmax(axis=1)
    kept = kept & (peak < _N_EXPRESSIONS)
    return np.where(kept, _NAMES[np.minimum(peak, _N_EXPRESSIONS - 1)], "")


def _judge(
    votes: NDArray[np.int64], rule: str | Rule, contempt: bool
) -> tuple[NDArray[np.str_], NDArray[np.float64] | None]:
    """Apply a rule; "" where a picture is left out."""
    given = np.asarray(_RULES[rule](votes) if isinstance(rule, str) else rule(votes))
    probabilities = None
    if given.shape == (len(votes), _N_EXPRESSIONS) and given.dtype.kind in "bfiu":
        probabilities = given.astype(np.float64)
        if not (probabilities >= 0).all():
            raise ValueError("label_rule gave negative probabilities or NaN; expected at least 0.")
        target = _peak_label(probabilities, probabilities.sum(axis=1) > 0)
    elif given.shape == (len(votes),) and given.dtype.kind in "UO":
        names = np.array([str(label or "") for label in given], dtype=np.str_)
        values, inverse = np.unique(names, return_inverse=True)
        target = np.array([value and canonical_label(value) for value in values.tolist()])[inverse]
    else:
        raise ValueError(
            f"label_rule gave an array of shape {given.shape} and dtype {given.dtype}; expected "
            f"names of shape ({len(votes)},) or probabilities of shape "
            f"({len(votes)}, {_N_EXPRESSIONS})."
        )
    if not contempt:
        target = np.where(target == "contempt", "", target)
    if probabilities is not None:
        probabilities = probabilities[:, : _N_EXPRESSIONS if contempt else _N_EXPRESSIONS - 1]
        sums = probabilities.sum(axis=1, keepdims=True)
        probabilities = probabilities / np.where(sums > 0, sums, 1)
    return target, probabilities


def _read_votes(table: Path) -> tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.int64]]:
    """Read Usage, image names and votes."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            lines = [line for line in csv.reader(stream, strict=True) if line]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{str(table)!r} is no table in CSV: {error}. {expected(_LAYOUT)}"
        ) from None
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    wanted = ["usage", "image name", *(name.lower() for name in _VOTES)]
    absent = [name for name in wanted if name not in header]
    if absent:
        raise ValueError(f"{str(table)!r} lacks the columns {absent}. {expected(_LAYOUT)}")
    at = [header.index(name) for name in wanted]
    try:
        cells = np.array([[line[column].strip() for column in at] for line in lines[1:]])
        cells = cells.reshape(-1, len(at))
        votes = cells[:, 2:].astype(np.int64)
        if (votes < 0).any() or (votes > _MAX_VOTES).any():
            raise ValueError(f"its counts run from {votes.min()} to {votes.max()}")
    except (IndexError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{str(table)!r} has a damaged row: {error}. Expected a Usage, a name and ten counts "
            "of votes in each."
        ) from None
    return cells[:, 0], cells[:, 1], votes
