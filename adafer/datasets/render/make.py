"""Make a data set: render the faces of a domain and write them with their labels."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from ..._files import check_output_folder, new_file, new_folder
from .annotators import draw_label
from .archive import pack_arrays, update_checksums
from .assets import load_assets
from .combinations import draw_combination
from .domains import DOMAINS, Domain
from .identity import ETHNICITIES, draw_identity
from .rig import AU_NAMES, EXPRESSIONS, draw_action_units, intensity_row
from .scene import render_face

Faces = Literal["expressions", "combinations"]

FACES = ("expressions", "combinations")
PER_IDENTITY = len(EXPRESSIONS)
TEST_SHARE = 0.3
QUALITY = 92
_SPLIT_STREAM = 1 << 30  # no identity has this number
_LABEL_STREAM = 1
_COMBINATION_STREAM = 1 << 20
_SIZES = (16, 1024)


@dataclass(frozen=True)
class _Row:
    jpeg: bytes
    target: int
    clean_target: int
    identity: int
    au: np.ndarray
    years: float
    male: float
    ethnicity: np.ndarray
    angles: tuple[float, float, float]


def make_domain(
    output: str | os.PathLike[str],
    domain: str | Domain,
    *,
    faces: Faces = "expressions",
    n: int = 1505,
    size: int = 64,
    seed: int = 0,
    n_jobs: int = 1,
    assets: str | os.PathLike[str] | None = None,
    folders: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render a domain, seven faces of each person, into ``<domain>.npz``.

    The file appears when it is complete; ``SHA256SUMS`` beside it is brought up
    to date. Equal arguments give equal bytes, whatever ``n_jobs`` is.

    Parameters
    ----------
    output : path-like
        Folder, made if it does not exist.
    domain : {"studio", "wild", "webcam"} or Domain
        Which domain.
    faces : {"expressions", "combinations"}, default="expressions"
        Each person shows the seven expressions, which annotators label
        (``clean_target``, ``target``), or seven random combinations of action
        units (see `draw_combination`), which have no label.
    n : int, default=1505
        Number of faces, at least 8, so that there are two people.
    size : int, default=64
        Width and height of the pictures in pixels, in [16, 1024].
    seed : int, default=0
        Seed, not negative.
    n_jobs : int, default=1
        Number of processes.
    assets : path-like, optional
        See :func:`adafer.datasets.render.load_assets`.
    folders : bool, default=False
        Write ``<domain>/<label>/<person>-<number>.jpg`` and
        ``<domain>/labels.csv`` instead of one file. The folder of combinations
        is called ``faces``.
    progress : callable, optional
        Called with the number of faces done and their total.

    Returns
    -------
    pathlib.Path
        The file or folder written.

    Raises
    ------
    ValueError
        If an argument is out of its range, or the assets are damaged.
    FileNotFoundError
        If the assets are missing.
    OSError
        If the output cannot be written, or a folder of that name holds files.

    Examples
    --------
    >>> import tempfile
    >>> from adafer.datasets.render import make_domain
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     make_domain(folder, "studio", n=8, size=16).name
    'studio.npz'
    """
    if isinstance(domain, str):
        if domain not in DOMAINS:
            raise ValueError(f"domain is {domain!r}, expected one of {sorted(DOMAINS)}.")
        domain = DOMAINS[domain]
    if faces not in FACES:
        raise ValueError(f"faces is {faces!r}, expected one of {list(FACES)}.")
    n = _check_integer("n", n, PER_IDENTITY + 1, 10_000_000)
    size = _check_integer("size", size, *_SIZES)
    seed = _check_integer("seed", seed, 0, 2**32 - 1)
    n_jobs = _check_integer("n_jobs", n_jobs, 1, 1024)
    folder = check_output_folder(output)
    path = folder / (domain.name if folders else f"{domain.name}.npz")
    if folders and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{str(path)!r} is there already; name another output folder.")
    load_assets(assets)  # fail early, and fill the cache of a single process

    n_identities = -(-n // PER_IDENTITY)
    tasks = (
        delayed(_render_identity)(
            domain, number, faces, min(PER_IDENTITY, n - number * PER_IDENTITY), assets, size, seed
        )
        for number in range(n_identities)
    )
    rows: list[_Row] = []
    for of_identity in Parallel(n_jobs=n_jobs, return_as="generator")(tasks):
        rows += of_identity
        if progress is not None:
            progress(len(rows), n)
    columns = _columns(rows, split_of_identities(n_identities, seed, domain.code))
    if faces == "expressions":
        columns |= _label_columns(rows, domain)
    if folders:
        _write_folders(path, rows, columns)
        return path
    columns["jpeg"] = np.frombuffer(b"".join(row.jpeg for row in rows), dtype=np.uint8)
    columns["offsets"] = np.cumsum([0, *(len(row.jpeg) for row in rows)]).astype(np.int64)
    with new_file(path) as temporary:
        temporary.write_bytes(pack_arrays(columns))
    update_checksums(folder, path)
    return path


def split_of_identities(n_identities: int, seed: int, code: int) -> np.ndarray:
    """Put about 30 % of the identities into the test split, at least one in each.

    Parameters
    ----------
    n_identities : int
        Number of identities.
    seed, code : int
        Seed, and number of the domain.

    Returns
    -------
    ndarray of shape (n_identities,), dtype str
        ``"train"`` or ``"test"``.
    """
    n_test = min(max(1, round(TEST_SHARE * n_identities)), n_identities - 1)
    order = np.random.default_rng([seed, code, _SPLIT_STREAM]).permutation(n_identities)
    split = np.full(n_identities, "train")
    split[order[:n_test]] = "test"
    return split


def _render_identity(
    domain: Domain, number: int, faces: Faces, count: int, assets_path: Any, size: int, seed: int
) -> list[_Row]:
    assets = load_assets(assets_path)
    person = draw_identity(
        assets, np.random.default_rng([seed, domain.code, number, 0]), domain.people
    )
    confusion = domain.confusion
    expressions = list(EXPRESSIONS)
    rows = []
    for place in range(count):
        if faces == "expressions":
            stream = [seed, domain.code, number, place + 1]
            generator = np.random.default_rng(stream)
            intensities = draw_action_units(expressions[place], generator)
            labeller = np.random.default_rng([*stream, _LABEL_STREAM])
            target = draw_label(confusion, place, labeller)
        else:
            generator = np.random.default_rng(
                [seed, domain.code, number, _COMBINATION_STREAM + place]
            )
            intensities, target = draw_combination(generator), -1
        face = render_face(assets, person, intensities, domain, generator, size=size)
        encoded = io.BytesIO()
        Image.fromarray(face.image).save(encoded, "JPEG", quality=QUALITY, subsampling=2)
        rows.append(
            _Row(
                jpeg=encoded.getvalue(),
                target=target,
                clean_target=place,
                identity=number,
                au=intensity_row(intensities),
                years=person.years,
                male=person.male,
                ethnicity=person.ethnicity,
                angles=(face.pose.yaw, face.pose.pitch, face.pose.roll),
            )
        )
    return rows


def _columns(rows: list[_Row], split: np.ndarray) -> dict[str, np.ndarray]:
    identity = np.array([row.identity for row in rows], dtype=np.int32)

    def rounded(values: list[Any], digits: int) -> np.ndarray:
        return np.round(np.array(values, dtype=np.float64), digits).astype(np.float32)

    angles = rounded([np.degrees(row.angles) for row in rows], 2)
    return {
        "au": np.stack([row.au for row in rows]),
        "au_names": np.array(AU_NAMES),
        "identity": identity,
        "split": split[identity],
        "age": rounded([row.years for row in rows], 1),
        "sex": rounded([row.male for row in rows], 3),
        "ethnicity": rounded([row.ethnicity for row in rows], 3),
        "ethnicity_names": np.array(ETHNICITIES),
        "yaw": angles[:, 0],
        "pitch": angles[:, 1],
        "roll": angles[:, 2],
    }


def _label_columns(rows: list[_Row], domain: Domain) -> dict[str, np.ndarray]:
    return {
        "target": np.array([row.target for row in rows], dtype=np.uint8),
        "clean_target": np.array([row.clean_target for row in rows], dtype=np.uint8),
        "target_names": np.array(list(EXPRESSIONS)),
        "confusion": domain.confusion,
    }


def _write_folders(folder: Path, rows: list[_Row], columns: dict[str, np.ndarray]) -> None:
    """Write the pictures and their table, all or nothing."""
    lines = list(_listing(rows, columns))
    with new_folder(folder) as temporary:
        for (file, *_), row in zip(lines[1:], rows, strict=True):
            path = temporary / str(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(row.jpeg)
        with (temporary / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(lines)


def _listing(rows: list[_Row], columns: dict[str, np.ndarray]) -> Iterator[list[Any]]:
    """Header and lines of ``labels.csv``."""
    names = columns.get("target_names")
    labels = [] if names is None else ["target", "clean_target"]
    described = ["identity", "split", "age", "sex", "yaw", "pitch", "roll"]
    yield ["file", *labels, *described, *AU_NAMES]
    for number, row in enumerate(rows):
        expressions = [] if names is None else [names[row.target], names[row.clean_target]]
        folder = expressions[0] if expressions else "faces"
        file = f"{folder}/{row.identity:05d}-{row.clean_target}.jpg"
        values = [columns[name][number] for name in described]
        yield [file, *expressions, *values, *row.au]


def _check_integer(name: str, value: Any, low: int, high: int) -> int:
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_integer or not low <= int(value) <= high:
        raise ValueError(f"{name} is {value!r}, expected an integer from {low} to {high}.")
    return int(value)
