"""CSV files of AU tables, one or a folder of them, read whole or refused."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["read_tables"]


def read_tables(path: str | PathLike[str]) -> DataFrame:
    """Read a CSV file, or all of a folder, whose names become the index."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "Reading AU tables needs pandas, which is not installed. Run: pip install "
            '"adafer[tables]"'
        ) from error
    place = Path(path)
    if not place.is_dir():
        if not place.exists():
            raise FileNotFoundError(
                f"The AU table {str(path)!r} does not exist; relative paths start at "
                f"{os.getcwd()!r}."
            )
        return _read_csv(place)
    files = sorted(file for file in place.glob("*.csv") if not file.name.startswith("."))
    if not files:
        raise ValueError(f"The folder {str(path)!r} holds no AU tables: expected files *.csv.")
    frames = {file.stem: _read_csv(file, empty=True) for file in files}
    # A picture without a face has an empty file: it becomes a row of NaN.
    rows = [frame if len(frame) else pandas.DataFrame(index=[0]) for frame in frames.values()]
    table = pandas.concat(rows, ignore_index=True)
    table.index = [name for name, some in zip(frames, rows, strict=True) for _ in range(len(some))]
    return table


def _read_csv(file: Path, *, empty: bool = False) -> DataFrame:
    import pandas

    try:
        _check_form(file)
        frame = pandas.read_csv(file, skipinitialspace=True, index_col=False)
    except pandas.errors.EmptyDataError:
        frame = pandas.DataFrame()
    except (ValueError, OverflowError, csv.Error) as error:
        raise ValueError(
            f"{str(file)!r} is no AU table: {str(error).strip()}. Expected a CSV file."
        ) from error
    if not len(frame) and not empty:
        raise ValueError(f"The AU table {str(file)!r} is empty: expected at least one row.")
    frame.columns = frame.columns.astype(str).str.strip()
    return frame


def _whole_lines(stream: Iterable[str]) -> Iterator[str]:
    """Pass lines on, none of which ends in a lone carriage return: pandas loses a cell there."""
    for number, line in enumerate(stream, start=1):
        if line.endswith("\r"):
            raise ValueError(
                f"line {number} ends in a carriage return without a line feed; save the table "
                "with the line ends of Unix or Windows"
            )
        yield line


def _check_form(file: Path) -> None:
    """Refuse what pandas would mend in silence: columns of one name, rows of other lengths."""
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.reader(_whole_lines(stream), skipinitialspace=True, strict=True)
        header = [name.strip() for name in next(rows, [])]
        twice = [name for name, n in Counter(header).items() if n > 1 and name]
        if twice:
            raise ValueError(f"it has two columns {twice[0]!r}, of which one must go")
        for row in rows:
            if row and len(row) != len(header):
                raise ValueError(
                    f"line {rows.line_num} has {len(row)} cells under {len(header)} columns; it "
                    "may be cut short"
                )
