"""The facial action coding system on the head: action units, and what expressions show them.

Intensities run from 0 (absent) to 1 (strongest, FACS level E).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .assets import FloatArray, HeadAssets
from .sculpt import seal_lips

Intensities = dict[int, float]


def _both(unit: str, weight: float) -> dict[str, float]:
    """Left and right of a unit of either naming (``browDown*``, ``eyebrows-*-down``)."""
    if "*" in unit:
        return {unit.replace("*", side): weight for side in ("left", "right")}
    return {f"{unit}{side}": weight for side in ("Left", "Right")}


# Action unit -> shapes of the face at intensity 1. Names in camel case are
# face units or shapes of `sculpt`, hyphenated ones MakeHuman's expression units.
AU_UNITS: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1.15, **_both("eyebrows-*-inner-up", 0.9)},
    2: {**_both("browOuterUp", 1.2), **_both("eyebrows-*-up", 0.35)},
    4: {**_both("browDown", 1.1), **_both("eyebrows-*-down", 0.6), "browGather": 1.0},
    5: _both("eyeWide", 1.25),
    6: {
        **_both("cheekSquint", 0.95),
        **_both("cheekRaise", 1.0),
        **_both("eyeSquint", 0.22),
        **_both("browDown", 0.1),
    },
    7: {**_both("eyeSquint", 0.8), **_both("lidTighten", 0.9), **_both("eyeBlink", 0.1)},
    9: {
        **_both("noseSneer", 1.2),
        **_both("nose-*-elevation", 0.75),
        **_both("alaRaise", 0.8),
        **_both("mouthUpperUp", 0.35),
        **_both("browDown", 0.55),
        **_both("eyeSquint", 0.2),
        "browGather": 0.3,
    },
    10: {**_both("mouthUpperUp", 1.05), **_both("noseSneer", 0.2), **_both("alaRaise", 0.25)},
    12: {**_both("mouthSmile", 1.05), "mouth-corner-puller": 0.3},
    14: {
        **_both("mouthDimple", 0.7),
        **_both("cornerTuck", 1.0),
        **_both("mouthPress", 0.25),
        **_both("mouthFrown", 0.2),
    },
    15: {**_both("mouthFrown", 1.25), **_both("mouthStretch", 0.6)},
    16: _both("mouthLowerDown", 0.85),
    17: {
        "mouthShrugLower": 1.2,
        "mouthShrugUpper": 0.45,
        "chinBoss": 1.2,
        **_both("mouthFrown", 0.15),
    },
    18: {"mouthPucker": 1.0},
    20: {**_both("mouthStretch", 1.2), "mouth-retraction": 0.25},
    22: {"mouthFunnel": 1.0},
    23: {
        "mouthRollLower": 0.75,
        "mouthRollUpper": 0.7,
        "lipsNarrow": 1.0,
        "mouthPucker": 0.2,
        **_both("mouthPress", 0.2),
    },
    24: {
        **_both("mouthPress", 0.9),
        **_both("mouthFrown", 0.25),
        "mouthRollLower": 0.5,
        "mouthRollUpper": 0.4,
        "mouthShrugLower": 0.3,
    },
    25: {**_both("mouthLowerDown", 0.75), **_both("mouthUpperUp", 0.55), "jawOpen": 0.08},
    26: {"jawOpen": 0.55, "mouthClose": 0.5},
    27: {"jawOpen": 1.0},
    43: _both("eyeBlink", 1.0),
}

# Two units together -> what they add, times the product of their intensities.
# A smile with parted lips bares the teeth; in 1+4 the inner brows rise and
# gather instead of sinking; parted lips go along with the jaw.
AU_COMBINATIONS: dict[tuple[int, int], dict[str, float]] = {
    (12, 25): {"mouth-upward-retraction": 0.55, "mouth-part-later": 0.22, "mouthRollUpper": 0.1},
    (1, 4): {
        "browInnerUp": 0.25,
        **_both("eyebrows-*-down", -0.5),
        **_both("browDown", -0.4),
    },
    (9, 10): {**_both("noseSneer", -0.2), **_both("mouthUpperUp", -0.4)},
    (25, 26): {"mouthClose": -0.5},
    (6, 7): {**_both("eyeSquint", -0.15)},
    (7, 43): {**_both("eyeBlink", -0.15), **_both("eyeSquint", -0.5)},
    (6, 43): _both("eyeSquint", -0.15),
    (9, 43): _both("eyeSquint", -0.15),
}
_PARTS_LIPS = 25
PARTING = (16, 22, 27)  # cannot be seen without it
_PARTED_AT = 0.5  # intensity from which on the lips follow what else pulls at them

AU_NUMBERS: tuple[int, ...] = tuple(AU_UNITS)
AU_NAMES: tuple[str, ...] = tuple(f"AU{number:02d}" for number in AU_NUMBERS)


@dataclass(frozen=True)
class Prototype:
    """One of the ways in which an expression shows.

    Parameters
    ----------
    always : dict of int to float
        Action units that are present, with their usual intensity.
    sometimes : dict of int to (float, float)
        Action units that may join: probability and usual intensity.
    share : float
        How often this prototype is drawn, against the others of its expression.
    """

    always: Mapping[int, float]
    sometimes: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    share: float = 1.0


EXPRESSIONS: dict[str, tuple[Prototype, ...]] = {
    "neutral": (Prototype({}),),
    "happiness": (
        Prototype({6: 0.8, 12: 1.0, 25: 0.85}, {26: (0.35, 0.5), 7: (0.15, 0.4)}, share=0.55),
        Prototype({6: 0.7, 12: 1.0}, {14: (0.2, 0.4), 1: (0.1, 0.3), 2: (0.1, 0.3)}, share=0.3),
        Prototype({6: 0.35, 12: 0.85}, {25: (0.3, 0.5)}, share=0.15),
    ),
    "surprise": (
        Prototype({1: 1.0, 2: 1.0, 5: 0.75, 25: 0.9, 26: 0.95}, share=0.55),
        Prototype({1: 1.0, 2: 1.0, 5: 0.85, 25: 1.0, 27: 0.85}, share=0.35),
        Prototype({1: 1.0, 2: 1.0, 5: 0.9}, {25: (0.5, 0.5)}, share=0.1),
    ),
    "sadness": (
        Prototype({1: 1.0, 4: 0.75, 15: 0.95}, {17: (0.5, 0.6), 43: (0.2, 0.35)}, share=0.5),
        Prototype({1: 1.0, 4: 0.6, 15: 0.8, 17: 0.9}, {7: (0.3, 0.4), 43: (0.2, 0.35)}, share=0.4),
        Prototype({1: 0.8, 4: 0.8, 15: 0.7, 25: 0.4}, {20: (0.3, 0.4), 6: (0.3, 0.4)}, share=0.1),
    ),
    "anger": (
        Prototype({4: 1.0, 5: 0.6, 7: 0.7, 23: 1.0}, {17: (0.4, 0.6)}, share=0.35),
        Prototype({4: 1.0, 5: 0.5, 7: 0.8, 24: 1.0}, {17: (0.5, 0.6)}, share=0.3),
        Prototype({4: 1.0, 7: 0.9}, {23: (0.5, 0.6), 17: (0.3, 0.5)}, share=0.1),
        Prototype(
            {4: 1.0, 5: 0.7, 7: 0.7, 10: 0.5, 25: 0.9}, {22: (0.3, 0.5), 9: (0.2, 0.4)}, 0.25
        ),
    ),
    "disgust": (
        Prototype({9: 1.0, 15: 0.7, 16: 0.6, 25: 0.5}, {4: (0.3, 0.5), 7: (0.3, 0.5)}, share=0.35),
        Prototype({9: 1.0, 10: 0.9, 17: 0.7}, {4: (0.35, 0.5), 7: (0.3, 0.5)}, share=0.4),
        Prototype({9: 0.9, 10: 0.9, 25: 0.7}, {26: (0.3, 0.4), 6: (0.3, 0.4)}, share=0.25),
    ),
    "fear": (
        Prototype({1: 1.0, 2: 0.7, 4: 0.6, 5: 1.0, 20: 1.0, 25: 0.6}, {26: (0.6, 0.45)}, 0.6),
        Prototype({1: 1.0, 2: 0.8, 4: 0.7, 5: 1.0, 7: 0.3, 20: 0.9, 25: 0.7, 26: 0.6}, share=0.4),
    ),
}

WEAKEST, STRONGEST = 0.5, 1.0
_STRAY_UNITS = (1, 2, 4, 6, 7, 14, 17, 18, 24)
_STRAY_LIMIT = 0.15


def draw_action_units(expression: str, generator: np.random.Generator) -> Intensities:
    """Draw one showing of an expression.

    Parameters
    ----------
    expression : str
        A key of ``EXPRESSIONS``.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    dict of int to float
        Intensities in [0, 1] of the action units that are present. Two
        further units are present faintly, at 0.15 at most.

    Raises
    ------
    ValueError
        If the expression is unknown.
    """
    if expression not in EXPRESSIONS:
        raise ValueError(f"expression is {expression!r}, expected one of {sorted(EXPRESSIONS)}.")
    prototypes = EXPRESSIONS[expression]
    shares = np.array([prototype.share for prototype in prototypes])
    chosen = prototypes[generator.choice(len(prototypes), p=shares / shares.sum())]
    shown = dict(chosen.always)
    for number, (probability, usual) in chosen.sometimes.items():
        if generator.random() < probability:
            shown[number] = usual
    strength = generator.uniform(WEAKEST, STRONGEST)
    result = {
        number: float(np.clip(strength * usual * generator.uniform(0.8, 1.2), 0, 1))
        for number, usual in shown.items()
    }
    spread = 0.06 if shown else 0.03
    for number in generator.choice(_STRAY_UNITS, size=2, replace=False):
        faint = min(abs(generator.normal(0, spread)), _STRAY_LIMIT)
        result.setdefault(int(number), float(faint))
    return result


def intensity_row(intensities: Mapping[int, float]) -> NDArray[np.float32]:
    """Intensities in the order of ``AU_NAMES``, rounded to 0.001.

    Parameters
    ----------
    intensities : dict of int to float
        Intensities in [0, 1]; absent units count as 0.

    Returns
    -------
    ndarray of shape (n_aus,), dtype float32
    """
    row = [round(intensities.get(number, 0.0), 3) for number in AU_NUMBERS]
    return np.array(row, dtype=np.float32)


def facial_displacement(
    assets: HeadAssets,
    intensities: Mapping[int, float],
    asymmetry: Mapping[int, float] | None = None,
) -> FloatArray:
    """Movement of the face's vertices under action units.

    Parameters
    ----------
    assets : HeadAssets
        The head.
    intensities : dict of int to float
        Intensities in [0, 1].
    asymmetry : dict of int to float, optional
        For an action unit, how much more the left side moves than the mean of
        both, as a share of the intensity.

    Returns
    -------
    ndarray of shape (n_vertices, 3)
        Displacement in decimetres on the base head. The lips stay together
        unless AU25, or AU16, AU22 or AU27, which go with it, parts them.

    Raises
    ------
    ValueError
        If an action unit is not in ``AU_UNITS``.
    """
    unknown = sorted(set(intensities) - set(AU_UNITS))
    if unknown:
        raise ValueError(f"The rig has no action units {unknown}; it has {list(AU_UNITS)}.")
    asymmetry = asymmetry or {}
    weights: dict[str, float] = {}
    parting: dict[str, float] = {}
    for number, intensity in intensities.items():
        lean = asymmetry.get(number, 0.0)
        gathered = parting if number == _PARTS_LIPS else weights
        for unit, weight in AU_UNITS[number].items():
            gathered[unit] = gathered.get(unit, 0.0) + intensity * weight * _side(unit, lean)
    for (first, second), units in AU_COMBINATIONS.items():
        product = intensities.get(first, 0.0) * intensities.get(second, 0.0)
        lean = (asymmetry.get(first, 0.0) + asymmetry.get(second, 0.0)) / 2
        for unit, weight in units.items():
            weights[unit] = weights.get(unit, 0.0) + product * weight * _side(unit, lean)
    result = _weighted_sum(assets, weights)
    parted = max(intensities.get(number, 0.0) for number in (_PARTS_LIPS, *PARTING))
    if assets.points is not None and parted < _PARTED_AT:
        sealed = 1 - parted / _PARTED_AT
        result = seal_lips(assets.points.lips, assets.vertices, result, sealed)
    return result + _weighted_sum(assets, parting)


def _weighted_sum(assets: HeadAssets, weights: Mapping[str, float]) -> FloatArray:
    result = np.zeros_like(assets.vertices)
    for unit, weight in weights.items():
        if weight:
            result += weight * assets.units[unit]
    return result


def _side(unit: str, lean: float) -> float:
    if unit.endswith("Left") or "-left-" in unit:
        return 1 + lean
    if unit.endswith("Right") or "-right-" in unit:
        return 1 - lean
    return 1.0
