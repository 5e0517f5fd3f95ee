"""Domains: who is seen in which pose and light, by which camera, and who labels the pictures."""

from __future__ import annotations

from dataclasses import dataclass

from .annotators import CAREFUL, HASTY, SECOND_GUESSING, Habits, label_confusion
from .assets import FloatArray
from .identity import PeopleRecipe

Range = tuple[float, float]


@dataclass(frozen=True)
class PoseRecipe:
    """How heads are turned and eyes look: standard deviations in radians.

    ``camera_height`` is the mean pitch: positive where the camera looks down
    on the face.
    """

    yaw: float
    pitch: float
    roll: float
    gaze: float
    camera_height: float


@dataclass(frozen=True)
class LightRecipe:
    """How faces are lit.

    Ranges are drawn uniformly. ``azimuth`` and ``elevation`` (radians) say
    where the key light stands, ``warmth`` how far its colour strays from
    white (positive: to yellow), ``fill_share`` how often there is a second light.
    """

    azimuth: Range
    elevation: Range
    key: Range
    fill: Range
    fill_share: float
    sky: Range
    ground: Range
    warmth: Range
    exposure: Range


@dataclass(frozen=True)
class CameraRecipe:
    """How the picture is taken.

    ``zoom`` scales the frame, ``shift`` (standard deviation, as a share of the
    picture) moves it, ``distance`` is that of the camera in head units.
    ``metering`` says how much of a too dark or too bright face the camera
    corrects; ``grey_share`` how often it sees no colour; ``cast`` how far its
    white strays; ``gamma`` bends its tones. ``blur`` is in pixels of a 64
    pixel wide picture, ``noise`` in linear light. ``resolution`` is the share
    of the pixels, along one side, that the camera has; its picture is enlarged.
    ``quality`` is that of its JPEG compression; 100 is none.
    """

    zoom: Range
    shift: float
    distance: Range
    metering: float
    grey_share: float
    cast: float
    gamma: Range
    blur: Range
    noise: Range
    resolution: Range = (1.0, 1.0)
    quality: Range = (100, 100)


@dataclass(frozen=True)
class BackgroundRecipe:
    """What is behind the head: its brightness, its unevenness and its colour."""

    level: Range
    contrast: Range
    colour: float


@dataclass(frozen=True)
class Domain:
    """A kind of pictures.

    Parameters
    ----------
    name : str
        Its name.
    code : int
        Its number in the seeds, so that domains have different people.
    pose, light, camera, background, people
        Its recipes.
    annotators : dict of str to dict of str to float
        Their habits, see `adafer.datasets.render.annotators`.
    """

    name: str
    code: int
    pose: PoseRecipe
    light: LightRecipe
    camera: CameraRecipe
    background: BackgroundRecipe
    people: PeopleRecipe
    annotators: Habits

    @property
    def confusion(self) -> FloatArray:
        """Shape (7, 7): row the expression shown, column the label given."""
        return label_confusion(self.annotators)


STUDIO = Domain(
    name="studio",
    code=1,
    pose=PoseRecipe(yaw=0.06, pitch=0.04, roll=0.025, gaze=0.05, camera_height=0.0),
    light=LightRecipe(
        azimuth=(-0.6, -0.3),
        elevation=(0.35, 0.55),
        key=(0.78, 0.88),
        fill=(0.28, 0.34),
        fill_share=1.0,
        sky=(0.42, 0.46),
        ground=(0.26, 0.30),
        warmth=(-0.03, 0.03),
        exposure=(0.95, 1.05),
    ),
    camera=CameraRecipe(
        zoom=(0.97, 1.03),
        shift=0.010,
        distance=(9, 14),
        metering=0.3,
        grey_share=0.0,
        cast=0.02,
        gamma=(1.0, 1.0),
        blur=(0.0, 0.0),
        noise=(0.003, 0.005),
    ),
    background=BackgroundRecipe(level=(0.28, 0.40), contrast=(0.0, 0.0), colour=0.0),
    people=PeopleRecipe(
        years=((18, 30, 0.5), (30, 50, 0.4), (50, 65, 0.1)), ethnicity=(0.3, 0.4, 0.5)
    ),
    annotators=CAREFUL,
)

WILD = Domain(
    name="wild",
    code=2,
    pose=PoseRecipe(yaw=0.22, pitch=0.09, roll=0.08, gaze=0.10, camera_height=0.10),
    light=LightRecipe(
        azimuth=(-1.25, 1.25),
        elevation=(0.0, 1.1),
        key=(0.5, 1.5),
        fill=(0.1, 0.6),
        fill_share=0.6,
        sky=(0.14, 0.55),
        ground=(0.08, 0.36),
        warmth=(-1.0, 1.0),
        exposure=(0.8, 1.2),
    ),
    camera=CameraRecipe(
        zoom=(0.92, 1.14),
        shift=0.018,
        distance=(3.8, 8.0),
        metering=0.65,
        grey_share=0.45,
        cast=0.16,
        gamma=(0.8, 1.3),
        blur=(0.0, 0.7),
        noise=(0.003, 0.011),
        resolution=(0.75, 1.0),
        quality=(60, 98),
    ),
    background=BackgroundRecipe(level=(0.06, 0.5), contrast=(0.02, 0.12), colour=0.2),
    people=PeopleRecipe(
        years=((12, 25, 0.2), (25, 52, 0.55), (52, 75, 0.25)), ethnicity=(0.4, 0.35, 0.4)
    ),
    annotators=HASTY,
)

WEBCAM = Domain(
    name="webcam",
    code=3,
    pose=PoseRecipe(yaw=0.12, pitch=0.06, roll=0.06, gaze=0.07, camera_height=-0.20),
    light=LightRecipe(
        azimuth=(-0.5, 0.5),
        elevation=(-0.55, -0.1),
        key=(0.5, 1.1),
        fill=(0.08, 0.4),
        fill_share=0.5,
        sky=(0.10, 0.28),
        ground=(0.14, 0.32),
        warmth=(-1.3, -0.2),
        exposure=(0.75, 1.2),
    ),
    camera=CameraRecipe(
        zoom=(0.90, 1.05),
        shift=0.022,
        distance=(2.9, 4.5),
        metering=0.5,
        grey_share=0.1,
        cast=0.10,
        gamma=(0.9, 1.2),
        blur=(0.0, 0.4),
        noise=(0.010, 0.028),
        resolution=(0.55, 0.8),
        quality=(25, 60),
    ),
    background=BackgroundRecipe(level=(0.02, 0.22), contrast=(0.02, 0.08), colour=0.2),
    people=PeopleRecipe(
        years=((11, 20, 0.35), (20, 45, 0.2), (45, 82, 0.45)), ethnicity=(0.6, 0.4, 0.25)
    ),
    annotators=SECOND_GUESSING,
)

DOMAINS: dict[str, Domain] = {domain.name: domain for domain in (STUDIO, WILD, WEBCAM)}
