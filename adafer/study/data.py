"""Data sets by name: read once, known by content, split without looking at target labels."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit

from .. import datasets
from .._folders import AUTable, nameless_order, unlabelled_pictures
from ..aus import AUExtractor
from ..aus.scores import check_au_scores, has_scores
from ..datasets.image_folder import load_image_folder
from ..faces import check_faces, resize_faces
from ._arrays import read_arrays
from .plan import DataPlan

__all__ = ["DataSet", "Part", "load_data_set", "source_part", "target_parts"]

# Larger data sets stay paths, and each cell reads them.
_MEMORY_BYTES = 2 << 30
_LABELS = ("target", "labels", "y")
_PICTURES = ("images", "paths", "data", "X")
_GROUPS = ("subject", "subjects", "identity", "groups")


@dataclass(frozen=True)
class Part:
    """Some rows of a data set, without labels: all that a fit sees of a target.

    Attributes
    ----------
    X : ndarray, or list of str
        The whole data set.
    rows : ndarray of int64 of shape (n,)
    digest : str
        SHA-256 of the rows' content, in their order.
    au : ndarray of float64 of shape (n_all, n_aus) or None
        AU scores of the whole data set.
    au_names : tuple of str or None
    au_digest : str
    """

    X: Any
    rows: NDArray
    digest: str
    au: NDArray | None = None
    au_names: tuple[str, ...] | None = None
    au_digest: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def inputs(self) -> Any:
        """Pictures, paths or features of the rows."""
        if isinstance(self.X, np.ndarray):
            return np.asarray(self.X[self.rows])
        return [self.X[row] for row in self.rows]

    def scores(self) -> Any:
        """AU scores of the rows, with names where they are known."""
        assert self.au is not None
        found = np.asarray(self.au[self.rows])
        return found if self.au_names is None else AUTable(found, list(self.au_names))


@dataclass(frozen=True)
class DataSet:
    """A data set that was read.

    Attributes
    ----------
    name : str
    X : ndarray of uint8 of shape (n, size, size, 3), list of str, or ndarray of \
            float32 of shape (n, n_inputs)
    digests : ndarray of uint8 of shape (n, 32)
        SHA-256 of each row's content.
    index : ndarray of int64 of shape (n,)
        Positions among the rows that were to be read.
    labels, truth : ndarray of str of shape (n,) or None
        As a source, and as a target to be scored.
    split, groups : ndarray of shape (n,) or None
        The data set's own parts, and its subjects.
    au : ndarray of float64 of shape (n, n_aus) or None
    au_names : tuple of str or None
    skipped : list of str
        Pictures that are missing or could not be read, and are left out.
    names : list of str or None
        File names, where there are files.
    """

    name: str
    X: Any
    digests: NDArray
    index: NDArray
    labels: NDArray | None = None
    truth: NDArray | None = None
    split: NDArray | None = None
    groups: NDArray | None = None
    au: NDArray | None = None
    au_names: tuple[str, ...] | None = None
    skipped: list[str] = field(default_factory=list)
    names: list[str] | None = None

    def __len__(self) -> int:
        return len(self.digests)

    def part(self, rows: NDArray) -> Part:
        """Take rows, without labels."""
        scores = None if self.au is None else self.au[rows]
        return Part(
            self.X,
            rows,
            _digest(self.digests[rows]),
            self.au,
            self.au_names,
            "" if scores is None else _digest(scores, repr(self.au_names)),
        )

    def without_aus(self) -> NDArray:
        """Rows of pictures without AU scores, in which no face was found."""
        if self.au is None:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(~has_scores(self.au))


def _digest(values: NDArray, *more: str) -> str:
    digest = hashlib.sha256(repr((values.dtype.str, values.shape, more)).encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------------- reading


def load_data_set(
    plan: DataPlan, *, image_size: int | None = None, extractor: AUExtractor | None = None
) -> DataSet:
    """Read a data set, each picture once.

    Parameters
    ----------
    plan : DataPlan
    image_size : int, optional
        Keep pictures in this size; None keeps them as they are.
    extractor : AUExtractor, optional
        What scores AUs; None scores none.

    Returns
    -------
    data : DataSet

    Raises
    ------
    ValueError
        If the reader is not known, arrays are missing or differ in length, or
        no picture can be read.
    OSError
        If there is no such file or folder.
    """
    raw = _judge(plan, _read(plan))
    if plan.classes is not None:
        raw = raw.take(_rows_of_classes(plan, raw))
    skipped = list(raw.missing)
    if plan.limit is not None and len(raw) > plan.limit:
        # rows are drawn by content, so that neither their order nor their names matter
        every = _read_pictures(plan.name, raw, None, None) if raw.pictures else _features(plan, raw)
        skipped += every.skipped
        raw = raw.take(every.index[_limited(every, plan.limit)])
    if not raw.pictures:
        return _features(plan, raw)
    return _read_pictures(plan.name, raw, image_size, extractor, skipped)


class _Raw(NamedTuple):
    """What a reader gave, judged."""

    X: Any
    columns: dict[str, Any]
    au: NDArray | None
    au_names: tuple[str, ...] | None
    missing: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.X)

    @property
    def pictures(self) -> bool:
        return not (isinstance(self.X, np.ndarray) and self.X.ndim == 2)

    def take(self, rows: NDArray) -> _Raw:
        X = self.X[rows] if isinstance(self.X, np.ndarray) else [self.X[row] for row in rows]
        au = None if self.au is None else self.au[rows]
        return _Raw(X, self.take_columns(rows), au, self.au_names)

    def take_columns(self, rows: NDArray) -> dict[str, Any]:
        return {k: None if v is None else v[rows] for k, v in self.columns.items()}


def _judge(plan: DataPlan, found: dict[str, Any]) -> _Raw:
    X = _first(found, _PICTURES)
    if X is None:
        raise ValueError(
            f"The data set {plan.name!r} has the arrays {sorted(found)}; expected one of "
            f"{list(_PICTURES)}."
        )
    if not isinstance(X, np.ndarray):
        X = list(X)
    columns = {
        "labels": _column(plan, found, plan.labels, _LABELS),
        "truth": _column(plan, found, plan.truth, ("clean_target", *_LABELS)),
        "split": _first(found, ("split",)),
        "groups": _column(plan, found, plan.groups, _GROUPS),
    }
    columns = {key: None if value is None else np.asarray(value) for key, value in columns.items()}
    for key, value in columns.items():
        if value is not None and len(value) != len(X):
            raise ValueError(
                f"The data set {plan.name!r} has {len(X)} faces but {len(value)} {key}. Give one "
                "for each."
            )
    missing = [str(name) for name in found.get("missing") or ()]
    features = isinstance(X, np.ndarray) and X.ndim == 2
    if plan.au == "computed" and features:
        raise ValueError(
            f"The data set {plan.name!r} holds features, from which AU scores cannot be computed. "
            'Add an array "au", or leave au = "computed" out.'
        )
    if plan.au != "given" and not (features and "au" in found):
        return _Raw(X, columns, None, None, missing)
    if found.get("au") is None:
        raise ValueError(
            f'The data set {plan.name!r} has au = "given" but no array of the name "au"; it has '
            f"{sorted(found)}."
        )
    scores, names = check_au_scores(found["au"], name=f"au of {plan.name}", n_samples=len(X))
    names = found.get("au_names", names)
    return _Raw(X, columns, scores, None if names is None else tuple(map(str, names)), missing)


def _read(plan: DataPlan) -> dict[str, Any]:
    if plan.reader == "facs_faces":
        return dict(datasets.load_facs_faces(domain=str(plan.path)))
    if plan.reader == "folder":
        return dict(load_image_folder(str(plan.path)))
    if plan.reader == "flat":
        return {"paths": nameless_order(unlabelled_pictures(Path(str(plan.path))))}
    if plan.reader == "npz":
        return read_arrays(Path(str(plan.path)))
    reader = getattr(datasets, plan.reader, None)
    if reader is None:
        known = [name for name in dir(datasets) if name.startswith(("load_", "read_"))]
        close = difflib.get_close_matches(plan.reader, known, 1)
        mend = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"The data set {plan.name!r} has the reader {plan.reader!r}; adafer.datasets has "
            f"{known}.{mend}"
        )
    arguments = [] if plan.path is None else [plan.path]
    try:
        return dict(reader(*arguments, **plan.options))
    except TypeError as error:
        raise ValueError(
            f"The data set {plan.name!r}: {error}. Check its path and options."
        ) from error


def _first(found: dict[str, Any], names: Sequence[str]) -> Any:
    return next((found[name] for name in names if found.get(name) is not None), None)


def _column(
    plan: DataPlan, found: dict[str, Any], wanted: str | None, names: Sequence[str]
) -> NDArray | None:
    if wanted is not None and wanted not in found:
        raise ValueError(
            f"The data set {plan.name!r} has no array {wanted!r}; it has {sorted(found)}."
        )
    value = found[wanted] if wanted is not None else _first(found, names)
    return None if value is None else np.asarray(value).astype(str)


def _rows_of_classes(plan: DataPlan, raw: _Raw) -> NDArray:
    """Faces of the plan's classes: which a data set consists of is told by its own labels."""
    truth = raw.columns["truth"]
    assert plan.classes is not None
    missing = sorted(set(plan.classes) - set([] if truth is None else truth.tolist()))
    if truth is None or missing:
        has = "no labels" if truth is None else str(sorted(set(truth.tolist())))
        raise ValueError(
            f"The data set {plan.name!r} has {has}; expected faces of the classes {missing}."
        )
    return np.flatnonzero(np.isin(truth, plan.classes))


def _limited(data: DataSet, limit: int) -> NDArray:
    """Draw rows of each of the data set's own parts by chance."""
    ordered = np.lexsort(data.digests.T[::-1])
    parts = [ordered]
    if data.split is not None:
        parts = [ordered[data.split[ordered] == name] for name in np.unique(data.split)]
    rng = np.random.default_rng(0)
    return np.sort(np.concatenate([rng.permutation(part)[:limit] for part in parts]))


def _features(plan: DataPlan, raw: _Raw) -> DataSet:
    X = np.ascontiguousarray(raw.X, dtype=np.float32)
    return DataSet(
        plan.name,
        X,
        np.array([_row_digest(row) for row in X]),
        np.arange(len(X)),
        **raw.columns,
        au=raw.au,
        au_names=raw.au_names,
    )


def _row_digest(row: NDArray) -> NDArray:
    digest = hashlib.sha256(repr((row.dtype.str, row.shape)).encode())
    digest.update(np.ascontiguousarray(row).tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def _read_pictures(
    name: str,
    raw: _Raw,
    image_size: int | None,
    extractor: AUExtractor | None,
    skipped: Sequence[str] = (),
) -> DataSet:
    """Hash, score and shrink pictures in one pass."""
    faces = check_faces(raw.X, name=f"the data set {name!r}")
    small = image_size is not None and len(faces) * image_size**2 * 3 <= _MEMORY_BYTES
    digests, pictures, scores, kept = [], [], [], []
    for rows, images in faces.chunks(on_error="skip"):
        if len(rows) == 0:
            continue
        kept.append(rows)
        digests += [_row_digest(image) for image in images]
        if raw.au is None and extractor is not None:
            scores.append(extractor.score_faces(images))
        if small:
            assert image_size is not None
            pictures.append(resize_faces(images, image_size))
    if not kept:
        raise ValueError(
            f"None of the {len(faces)} pictures of {name!r} can be read; the first: "
            f"{faces.skipped[0]}."
        )
    index = np.concatenate(kept)
    known = raw.take(index)
    au, au_names = known.au, known.au_names
    if scores:
        assert extractor is not None
        au = np.concatenate(scores).astype(np.float64)
        au_names = tuple(extractor.detector_.au_names)
    return DataSet(
        name,
        np.concatenate(pictures) if small else known.X,
        np.array(digests),
        index,
        **known.columns,
        au=au,
        au_names=au_names,
        skipped=[*skipped, *(str(row.path) for row in faces.skipped)],
        names=None if faces.paths is None else [str(faces.paths[row]) for row in index],
    )


# -------------------------------------------------------------------- splitting


def source_part(data: DataSet, plan: DataPlan) -> tuple[Part, NDArray]:
    """Faces and labels that a network is trained on.

    Parameters
    ----------
    data : DataSet
    plan : DataPlan

    Returns
    -------
    part : Part
        Of a data set with parts of its own, the one named "train".
    labels : ndarray of str of shape (n,)

    Raises
    ------
    ValueError
        If there are no labels, or too few faces of a class.
    """
    if data.labels is None:
        raise ValueError(
            f"The data set {data.name!r} has no labels, so that it cannot be a source."
        )
    rows = np.arange(len(data))
    if _has_own_parts(data):
        assert data.split is not None
        rows = np.flatnonzero(data.split == "train")
    labels = data.labels[rows]
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2 or counts.min() < 2:
        found = dict(zip(names.tolist(), counts.tolist(), strict=True))
        raise ValueError(
            f"The source {data.name!r} has {found}; expected at least two classes, and two faces "
            "of each. Raise its limit, or leave classes out with classes = [...]."
        )
    return data.part(rows), labels


def target_parts(
    data: DataSet,
    plan: DataPlan,
    *,
    protocols: Sequence[str],
    held_out: str | float | None,
    seed: int,
) -> tuple[Part, Part | None]:
    """Faces to adapt to, and faces held out. Labels are not looked at.

    Rows are ordered by their content, since the order of files often tells
    their classes.

    Parameters
    ----------
    data : DataSet
    plan : DataPlan
    protocols : sequence of str
        Nothing is held out without "inductive".
    held_out : "own", float or None
        None takes the data set's own parts if it has them, else one half.
    seed : int
        Of random parts.

    Returns
    -------
    adapted : Part
    held : Part or None

    Raises
    ------
    ValueError
        If there are no parts of its own, or too few faces.
    """
    rows = np.lexsort(data.digests.T[::-1])
    own = _has_own_parts(data)
    if held_out == "own" and not own:
        raise ValueError(
            f'The target {data.name!r} has held_out = "own" but no parts named "train" and '
            '"test". Give a share, such as held_out = 0.5.'
        )
    if "inductive" not in protocols:
        adapted, held = rows, None
    elif held_out == "own" or (held_out is None and own):
        assert data.split is not None
        adapted, held = (rows[data.split[rows] == name] for name in ("train", "test"))
    else:
        share = 0.5 if held_out is None else float(held_out)
        adapted, held = _random_parts(data, rows, share, seed)
    adapted = _in_content_order(data, adapted)
    if held is not None:
        held = _in_content_order(data, held)
    if len(adapted) < 2 or (held is not None and len(held) < 1):
        raise ValueError(
            f"The target {data.name!r} has {len(data)} faces, too few to adapt and to hold some "
            "out. Add faces, or use the protocol transductive alone."
        )
    return data.part(adapted), None if held is None else data.part(held)


def _has_own_parts(data: DataSet) -> bool:
    return data.split is not None and {"train", "test"} <= set(data.split.tolist())


def _in_content_order(data: DataSet, rows: NDArray) -> NDArray:
    return rows[np.lexsort(data.digests[rows].T[::-1])]


def _random_parts(data: DataSet, rows: NDArray, share: float, seed: int) -> tuple[NDArray, NDArray]:
    """Split by chance; all faces of a subject go to one part."""
    groups = None if data.groups is None else data.groups[rows]
    if groups is not None and len(np.unique(groups)) > 1:
        splits: Iterator = GroupShuffleSplit(1, test_size=share, random_state=seed).split(
            rows, groups=groups
        )
    else:
        splits = ShuffleSplit(1, test_size=share, random_state=seed).split(rows)
    adapted, held = next(iter(splits))
    return rows[adapted], rows[held]
