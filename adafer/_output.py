"""What commands print: text for people, or one line of JSON for programs.

Of several processes that torchrun started only the first one prints.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from ._ranks import is_writer

__all__ = ["Json", "finish", "reset", "say", "tell", "wants_json"]


class _Output:
    as_json = False


def _choose(wanted: bool) -> bool:
    _Output.as_json = _Output.as_json or wanted
    return wanted


Json = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_choose,
        is_eager=True,
        help="Print one line of JSON; all text goes to the standard error.",
    ),
]


def reset() -> None:
    """Begin a command: text for people until an option says otherwise."""
    _Output.as_json = False


def wants_json() -> bool:
    """Tell whether the running command was called with ``--json``."""
    return _Output.as_json


def say(text: str) -> None:
    """Print a result for people; to the standard error if programs read the output."""
    if is_writer():
        typer.echo(_printable(text), err=_Output.as_json)


def tell(text: str) -> None:
    """Print what goes on meanwhile, to the standard error."""
    if is_writer():
        typer.echo(_printable(text), err=True)


def finish(command: str, **fields: Any) -> None:
    """Print the result for programs, if they asked for it: one line of JSON.

    Parameters
    ----------
    command : str
        Its name, the first entry.
    **fields : object
        What JSON can hold, and paths.
    """
    if _Output.as_json and is_writer():
        text = json.dumps({"command": command, **fields}, default=str, ensure_ascii=False)
        # halves of characters, which stand for bytes that are no UTF-8, in JSON's own way
        typer.echo(re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text))


def _printable(text: str) -> str:
    """Replace what stands for bytes that are no UTF-8, in names of files, by escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
