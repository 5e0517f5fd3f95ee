"""The command ``adafer render``, whose options are those of the renderer."""

from __future__ import annotations

import typer

__all__ = ["render"]


def render(context: typer.Context) -> None:
    """Render faces with known action units."""
    from ..datasets.render.command import main as render_main

    raise typer.Exit(render_main(context.args))
