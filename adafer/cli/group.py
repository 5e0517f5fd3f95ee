"""The command itself: its options, and how errors and interrupts are told."""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from .._interrupt import EXIT_CODE, was_interrupted
from .._output import finish, reset, tell, wants_json
from .._ranks import this_rank

__all__ = ["app", "main"]

# what several processes that torchrun started do together
_TOGETHER = ("fit",)
_USER_ERRORS = (ValueError, OSError, ImportError, ArithmeticError)


class _Commands(TyperGroup):
    """Tells what the library refuses in one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        reset()
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                raise _interrupted() from None
            except BrokenPipeError:
                raise
            except _USER_ERRORS as error:
                if was_interrupted():
                    raise _interrupted() from None
                if ctx.params.get("debug"):
                    traceback.print_exc(file=sys.stderr)
                text = " ".join(str(error).split()) or type(error).__name__
                rank = this_rank()
                who = "" if rank.count == 1 else f" (process {rank.index + 1} of {rank.count})"
                typer.echo(f"adafer: error{who}: {text}", err=True)
                if wants_json():
                    command = str(ctx.invoked_subcommand)
                    finish(command, error={"type": type(error).__name__, "message": text})
                raise typer.Exit(2) from None


def _interrupted() -> typer.Exit:
    typer.echo("adafer: interrupted", err=True)
    return typer.Exit(EXIT_CODE)


def show_warning(message: Any, *_: Any, **__: Any) -> None:
    """Print a warning in one line, in the place of `warnings.showwarning`."""
    tell(f"adafer: warning: {' '.join(str(message).split())}")


app = typer.Typer(
    cls=_Commands,
    name="adafer",
    help="Expression recognition that adapts to your own unlabelled faces by action units.",
    epilog="Exit codes: 0 done; 1 some cells of a study failed; 2 wrong options or input, nothing "
    "was written; 130 interrupted by Ctrl-C.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command with the arguments of the process."""
    app(prog_name="adafer")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adafer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    max_pixels: Annotated[
        int | None,
        typer.Option(help="Refuse pictures of more pixels than this; 89 million unless given."),
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(help="Refuse picture files of more bytes than this.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Give up a picture that takes longer to decode.")
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options before the command."""
    limits = {"max_pixels": max_pixels, "max_bytes": max_bytes, "max_seconds": max_seconds}
    _limit_pictures(context, {name: n for name, n in limits.items() if n is not None})
    rank, command = this_rank(), context.invoked_subcommand
    if rank.count > 1 and command not in _TOGETHER:
        raise ValueError(
            f"torchrun started {rank.count} processes, but `adafer {command}` works in one. Start "
            "it without torchrun; only `adafer fit` is split."
        )


def _limit_pictures(context: typer.Context, limits: dict[str, Any]) -> None:
    """Let limits of picture files hold until the command ends."""
    if not limits:
        return
    from PIL import Image

    from ..picture_limits import picture_limits

    context.with_resource(picture_limits(**limits))
    pillows = Image.MAX_IMAGE_PIXELS
    if pillows is not None and limits.get("max_pixels", 0) > pillows:
        # Pillow has a limit of its own, which the user of this process has just raised
        Image.MAX_IMAGE_PIXELS = limits["max_pixels"]
        context.call_on_close(lambda: setattr(Image, "MAX_IMAGE_PIXELS", pillows))
