"""Sheets of faces: each action unit alone on one head, and people of each domain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from .assets import HeadAssets
from .circumstances import Pose
from .domains import DOMAINS, STUDIO
from .identity import draw_identity
from .rig import AU_NAMES, AU_NUMBERS, EXPRESSIONS, draw_action_units
from .scene import render_face

_COLUMNS = 8
_CAPTION = 14
_ROWS_OF_PEOPLE, _PEOPLE_PER_ROW = 3, 2


def draw_gallery(assets: HeadAssets, *, size: int = 128, seed: int = 0) -> Image.Image:
    """Draw a neutral face, each action unit at full intensity, and each expression.

    Parameters
    ----------
    assets : HeadAssets
        The head.
    size : int, default=128
        Width and height of a face in pixels.
    seed : int, default=0
        Seed of the person.

    Returns
    -------
    PIL.Image.Image
        The sheet, with captions.
    """
    generator = np.random.default_rng([seed, 9])
    person = replace(
        draw_identity(assets, generator),
        displacement=_average_displacement(assets),
        years=30.0,
        hair_style="short",
        beard=0.0,
        brow_thickness=1.1,
        hairline=0.0,
    )
    cells: list[tuple[str, dict[int, float]]] = [("neutral", {})]
    cells += [(name, {number: 1.0}) for name, number in zip(AU_NAMES, AU_NUMBERS, strict=True)]
    for expression, prototypes in EXPRESSIONS.items():
        cells += [(expression, dict(prototype.always)) for prototype in prototypes[1:]]
        if prototypes[0].always:
            cells.append((expression, dict(prototypes[0].always)))
    rows = -(-len(cells) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * size, rows * (size + _CAPTION)), "white")
    captions = ImageDraw.Draw(sheet)
    frontal = Pose(0.0, 0.0, 0.0, (0.0, 0.0))
    for number, (caption, intensities) in enumerate(cells):
        face = render_face(
            assets, person, intensities, STUDIO, np.random.default_rng(seed), size=size,
            supersampling=3, pose=frontal,
        )  # fmt: skip
        left, top = number % _COLUMNS * size, number // _COLUMNS * (size + _CAPTION)
        captions.text((left + 3, top), caption, fill="black")
        sheet.paste(Image.fromarray(face.image), (left, top + _CAPTION))
    return sheet


def draw_domains(assets: HeadAssets, *, size: int = 80, seed: int = 0) -> Image.Image:
    """Draw people of each domain, each with all expressions.

    Parameters
    ----------
    assets : HeadAssets
        The head.
    size : int, default=80
        Width and height of a face in pixels.
    seed : int, default=0
        Seed of the people.

    Returns
    -------
    PIL.Image.Image
        The sheet, with captions.
    """
    n_columns = _PEOPLE_PER_ROW * len(EXPRESSIONS)
    tall = _CAPTION + _ROWS_OF_PEOPLE * size
    sheet = Image.new("RGB", (n_columns * size, len(DOMAINS) * tall), "white")
    captions = ImageDraw.Draw(sheet)
    for block, domain in enumerate(DOMAINS.values()):
        captions.text((3, block * tall), domain.name, fill="black")
        for person in range(_ROWS_OF_PEOPLE * _PEOPLE_PER_ROW):
            row, place = divmod(person, _PEOPLE_PER_ROW)
            generator = np.random.default_rng([seed, domain.code, person, 7])
            identity = draw_identity(assets, generator, domain.people)
            for column, expression in enumerate(EXPRESSIONS):
                shown = draw_action_units(expression, generator)
                face = render_face(assets, identity, shown, domain, generator, size=size)
                left = (place * len(EXPRESSIONS) + column) * size
                top = block * tall + _CAPTION + row * size
                sheet.paste(Image.fromarray(face.image), (left, top))
    return sheet


def _average_displacement(assets: HeadAssets) -> np.ndarray:
    parts = [
        assets.macro[f"{kind}-{sex}-young{figure}"]
        for kind, figure in (("caucasian", ""), ("universal", "-averagemuscle-averageweight"))
        for sex in ("female", "male")
    ]
    return np.sum(parts, axis=0) / 2
