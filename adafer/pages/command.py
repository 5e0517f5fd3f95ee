"""The commands ``adafer report`` and ``adafer serve``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .server import PageServer

__all__ = ["report", "serve"]

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


def serve(
    model: _ModelArgument,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; others than this machine's own need a token."),
    ] = "127.0.0.1",
    token: Annotated[
        bool, typer.Option("--token", help="Ask for a token on this machine's own address, too.")
    ] = False,
    align: Annotated[
        bool,
        typer.Option("--align/--no-align", help="Find and align the faces of photographs."),
    ] = True,
    margin: Annotated[
        float, typer.Option(help="Border of aligned faces, as FaceAligner had in training.")
    ] = 0.0,
    max_megabytes: Annotated[float, typer.Option(help="Of one file.")] = 15.0,
    max_megapixels: Annotated[float, typer.Option(help="Of one picture.")] = 25.0,
    device: _DeviceOption = "auto",
) -> None:
    """Open a page on this machine that tells AUs and expressions of dropped pictures.

    Pictures are looked at in memory and never written to disk. Ctrl-C ends it.
    """
    import secrets

    from ..persistence import load_model
    from .analysis import PictureAnalyst, installed_aligner
    from .server import Limits, PageServer

    if not (max_megabytes > 0 and max_megapixels > 0):
        raise ValueError(
            f"--max-megabytes and --max-megapixels must be above 0; got {max_megabytes:g} and "
            f"{max_megapixels:g}."
        )
    classifier = load_model(model)
    if "device" in classifier.get_params(deep=False):
        classifier.set_params(device=device)
    typer.echo("loading the networks ...", err=True)
    aligner = installed_aligner(margin) if align else None
    analyst = PictureAnalyst(classifier, aligner)
    limits = Limits(
        max_bytes=int(max_megabytes * 2**20), max_pixels=int(max_megapixels * 1_000_000)
    )
    server = PageServer(
        analyst,
        host=host,
        port=port,
        token=secrets.token_urlsafe(24) if token else None,
        title=model.resolve().name,
        limits=limits,
    )
    run_until_stopped(server)


def run_until_stopped(server: PageServer) -> None:
    """Serve until Ctrl-C or SIGTERM, and end without a traceback."""
    import signal

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        typer.echo(f"open {server.url} (Ctrl-C ends)")
        if not server.is_local:
            typer.echo(
                "adafer: warning: other machines can reach this page, and what they send is not "
                "encrypted. An SSH tunnel to 127.0.0.1 is safer.",
                err=True,
            )
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
    finally:
        signal.signal(signal.SIGTERM, before)
        server.close_gently()
