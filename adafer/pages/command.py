"""The commands ``adafer report`` and ``adafer serve``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]

_ModelArgument = Annotated[Path, typer.Argument(help="Folder that `adafer fit` wrote.")]
_DeviceOption = Annotated[str, typer.Option(help='"auto", "cpu", "cuda", "cuda:1" or "mps".')]


class OnError(str, Enum):
    """Values of ``--on-error``."""

    fail = "raise"
    skip = "skip"


def report(
    model: _ModelArgument,
    faces: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Pictures to show and, in folders named like classes, to score the model on.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Page to write.")] = Path("report.html"),
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Put small faces into the page.")
    ] = True,
    on_error: Annotated[
        OnError, typer.Option(help="Stop at pictures that cannot be read, or leave them out.")
    ] = OnError.fail,
    device: _DeviceOption = "auto",
    jobs: Annotated[int | None, typer.Option(help="Threads that score AUs; -1: all cores.")] = None,
) -> None:
    """Write what is known of a model as one HTML file."""
    from .._files import check_output_file
    from ..persistence import load_model
    from .report import write_report

    check_output_file(output)
    classifier = load_model(model)
    if "device" in classifier.get_params(deep=False):
        classifier.set_params(device=device)
    write_report(
        classifier,
        output,
        faces=faces,
        pictures=pictures,
        title=model.resolve().name,
        on_error=on_error.value,
        n_jobs=jobs,
    )
    typer.echo(f"wrote {output}")
