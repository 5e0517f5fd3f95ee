"""Results of the commands in this folder: each keeps a section of RESULTS.md of its own."""

from __future__ import annotations

import datetime
import fcntl
import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def machine() -> str:
    """Say on what a figure was found."""
    names = ("adafer", "numpy", "scikit-learn", "torch", "pillow", "safetensors")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return (
        f"{datetime.date.today()}; {platform.system()} {platform.machine()}, {os.cpu_count()} "
        f"cores; Python {platform.python_version()}, {versions}"
    )


def report(title: str, rows: Mapping[str, object], *, seed: int | None, record: bool) -> None:
    """Print what a command found and, if asked to, put it into RESULTS.md.

    Parameters
    ----------
    title : str
        Heading of the section; the one of this name is replaced, a new one goes last.
    rows : mapping
        What was counted or measured, and the value.
    seed : int or None
    record : bool
    """
    command = " ".join(["python", _script(), *(a for a in sys.argv[1:] if a != "--record")])
    seeded = "" if seed is None else f" Seed {seed}."
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    head = f"## {title}\n\n`{command}`\n\n{machine()}.{seeded}"
    text = f"{head}\n\n| what | found |\n| --- | --- |\n{table}\n"
    print(text, flush=True)
    if record:
        _replace(title, text)


def _script() -> str:
    path = Path(sys.argv[0]).resolve()
    root = Path(__file__).resolve().parents[2]
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


def _replace(title: str, text: str) -> None:
    """Put a section in the place of the one with its heading."""
    with RESULTS.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        content = file.read()
        section = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
        if section.search(content):
            content = section.sub(lambda _: text + "\n", content)
        else:
            content = content.rstrip("\n") + "\n\n" + text
        file.seek(0)
        file.truncate()
        file.write(content.rstrip("\n") + "\n")
