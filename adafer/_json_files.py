"""JSON from strangers: read whole, of bounded size and depth, with a seal against damage."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from .picture_files import read_file

__all__ = ["SEAL", "check_seal", "parse_json", "read_json", "seal"]

# entry that holds the SHA-256 of all others
SEAL = "description_sha256"
# a model with ten thousand epochs and classes has some megabytes
_MAX_BYTES = 64 * 2**20
_MAX_DEPTH = 32
# digits of 64 bits and a sign
_MAX_DIGITS = 20


def read_json(
    path: str | os.PathLike[str], *, max_bytes: int = _MAX_BYTES, allow_nan: bool = False
) -> Any:
    """Read a JSON file that may be hostile.

    Parameters
    ----------
    path : path
        Must be a regular file.
    max_bytes : int, default=64 MiB
    allow_nan : bool, default=False
        Take Python's NaN and Infinity, which are no JSON.

    Returns
    -------
    value : object
        What JSON holds, with finite numbers, integers of at most 64 bits or so, at
        most 32 levels and no name twice in one object.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it holds anything else, or is larger.
    """
    try:
        text = read_file(path, max_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: {error}") from error
    return parse_json(text, allow_nan=allow_nan)


def parse_json(text: str, *, allow_nan: bool = False) -> Any:
    """Read JSON text as `read_json` reads files.

    Parameters
    ----------
    text : str
    allow_nan : bool, default=False

    Returns
    -------
    value : object

    Raises
    ------
    ValueError
        As `read_json`.

    Examples
    --------
    >>> from adafer._json_files import parse_json
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
        ...
    ValueError: 'a' is there twice
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=None if allow_nan else _refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for entry in level
            if isinstance(entry, (dict, list))
            for item in (entry.values() if isinstance(entry, dict) else entry)
        ]
        if not level:
            return value
    raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} is there twice")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"the number {text[:40]}... has {len(text)} digits")
    return int(text)


def seal(description: Mapping[str, Any]) -> str:
    """SHA-256 of all entries but the seal itself.

    Parameters
    ----------
    description : dict
        What JSON can hold.

    Returns
    -------
    digest : str
        Does not depend on the order of entries or on blanks in the file.
    """
    entries = {name: value for name, value in description.items() if name != SEAL}
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def check_seal(description: Mapping[str, Any], path: object, advice: str) -> None:
    """Make sure that nothing was changed since a description was saved.

    Files of earlier versions have no seal and pass.

    Parameters
    ----------
    description : dict
    path : path
        How errors call it.
    advice : str
        How to get a good one.

    Raises
    ------
    ValueError
        If an entry is not the one that was saved.
    """
    if SEAL in description and description[SEAL] != seal(description):
        raise ValueError(
            f"{path} is damaged or was changed since it was saved: the SHA-256 of its entries is "
            f"not its {SEAL!r}. {advice} If you changed it on purpose, delete the entry {SEAL!r}."
        )
