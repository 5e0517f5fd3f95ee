"""Nearest neighbours among many AU scores, by faiss.

Few samples are compared with all others, which is exact. Of many, inverted lists
(an IVF index) look only into the lists around a query: k-means cuts the samples
into lists, and how many of them are looked into is raised until, on a trial, as
good as all true neighbours are found.

References
----------
Inverted lists: J. Sivic and A. Zisserman, Video Google, ICCV 2003; H. Jegou et
al., Product quantization for nearest neighbor search, PAMI 2011.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .aus.scores import row_blocks

__all__ = ["EXACT_UP_TO", "NeighborIndex", "Search", "nearest_scores", "neighbor_blocks"]

Search = Literal["auto", "exact"]

# Samples that are compared with all others. Depends on nothing else: a target
# annotated in pieces must get the same labels as in one.
EXACT_UP_TO = 200_000

_SEED = 0
_ITERATIONS = 10  # of k-means; more do not make the lists better
_TRAINING_POINTS = 64  # of k-means, per list
_MOST_LISTS = 8192  # samples are compared with all lists when these are filled
_TRIAL = 256  # queries of each kind that tell how many lists to look into
_RECALL = 0.99  # of the neighbours of either kind
_NEIGHBORS_ON_GPU = 2048  # faiss finds no more there
_RESULTS = 1 << 24  # distances and indices kept at a time
_QUERIES = 4096  # faiss' own block: multiples of it give the same bits


class NeighborIndex:
    """Samples among which nearest ones are searched.

    Parameters
    ----------
    points : ndarray of float32 of shape (n_samples, n_dimensions)
    n_neighbors : int
        How many each search is for; cut to ``n_samples`` where there are fewer.
    search : {"auto", "exact"}, default="auto"
        "exact" compares with all samples however many they are; "auto" does so
        up to `EXACT_UP_TO`.
    similarity : {"distance", "product"}, default="distance"
        Smallest Euclidean distance, or largest inner product.
    on_gpu : bool, default=True
        Search on a GPU where faiss sees one.

    Attributes
    ----------
    is_exact : bool
    """

    def __init__(
        self,
        points: NDArray,
        n_neighbors: int,
        *,
        search: Search = "auto",
        similarity: Literal["distance", "product"] = "distance",
        on_gpu: bool = True,
    ):
        import faiss

        points = np.ascontiguousarray(points, dtype=np.float32)
        self.n_neighbors = min(n_neighbors, len(points))
        self.is_exact = search == "exact" or len(points) <= EXACT_UP_TO
        self._is_product = similarity == "product"
        flat = faiss.IndexFlatIP if self._is_product else faiss.IndexFlatL2
        index: Any = flat(points.shape[1])
        if not self.is_exact:
            index = self._train_lists(index, points)
        index.add(points)
        if not self.is_exact:
            index.nprobe = self._count_lists(index, points)
        n_gpus = getattr(faiss, "get_num_gpus", lambda: 0)() if on_gpu else 0
        if n_gpus > 0 and self.n_neighbors <= _NEIGHBORS_ON_GPU:
            index = faiss.index_cpu_to_all_gpus(index)
        self._index = index

    def search(self, queries: NDArray) -> tuple[NDArray, NDArray]:
        """Find the nearest samples of each query.

        Parameters
        ----------
        queries : ndarray of float32 of shape (n_queries, n_dimensions)

        Returns
        -------
        found : ndarray of float32 of shape (n_queries, n_neighbors)
            Squared distances ascending, or products descending.
        indices : ndarray of int64 of shape (n_queries, n_neighbors)
            -1 at the end of a row for which the lists held fewer samples.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        found, indices = self._index.search(queries, self.n_neighbors)
        return found, indices.astype(np.int64, copy=False)

    def _train_lists(self, quantizer: Any, points: NDArray) -> Any:
        import faiss

        n_lists = min(1 << round(np.log2(4 * len(points) ** 0.5)), _MOST_LISTS, len(points))
        metric = faiss.METRIC_INNER_PRODUCT if self._is_product else faiss.METRIC_L2
        index: Any = faiss.IndexIVFFlat(quantizer, points.shape[1], n_lists, metric)
        index.cp.seed = _SEED
        index.cp.niter = _ITERATIONS
        index.cp.spherical = self._is_product
        index.cp.min_points_per_centroid = 1  # say nothing of few points
        index.cp.max_points_per_centroid = _TRAINING_POINTS
        index.train(points)
        return index

    def _count_lists(self, index: Any, points: NDArray) -> int:
        """Raise the number of lists until a trial finds as good as all neighbours.

        The trial asks for samples, and for samples mixed AU by AU, which lie
        between and beyond them as another domain's may. It sees no target, so
        that all pieces of a target are searched alike.
        """
        import faiss

        rng = np.random.default_rng(_SEED)
        rows = rng.integers(len(points), size=(_TRIAL, 1 + points.shape[1]))
        mixed = np.take_along_axis(points, rows[:, 1:], axis=0)
        if self._is_product:
            mixed /= np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)
        trial = np.concatenate([points[rows[:, 0]], mixed])
        metric = faiss.METRIC_INNER_PRODUCT if self._is_product else faiss.METRIC_L2
        true, _ = faiss.knn(trial, points, self.n_neighbors, metric=metric)
        last = true[:, -1:]
        slack = 1e-5 * np.abs(last) + 1e-7  # equal neighbours are equally good
        n_lists = 1
        while n_lists < index.nlist:
            index.nprobe = n_lists
            found, indices = index.search(trial, self.n_neighbors)
            good = found >= last - slack if self._is_product else found <= last + slack
            recall = (good & (indices >= 0)).reshape(2, -1).mean(axis=1)
            if recall.min() >= _RECALL:
                break
            n_lists = max(n_lists + 1, int(1.4 * n_lists))
        return min(n_lists, index.nlist)


def neighbor_blocks(n_queries: int, n_neighbors: int) -> Iterator[slice]:
    """Cut queries into blocks whose results are few enough to keep.

    Parameters
    ----------
    n_queries, n_neighbors : int

    Yields
    ------
    rows : slice
    """
    size = _QUERIES * max(1, _RESULTS // (_QUERIES * n_neighbors))
    yield from row_blocks(n_queries, size)


def nearest_scores(
    scores: NDArray, queries: NDArray, n_neighbors: int, *, search: Search = "auto"
) -> tuple[NDArray, NDArray]:
    """Nearest rows of `scores` to each query, Euclidean, by faiss.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_aus)
    queries : ndarray of shape (n_queries, n_aus)
    n_neighbors : int
        Cut to ``n_samples`` where there are fewer.
    search : {"auto", "exact"}, default="auto"
        See `NeighborIndex`.

    Returns
    -------
    distances : ndarray of float64 of shape (n_queries, n_neighbors)
        Ascending, not squared.
    indices : ndarray of int64 of shape (n_queries, n_neighbors)
    """
    index = NeighborIndex(scores, n_neighbors, search=search)
    squared, indices = index.search(queries)
    return np.sqrt(np.maximum(squared, 0.0).astype(np.float64)), indices
