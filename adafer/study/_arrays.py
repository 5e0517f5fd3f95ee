"""Arrays of a study's data set, from files that may be hostile."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_arrays"]

# what numpy.savez_compressed packs shrinks to a hundredth at most, bombs to a thousandth
_UNPACKED_BYTES, _UNPACKED_TIMES = 2**30, 100


def read_arrays(path: Path) -> dict[str, Any]:
    """Read arrays without pickles, none of which unpack to far more than they hold."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > max(_UNPACKED_BYTES, _UNPACKED_TIMES * path.stat().st_size):
            raise ValueError(f"it unpacks to {unpacked} bytes, which may be a zip bomb")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise
    except Exception as error:
        # damaged archives and headers make zipfile, zlib and numpy raise all sorts
        raise ValueError(
            f"{str(path)!r} holds no arrays ({type(error).__name__}: {error!s:.300}). Expected a "
            "file that numpy.savez wrote, without objects."
        ) from error
