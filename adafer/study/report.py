"""The report of a study: tables, pictures, and what to know to read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import naming
from .._files import check_output_folder, new_file
from .._sklearn import judged
from .._versions import versions
from .blocks import Block, Heading, Paragraph, Picture, Table, to_html, to_markdown
from .figures import draw_figures
from .methods import METHODS
from .plan import METRICS
from .results import MEAN, Results, write_results, write_summary
from .run import Study
from .statistics import Summary, agreement, gap_closed, summarise

__all__ = ["report_blocks", "write_reports"]

_TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
}
_FACTS = {
    "coverage": ("coverage", 100.0, "% of the target share a source face's AU code"),
    "labelled_share": ("labelled", 100.0, "% of the target got labels by AUs"),
    "margin": ("margin", 1.0, "margin of the triplet loss at the end"),
    "seconds": ("seconds", 1.0, "seconds of the fit after a shared source stage"),
}


def _judge_studies(studies: Any) -> None:
    several = isinstance(studies, Sequence) and not isinstance(studies, str)
    if not several or not all(isinstance(study, Study) for study in studies):
        raise TypeError(
            f"studies must be a list of Study; got {str(studies)[:80]!r}. Make them by run_studies."
        )
    if not studies:
        raise ValueError("studies is empty; expected one study or more.")


@judged(studies=_judge_studies, tell=[callable])
def write_reports(
    studies: Sequence[Study], output: str | PathLike[str], *, tell: Callable[[str], None] = print
) -> list[Path]:
    """Write Markdown, CSV and HTML of each study, and one page with all of them.

    Parameters
    ----------
    studies : sequence of Study
    output : path
        Folder. ``<plan>.md``, ``<plan>.csv`` (a row per cell and metric),
        ``<plan>-summary.csv``, ``<plan>.html`` and pictures; for several plans
        ``index.html``, too.
    tell : callable, default=print
        Is given what could not be drawn.

    Returns
    -------
    pages : list of pathlib.Path
        The HTML pages.

    Raises
    ------
    OSError
        If the output cannot be written.
    ValueError, TypeError
        If there is no study, or an argument is wrong.
    """
    with naming("output"):
        folder = check_output_folder(output)
    pages, together = [], []
    for study in studies:
        name, results = study.plan.name, Results(study)
        blocks = report_blocks(results, tell=tell)
        write_results(results, folder / f"{name}.csv")
        write_summary(results, folder / f"{name}-summary.csv")
        for block in blocks:
            if isinstance(block, Picture):
                with new_file(folder / block.name) as path:
                    path.write_bytes(block.png)
        _write_text(folder / f"{name}.md", to_markdown(blocks))
        _write_text(folder / f"{name}.html", to_html(study.plan.title, blocks))
        pages.append(folder / f"{name}.html")
        together += blocks
    if len(studies) > 1:
        _write_text(folder / "index.html", to_html("Studies", together))
        pages.insert(0, folder / "index.html")
    return pages


def _write_text(path: Path, text: str) -> None:
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def report_blocks(results: Results, *, tell: Callable[[str], None] = print) -> list[Block]:
    """Make all parts of a report.

    Parameters
    ----------
    results : Results
    tell : callable, default=print
        Is given what could not be drawn.

    Returns
    -------
    blocks : list
    """
    plan = results.study.plan
    blocks: list[Block] = [Heading(plan.title, 1)]
    if plan.description:
        blocks.append(Paragraph(plan.description))
    blocks.append(Paragraph(_how_to_read(results)))
    blocks += _failures(results)
    for protocol in results.protocols:
        for metric in METRICS:
            blocks.append(Heading(f"{_TITLES[metric]}, {protocol}, %"))
            blocks.append(_score_table(results, protocol, metric))
    blocks += _gap_tables(results)
    pictures = draw_figures(results, tell=tell)
    if pictures:
        blocks += [Heading("Figures"), *pictures]
    for protocol in results.protocols:
        for pair in results.pairs(protocol):
            blocks.append(Heading(f"Recall, {_pair_name(results, pair)}, {protocol}, %"))
            blocks.append(_recall_table(results, protocol, pair))
    blocks += _without_labels(results)
    blocks += _facts(results)
    blocks += _about(results)
    return blocks


# ----------------------------------------------------------------------- words


def _how_to_read(results: Results) -> str:
    study = results.study
    plan = study.plan
    n = len(plan.seeds)
    text = [
        f"{n} seed{'s' if n > 1 else ''} ({', '.join(str(seed) for seed in plan.seeds)}).",
        "Numbers are means over the seeds ± the half width of the 95 % interval by Student's t, "
        "which tells how much training varies, not how other faces would score."
        if n > 1
        else "With one seed there are no intervals.",
    ]
    if plan.reference is not None and len(plan.methods) > 1:
        text.append(f"In brackets: the difference to {plan.reference}, paired by seed.")
    text.append(
        "Networks are those of the last epoch. Labels of the target are used for scores only"
        + (", except by the oracle." if results.oracle() else ".")
    )
    if any(row.result and row.result["shared_source_stage"] for row in study.rows):
        text.append(
            "Methods with the same source stage share it: it was trained once per source and "
            "seed, and each method went on from that network."
        )
    if "transductive" in results.protocols:
        text.append("Transductive: scored on the faces adapted to.")
    if "inductive" in results.protocols:
        text.append("Inductive: scored on target faces held out.")
    if plan.published:
        text.append('Columns "published" hold the figures of the publication.')
    return " ".join(text)


def _label(results: Results, method: str) -> str:
    return f"{method} (oracle: trained on target labels)" if method == results.oracle() else method


def _pair_name(results: Results, pair: tuple[str, str]) -> str:
    if pair == MEAN:
        return "mean"
    sources = {source for source, _ in results.study.plan.pairs}
    return f"{pair[0]} → {pair[1]}" if len(sources) > 1 else pair[1]


def _percent(summary: Summary) -> str:
    if summary.n_seeds == 0:
        return "-"
    return f"{100 * summary.mean:.1f}" + _half_width(summary, 100)


def _half_width(summary: Summary, unit: float) -> str:
    return "" if math.isnan(summary.half_width) else f" ± {unit * summary.half_width:.1f}"


# ---------------------------------------------------------------------- tables


def _score_table(results: Results, protocol: str, metric: str) -> Table:
    pairs = results.pairs(protocol)
    columns = [*pairs, MEAN] if len(pairs) > 1 else pairs
    names = [method.name for method in results.methods()]
    published = {row.method for row in results.study.plan.published}
    names += [row for row in dict.fromkeys(p.method for p in results.study.plan.published)
              if row not in names]  # fmt: skip
    known = {
        pair
        for pair in pairs
        if any(results.published(pair, name, protocol, metric) is not None for name in published)
    }
    header = ["method"]
    for pair in columns:
        header.append(_pair_name(results, pair))
        if pair in known:
            header.append("published")
    rows = []
    for name in names:
        row = [_label(results, name)]
        for pair in columns:
            summary = summarise(list(results.values(pair, name, protocol, metric).values()))
            gain = results.difference(pair, name, protocol, metric)
            more = ""
            if gain is not None and name != results.oracle():
                more = f" ({round(100 * gain.mean, 1) + 0.0:+.1f}{_half_width(gain, 100)})"
            row.append(_percent(summary) + more)
            if pair in known:
                figure = results.published(pair, name, protocol, metric)
                row.append("-" if figure is None else f"{figure:.2f}")
        if any(cell != "-" for cell in row[1:]):
            rows.append(row)
    return Table(header, rows)


def _recall_table(results: Results, protocol: str, pair: tuple[str, str]) -> Table:
    rows = []
    for method in results.methods():
        found = [
            summarise(list(results.values(pair, method.name, protocol, "recall", label).values()))
            for label in results.classes
        ]
        if any(summary.n_seeds for summary in found):
            rows.append([_label(results, method.name), *map(_percent, found)])
    return Table(["method", *results.classes], rows)


def _gap_tables(results: Results) -> Iterator[Block]:
    oracle, reference = results.oracle(), results.study.plan.reference
    if oracle is None or reference is None or "inductive" not in results.protocols:
        return
    yield Heading("Share of the gap to the oracle that is closed, inductive, %")
    yield Paragraph(
        f"Gain over {reference}, over the gain of {oracle}, which is trained on the labels of the "
        "target faces adapted to."
    )
    pairs = results.pairs("inductive")
    columns = [*pairs, MEAN] if len(pairs) > 1 else pairs
    for metric in ("accuracy", "balanced_accuracy"):
        rows = []
        for method in results.methods():
            if method.name in (oracle, reference):
                continue
            shares = [
                gap_closed(
                    *(
                        results.values(pair, name, "inductive", metric)
                        for name in (method.name, reference, oracle)
                    )
                )
                for pair in columns
            ]
            cells = ["-" if share is None else f"{round(100 * share) + 0:d}" for share in shares]
            rows.append([method.name, *cells])
        header = [_TITLES[metric].lower(), *(_pair_name(results, pair) for pair in columns)]
        yield Table(header, rows)


def _failures(results: Results) -> Iterator[Block]:
    failures = results.study.failures
    if failures:
        yield Heading("Cells that failed")
        yield Table(
            ["source", "target", "method", "seed", "error"],
            [
                [row.source, row.target, row.method, str(row.seed), row.failure.error]
                for row in failures
                if row.failure is not None
            ],
        )


def _without_labels(results: Results) -> Iterator[Block]:
    """Where nothing can be scored: what methods say, and where they say the same."""
    study = results.study
    for pair in study.plan.pairs:
        if study.data[pair[1]].truth is not None:
            continue
        for protocol in ("transductive", "inductive"):
            predicted = {
                method.name: [
                    np.array(row.result["classes"])[row.result["predictions"][protocol]]
                    for seed in study.plan.seeds
                    if (row := results.row(pair, method.name, seed)) is not None
                    and row.result is not None
                    and protocol in row.result["predictions"]
                ]
                for method in results.methods()
            }
            predicted = {name: found for name, found in predicted.items() if found}
            if not predicted:
                continue
            labels = sorted({str(label) for found in predicted.values() for label in found[0]}
                            | {str(label) for found in predicted.values()
                               for run in found[1:] for label in run})  # fmt: skip
            title = f"{_pair_name(results, pair)}, {protocol}, %"
            yield Heading(f"Labels given, {title}")
            yield Table(
                ["method", *labels],
                [
                    [
                        name,
                        *(_percent(summarise([np.mean(run == label) for run in found]))
                          for label in labels),
                    ]
                    for name, found in predicted.items()
                ],
            )  # fmt: skip
            yield Heading(f"Faces that two methods label alike, {title}")
            yield Table(
                ["method", *predicted],
                [
                    [
                        name,
                        *(
                            _percent(summarise([agreement(a, b) for a, b in pairs]))
                            for pairs in (
                                list(zip(found, other, strict=False))
                                for other in predicted.values()
                            )
                        ),
                    ]
                    for name, found in predicted.items()
                ],
            )


def _facts(results: Results) -> Iterator[Block]:
    rows = []
    for pair in results.study.plan.pairs:
        for method in results.methods():
            found = [
                {**row.result["facts"], "seconds": row.result["seconds"]["fit"]}
                for seed in results.study.plan.seeds
                if (row := results.row(pair, method.name, seed)) is not None
                and row.result is not None
            ]
            if not found:
                continue
            cells = []
            for fact, (_, unit, _) in _FACTS.items():
                summary = summarise([entry[fact] for entry in found if fact in entry])
                digits = 3 if fact == "margin" else 1
                cells.append(
                    "-"
                    if summary.n_seeds == 0
                    else f"{unit * summary.mean:.{digits}f}"
                    + ("" if math.isnan(summary.half_width)
                       else f" ± {unit * summary.half_width:.{digits}f}")
                )  # fmt: skip
            rows.append([_pair_name(results, pair), method.name, *cells])
    yield Heading("About the fits")
    yield Paragraph("; ".join(f"{name}: {text}" for name, _, text in _FACTS.values()) + ".")
    yield Table(["target", "method", *(name for name, _, _ in _FACTS.values())], rows)


def _about(results: Results) -> Iterator[Block]:
    study = results.study
    plan = study.plan
    yield Heading("Data sets")
    rows = []
    for name, data in study.data.items():
        as_source = str(len(study.sources[name][0])) if name in study.sources else "-"
        parts = study.parts.get((name, plan.seeds[0]), {})
        counts = [str(len(parts[key])) if key in parts else "-"
                  for key in ("transductive", "inductive")]  # fmt: skip
        faceless = data.without_aus()
        rows.append([name, as_source, *counts, str(len(faceless)), str(len(data.skipped))])
    yield Table(
        ["data set", "trained on", "adapted to", "held out", "without AU scores", "left out"],
        rows,
    )
    yield Paragraph(
        "Faces without AU scores, in which no face was found, count among those that are scored."
    )
    for name, data in study.data.items():
        if data.names is not None:
            files = [Path(data.names[row]).name for row in data.without_aus()]
            yield from _listed(f"{name}, without AU scores", files)
        yield from _listed(f"{name}, missing or unreadable, left out", data.skipped)
    for source, target in plan.pairs:
        yield from _unknown_classes(results, source, target)
    yield Heading("Methods")
    yield Table(
        ["method", "what it is", "parameters"],
        [
            [
                method.name,
                METHODS[method.method].about if method.method in METHODS else method.method,
                ", ".join(f"{key} = {value}" for key, value in method.parameters.items()),
            ]
            for method in plan.methods
        ],
    )
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    yield Paragraph(f"Written by {found}.")


def _listed(what: str, names: Sequence[str]) -> Iterator[Block]:
    if names:
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        yield Paragraph(f"{what}: {', '.join(names[:20])}{more}.")


def _unknown_classes(results: Results, source: str, target: str) -> Iterator[Block]:
    study = results.study
    truth = study.data[target].truth
    if truth is None:
        return
    known = set(study.sources[source][1].tolist())
    for protocol, part in study.parts[target, study.plan.seeds[0]].items():
        found = truth[part.rows]
        unknown = sorted(set(found.tolist()) - known)
        if unknown:
            n = int(np.isin(found, unknown).sum())
            yield Paragraph(
                f"{n} of {len(found)} {protocol} faces of {target} are of classes that {source} "
                f"lacks ({', '.join(unknown)}): no method can be right on them. Leave them out "
                "with classes = [...] if that is not meant."
            )
