"""Finding source samples with the same, or nearly the same, action units.

Three searches, all without torch:

* `CodeTable`: equal AU codes, by sorting packed codes once (numpy, exact);
* `search_codes` and `codes_within`: equal or near codes by faiss' binary index;
* `nearest_scores`: nearest AU scores by faiss' flat index.

Work grows with the number of *distinct* codes wherever codes are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CodeTable",
    "code_keys",
    "codes_within",
    "nearest_scores",
    "search_codes",
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
        dtype uint64 for up to 64 AUs, fixed-width bytes beyond. Two keys are
        equal exactly when the two codes are.
    """
    codes = np.ascontiguousarray(codes, dtype=np.uint8)
    n_samples, n_aus = codes.shape
    n_bytes = 8 * max(1, -(-n_aus // 64))
    packed = np.zeros((n_samples, n_bytes), dtype=np.uint8)
    packed[:, : -(-n_aus // 8)] = np.packbits(codes, axis=1)
    if n_bytes == 8:
        return packed.view(np.uint64)[:, 0]
    return packed.view(f"S{n_bytes}")[:, 0]


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
        How often each label was seen under each code.
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
    def from_samples(cls, codes: NDArray, labels: NDArray, n_classes: int) -> CodeTable:
        """Count labels under each distinct code.

        Parameters
        ----------
        codes : ndarray of shape (n_samples, n_aus), values in {0, 1}
        labels : ndarray of int of shape (n_samples,), in [0, n_classes)
        n_classes : int

        Returns
        -------
        CodeTable
        """
        keys, first, inverse = np.unique(code_keys(codes), return_index=True, return_inverse=True)
        labels = np.asarray(labels, dtype=np.int64)
        counts = np.bincount(inverse * n_classes + labels, minlength=len(keys) * n_classes)
        last = np.empty(len(keys), dtype=np.int64)
        last[inverse] = np.arange(len(labels))  # the last of equal indices stays
        return cls(
            codes=np.ascontiguousarray(codes[first], dtype=np.uint8),
            keys=keys,
            counts=counts.reshape(len(keys), n_classes).astype(np.int64),
            last_position=last,
            last_label=labels[last],
            n_samples=len(labels),
        )

    def merge(self, later: CodeTable) -> CodeTable:
        """Add up two tables; the samples of `later` come after those of this one."""
        keys, first, inverse = np.unique(
            np.concatenate([self.keys, later.keys]), return_index=True, return_inverse=True
        )
        counts = np.zeros((len(keys), self.counts.shape[1]), dtype=np.int64)
        np.add.at(counts, inverse, np.concatenate([self.counts, later.counts]))
        position = np.concatenate([self.last_position, later.last_position + self.n_samples])
        order = np.argsort(position, kind="stable")
        latest = np.empty(len(keys), dtype=np.int64)
        latest[inverse[order]] = order
        return CodeTable(
            codes=np.concatenate([self.codes, later.codes])[first],
            keys=keys,
            counts=counts,
            last_position=position[latest],
            last_label=np.concatenate([self.last_label, later.last_label])[latest],
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
        queries = code_keys(codes)
        rows = np.searchsorted(self.keys, queries)
        rows[rows == len(self.keys)] = 0
        return np.where(self.keys[rows] == queries, rows, -1).astype(np.int64)


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


def nearest_scores(scores: NDArray, queries: NDArray, n_neighbors: int) -> tuple[NDArray, NDArray]:
    """Nearest rows of `scores` to each query, Euclidean, exact, by faiss.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_aus)
    queries : ndarray of shape (n_queries, n_aus)
    n_neighbors : int
        Cut to ``n_samples`` where there are fewer.

    Returns
    -------
    distances : ndarray of float64 of shape (n_queries, n_neighbors)
        Ascending, not squared.
    indices : ndarray of int64 of shape (n_queries, n_neighbors)
    """
    import faiss

    n_neighbors = min(n_neighbors, len(scores))
    index: Any = faiss.IndexFlatL2(scores.shape[1])
    if getattr(faiss, "get_num_gpus", lambda: 0)() > 0 and n_neighbors <= 2048:
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(np.ascontiguousarray(scores, dtype=np.float32))
    squared, indices = index.search(np.ascontiguousarray(queries, dtype=np.float32), n_neighbors)
    return np.sqrt(np.maximum(squared, 0.0).astype(np.float64)), indices.astype(np.int64)
