"""What a study is, as dataclasses; `adafer.study.reading` makes them of TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "FIGURES",
    "METRICS",
    "PROTOCOLS",
    "READERS",
    "DataPlan",
    "FigurePlan",
    "MethodPlan",
    "PublishedPlan",
    "StudyPlan",
]

PROTOCOLS = ("transductive", "inductive")
READERS = ("facs_faces", "folder", "flat", "npz")
METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
FIGURES = (
    "ablation", "au_distribution", "confusion", "coverage", "curve", "features", "pseudo_labels",
)  # fmt: skip


@dataclass(frozen=True)
class DataPlan:
    """One data set of a plan.

    Attributes
    ----------
    name : str
    reader : str
        "facs_faces", "folder" (a folder per class), "flat" (pictures without
        labels), "npz", or a function ``load_...`` or ``read_...`` of
        `adafer.datasets`.
    path : str or None
        What it reads; for "facs_faces" the domain.
    options : dict
        Keyword arguments of a ``load_...`` function.
    classes : tuple of str or None
        Leave these classes only.
    limit : int or None
        At most so many faces of each of its own parts, or in all, drawn at random
        without their labels.
    held_out : "own", float or None
        As a target: what is kept for the inductive score, the data set's own
        test part or a share drawn at random. None takes the plan's.
    protocols : tuple of str or None
        As a target: how it is scored. None takes the plan's.
    labels, truth : str or None
        Arrays with the labels, as a source, and as a target to be scored.
    groups : str or None
        Array with what must not be split: subjects, or photographs.
    au : {"computed", "given", None}
        AU scores by the extractor, or those of the data set. None computes
        those of pictures and takes those of features.
    """

    name: str
    reader: str
    path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    limit: int | None = None
    held_out: str | float | None = None
    protocols: tuple[str, ...] | None = None
    labels: str | None = None
    truth: str | None = None
    groups: str | None = None
    au: str | None = None


@dataclass(frozen=True)
class MethodPlan:
    """One row of the tables.

    Attributes
    ----------
    name : str
        How the report calls it.
    method : str
        A name of `adafer.study.methods.METHODS`, or ``"module:Class"``.
    parameters : dict
        For ``set_params``, those of ``[base]`` that it takes included.
    grid : dict
        Those parameters that a ``grid`` of the plan gave.
    """

    name: str
    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedPlan:
    """Figures of a publication, in percent, shown beside ours.

    Attributes
    ----------
    method : str
        Row; one that the plan does not run gets a row of its own.
    values : dict of str -> float
        By target.
    source, protocol, metric : str or None
        None: every source; the first protocol; accuracy.
    """

    method: str
    values: Mapping[str, float]
    source: str | None = None
    protocol: str | None = None
    metric: str = "accuracy"


@dataclass(frozen=True)
class FigurePlan:
    """One picture of the report.

    Attributes
    ----------
    kind : str
    title : str
    methods : tuple of str
        Rows that it shows; empty means all that it can show.
    parameter : str or None
        What a curve runs over.
    metric : str
    source, target : str or None
        The pair that it shows; None means the first, or all.
    labels : tuple of str
        Classes of an AU distribution.
    """

    kind: str
    title: str = ""
    methods: tuple[str, ...] = ()
    parameter: str | None = None
    metric: str = "accuracy"
    source: str | None = None
    target: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyPlan:
    """What is to be compared, on what, and how.

    Attributes
    ----------
    name : str
        Of the result files.
    title, description : str
    data : dict of str -> DataPlan
    pairs : tuple of (source, target)
    methods : tuple of MethodPlan
    seeds : tuple of int
    protocols : tuple of str
    held_out : "own", float or None
    reference : str or None
        The method that differences are taken to.
    au : dict
        Parameters of the AUExtractor.
    published : tuple of PublishedPlan
    figures : tuple of FigurePlan
    """

    name: str
    title: str
    description: str
    data: Mapping[str, DataPlan]
    pairs: tuple[tuple[str, str], ...]
    methods: tuple[MethodPlan, ...]
    seeds: tuple[int, ...]
    protocols: tuple[str, ...] = ("transductive",)
    held_out: str | float | None = None
    reference: str | None = None
    au: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[PublishedPlan, ...] = ()
    figures: tuple[FigurePlan, ...] = ()
