"""Decoded faces: in memory while few, in a file of their own when many, or in a kept folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._files import new_file, new_folder
from .aus.scores import row_blocks
from .faces import Faces, OnError, Picture, SkippedFace, resize_faces

if TYPE_CHECKING:
    from .aus import AUExtractor

__all__ = ["MEMORY_BYTES", "DecodedFaces", "decode_faces", "pick_rows"]

# Up to so many bytes the faces of a domain stay in memory.
MEMORY_BYTES = 512 * 2**20

_FORMAT = "adafer-faces"
_VERSION = 1
_FACES, _DESCRIPTION = "faces.bin", "faces.json"
# What one checksum is for; a whole number of them is never needed.
_BLOCK_BYTES = 64 * 2**20


class DecodedFaces(NamedTuple):
    """Faces of one size, and what became of the pictures they were.

    Attributes
    ----------
    faces : ndarray of uint8 of shape (n, size, size, 3)
        Of many faces a `numpy.memmap`, not writable.
    kept : ndarray of int64 of shape (n,)
        Positions of the pictures that could be read.
    skipped : list of SkippedFace
    scores : ndarray of float64 of shape (n, n_aus) or None
        AU scores, where an extractor was given.
    """

    faces: Picture
    kept: NDArray
    skipped: list[SkippedFace]
    scores: NDArray[np.float64] | None


def decode_faces(
    data: Faces,
    size: int,
    *,
    on_error: OnError = "raise",
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    extractor: AUExtractor | None = None,
    name: str = "X",
) -> DecodedFaces:
    """Decode each picture once: small for the network, whole for its AUs.

    Pictures are read in chunks of 256 MiB at most. Small faces of up to
    `MEMORY_BYTES` stay in memory; more go to a file without a name in the folder
    for temporary files (``TMPDIR``), which vanishes with the last array that
    looks into it, however the program ends. An array that has the right size
    already is taken as it is.

    Parameters
    ----------
    data : Faces
    size : int
        Pixels per side of what is kept.
    on_error : {"raise", "skip"}, default="raise"
    n_jobs : int, default=None
        Threads that decode.
    store : path, default=None
        A folder that keeps what was decoded from files, with its AU scores, for
        the next time. Files are known by path, size and time of change. What is
        damaged or of another version is made anew.
    extractor : AUExtractor, default=None
        Scores the pictures in the size they have.
    name : str, default="X"
        How errors call the pictures.

    Returns
    -------
    DecodedFaces

    Raises
    ------
    FaceReadError
        If a picture cannot be read and `on_error` is "raise".
    ValueError
        If no picture can be read.
    OSError
        If there is no room for the file.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.faces import check_faces
    >>> from adafer.store import decode_faces
    >>> decode_faces(check_faces(np.zeros((5, 48, 48), np.uint8)), 32).faces.shape
    (5, 32, 32, 3)
    """
    ready = data.ready(size)
    if ready is not None and extractor is None:
        return DecodedFaces(ready, np.arange(len(data)), [], None)
    entry = None if store is None or data.paths is None else _Entry(store, data.paths, size)
    known = None if entry is None else entry.read(extractor)
    if known is not None and known.skipped and on_error == "raise":
        known = None  # for the error that names the first of them
    if known is not None and (extractor is None or known.scores is not None):
        return known
    with _new_rows(entry, len(data), size, ready if known is None else known.faces) as rows:
        kept, found = [], []
        for index, images in data.chunks(on_error=on_error, n_jobs=n_jobs):
            if len(index) == 0:
                continue
            kept.append(index)
            rows.append(images)
            if extractor is not None:
                found.append(extractor.score_faces(images))
        if not kept:
            raise ValueError(
                f"None of the {len(data)} pictures of {name} can be read; the first: "
                f"{data.skipped[0]}."
            )
        rows.finish(list(data.skipped))
    scores = np.concatenate(found).astype(np.float64) if found else None
    if entry is not None:
        if scores is not None:
            entry.keep_scores(extractor, scores)
        # from the place that has its name by now
        rows.faces = entry.map(rows.count)
    assert rows.faces is not None
    return DecodedFaces(rows.faces, np.concatenate(kept), list(data.skipped), scores)


def pick_rows(inputs: NDArray, rows: NDArray) -> NDArray:
    """Give some of a domain's inputs; many faces go to a file, as in `decode_faces`.

    Parameters
    ----------
    inputs : ndarray of shape (n_all, n_inputs) or (n_all, size, size, 3)
        Features, or faces.
    rows : ndarray of int64 of shape (n,)

    Returns
    -------
    picked : ndarray
        ``inputs[rows]``; of many faces a `numpy.memmap`, not writable.
    """
    if inputs.ndim == 2:
        return inputs[rows]
    with _new_rows(None, len(rows), inputs.shape[1], None) as kept:
        for block in row_blocks(len(rows), max(1, _BLOCK_BYTES // inputs[0].nbytes)):
            kept.append(inputs[rows[block]])
        kept.finish([])
    assert kept.faces is not None
    return kept.faces


class _Rows:
    """Takes faces chunk by chunk; here they stay in memory."""

    faces: Picture | None = None

    def __init__(self, n_faces: int, size: int):
        self.size = size
        self.count = 0
        self.all = np.empty((n_faces, size, size, 3), dtype=np.uint8)

    def append(self, images: list[Picture] | Picture) -> None:
        small = resize_faces(images, self.size)
        self._write(small)
        self.count += len(small)

    def _write(self, small: Picture) -> None:
        self.all[self.count : self.count + len(small)] = small

    def finish(self, skipped: list[SkippedFace]) -> None:
        self.faces = self.all[: self.count]


class _KnownRows(_Rows):
    """For pictures that are only scored, since their faces are there."""

    def __init__(self, faces: Picture):
        self.count = len(faces)
        self.known = faces

    def append(self, images: list[Picture] | Picture) -> None:
        pass

    def finish(self, skipped: list[SkippedFace]) -> None:
        self.faces = self.known


class _RowsOfFile(_Rows):
    """Writes to a file: what is written, unlike what is mapped, is no memory of the process."""

    def __init__(self, file: IO[bytes], size: int):
        self.size = size
        self.count = 0
        self.file = file

    def _write(self, small: Picture) -> None:
        self.file.write(small.data)

    def finish(self, skipped: list[SkippedFace]) -> None:
        self.file.flush()
        shape = (self.count, self.size, self.size, 3)
        self.faces = np.memmap(self.file, dtype=np.uint8, mode="r", shape=shape)


class _RowsOfEntry(_RowsOfFile):
    """Writes to the folder of an entry, with checksums."""

    def __init__(self, file: IO[bytes], size: int, description: Path, n_pictures: int):
        super().__init__(file, size)
        self.description = description
        self.n_pictures = n_pictures
        self.checksums = _Checksums()

    def _write(self, small: Picture) -> None:
        super()._write(small)
        self.checksums.update(small.reshape(-1).data)

    def finish(self, skipped: list[SkippedFace]) -> None:
        self.file.flush()
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "image_size": self.size,
            "n_pictures": self.n_pictures,
            "n_faces": self.count,
            "skipped": skipped,
            "crc32": self.checksums.all(),
        }
        self.description.write_text(json.dumps(content), encoding="utf-8")


@contextlib.contextmanager
def _new_rows(
    entry: _Entry | None, n_pictures: int, size: int, known: Picture | None
) -> Iterator[_Rows]:
    n_bytes = n_pictures * size * size * 3
    if known is not None:
        yield _KnownRows(known)
    elif entry is not None:
        entry.folder.parent.mkdir(parents=True, exist_ok=True)
        _check_room(n_bytes, entry.folder.parent, "Choose another store.")
        with new_folder(entry.folder) as folder, (folder / _FACES).open("wb") as file:
            yield _RowsOfEntry(file, size, folder / _DESCRIPTION, n_pictures)
    elif n_bytes <= MEMORY_BYTES:
        yield _Rows(n_pictures, size)
    else:
        place = tempfile.gettempdir()
        _check_room(n_bytes, place, "Set TMPDIR to a larger place, or give a store.")
        # the mapping holds the file after it is closed
        with tempfile.TemporaryFile() as file:
            yield _RowsOfFile(file, size)


def _check_room(n_bytes: int, place: str | Path, advice: str) -> None:
    free = shutil.disk_usage(place).free
    if free < n_bytes:
        raise OSError(
            f"The decoded faces need {n_bytes / 2**30:.1f} GiB, but {str(place)!r} has "
            f"{free / 2**30:.1f} GiB left. {advice}"
        )


class _Checksums:
    """CRC-32 of each block of a stream of bytes."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.last = self.size = 0

    def update(self, data: memoryview) -> None:
        while len(data):
            part = data[: _BLOCK_BYTES - self.size]
            self.last = zlib.crc32(part, self.last)
            self.size += len(part)
            data = data[len(part) :]
            if self.size == _BLOCK_BYTES:
                self.done.append(self.last)
                self.last = self.size = 0

    def all(self) -> list[int]:
        return [*self.done, self.last] if self.size else self.done


class _Entry:
    """The faces of one list of files in one size, in a folder of its own."""

    def __init__(self, store: str | os.PathLike[str], paths: list[str], size: int):
        digest = hashlib.sha256(f"{_FORMAT} {_VERSION} {size}".encode())
        for path in paths:
            status = os.stat(path)
            known = (os.path.abspath(path), status.st_size, status.st_mtime_ns)
            digest.update(repr(known).encode("utf-8", "surrogateescape"))
        self.folder = Path(store) / f"faces-{digest.hexdigest()[:32]}"
        self.size = size
        self.n_pictures = len(paths)

    def map(self, n_faces: int) -> Picture:
        shape = (n_faces, self.size, self.size, 3)
        return np.memmap(self.folder / _FACES, dtype=np.uint8, mode="r", shape=shape)

    def read(self, extractor: AUExtractor | None) -> DecodedFaces | None:
        """Give what is there and whole, or nothing."""
        try:
            text = (self.folder / _DESCRIPTION).read_text(encoding="utf-8")
            found = json.loads(text)
            form = (found["format"], found["version"], found["image_size"], found["n_pictures"])
            if form != (_FORMAT, _VERSION, self.size, self.n_pictures):
                return None
            skipped = [
                SkippedFace(int(i), str(path), str(why)) for i, path, why in found["skipped"]
            ]
            kept = np.setdiff1d(np.arange(self.n_pictures), [row.index for row in skipped])
            n_bytes = len(kept) * self.size**2 * 3
            if (self.folder / _FACES).stat().st_size != n_bytes or not n_bytes:
                return None
            if self._checksums() != found["crc32"]:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        scores = None if extractor is None else self._scores(extractor, len(kept))
        return DecodedFaces(self.map(len(kept)), kept, skipped, scores)

    def _checksums(self) -> list[int]:
        checksums = _Checksums()
        with (self.folder / _FACES).open("rb") as file:
            while block := file.read(2**22):
                checksums.update(memoryview(block))
        return checksums.all()

    def _scores_file(self, extractor: AUExtractor) -> Path | None:
        # an extractor of the user's own may not tell
        identity = getattr(extractor, "scores_identity", lambda: None)()
        if identity is None:
            return None
        return self.folder / f"aus-{hashlib.sha256(identity.encode()).hexdigest()[:32]}.bin"

    def _scores(self, extractor: AUExtractor, n_faces: int) -> NDArray[np.float64] | None:
        file = self._scores_file(extractor)
        if file is None or not file.is_file():
            return None
        content = file.read_bytes()
        rows, checksum = content[:-4], content[-4:]
        n_aus = len(extractor.detector_.au_names)
        if len(rows) != 8 * n_faces * n_aus or zlib.crc32(rows).to_bytes(4, "little") != checksum:
            return None
        return np.frombuffer(rows, dtype="<f8").reshape(n_faces, n_aus).copy()

    def keep_scores(self, extractor: AUExtractor | None, scores: NDArray[np.float64]) -> None:
        file = None if extractor is None else self._scores_file(extractor)
        if file is None:
            return
        rows = scores.astype("<f8").tobytes()
        with new_file(file) as temporary:
            temporary.write_bytes(rows + zlib.crc32(rows).to_bytes(4, "little"))
