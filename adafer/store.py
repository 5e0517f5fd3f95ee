"""Decoded faces: in memory while few, in a file of their own when many, or in a kept folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._files import file_number, new_file, new_folder, write_all
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
        damaged or of another version is made anew. Any number of processes may
        use one folder at once.
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
        If there is no room for the file, or the store takes no files, before
        anything is decoded.

    Warns
    -----
    UserWarning
        If the store takes no more while the pictures are decoded: nothing is lost,
        but they will be decoded again the next time.

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
    if entry is not None and scores is not None and rows.is_kept:
        entry.keep_scores(extractor, scores)
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
    is_kept = False  # in a store

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

    def __init__(self, faces: Picture, is_kept: bool):
        self.count = len(faces)
        self.known = faces
        self.is_kept = is_kept

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
        try:
            write_all(self.file, small.data)
        except OSError as error:
            raise OSError(
                f"The folder for temporary files, {tempfile.gettempdir()!r}, takes no more decoded "
                f"faces ({error.strerror}). Set TMPDIR to a larger place, or give a store."
            ) from error

    def finish(self, skipped: list[SkippedFace]) -> None:
        shape = (self.count, self.size, self.size, 3)
        self.faces = np.memmap(self.file, dtype=np.uint8, mode="r", shape=shape)


class _RowsOfEntry(_Rows):
    """Writes to the folder of an entry, with checksums; elsewhere when that takes no more."""

    def __init__(self, folder: Path, entry: _Entry, elsewhere: Callable[[], _Rows]):
        self.size = entry.size
        self.count = 0
        self.folder = folder
        self.entry = entry
        self.elsewhere = elsewhere
        self.instead: _Rows | None = None
        self.error: OSError | None = None
        self.checksums = _Checksums()

    def _write(self, small: Picture) -> None:
        if self.instead is None:
            try:
                with (self.folder / _FACES).open("ab") as file:
                    file.write(small.data)
                self.checksums.update(small.reshape(-1).data)
                return
            except OSError as error:
                self._go_elsewhere(error)
        assert self.instead is not None
        self.instead.append(small)

    def _go_elsewhere(self, error: OSError) -> None:
        """Take along what was written so far."""
        self.error = error
        self.instead = self.elsewhere()
        for block in row_blocks(self.count, max(1, _BLOCK_BYTES // (self.size**2 * 3))):
            self.instead.append(_map_faces(self.folder, self.count, self.size)[block])

    def finish(self, skipped: list[SkippedFace]) -> None:
        if self.instead is None:
            try:
                self.description = self.entry.describe(self.count, skipped, self.checksums.all())
                (self.folder / _DESCRIPTION).write_text(self.description, encoding="utf-8")
                if os.name != "nt":  # where what is mapped could not be renamed
                    self.faces = _map_faces(self.folder, self.count, self.size)
                return
            except OSError as error:
                self._go_elsewhere(error)
        assert self.instead is not None
        self.instead.finish(skipped)
        self.faces = self.instead.faces


class _NotKept(Exception):
    """Nothing is to be kept of what was written so far."""


@contextlib.contextmanager
def _new_rows(
    entry: _Entry | None, n_pictures: int, size: int, known: Picture | None
) -> Iterator[_Rows]:
    if known is not None:
        yield _KnownRows(known, is_kept=entry is not None)
    elif entry is None:
        with _passing_rows(n_pictures, size) as rows:
            yield rows
    else:
        with contextlib.ExitStack() as stack:
            yield from _rows_of_entry(
                entry, lambda: stack.enter_context(_passing_rows(n_pictures, size))
            )


@contextlib.contextmanager
def _passing_rows(n_pictures: int, size: int) -> Iterator[_Rows]:
    """Hold faces in memory while few, and in a file without a name when many."""
    n_bytes = n_pictures * size * size * 3
    if n_bytes <= MEMORY_BYTES:
        yield _Rows(n_pictures, size)
    else:
        place = tempfile.gettempdir()
        _check_room(n_bytes, place, "Set TMPDIR to a larger place, or give a store.")
        # the mapping holds the file after it is closed
        with tempfile.TemporaryFile(buffering=0) as file:
            yield _RowsOfFile(file, size)


def _rows_of_entry(entry: _Entry, elsewhere: Callable[[], _Rows]) -> Iterator[_RowsOfEntry]:
    place = entry.folder.parent
    place.mkdir(parents=True, exist_ok=True)
    _check_room(entry.n_pictures * entry.size**2 * 3, place, "Choose another store.")
    rows = None
    try:
        with new_folder(entry.folder, unless=lambda: entry.came_meanwhile(rows)) as folder:
            rows = _RowsOfEntry(folder, entry, elsewhere)
            yield rows
            if rows.instead is not None:
                raise _NotKept
    except _NotKept:
        pass
    except OSError as error:
        if rows is None or rows.faces is None:
            raise
        rows.error = error
    assert rows is not None
    if rows.error is not None:
        _warn_not_kept("faces", place, rows.error)
        return
    rows.is_kept = True
    # under the name that it has by now, by which other processes find it
    with contextlib.suppress(OSError, ValueError):
        if rows.faces is None or entry.has(rows.description):
            rows.faces = _map_faces(entry.folder, rows.count, entry.size)


def _warn_not_kept(what: str, place: Path, error: OSError) -> None:
    warnings.warn(
        f"The {what} could not be kept in the store {str(place)!r} ({error.strerror or error}). "
        "Nothing is lost, but they will be made again the next time. Make room, or choose another "
        "store.",
        stacklevel=7,
    )


def _map_faces(folder: Path, n_faces: int, size: int) -> Picture:
    shape = (n_faces, size, size, 3)
    return np.memmap(folder / _FACES, dtype=np.uint8, mode="r", shape=shape)


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
        self.judged: tuple[int, int] | None = None

    def describe(self, n_faces: int, skipped: list[SkippedFace], checksums: list[int]) -> str:
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "image_size": self.size,
            "n_pictures": self.n_pictures,
            "n_faces": n_faces,
            "skipped": skipped,
            "crc32": checksums,
        }
        return json.dumps(content | {"own_crc32": _own_checksum(content)})

    def read(self, extractor: AUExtractor | None) -> DecodedFaces | None:
        """Give what is there and whole, or nothing."""
        self.judged = file_number(self.folder)
        try:
            text = (self.folder / _DESCRIPTION).read_text(encoding="utf-8")
            found = json.loads(text)
            if found.pop("own_crc32") != _own_checksum(found):
                return None
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
            faces = _map_faces(self.folder, len(kept), self.size)
            scores = None if extractor is None else self._scores(extractor, len(kept))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return DecodedFaces(faces, kept, skipped, scores)

    def has(self, description: str) -> bool:
        """Tell whether the folder of this name is described so."""
        with contextlib.suppress(OSError, ValueError):
            return (self.folder / _DESCRIPTION).read_text(encoding="utf-8") == description
        return False

    def came_meanwhile(self, rows: _RowsOfEntry | None) -> bool:
        """Tell whether another process has made the same since `read` looked."""
        assert rows is not None
        return file_number(self.folder) not in (None, self.judged) and self.has(rows.description)

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
        try:
            with new_file(file) as temporary:
                temporary.write_bytes(rows + zlib.crc32(rows).to_bytes(4, "little"))
        except OSError as error:
            _warn_not_kept("AU scores", self.folder.parent, error)


def _own_checksum(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())
