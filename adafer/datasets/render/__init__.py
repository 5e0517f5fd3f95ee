"""Render human faces whose facial action units are known exactly.

The faces of :func:`adafer.datasets.load_facs_faces` come from here: heads of
the MakeHuman project (CC0), posed by a table from action units to facial
shapes, and drawn by a small rasteriser. Needs the extra ``render``
(``pip install "adafer[render]"``).

From the command line: ``adafer render --help``.
"""

try:
    import numba  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"adafer.datasets.render needs numba, but {error.name} cannot be imported. "
        'Install it with: pip install "adafer[render]"'
    ) from error

from .assets import HeadAssets, load_assets
from .combinations import draw_combination
from .command import main
from .domains import DOMAINS, Domain
from .gallery import draw_domains, draw_gallery
from .identity import Identity, draw_identity
from .make import make_domain
from .rig import AU_NAMES, EXPRESSIONS, draw_action_units
from .scene import RenderedFace, render_face

__all__ = [
    "AU_NAMES",
    "DOMAINS",
    "EXPRESSIONS",
    "Domain",
    "HeadAssets",
    "Identity",
    "RenderedFace",
    "draw_action_units",
    "draw_combination",
    "draw_domains",
    "draw_gallery",
    "draw_identity",
    "load_assets",
    "main",
    "make_domain",
    "render_face",
]
