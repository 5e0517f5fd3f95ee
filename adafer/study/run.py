"""Run studies cell by cell: what is on disk is not computed again."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from .._checks import naming
from .._files import check_output_folder, new_file
from .._sklearn import N_JOBS, Interval, judged
from ..aus import AUExtractor
from ._arguments import judge_plans
from .cells import Cell, Failure, Stage, fit_cell, fit_stage, read_result, stage_of
from .data import DataSet, Part, load_data_set, source_part, target_parts
from .methods import uses_aus
from .plan import DataPlan, MethodPlan, StudyPlan
from .statistics import score

__all__ = ["Row", "Study", "run_studies"]

ORACLE = "target_supervised"
# figures that need more of a cell than its predictions
_NEED_ARRAYS = frozenset({"features", "pseudo_labels"})


@dataclass(frozen=True)
class Row:
    """A cell, what came out of it, and how that scores.

    Attributes
    ----------
    source, target, method : str
        Names in the plan.
    seed : int
    key : str
    result : dict or None
        As `adafer.study.cells.fit_cell` gives it; None where it failed.
    failure : Failure or None
    scores : dict of str -> dict
        By protocol; empty for targets without labels.
    """

    source: str
    target: str
    method: str
    seed: int
    key: str
    result: dict[str, Any] | None
    failure: Failure | None
    scores: Mapping[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A plan that was run.

    Attributes
    ----------
    plan : StudyPlan
    rows : list of Row
        In the order of pairs, methods and seeds.
    data : dict of str -> DataSet
        By name.
    sources : dict of str -> (Part, labels)
        Faces trained on, by name.
    parts : dict of (str, int) -> dict of str -> Part
        Faces scored, by target and seed, and by protocol.
    output : pathlib.Path
        Folder with the cells.
    n_computed : int
        Cells that were not there before.
    """

    plan: StudyPlan
    rows: list[Row]
    data: Mapping[str, DataSet]
    sources: Mapping[str, tuple[Part, NDArray]]
    parts: Mapping[tuple[str, int], Mapping[str, Part]]
    output: Path
    n_computed: int

    @property
    def failures(self) -> list[Row]:
        """Rows of cells that failed."""
        return [row for row in self.rows if row.failure is not None]

    def cell_file(self, row: Row) -> Path:
        """Where a cell is kept."""
        return _cell_file(self.output, row.key)


@dataclass(frozen=True)
class _Place:
    """Where a cell stands in a study."""

    source: str
    target: str
    method: str
    seed: int
    cell: Cell
    key: str


@judged(
    plans=judge_plans,
    jobs=[entry for entry in N_JOBS if entry is not None],
    threads=[Interval(Integral, 1, None, closed="left")],
    report=[None, callable],
)
def run_studies(
    plans: Sequence[StudyPlan],
    output: str | PathLike[str],
    *,
    jobs: int = 1,
    threads: int = 1,
    report: Callable[[str], None] | None = None,
) -> list[Study]:
    """Run plans that share their cells.

    Each cell's result is a JSON file in ``output/cells``, named by a hash of all
    that determines it: content of the data, method, parameters, seed and version
    of adafer. What is there is not computed again, so that a study that was
    stopped goes on where it stopped, and plans share what they have in common.
    Source stages are in ``output/stages``, AU scores in ``output/aus.sqlite``.

    Parameters
    ----------
    plans : sequence of StudyPlan
    output : path
        Folder; made if it is not there.
    jobs : int, default=1
        Cells that run side by side; -1: as many as there are cores. On a cluster,
        within ``joblib.parallel_config("dask")`` or ``"ray"``, -1.
    threads : int, default=1
        Of torch, in each cell.
    report : callable, optional
        Takes a line for each thing that was done; by default lines go to the
        standard error.

    Returns
    -------
    studies : list of Study
        One per plan. Cells that failed have a `Failure`.

    Raises
    ------
    ValueError, TypeError
        If there is no plan, data sets are missing or do not fit, or an argument is
        wrong; before any fit.
    OSError
        If the output cannot be written.
    """
    tell = _to_stderr if report is None else report
    with naming("output"):
        folder = check_output_folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    loader = _Loader(folder, jobs, tell)
    prepared = [_prepare(plan, loader) for plan in plans]
    places = {place.key: place for _, _, _, found in prepared for place in found}
    for _, _, _, found in prepared:
        for place in found:
            if place.cell.keep:
                places[place.key] = place
    computed, failures = _compute(places, folder, jobs, threads, tell)
    studies = []
    for plan, sources, parts, found in prepared:
        data = {name: loader.load(entry, plan) for name, entry in plan.data.items()}
        rows = [_row(place, folder, failures, data[place.target]) for place in found]
        n_computed = sum(place.key in computed for place in found)
        studies.append(Study(plan, rows, data, sources, parts, folder, n_computed))
    return studies


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _cell_file(folder: Path, key: str) -> Path:
    return folder / "cells" / f"{key}.json"


# -------------------------------------------------------------------- preparing


class _Loader:
    """Reads each data set once, for all plans."""

    def __init__(self, folder: Path, jobs: int, tell: Callable[[str], None]):
        self.folder = folder
        self.jobs = jobs
        self.tell = tell
        self.known: dict[str, DataSet] = {}

    def load(self, entry: DataPlan, plan: StudyPlan) -> DataSet:
        estimators = [Cell.estimator(_draft(method)) for method in plan.methods]
        sizes = {getattr(estimator, "image_size", None) for estimator in estimators} - {None}
        # what has no network says nothing about the size of pictures
        sizes = {
            estimator.image_size for estimator in estimators if hasattr(estimator, "backbone")
        } or sizes
        size = sizes.pop() if len(sizes) == 1 else None
        extractor = None
        if any(uses_aus(estimator) for estimator in estimators):
            extractor = AUExtractor(cache=self.folder / "aus.sqlite", n_jobs=self.jobs)
            extractor.set_params(**plan.au)
        key = repr((entry, size, None if extractor is None else sorted(plan.au.items())))
        if key not in self.known:
            started = time.perf_counter()
            found = load_data_set(entry, image_size=size, extractor=extractor)
            self.known[key] = found
            seconds = time.perf_counter() - started
            more = "" if not found.skipped else f", {len(found.skipped)} cannot be read"
            faceless = len(found.without_aus())
            if faceless:
                more += f", {faceless} without AU scores"
            self.tell(f"data {entry.name}: {len(found)} faces{more}, {seconds:.0f} s")
        return self.known[key]


def _draft(method: MethodPlan) -> Any:
    return Cell(method.method, method.parameters, 0, None, None, None, {})  # type: ignore[arg-type]


def _prepare(plan: StudyPlan, loader: _Loader) -> tuple[Any, ...]:
    """Read data, split it, and make all cells of a plan, before any fit."""
    data = {name: loader.load(entry, plan) for name, entry in plan.data.items()}
    sources = {
        name: source_part(data[name], plan.data[name])
        for name in dict.fromkeys(source for source, _ in plan.pairs)
    }
    parts: dict[tuple[str, int], dict[str, Part]] = {}
    for name in dict.fromkeys(target for _, target in plan.pairs):
        entry = plan.data[name]
        for seed in plan.seeds:
            adapted, held = target_parts(
                data[name],
                entry,
                protocols=entry.protocols or plan.protocols,
                held_out=entry.held_out if entry.held_out is not None else plan.held_out,
                seed=seed,
            )
            parts[name, seed] = {"transductive": adapted}
            if held is not None:
                parts[name, seed]["inductive"] = held
    for source, target in plan.pairs:
        _check_pair(data[source], data[target])
    places = [
        place
        for source, target in plan.pairs
        for method in plan.methods
        for seed in plan.seeds
        if (
            place := _place(
                plan, method, source, target, seed, sources, parts[target, seed], data[target]
            )
        )
    ]
    return plan, sources, parts, places


def _check_pair(source: DataSet, target: DataSet) -> None:
    kinds = [
        "features" if isinstance(data.X, np.ndarray) and data.X.ndim == 2 else "pictures"
        for data in (source, target)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"The source {source.name!r} holds {kinds[0]} but the target {target.name!r} holds "
            f"{kinds[1]}. Pair data sets of one kind."
        )
    if kinds[0] == "features" and source.X.shape[1] != target.X.shape[1]:
        raise ValueError(
            f"The source {source.name!r} has {source.X.shape[1]} features but the target "
            f"{target.name!r} has {target.X.shape[1]}. Give both the same."
        )
    if source.au_names != target.au_names or (
        source.au is not None and target.au is not None and source.au.shape[1] != target.au.shape[1]
    ):
        raise ValueError(
            f"The source {source.name!r} has the AUs {source.au_names} but the target "
            f"{target.name!r} has {target.au_names}. Score both by the same detector."
        )


def _place(
    plan: StudyPlan,
    method: MethodPlan,
    source: str,
    target: str,
    seed: int,
    sources: Mapping[str, tuple[Part, NDArray]],
    parts: Mapping[str, Part],
    data: DataSet,
) -> _Place | None:
    """Make a cell. Only the oracle is given labels of the target, as its source."""
    keep = seed == plan.seeds[0] and any(
        figure.kind in _NEED_ARRAYS and (not figure.methods or method.name in figure.methods)
        for figure in plan.figures
    )
    if method.method == ORACLE:
        trained = parts["transductive"]
        if data.truth is None or "inductive" not in parts:
            return None
        cell = Cell(
            method.method,
            method.parameters,
            seed,
            trained,
            data.truth[trained.rows],
            None,
            {"inductive": parts["inductive"]},
            keep,
        )
    else:
        part, labels = sources[source]
        cell = Cell(
            method.method,
            method.parameters,
            seed,
            part,
            labels,
            parts["transductive"],
            parts,
            keep,
        )
    estimator = cell.estimator()
    if uses_aus(estimator) and cell.source.au is None:
        raise ValueError(
            f"The method {method.name!r} needs AU scores, which cannot be computed from the "
            f"features of {source!r}. Add an array 'au' to the data sets, or leave it out."
        )
    return _Place(source, target, method.name, seed, cell, cell.key())


# ---------------------------------------------------------------------- running


def _compute(
    places: Mapping[str, _Place],
    folder: Path,
    jobs: int,
    threads: int,
    tell: Callable[[str], None],
) -> tuple[set[str], dict[str, Failure]]:
    """Compute the cells that are not there; source stages that they share come first."""
    missing = {
        key: place
        for key, place in places.items()
        if read_result(_cell_file(folder, key), keep=place.cell.keep) is None
    }
    tell(f"{len(places)} cells, of which {len(places) - len(missing)} are there already")
    if not missing:
        return set(), {}
    for name in ("cells", "stages"):  # by which workers know that they see the folder
        (folder / name).mkdir(exist_ok=True)
    stages = {key: stage_of(place.cell) for key, place in missing.items()}
    failures: dict[str, Failure] = {}
    failed = _train_stages(stages, folder, jobs, threads, tell)
    tasks = {}
    for key, place in missing.items():
        stage = stages[key]
        if stage is not None and stage.key in failed:
            failures[key] = failed[stage.key]
        else:
            tasks[key] = (place, None if stage is None else _stage_folder(folder, stage))
    progress = _Progress(len(tasks), tell)
    calls = (
        delayed(_named)(
            key,
            fit_cell,
            place.cell,
            _cell_file(folder, key),
            {"row": place.method, "source": place.source, "target": place.target},
            stage_folder,
            threads,
        )
        for key, (place, stage_folder) in tasks.items()
    )
    computed = set()
    for key, found in _side_by_side(calls, jobs):
        place = tasks[key][0]
        what = f"{place.source} to {place.target}, {place.method}, seed {place.seed}"
        if isinstance(found, Failure):
            failures[key] = found
            with new_file(folder / "errors" / f"{key}.txt") as path:
                path.write_text(f"{what}\n{found.details}", encoding="utf-8")
            progress.tell(f"{what}: FAILED, {found.error}")
        else:
            computed.add(key)
            progress.tell(f"{what}: {sum(found['seconds'].values()):.1f} s")
    return computed, failures


def _stage_folder(folder: Path, stage: Stage) -> Path:
    return folder / "stages" / stage.key


def _train_stages(
    stages: Mapping[str, Stage | None],
    folder: Path,
    jobs: int,
    threads: int,
    tell: Callable[[str], None],
) -> dict[str, Failure]:
    wanted = {stage.key: stage for stage in stages.values() if stage is not None}
    missing = {
        key: stage
        for key, stage in wanted.items()
        if not (_stage_folder(folder, stage) / "model.json").is_file()
    }
    if not missing:
        return {}
    progress = _Progress(len(missing), tell)
    calls = (
        delayed(_named)(key, fit_stage, stage, _stage_folder(folder, stage), threads)
        for key, stage in missing.items()
    )
    failed = {}
    for key, found in _side_by_side(calls, jobs):
        seed = missing[key].estimator.random_state
        if isinstance(found, Failure):
            failed[key] = found
            progress.tell(f"source stage, seed {seed}: FAILED, {found.error}")
        else:
            progress.tell(f"source stage, seed {seed}: {found:.1f} s")
    return failed


def _named(key: str, function: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    return key, function(*arguments)


def _side_by_side(calls: Any, jobs: int) -> Any:
    """Give results as they come; large arrays reach local workers as memory maps."""
    options: dict[str, Any] = {"n_jobs": jobs, "pre_dispatch": "1.5*n_jobs"}
    with warnings.catch_warnings():
        # loky says so when a worker was idle for long
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        try:
            parallel = Parallel(return_as="generator_unordered", **options)
        except ValueError:  # clusters give all results together
            parallel = Parallel(**options)
        yield from parallel(calls)


class _Progress:
    """One line per cell, with the time that is left."""

    def __init__(self, total: int, tell: Callable[[str], None]):
        self.total = total
        self.done = 0
        self.write = tell
        self.started = time.perf_counter()

    def tell(self, what: str) -> None:
        self.done += 1
        left = (time.perf_counter() - self.started) / self.done * (self.total - self.done)
        self.write(f"[{self.done}/{self.total}] {what}; {_duration(left)} left")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# ---------------------------------------------------------------------- scoring


def _row(place: _Place, folder: Path, failures: Mapping[str, Failure], target: DataSet) -> Row:
    """Read a cell's predictions and score them; here target labels come in."""
    names = (place.source, place.target, place.method, place.seed, place.key)
    if place.key in failures:
        return Row(*names, None, failures[place.key])
    result = read_result(_cell_file(folder, place.key))
    if result is None:
        what = (
            f"its file {str(_cell_file(folder, place.key))!r} cannot be read; run the study again. "
            "If it ran on another machine, let all machines share the output folder"
        )
        return Row(*names, None, Failure(what))
    if target.truth is None:
        return Row(*names, result, None)
    classes = np.array(result["classes"])
    scores = {
        protocol: score(target.truth[part.rows], classes[result["predictions"][protocol]])
        for protocol, part in place.cell.scored.items()
    }
    return Row(*names, result, None, scores)
