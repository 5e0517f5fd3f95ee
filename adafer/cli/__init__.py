"""The command ``adafer``; what is slow to import is imported inside the commands.

Each group of commands has a module of its own; a new command is added to the
list below, in the order in which ``adafer --help`` shows them.
"""

from ..pages.command import report, serve
from ..study.command import compare, study
from .files import download_weights, export, info
from .fitting import demo, fit
from .group import app, main
from .pictures import aus, predict
from .rendering import render

__all__ = ["app", "main"]

app.command()(demo)
app.command()(fit)
app.command()(predict)
app.command()(aus)
app.command()(export)
app.command()(study)
app.command()(compare)
app.command()(report)
app.command()(serve)
app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)(render)
app.command("download-weights")(download_weights)
app.command()(info)
