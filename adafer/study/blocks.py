"""What reports are made of, written as Markdown or as one HTML page."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Block",
    "Drawing",
    "Heading",
    "Paragraph",
    "Picture",
    "Table",
    "to_html",
    "to_markdown",
]

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --quiet: #596270; --line: #d9dde3;
  --paper: #fff; --bar: #2f6fb2; --grey: #9aa3b0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --quiet: #a3adba; --line: #3a4250;
  --paper: #14181f; --bar: #6fa8e0; --grey: #727c8a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 76rem; margin: 2rem auto; padding: 0 1.2rem; }
h1, h2, h3 { line-height: 1.25; margin: 2rem 0 .6rem; overflow-wrap: anywhere; }
p { max-width: 50rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.words :is(th, td) { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.words :is(th, td):first-child { white-space: nowrap; }
figure { margin: 1.4rem 0; }
img { display: block; max-width: max(100%, 44rem); height: auto; background: #fff;
  border-radius: 6px; }
figcaption { color: var(--quiet); max-width: 50rem; margin-top: .5rem; }
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
    """A table of texts, numbers most often; `words` may be long and break into lines."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture as PNG, and the name of its file."""

    name: str
    title: str
    png: bytes

    @classmethod
    def of(cls, figure: Any, title: str, *, name: str = "") -> Picture:
        """Take a figure of matplotlib."""
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=110)
        return cls(name, title, stream.getvalue())


@dataclass(frozen=True)
class Drawing:
    """Markup of a picture, most often SVG; names in it are escaped already."""

    title: str
    markup: str


Block = Heading | Paragraph | Table | Picture | Drawing


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
    kept = [block for block in blocks if not isinstance(block, Drawing)]
    return "\n\n".join(_markdown(block) for block in kept) + "\n"


def _markdown(block: Heading | Paragraph | Table | Picture) -> str:
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


def to_html(title: str, blocks: Sequence[Block], *, style: str = "", script: str = "") -> str:
    """Write blocks as one page that needs no other file.

    Parameters
    ----------
    title : str
    blocks : sequence of Heading, Paragraph, Table, Picture or Drawing
    style : str, default=""
        More rules for drawings.
    script : str, default=""
        The only script that the page lets run.

    Returns
    -------
    page : str
        Names in it are escaped. Its policy forbids the browser to fetch anything.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    runs = f" script-src 'sha256-{digest}';" if script else ""
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline';{runs}"
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Picture):
        title, data = html.escape(block.title), base64.b64encode(block.png).decode()
        return (
            f'<figure><div class="wide" tabindex="0"><img src="data:image/png;base64,{data}" '
            f'alt="{title}"></div><figcaption>{title}</figcaption></figure>'
        )
    if isinstance(block, Drawing):
        title = html.escape(block.title)
        return f"<figure>{block.markup}<figcaption>{title}</figcaption></figure>"
    header = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in block.header)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in block.rows
    )
    kind = "wide words" if block.words else "wide"
    # can be scrolled by keys
    return f'<div class="{kind}" tabindex="0"><table>\n<tr>{header}</tr>\n{rows}\n</table></div>'
