"""Files that are the same, byte for byte, whenever they are written."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..._files import new_file, sha256

CHECKSUMS = "SHA256SUMS"


def pack_arrays(arrays: Mapping[str, np.ndarray], *, compress: bool = False) -> bytes:
    """Pack arrays like ``numpy.savez``, but without anything that changes from day to day.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Arrays without objects.
    compress : bool, default=False
        Whether to deflate them.

    Returns
    -------
    bytes
        An ``.npz`` file.
    """
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.compress_type = method
            archive.writestr(entry, member.getvalue(), compresslevel=9 if compress else None)
    return buffer.getvalue()


def update_checksums(folder: Path, path: Path) -> None:
    """Write the SHA-256 of a file into ``SHA256SUMS``, in the manner of ``sha256sum``."""
    listing = folder / CHECKSUMS
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    sums = {line.split()[1]: line.split()[0] for line in lines if line.strip()}
    sums[path.name] = sha256(path)
    with new_file(listing) as temporary:
        temporary.write_text(
            "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())),
            encoding="utf-8",
        )
