"""Finding source samples with the same, or nearly the same, action units.

Codes are packed into one integer each, the key, and counted once; whatever is
compared afterwards is compared per *distinct* code:

* `CodeTable`: equal and near codes, by tables of keys (numpy, exact);
* `search_codes` and `codes_within`: the same by faiss' binary index.

Nearest AU scores are found in `adafer.neighbors`. None of it needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .aus.facs import binarize
from .aus.scores import has_scores, row_blocks

__all__ = [
    "CodeTable",
    "code_keys",
    "codes_within",
    "distinct_keys",
    "find_keys",
    "score_keys",
    "search_codes",
    "unpack_keys",
]


def code_keys(codes: NDArray) -> NDArray:
    """Pack each AU code into one sortable key.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_aus), values in {0, 1}
        AU codes.

    Returns
    -------
    keys : ndarray of shape (n_samples,)
        dtype uint32 for up to 32 AUs, uint64 for up to 64, fixed-width bytes
        beyond. Two keys are equal exactly when the two codes are.
    """
    codes = np.asarray(codes)
    n_samples, n_aus = codes.shape
    dtype = _key_dtype(n_aus)
    packed = np.zeros((n_samples, dtype.itemsize), dtype=np.uint8)
    for rows in row_blocks(n_samples):
        block = np.ascontiguousarray(codes[rows], dtype=np.uint8)
        packed[rows, : -(-n_aus // 8)] = np.packbits(block, axis=1)
    return packed.view(dtype)[:, 0]


def _key_dtype(n_aus: int) -> np.dtype:
    if n_aus <= 32:
        return np.dtype(np.uint32)
    return np.dtype(np.uint64 if n_aus <= 64 else f"S{8 * -(-n_aus // 64)}")


def unpack_keys(keys: NDArray, n_aus: int) -> NDArray:
    """Codes of which `code_keys` made these keys.

    Parameters
    ----------
    keys : ndarray of shape (n_samples,)
    n_aus : int

    Returns
    -------
    codes : ndarray of uint8 of shape (n_samples, n_aus)
    """
    packed = np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), keys.dtype.itemsize)
    return np.unpackbits(packed, axis=1, count=n_aus)


def score_keys(scores: NDArray, thresholds: NDArray) -> tuple[NDArray, NDArray]:
    """Keys of AU scores, block by block: 4 bytes a row are kept for up to 32 AUs.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_aus)
        May be mapped from a file that is larger than the memory.
    thresholds : ndarray of float of shape (n_aus,)

    Returns
    -------
    keys : ndarray of shape (n_samples,)
        As of `code_keys`; that of the zero code where scores are NaN.
    known : ndarray of bool of shape (n_samples,)
        Rows without NaN.
    """
    n_samples, n_aus = scores.shape
    keys = np.empty(n_samples, dtype=_key_dtype(n_aus))
    known = np.empty(n_samples, dtype=np.bool_)
    for rows in row_blocks(n_samples):
        block = scores[rows]
        known[rows] = has_scores(block)
        keys[rows] = code_keys(binarize(block, thresholds))
    return keys, known


def distinct_keys(keys: NDArray, n_aus: int) -> tuple[NDArray, NDArray]:
    """Distinct keys, and where each key is among them.

    Up to 24 AUs make so few different keys that a table of all of them answers,
    in time linear in the number of rows; more AUs are sorted.

    Parameters
    ----------
    keys : ndarray of shape (n_samples,)
    n_aus : int

    Returns
    -------
    distinct : ndarray of shape (n_codes,)
        Ascending.
    index : ndarray of int32 or int64 of shape (n_samples,)
        ``distinct[index]`` are the keys.
    """
    # a table larger than the rows would cost more than sorting them
    size = 1 << 8 * -(-n_aus // 8)
    if n_aus > 24 or size > 32 * len(keys):
        distinct, index = np.unique(keys, return_inverse=True)
        return distinct, index
    seen = np.zeros(size, dtype=np.bool_)
    seen[keys] = True
    distinct = np.flatnonzero(seen).astype(keys.dtype)
    place = np.empty(size, dtype=np.int32)
    place[distinct] = np.arange(len(distinct), dtype=np.int32)
    return distinct, place[keys]


@dataclass(frozen=True)
class CodeTable:
    """Distinct AU codes with the labels seen under each: a sufficient statistic.

    Parameters
    ----------
    codes : ndarray of shape (n_codes, n_aus), dtype uint8
        Distinct codes, sorted by key.
    keys : ndarray of shape (n_codes,)
        Their packed keys, ascending.
    counts : ndarray of shape (n_codes, n_classes), dtype int64
        How often each label was seen under each code; sums of weights, float64,
        where samples had some.
    last_position : ndarray of shape (n_codes,), dtype int64
        Position, in the order of fitting, of the last sample with the code.
    last_label : ndarray of shape (n_codes,), dtype int64
        Class index of that sample.
    n_samples : int
        Number of samples counted.

    Examples
    --------
    >>> import numpy as np
    >>> table = CodeTable.from_samples(np.array([[0, 1], [1, 1], [0, 1]]), np.array([0, 1, 1]), 2)
    >>> table.lookup(np.array([[0, 1], [0, 0]]))
    array([ 0, -1])
    >>> table.counts[0]
    array([1, 1])
    """

    codes: NDArray
    keys: NDArray
    counts: NDArray
    last_position: NDArray
    last_label: NDArray
    n_samples: int

    @classmethod
    def from_samples(
        cls, codes: NDArray, labels: NDArray, n_classes: int, weights: NDArray | None = None
    ) -> CodeTable:
        """Count labels under each distinct code.

        Parameters
        ----------
        codes : ndarray of shape (n_samples, n_aus), values in {0, 1}
        labels : ndarray of int of shape (n_samples,), in [0, n_classes)
        n_classes : int
        weights : ndarray of float64 of shape (n_samples,), optional
            How much each sample counts; by default 1, and counts are integers.

        Returns
        -------
        CodeTable
        """
        codes = np.asarray(codes)
        return cls.from_keys(code_keys(codes), codes.shape[1], labels, n_classes, weights)

    @classmethod
    def from_keys(
        cls,
        keys: NDArray,
        n_aus: int,
        labels: NDArray,
        n_classes: int,
        weights: NDArray | None = None,
    ) -> CodeTable:
        """Count labels under each distinct code, given by its key.

        Parameters
        ----------
        keys : ndarray of shape (n_samples,)
            As of `code_keys`.
        n_aus : int
        labels : ndarray of int of shape (n_samples,), in [0, n_classes)
        n_classes : int
        weights : ndarray of float64 of shape (n_samples,), optional
            As of `from_samples`.

        Returns
        -------
        CodeTable
        """
        distinct, index = distinct_keys(keys, n_aus)
        counts = np.zeros(
            len(distinct) * n_classes, dtype=np.int64 if weights is None else np.float64
        )
        last = np.empty(len(distinct), dtype=np.int64)
        # blocks are as long as the counts, so that adding these up stays linear
        for rows in row_blocks(len(keys), max(1 << 20, len(counts))):
            cells = index[rows] * np.int64(n_classes) + labels[rows]
            part = None if weights is None else weights[rows]
            counts += np.bincount(cells, weights=part, minlength=len(counts))
            last[index[rows]] = np.arange(rows.start, rows.stop)  # the last of equal indices stays
        return cls(
            codes=unpack_keys(distinct, n_aus),
            keys=distinct,
            counts=counts.reshape(len(distinct), n_classes),
            last_position=last,
            last_label=np.asarray(labels[last], dtype=np.int64),
            n_samples=len(keys),
        )

    def merge(self, later: CodeTable) -> CodeTable:
        """Add up two tables; the samples of `later` come after those of this one."""
        keys = np.union1d(self.keys, later.keys)
        n_aus, n_classes = self.codes.shape[1], self.counts.shape[1]
        dtype = np.result_type(self.counts, later.counts)
        counts = np.zeros((len(keys), n_classes), dtype=dtype)
        position, label = np.empty((2, len(keys)), dtype=np.int64)
        for table, offset in ((self, 0), (later, self.n_samples)):
            rows = np.searchsorted(keys, table.keys)
            counts[rows] += table.counts
            position[rows] = table.last_position + offset
            label[rows] = table.last_label
        return CodeTable(
            codes=unpack_keys(keys, n_aus),
            keys=keys,
            counts=counts,
            last_position=position,
            last_label=label,
            n_samples=self.n_samples + later.n_samples,
        )

    def lookup(self, codes: NDArray) -> NDArray:
        """Row of the table that holds each code, -1 where none does.

        Parameters
        ----------
        codes : ndarray of shape (n_queries, n_aus), values in {0, 1}

        Returns
        -------
        rows : ndarray of int64 of shape (n_queries,)
        """
        return self.find(code_keys(codes))

    def find(self, keys: NDArray) -> NDArray:
        """Row of the table that holds each key, -1 where none does."""
        return find_keys(self.keys, keys)

    def within(self, keys: NDArray, radius: int) -> tuple[NDArray, NDArray]:
        """All codes of the table within a Hamming radius of each key.

        Where the codes in a ball are fewer than those of the table, they are
        looked up one by one; else faiss compares all.

        Parameters
        ----------
        keys : ndarray of shape (n_queries,)
            As of `code_keys`.
        radius : int
            Greatest number of AUs in which a code may differ.

        Returns
        -------
        query_index, row : ndarrays of int64 of shape (n_pairs,)
            The pairs, ordered by query and then by row.
        """
        n_aus = self.codes.shape[1]
        ball = sum(comb(n_aus, n_flipped) for n_flipped in range(radius + 1))
        if n_aus > 64 or ball >= len(self.keys):
            return codes_within(self.codes, unpack_keys(keys, n_aus), radius)
        flips = np.zeros((ball, n_aus), dtype=np.uint8)
        chosen = chain.from_iterable(
            combinations(range(n_aus), n_flipped) for n_flipped in range(radius + 1)
        )
        for flip, columns in zip(flips, chosen, strict=True):
            flip[list(columns)] = 1
        # packing is bit by bit, so that flipped codes have flipped keys
        rows = np.stack([self.find(keys ^ flip) for flip in code_keys(flips)], axis=1)
        rows.sort(axis=1)
        query_index, column = np.nonzero(rows >= 0)
        return query_index, rows[query_index, column]


def find_keys(keys: NDArray, queries: NDArray) -> NDArray:
    """Place of each query among sorted distinct keys, -1 where it is not.

    Parameters
    ----------
    keys : ndarray of shape (n_codes,)
        Ascending.
    queries : ndarray of shape (n_queries,)

    Returns
    -------
    places : ndarray of int64 of shape (n_queries,)
    """
    places = np.searchsorted(keys, queries)
    places[places == len(keys)] = 0
    return np.where(keys[places] == queries, places, -1).astype(np.int64)


def _padded_bytes(codes: NDArray) -> NDArray:
    """Pack codes into whole bytes, as faiss' binary indexes want them."""
    return np.packbits(np.ascontiguousarray(codes, dtype=np.uint8), axis=1)


def search_codes(codes: NDArray, queries: NDArray) -> NDArray:
    """Row of `codes` equal to each query, found by faiss' binary index.

    The same answer as `CodeTable.lookup`, on a GPU where faiss sees one.

    Parameters
    ----------
    codes : ndarray of shape (n_codes, n_aus), values in {0, 1}
        Distinct codes.
    queries : ndarray of shape (n_queries, n_aus), values in {0, 1}

    Returns
    -------
    rows : ndarray of int64 of shape (n_queries,)
        -1 where no code is equal.
    """
    import faiss

    database, wanted = _padded_bytes(codes), _padded_bytes(queries)
    n_bits = 8 * database.shape[1]
    index: Any = faiss.IndexBinaryFlat(n_bits)
    if getattr(faiss, "get_num_gpus", lambda: 0)() > 0:
        index = faiss.GpuIndexBinaryFlat(faiss.StandardGpuResources(), n_bits)
    index.add(database)
    distance, rows = index.search(wanted, 1)
    return np.where(distance[:, 0] == 0, rows[:, 0], -1).astype(np.int64)


def codes_within(codes: NDArray, queries: NDArray, radius: int) -> tuple[NDArray, NDArray]:
    """All codes within a Hamming radius of each query.

    Parameters
    ----------
    codes : ndarray of shape (n_codes, n_aus), values in {0, 1}
    queries : ndarray of shape (n_queries, n_aus), values in {0, 1}
    radius : int
        Greatest number of AUs in which a code may differ.

    Returns
    -------
    query_index, code_index : ndarrays of int64 of shape (n_pairs,)
        The pairs, ordered by query and then by code.
    """
    import faiss

    database, wanted = _padded_bytes(codes), _padded_bytes(queries)
    index = faiss.IndexBinaryFlat(8 * database.shape[1])
    index.add(database)
    limits, _, found = index.range_search(wanted, radius + 1)  # faiss: distance < radius
    query_index = np.repeat(
        np.arange(len(wanted)), np.asarray(limits[1:] - limits[:-1], dtype=np.int64)
    )
    order = np.lexsort((found, query_index))
    return query_index[order], found[order].astype(np.int64)
