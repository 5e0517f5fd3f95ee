"""What target samples inherit from the source: T-soft, T-hard and S-hard labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .aus.scores import row_blocks

__all__ = ["SCHEMES", "AnnotationBuilder", "TargetAnnotation", "match_count_bins", "one_hot"]

SCHEMES = ("s-hard", "t-hard", "t-soft")


@dataclass(frozen=True, init=False, eq=False, repr=False)
class TargetAnnotation:
    """Labels that target samples inherit from the source.

    Targets with the same AU code inherit the same, which is kept once, with a
    row number of 4 bytes for each target. An array below is made when it is
    first asked for; of many millions of targets, ask for some at a time by
    `take`.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    rows : ndarray of int of shape (n_targets,), optional
        Kind of each target. None where the arrays hold an entry for each target.
    **kinds : ndarray
        All other attributes, by name; with `rows`, one entry for each kind.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Class names; columns of `labels` and `votes`.
    labels : ndarray of float64 of shape (n_targets, n_classes)
        T-soft: label distribution of the matching source samples. Rows sum to
        1, or are all zero where the target has no label.
    votes : ndarray of float64 of shape (n_targets, n_classes)
        Weight of the matching source samples per class: counts under exact and
        Hamming matching, kernel weights under near matching.
    hard_labels : ndarray of int64 of shape (n_targets,)
        T-hard: index of the most frequent class, -1 where there is no label.
    last_labels : ndarray of int64 of shape (n_targets,)
        Class index of the last matching source sample, -1 where there is none.
    weights : ndarray of float64 of shape (n_targets,)
        1 where the target takes part in the target loss, 0 where it has no label.
    match_counts : ndarray of int64 of shape (n_targets,)
        How many source samples share the target's AU code; the sum of their
        weights, float64, where these were given.
    matched_by : ndarray of str of shape (n_targets,)
        What gave the label: "exact", "hamming", "near", "prior" or "none".

    References
    ----------
    AdaFER paper, section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AUGuidedAnnotator
    >>> annotator = AUGuidedAnnotator(threshold=0.5)
    >>> annotator = annotator.fit([[0.9], [0.8], [0.1]], ["joy", "joy", "sad"])
    >>> annotation = annotator.annotate(np.array([[0.7], [0.2], [0.6], [0.9]]))
    >>> annotation.hard_labels
    array([0, 1, 0, 0])
    >>> annotation.take(slice(2)).match_counts
    array([2, 1])
    """

    classes: NDArray
    labels: NDArray
    votes: NDArray
    hard_labels: NDArray
    last_labels: NDArray
    weights: NDArray
    match_counts: NDArray
    matched_by: NDArray

    def __init__(self, classes: NDArray, *, rows: NDArray | None = None, **kinds: NDArray):
        names = [field.name for field in fields(self)[1:]]
        if set(kinds) != set(names):
            raise TypeError(f"Expected the arrays {names}; got {list(kinds)}.")
        # the fields are made of these by __getattr__
        vars(self).update(classes=classes, _kinds=kinds, _rows=rows)

    def __getattr__(self, name: str) -> NDArray:
        """Make an array for all targets when it is first asked for."""
        kinds = vars(self).get("_kinds", {})
        if name not in kinds:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        values: NDArray = kinds[name] if self._rows is None else kinds[name][self._rows]
        vars(self)[name] = values
        return values

    def __len__(self) -> int:
        return len(self._kinds["weights"] if self._rows is None else self._rows)

    def take(self, rows: slice | NDArray) -> TargetAnnotation:
        """Annotation of some of the targets; what targets share is not copied.

        Parameters
        ----------
        rows : slice or ndarray of int or bool

        Returns
        -------
        annotation : TargetAnnotation
        """
        kinds: dict[str, NDArray] = vars(self)["_kinds"]
        if self._rows is None:
            some = {name: values[rows] for name, values in kinds.items()}
            return TargetAnnotation(self.classes, **some)
        return TargetAnnotation(self.classes, **kinds, rows=self._rows[rows])

    @property
    def coverage(self) -> float:
        """Share of targets whose AU code at least one source sample shares."""
        return self._share(self._kinds["match_counts"] > 0)

    @property
    def labelled_share(self) -> float:
        """Share of targets with a label, by a match or by a back-off."""
        return self._share(self._kinds["weights"] > 0)

    def _share(self, kinds: NDArray) -> float:
        return float(np.mean(kinds if self._rows is None else kinds[self._rows]))

    def source_hard(self, conflict: str, rng: np.random.Generator) -> NDArray:
        """S-hard: labels that source samples give to the targets they match.

        Several sources may clash on one target. `conflict` says who wins:
        "random", one matching source drawn uniformly (under near matching by
        its weight); "last", the last in source order; "all", the average over
        them, which as a cross-entropy target equals T-soft up to a constant
        (the entropy of the labels).

        Parameters
        ----------
        conflict : {"random", "last", "all"}
        rng : numpy.random.Generator
            Drawn from for "random" only, one number per target.

        Returns
        -------
        labels : ndarray of float64 of shape (n_targets, n_classes)
            One-hot rows (distributions under "all"), zero where there is no label.
        """
        if conflict == "all":
            return self.labels.copy()
        if conflict == "last":
            index = self.last_labels
        elif conflict == "random":
            index = self._drawn_labels(rng)
        else:
            raise ValueError(f"conflict must be 'random', 'last' or 'all'; got {conflict!r}.")
        return one_hot(index, len(self.classes))

    def _drawn_labels(self, rng: np.random.Generator) -> NDArray:
        cumulative = np.cumsum(self._kinds["votes"], axis=1)
        index = np.empty(len(self), dtype=np.int64)
        for block in row_blocks(len(self)):
            steps = cumulative[block if self._rows is None else self._rows[block]]
            total = steps[:, -1]
            drawn = (rng.random(len(total)) * total)[:, None]
            found = np.minimum((steps <= drawn).sum(axis=1), steps.shape[1] - 1)
            index[block] = np.where(total > 0, found, -1)
        return index

    def scheme_labels(self, scheme: str, conflict: str, rng: np.random.Generator) -> NDArray:
        """Labels of one scheme, as the rows of a target distribution.

        Parameters
        ----------
        scheme : {"s-hard", "t-hard", "t-soft"}
        conflict : {"random", "last", "all"}
            For S-hard.
        rng : numpy.random.Generator

        Returns
        -------
        labels : ndarray of float64 of shape (n_targets, n_classes)
            Zero rows where there is no label.
        """
        if scheme == "t-soft":
            return self.labels
        if scheme == "t-hard":
            return one_hot(self.hard_labels, len(self.classes))
        return self.source_hard(conflict, rng)


class AnnotationBuilder:
    """Kinds of targets, gathered from the ways in which they get their labels.

    Kind 0 has no label.

    Parameters
    ----------
    n_classes : int
    """

    def __init__(self, n_classes: int):
        self._votes = [np.zeros((1, n_classes))]
        self._labels = [np.zeros((1, n_classes))]
        self._last = [np.full(1, -1, dtype=np.int64)]
        self._match_counts = [np.zeros(1, dtype=np.int64)]
        self._how = [np.full(1, "none", dtype="<U7")]
        self._n_kinds = 1

    def add(
        self, how: str, found: tuple[NDArray, NDArray, NDArray], match_counts: NDArray
    ) -> NDArray:
        """Take up the kinds that have a label.

        Parameters
        ----------
        how : str
            What gave the labels.
        found : tuple of ndarray
            Votes and labels, float64 of shape (n_kinds, n_classes), and classes of
            the last matching source samples, int64 of shape (n_kinds,).
        match_counts : ndarray of int64 of shape (n_kinds,)

        Returns
        -------
        kind : ndarray of int32 of shape (n_kinds,)
            Where each of them went, 0 for those without a label.
        """
        votes, labels, last = found
        labelled = np.asarray(labels.any(axis=1))
        n_labelled = int(np.count_nonzero(labelled))
        for parts, values in (
            (self._votes, votes),
            (self._labels, labels),
            (self._last, last),
            (self._match_counts, match_counts),
        ):
            parts.append(values if n_labelled == len(labelled) else values[labelled])
        self._how.append(np.full(n_labelled, how))
        kind = np.zeros(len(labelled), dtype=np.int32)
        kind[labelled] = np.arange(self._n_kinds, self._n_kinds + n_labelled)
        self._n_kinds += n_labelled
        return kind

    def annotation(
        self, classes: NDArray, most_frequent: Callable[[NDArray], NDArray], rows: NDArray
    ) -> TargetAnnotation:
        """Put the kinds together.

        Parameters
        ----------
        classes : ndarray of shape (n_classes,)
        most_frequent : callable
            Class with most votes, of votes.
        rows : ndarray of int32 of shape (n_targets,)
            Kind of each target.

        Returns
        -------
        TargetAnnotation
        """
        votes, labels = np.concatenate(self._votes), np.concatenate(self._labels)
        weights = np.ones(self._n_kinds)
        weights[0] = 0.0
        return TargetAnnotation(
            classes=classes,
            labels=labels,
            votes=votes,
            hard_labels=most_frequent(votes),
            last_labels=np.concatenate(self._last),
            weights=weights,
            match_counts=np.concatenate(self._match_counts),
            matched_by=np.concatenate(self._how),
            rows=rows,
        )


def one_hot(index: NDArray, n_classes: int) -> NDArray:
    """Rows of the identity matrix, a zero row for index -1."""
    encoded = np.zeros((len(index), n_classes))
    known = index >= 0
    encoded[known, index[known]] = 1.0
    return encoded


def match_count_bins(match_counts: NDArray) -> tuple[NDArray, list[str]]:
    """Bins for a histogram of match counts: 0, 1, 2 to 3, 4 to 7, 8 to 15, ...

    Parameters
    ----------
    match_counts : ndarray of int of shape (n_targets,)

    Returns
    -------
    edges : ndarray of int of shape (n_bins + 1,)
        The last lies beyond the largest count.
    names : list of str of length n_bins
    """
    n_bins = int(match_counts.max(initial=0)).bit_length() + 1
    edges = np.array([0, *(2**power for power in range(n_bins))])
    lows = edges[1:-1].tolist()
    return edges, ["0", *("1" if low == 1 else f"{low} to {2 * low - 1}" for low in lows)]
