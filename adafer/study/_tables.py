"""Entries of a plan's tables, judged: every error says which one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["check_keys", "check_table", "names_of", "text_of"]


def check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that are not known; `where` is how errors call the table."""
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            mend = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{where} has the key {key!r}; expected some of {sorted(known)}.{mend}"
            )


def check_table(value: Any, where: str) -> None:
    """Refuse what is no table."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {value!r}; expected a table.")


def text_of(table: Mapping[str, Any], key: str, default: str) -> str:
    """Give the text under a key."""
    value = table.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}; expected a text.")
    return value


def names_of(value: Any, where: str) -> tuple[str, ...]:
    """Give a list of different texts; one alone is a list, too."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{where} is {value!r}; expected a list of texts.")
    if len(set(value)) < len(value):
        raise ValueError(f"{where} names something twice: {value}. Leave one of them out.")
    return tuple(value)
