"""Scores of a study by pair, method and seed, and their tables as CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .._files import new_file
from .plan import METRICS, MethodPlan, PublishedPlan
from .run import ORACLE, Row, Study
from .statistics import Summary, paired_difference, summarise

__all__ = ["MEAN", "Results", "write_results", "write_summary"]

# stands for all pairs together
MEAN = ("", "")


class Results:
    """Look-ups in the rows of a study.

    Parameters
    ----------
    study : Study

    Attributes
    ----------
    study : Study
    protocols : list of str
        Those that some target is scored by.
    classes : list of str
        Classes of all scored faces, sorted.
    """

    def __init__(self, study: Study):
        self.study = study
        self._rows = {(row.source, row.target, row.method, row.seed): row for row in study.rows}
        found = [protocol for row in study.rows for protocol in row.scores]
        self.protocols = [name for name in ("transductive", "inductive") if name in found]
        self.classes = sorted(
            {
                name
                for row in study.rows
                for entry in row.scores.values()
                for name in entry["recall"]
            }
        )

    def pairs(self, protocol: str) -> list[tuple[str, str]]:
        """Pairs that are scored by a protocol."""
        scored = {(row.source, row.target) for row in self.study.rows if protocol in row.scores}
        return [pair for pair in self.study.plan.pairs if pair in scored]

    def row(self, pair: tuple[str, str], method: str, seed: int) -> Row | None:
        """Find a cell that did not fail."""
        row = self._rows.get((*pair, method, seed))
        return row if row is not None and row.result is not None else None

    def values(
        self,
        pair: tuple[str, str],
        method: str,
        protocol: str,
        metric: str,
        label: str | None = None,
    ) -> dict[int, float]:
        """Scores by seed.

        Parameters
        ----------
        pair : tuple of (source, target)
            `MEAN` averages over all pairs, for the seeds that have them all.
        method, protocol, metric : str
        label : str, optional
            Class, of the metric "recall".

        Returns
        -------
        values : dict of int -> float
        """
        if pair == MEAN:
            each = [
                self.values(one, method, protocol, metric, label) for one in self.pairs(protocol)
            ]
            seeds = [seed for seed in self.study.plan.seeds if all(seed in one for one in each)]
            return {seed: float(np.mean([one[seed] for one in each])) for seed in seeds}
        found = {}
        for seed in self.study.plan.seeds:
            row = self.row(pair, method, seed)
            if row is None or protocol not in row.scores:
                continue
            value = row.scores[protocol][metric]
            if label is not None:
                value = value.get(label)
            if value is not None:
                found[seed] = value
        return found

    def difference(
        self,
        pair: tuple[str, str],
        method: str,
        protocol: str,
        metric: str,
        label: str | None = None,
    ) -> Summary | None:
        """Paired difference to the reference; None where there is nothing to compare."""
        reference = self.study.plan.reference
        if reference is None or method == reference:
            return None
        found = paired_difference(
            self.values(pair, method, protocol, metric, label),
            self.values(pair, reference, protocol, metric, label),
        )
        return found if found.n_seeds else None

    def published(
        self, pair: tuple[str, str], method: str, protocol: str, metric: str
    ) -> float | None:
        """Find a published figure, in percent."""
        for row in self.study.plan.published:
            where = row.source in (None, pair[0]) and self._protocol_of(row, pair[1]) == protocol
            if row.method == method and row.metric == metric and where and pair[1] in row.values:
                return float(row.values[pair[1]])
        return None

    def _protocol_of(self, row: PublishedPlan, target: str) -> str:
        plan = self.study.plan
        own = plan.data[target].protocols if target in plan.data else None
        return row.protocol or (own or plan.protocols)[0]

    def methods(self) -> list[MethodPlan]:
        """Rows of the tables."""
        return list(self.study.plan.methods)

    def oracle(self) -> str | None:
        """Name of the method that is trained on target labels."""
        names = [method.name for method in self.study.plan.methods if method.method == ORACLE]
        return names[0] if names else None


# -------------------------------------------------------------------------- CSV


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6f}"


def _write(path: Path, header: Sequence[str], rows: Iterator[list[str]]) -> None:
    with new_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_results(results: Results, path: Path) -> None:
    """Write a row per cell, protocol and metric.

    Parameters
    ----------
    results : Results
    path : pathlib.Path
    """
    study = results.study
    parameters = {
        method.name: json.dumps(method.parameters, sort_keys=True, default=str)
        for method in study.plan.methods
    }

    def rows() -> Iterator[list[str]]:
        for row in study.rows:
            names = [row.source, row.target, row.method, parameters[row.method], str(row.seed)]
            if row.result is None:
                assert row.failure is not None
                yield [*names, "", "failure", "", row.failure.error, row.key]
                continue
            for fact, value in row.result["facts"].items():
                yield [*names, "", fact, "", _number(value), row.key]
            for protocol, scores in row.scores.items():
                for metric in METRICS:
                    yield [*names, protocol, metric, "", _number(scores[metric]), row.key]
                for label, value in scores["recall"].items():
                    yield [*names, protocol, "recall", label, _number(value), row.key]

    header = ["source", "target", "method", "parameters", "seed", "protocol", "metric", "class"]
    _write(path, [*header, "value", "cell"], rows())


def write_summary(results: Results, path: Path) -> None:
    """Write a row per pair, method, protocol and metric: means over seeds.

    Parameters
    ----------
    results : Results
    path : pathlib.Path
    """
    wanted: list[tuple[str, str | None]] = [(metric, None) for metric in METRICS]
    wanted += [("recall", label) for label in results.classes]

    def rows() -> Iterator[list[str]]:
        for protocol in results.protocols:
            for pair in results.pairs(protocol):
                for method in results.methods():
                    for metric, label in wanted:
                        values = results.values(pair, method.name, protocol, metric, label)
                        if not values:
                            continue
                        mean, half_width, n_seeds = summarise(list(values.values()))
                        gain = results.difference(pair, method.name, protocol, metric, label)
                        yield [
                            *pair, method.name, protocol, metric, label or "", _number(mean),
                            _number(half_width), str(n_seeds),
                            _number(None if gain is None else gain.mean),
                            _number(None if gain is None else gain.half_width),
                        ]  # fmt: skip

    header = ["source", "target", "method", "protocol", "metric", "class", "mean", "half_width_95"]
    _write(path, [*header, "n_seeds", "difference", "difference_half_width_95"], rows())
