"""Who is drawn: the shape of a head, its skin, hair and eyes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .assets import FloatArray, HeadAssets
from .sculpt import seal_lips

ETHNICITIES = ("african", "asian", "caucasian")
HAIR_STYLES = ("bald", "buzz", "short", "long")
CHILD_YEARS, YOUNG_YEARS, OLD_YEARS = 10.0, 25.0, 90.0

# Standard deviation and limit of the local shape axes, by region.
_AXIS_SPREAD = {
    "head": 0.16, "eyes": 0.13, "nose": 0.20, "mouth": 0.16, "chin": 0.17, "cheek": 0.20,
    "forehead": 0.18, "eyebrows": 0.10, "ears": 0.18, "neck": 0.12,
}  # fmt: skip
_AXIS_LIMIT = 0.5

# How heads look at rest, and how much of their own difference from it they keep.
_USUAL_APERTURE, _USUAL_CORNERS = 0.101, 0.007
_KEPT_DEVIATION = 0.45
_TRIED = 0.2

# Anchors from light to dark, in sRGB, raised to linear light below.
_SKIN_RAMP = (
    np.array(
        [
            [0.96, 0.80, 0.71],
            [0.89, 0.70, 0.58],
            [0.78, 0.57, 0.44],
            [0.56, 0.41, 0.32],
            [0.39, 0.275, 0.215],
        ]
    )
    ** 2.2
)
_TONE_OF_ETHNICITY = np.array([0.80, 0.35, 0.15])
# Black, dark brown, brown, blond, red; linear light.
_HAIR_COLOURS = np.array(
    [
        [0.04, 0.03, 0.025],
        [0.12, 0.07, 0.04],
        [0.26, 0.15, 0.08],
        [0.50, 0.36, 0.19],
        [0.40, 0.15, 0.06],
    ]
)
_HAIR_SHARES = np.array([0.75, 0.22, 0.03, 0.0, 0.0])
_HAIR_SHARES_CAUCASIAN = np.array([0.2, 0.32, 0.28, 0.13, 0.07])
_GREY_HAIR = np.array([0.42, 0.41, 0.40])
# Dark brown, brown, blue, green.
_IRIS_COLOURS = np.array(
    [[0.10, 0.05, 0.03], [0.22, 0.12, 0.05], [0.18, 0.28, 0.38], [0.22, 0.29, 0.17]]
)
_IRIS_SHARES = np.array([0.75, 0.15, 0.05, 0.05])
_IRIS_SHARES_CAUCASIAN = np.array([0.4, 0.2, 0.27, 0.13])


@dataclass(frozen=True)
class PeopleRecipe:
    """What people are drawn.

    Parameters
    ----------
    years : tuple of (float, float, float)
        Groups of ages: youngest, oldest, and share of the people.
    ethnicity : tuple of three floats
        Parameters of the Dirichlet distribution of the weights of
        ``ETHNICITIES``: the larger one, the more of its shape; below 1, heads
        are mostly of one kind.
    sex : (float, float)
        Parameters of the beta distribution from female (0) to male (1).
    """

    years: tuple[tuple[float, float, float], ...] = ((14, 25, 0.15), (25, 52, 0.6), (52, 75, 0.25))
    ethnicity: tuple[float, float, float] = (0.4, 0.4, 0.4)
    sex: tuple[float, float] = (0.3, 0.3)


ANYBODY = PeopleRecipe()


@dataclass(frozen=True)
class Identity:
    """One person.

    Parameters
    ----------
    displacement : ndarray of shape (n_vertices, 3)
        What is added to the base head, in decimetres.
    years : float
        Age.
    male : float
        0 for a female, 1 for a male head; between them a mixture.
    ethnicity : ndarray of shape (3,)
        Weights of ``ETHNICITIES``, which sum to one.
    skin, hair, iris, shirt : ndarray of shape (3,)
        Colours in linear light.
    hair_style : str
        One of ``HAIR_STYLES``.
    hairline, hair_volume : float
        Height of the hairline against the usual, and thickness of the hair.
    brow_height : float
        Height of the inner ends of the brows on the base head, in decimetres.
    brow_thickness, beard, lip_redness : float
        Strength of the features; 0 is none.
    texture_seed : int
        Seed of the pattern of the skin.
    """

    displacement: FloatArray
    years: float
    male: float
    ethnicity: FloatArray
    skin: FloatArray
    hair: FloatArray
    iris: FloatArray
    shirt: FloatArray
    hair_style: str
    hairline: float
    hair_volume: float
    brow_height: float
    brow_thickness: float
    beard: float
    lip_redness: float
    texture_seed: int

    @property
    def agedness(self) -> float:
        """0 at 25 years and younger, 1 at 90."""
        return float(np.clip((self.years - YOUNG_YEARS) / (OLD_YEARS - YOUNG_YEARS), 0, 1))


def draw_identity(
    assets: HeadAssets, generator: np.random.Generator, people: PeopleRecipe = ANYBODY
) -> Identity:
    """Draw a person.

    Parameters
    ----------
    assets : HeadAssets
        The head and its shapes.
    generator : numpy.random.Generator
        Source of randomness.
    people : PeopleRecipe, optional
        Who may come; by default all ages from 14 to 75.

    Returns
    -------
    Identity
    """
    ethnicity = generator.dirichlet(people.ethnicity)
    male = float(generator.beta(*people.sex))
    shares = np.array([share for _, _, share in people.years])
    youngest, oldest, _ = people.years[generator.choice(len(shares), p=shares / shares.sum())]
    years = float(generator.uniform(youngest, oldest))
    heaviness = float(generator.uniform(-0.7, 0.7))
    displacement = _macro_shape(assets, ethnicity, male, years, heaviness)
    displacement += _local_shape(assets, generator)
    displacement = _at_rest(assets, displacement)

    tone = float(np.clip(ethnicity @ _TONE_OF_ETHNICITY + generator.normal(0, 0.07), 0, 1))
    skin = np.array([np.interp(4 * tone, range(5), _SKIN_RAMP[:, band]) for band in range(3)])
    caucasian = ethnicity[2]
    shares = (1 - caucasian) * _HAIR_SHARES + caucasian * _HAIR_SHARES_CAUCASIAN
    hair = _HAIR_COLOURS[generator.choice(5, p=shares / shares.sum())]
    greyness = float(np.clip((years - 50) / 25 + generator.normal(0, 0.2), 0, 1))
    if years > 45:
        hair = (1 - greyness) * hair + greyness * _GREY_HAIR
    iris_shares = _IRIS_SHARES_CAUCASIAN if caucasian > 0.5 else _IRIS_SHARES
    bearded = male > 0.6 and years > 20
    return Identity(
        displacement=displacement,
        years=years,
        male=male,
        ethnicity=ethnicity,
        skin=skin * generator.uniform(0.94, 1.06, 3),
        hair=hair,
        iris=_IRIS_COLOURS[generator.choice(4, p=iris_shares)],
        shirt=generator.uniform(0.03, 0.8, 3),
        hair_style=_draw_hair_style(male, years, generator),
        hairline=float(generator.normal(-0.03, 0.06) + (0.08 * male if years > 50 else 0)),
        hair_volume=float(generator.uniform(0.03, 0.13)),
        brow_height=float(np.clip(generator.normal(7.468, 0.012), 7.44, 7.50)),
        brow_thickness=float(generator.uniform(0.78, 1.15) * (1 + 0.2 * male)),
        beard=float(generator.choice([0, 0.3, 0.7], p=[0.6, 0.25, 0.15])) if bearded else 0.0,
        lip_redness=float(generator.uniform(0.2, 1) * (1 - 0.6 * male)),
        texture_seed=int(generator.integers(1 << 24)),
    )


def _macro_shape(
    assets: HeadAssets, ethnicity: FloatArray, male: float, years: float, heaviness: float
) -> FloatArray:
    child = max(0.0, (YOUNG_YEARS - years) / (YOUNG_YEARS - CHILD_YEARS))
    old = max(0.0, (years - YOUNG_YEARS) / (OLD_YEARS - YOUNG_YEARS))
    extreme = "maxweight" if heaviness > 0 else "minweight"
    shape = np.zeros_like(assets.vertices)
    for age, age_weight in (("child", child), ("young", 1 - child - old), ("old", old)):
        for sex, sex_weight in (("male", male), ("female", 1 - male)):
            weight = age_weight * sex_weight
            if weight == 0:
                continue
            for name, share in zip(ETHNICITIES, ethnicity, strict=True):
                shape += weight * share * assets.macro[f"{name}-{sex}-{age}"]
            figure = f"universal-{sex}-{age}-averagemuscle"
            shape += weight * (1 - abs(heaviness)) * assets.macro[f"{figure}-averageweight"]
            shape += weight * abs(heaviness) * assets.macro[f"{figure}-{extreme}"]
    return shape


def _local_shape(assets: HeadAssets, generator: np.random.Generator) -> FloatArray:
    shape = np.zeros_like(assets.vertices)
    for axis in assets.axes:
        drawn = generator.normal(0, _AXIS_SPREAD[axis.region])
        weight = float(np.clip(drawn, -_AXIS_LIMIT, _AXIS_LIMIT))
        if weight > 0:
            shape += weight * axis.increase
        elif axis.two_sided:
            shape -= weight * axis.decrease
    return shape


def _at_rest(assets: HeadAssets, displacement: FloatArray) -> FloatArray:
    """Take away what looks like an expression: lids, corners and lips come near the usual."""
    points = assets.points
    if points is None:
        return displacement
    displacement = seal_lips(points.lips, assets.vertices, displacement, 0.9)
    for measure, usual, raising, lowering in (
        (0, _USUAL_APERTURE, "eyeWide", "eyeBlink"),
        (1, _USUAL_CORNERS, "mouthSmile", "mouthFrown"),
    ):
        found = resting_measures(assets, assets.vertices + displacement)[measure]
        wanted = (_KEPT_DEVIATION - 1) * (found - usual)
        unit = raising if wanted > 0 else lowering
        shape = assets.units[f"{unit}Left"] + assets.units[f"{unit}Right"]
        moved = assets.vertices + displacement + shape * _TRIED
        effect = (resting_measures(assets, moved)[measure] - found) / _TRIED
        displacement = displacement + shape * float(np.clip(wanted / effect, 0, 0.5))
    return displacement


def resting_measures(assets: HeadAssets, vertices: FloatArray) -> tuple[float, float]:
    """Measure a head.

    Parameters
    ----------
    assets : HeadAssets
        The base head.
    vertices : ndarray of shape (n_vertices, 3)
        Where its vertices are.

    Returns
    -------
    aperture, corners : float
        Distance of the lids, and height of the corners of the mouth over the
        middle of the lips, in decimetres of a head whose eyes are as far apart
        as those of the base head.
    """
    points = assets.points
    if points is None:
        raise ValueError("The assets have no points to measure by; get them by load_assets.")
    eyes, base = assets.eye_centres(vertices), assets.eye_centres(assets.vertices)
    scale = float(np.linalg.norm(eyes[0] - eyes[1]) / np.linalg.norm(base[0] - base[1]))
    height = vertices[:, 1]
    aperture = (height[points.upper_lids] - height[points.lower_lids]).mean()
    border = points.lips.upper
    corners = height[border[[0, -1]]].mean() - height[border[len(border) // 2]]
    return float(aperture / scale), float(corners / scale)


def _draw_hair_style(male: float, years: float, generator: np.random.Generator) -> str:
    bald = 0.14 * male if years > 30 else 0.0
    shares = np.array([bald, 0.2 * male + 0.02, 0.5 + 0.15 * male, 0.48 * (1 - male) + 0.02])
    return HAIR_STYLES[generator.choice(len(HAIR_STYLES), p=shares / shares.sum())]
