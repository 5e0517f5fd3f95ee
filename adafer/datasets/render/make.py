"""Make a data set: render the faces of a domain and write them with their labels."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

from .assets import load_assets
from .domains import DOMAINS
from .identity import ETHNICITIES, draw_identity
from .rig import AU_NAMES, EXPRESSIONS, draw_action_units, intensity_row
from .scene import render_face

CHECKSUMS = "SHA256SUMS"
TEST_SHARE = 0.3
QUALITY = 95
_SPLIT_STREAM = 1 << 30  # no identity has this number
_SIZES = (16, 1024)


@dataclass(frozen=True)
class _Row:
    jpeg: bytes
    target: int
    identity: int
    au: np.ndarray
    years: float
    male: float
    ethnicity: np.ndarray
    angles: tuple[float, float, float]


def make_domain(
    output: str | os.PathLike[str],
    domain: str,
    *,
    assets: str | os.PathLike[str] | None = None,
    n_identities: int = 200,
    size: int = 64,
    seed: int = 0,
    n_jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render a domain, all expressions of each identity, into ``<domain>.npz``.

    The file is first written under a temporary name, so that a broken run
    leaves no half file; ``SHA256SUMS`` beside it is brought up to date. Equal
    arguments give equal bytes, whatever ``n_jobs`` is.

    Parameters
    ----------
    output : path-like
        Folder, made if it does not exist.
    domain : {"studio", "wild"}
        Which domain.
    assets : path-like, optional
        See :func:`adafer.datasets.render.load_assets`.
    n_identities : int, default=200
        Number of people.
    size : int, default=64
        Width and height of the pictures in pixels, in [16, 1024].
    seed : int, default=0
        Seed, not negative.
    n_jobs : int, default=1
        Number of processes.
    progress : callable, optional
        Called with the number of identities done and their total.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    FileNotFoundError
        If the assets are missing.
    OSError
        If the output cannot be written.
    """
    if domain not in DOMAINS:
        raise ValueError(f"domain is {domain!r}, expected one of {sorted(DOMAINS)}.")
    n_identities = _check_integer("n_identities", n_identities, 2, 1_000_000)
    size = _check_integer("size", size, *_SIZES)
    seed = _check_integer("seed", seed, 0, 2**32 - 1)
    n_jobs = _check_integer("n_jobs", n_jobs, 1, 1024)
    folder = Path(output)
    _check_writable(folder)
    load_assets(assets)  # fail early, and fill the cache of a single process

    tasks = (delayed(_render_identity)(domain, n, assets, size, seed) for n in range(n_identities))
    rows: list[_Row] = []
    done = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    for number, of_identity in enumerate(done, start=1):
        rows += of_identity
        if progress is not None:
            progress(number, n_identities)
    split = split_of_identities(n_identities, seed, DOMAINS[domain].code)
    path = folder / f"{domain}.npz"
    _write_atomically(path, pack_arrays(_columns(rows, split)))
    _update_checksums(folder, path)
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


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Pack arrays like ``numpy.savez``, but without anything that changes from day to day.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Arrays without objects.

    Returns
    -------
    bytes
        An ``.npz`` file.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def _render_identity(
    domain_name: str, number: int, assets_folder: Any, size: int, seed: int
) -> list[_Row]:
    assets = load_assets(assets_folder)
    domain = DOMAINS[domain_name]
    person = draw_identity(assets, np.random.default_rng([seed, domain.code, number, 0]))
    rows = []
    for target, expression in enumerate(EXPRESSIONS):
        generator = np.random.default_rng([seed, domain.code, number, target + 1])
        intensities = draw_action_units(expression, generator)
        face = render_face(assets, person, intensities, domain, generator, size=size)
        encoded = io.BytesIO()
        Image.fromarray(face.image).save(encoded, "JPEG", quality=QUALITY, subsampling=2)
        rows.append(
            _Row(
                jpeg=encoded.getvalue(),
                target=target,
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
    lengths = [len(row.jpeg) for row in rows]

    def rounded(values: list[Any], digits: int) -> np.ndarray:
        return np.round(np.array(values, dtype=np.float64), digits).astype(np.float32)

    angles = rounded([np.degrees(row.angles) for row in rows], 2)
    return {
        "jpeg": np.frombuffer(b"".join(row.jpeg for row in rows), dtype=np.uint8),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "target": np.array([row.target for row in rows], dtype=np.uint8),
        "target_names": np.array(list(EXPRESSIONS)),
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


def _check_integer(name: str, value: Any, low: int, high: int) -> int:
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_integer or not low <= int(value) <= high:
        raise ValueError(f"{name} is {value!r}, expected an integer from {low} to {high}.")
    return int(value)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OSError(
            f"The output {str(folder)!r} is not a folder; name a folder to write to."
        ) from error
    except OSError as error:
        raise OSError(
            f"The output folder {str(folder)!r} cannot be made: {error.strerror}."
        ) from error
    probe = folder / f".writable.{os.getpid()}"
    try:
        probe.write_bytes(b"")
    except OSError as error:
        raise OSError(
            f"The output folder {str(folder)!r} cannot be written: {error.strerror}."
        ) from error
    probe.unlink()


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _update_checksums(folder: Path, path: Path) -> None:
    listing = folder / CHECKSUMS
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    sums = {line.split()[1]: line.split()[0] for line in lines if line.strip()}
    sums[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    _write_atomically(listing, text.encode())
