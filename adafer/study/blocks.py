"""What reports are made of, written as Markdown or as one HTML page."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "Heading", "Paragraph", "Picture", "Table", "to_html", "to_markdown"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2430; max-width: 76rem; margin: 2rem auto;
  padding: 0 1.2rem; }
h1, h2, h3 { line-height: 1.25; margin: 2rem 0 .6rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #d9dde3;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; }
figure { margin: 1.4rem 0; }
figcaption { color: #6b7480; }
"""


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is that of the report."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture as PNG, and the name of its file."""

    name: str
    title: str
    png: bytes


Block = Heading | Paragraph | Table | Picture


def to_markdown(blocks: Sequence[Block]) -> str:
    r"""Write blocks as Markdown; pictures are linked by their names.

    Parameters
    ----------
    blocks : sequence of Heading, Paragraph, Table or Picture

    Returns
    -------
    text : str
        Names in it cannot become markup.

    Examples
    --------
    >>> from adafer.study.blocks import Heading, Table, to_markdown
    >>> print(to_markdown([Heading("Accuracy"), Table(["method"], [["a|b"]])]))
    ## Accuracy
    <BLANKLINE>
    | method |
    | --- |
    | a\|b |
    <BLANKLINE>
    """
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return "#" * block.level + " " + _plain(block.text)
    if isinstance(block, Paragraph):
        return _plain(block.text)
    if isinstance(block, Picture):
        return f"![{_plain(block.title)}](<{block.name}>)"
    lines = [block.header, ["---"] * len(block.header), *block.rows]
    return "\n".join(
        "| " + " | ".join(cell if line is lines[1] else _plain(cell) for cell in line) + " |"
        for line in lines
    )


def _plain(text: str) -> str:
    escaped = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\|\[\]`*])", r"\\\1", escaped)


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Write blocks as one page that needs no other file.

    Parameters
    ----------
    title : str
    blocks : sequence of Heading, Paragraph, Table or Picture

    Returns
    -------
    page : str
        Names in it are escaped, and there are no scripts.
    """
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Picture):
        title, data = html.escape(block.title), base64.b64encode(block.png).decode()
        return (
            f'<figure><img src="data:image/png;base64,{data}" alt="{title}">'
            f"<figcaption>{title}</figcaption></figure>"
        )
    header = "".join(f"<th>{html.escape(cell)}</th>" for cell in block.header)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in block.rows
    )
    return f"<div><table>\n<tr>{header}</tr>\n{rows}\n</table></div>"
