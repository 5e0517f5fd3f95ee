"""The commands ``adafer study`` and ``adafer compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._output import Json, finish, say, tell

if TYPE_CHECKING:
    from .plan import StudyPlan

__all__ = ["compare", "study"]

_JobsOption = Annotated[
    int, typer.Option(help="Cells that run side by side; -1: as many as cores.")
]
_ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help='Run cells on a cluster: the address of a dask scheduler, or "ray".',
    ),
]
_ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads of torch in each cell.")]


def study(
    plans: Annotated[
        list[Path], typer.Argument(metavar="PLAN.toml...", help="Plans; they share cells.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for reports and cells.")],
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="Where a data set of the plans is; repeat it."),
    ] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Run reduced, on the embedded faces.")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of seeds, instead of the plans'.")
    ] = None,
    jobs: _JobsOption = 1,
    threads: _ThreadsOption = 1,
    cluster: _ClusterOption = None,
    device: Annotated[
        str | None, typer.Option(help='"cpu", "cuda", ..., instead of the plans\'.')
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare methods as plans say; goes on where it stopped.

    Writes tables as Markdown, CSV and HTML. What is in the output folder is not
    computed again.
    """
    from .reading import read_plan

    _run(
        "study",
        [
            read_plan(
                path,
                paths=_assignments(data or []),
                embedded=embedded,
                seeds=None if seeds is None else range(seeds),
                base=None if device is None else {"device": device},
            )
            for path in plans
        ],
        output,
        jobs,
        threads,
        cluster,
    )


def compare(
    source: Annotated[Path, typer.Option(help="Labelled faces: a folder per class.")],
    target: Annotated[Path, typer.Option(help="Faces to adapt to.")],
    output: Annotated[Path, typer.Option(help="Folder for reports and cells.")],
    target_labels: Annotated[
        bool,
        typer.Option(
            "--target-labels", help="The target has a folder per class, used for scores only."
        ),
    ] = False,
    methods: Annotated[
        str, typer.Option(help="Methods with commas.")
    ] = "source_only,au_query_near,pseudo_hard,adafer",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    backbone: Annotated[str, typer.Option(help='A torchvision network or "convnet".')] = "resnet18",
    weights: Annotated[
        str | None, typer.Option(help='"imagenet" or a file; else networks start at random.')
    ] = None,
    image_size: Annotated[int, typer.Option(help="Pixels that networks see.")] = 64,
    epochs: Annotated[int, typer.Option(min=0, help="Epochs of adapting.")] = 10,
    source_epochs: Annotated[
        int | None, typer.Option(min=0, help="Epochs on the source alone; as --epochs.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Pictures per step.")] = 64,
    held_out: Annotated[
        float, typer.Option(help="Share of a labelled target that is held out.")
    ] = 0.5,
    matching: Annotated[str, typer.Option(help='"exact", "hamming" or "near".')] = "near",
    jobs: _JobsOption = 1,
    threads: _ThreadsOption = 1,
    cluster: _ClusterOption = None,
    device: Annotated[str, typer.Option(help='"auto", "cpu", "cuda", ...')] = "auto",
    as_json: Json = False,
) -> None:
    """Compare methods on folders of your own.

    Without --target-labels no labels of the target are known: the report shows
    which labels each method gives, and where methods agree.
    """
    from .reading import make_plan

    base: dict[str, Any] = {
        "backbone": backbone,
        "image_size": image_size,
        "epochs": epochs,
        "source_epochs": source_epochs,
        "batch_size": batch_size,
        "device": device,
        "annotator__matching": matching,
        "weights": weights,
    }
    chosen = [name.strip() for name in methods.split(",") if name.strip()]
    table: dict[str, Any] = {
        "title": f"{source.name} to {target.name}",
        "pairs": [["source", "target"]],
        "methods": chosen,
        "seeds": seeds,
        "protocols": ["transductive", "inductive"] if target_labels else ["transductive"],
        "data": {
            "source": {"reader": "folder", "path": str(source.resolve())},
            "target": {
                "reader": "folder" if target_labels else "flat",
                "path": str(target.resolve()),
            },
        },
    }
    if target_labels:
        table["held_out"] = held_out
    plans = [make_plan(table, name="compare", base=base)]
    _run("compare", plans, output, jobs, threads, cluster)


def _assignments(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise ValueError(f"--data is {text!r}; expected NAME=PATH, such as RAFDB=/data/rafdb.")
        found[name] = path
    return found


def _run(
    command: str,
    plans: list[StudyPlan],
    output: Path,
    jobs: int,
    threads: int,
    cluster: str | None,
) -> None:
    from .cluster import on_cluster
    from .report import write_reports
    from .run import run_studies

    names = [plan.name for plan in plans]
    if len(set(names)) < len(names):
        raise ValueError(
            f"Two plans have the same file name, {names}; their reports would overwrite each "
            "other. Rename one of them."
        )
    try:
        with on_cluster(cluster):
            jobs = jobs if cluster is None else -1
            studies = run_studies(plans, output, jobs=jobs, threads=threads, report=tell)
    except KeyboardInterrupt:
        tell(f"finished cells are kept in {output}; the same command goes on from there")
        raise
    pages = write_reports(studies, output, tell=tell)
    for page in pages:
        say(f"wrote {page}")
    failures = [
        (f"{row.source} to {row.target}, {row.method}, seed {row.seed}", row.failure)
        for found in studies
        for row in found.failures
    ]
    failed = [
        {"cell": cell, "error": failure.error} for cell, failure in failures if failure is not None
    ]
    for row in failed:
        tell(f"FAILED {row['cell']}: {row['error']}")
    finish(command, output=output, pages=pages, failed=failed)
    if failed:
        tell(f"{len(failed)} cells failed; tracebacks are in {output / 'errors'}")
        raise typer.Exit(1)
