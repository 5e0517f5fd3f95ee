"""AUScoreCache: AU scores on disk, so that no picture is scored twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_images, naming
from .._files import file_number
from .._parts import locked
from .._sklearn import Interval, judged

__all__ = ["AUScoreCache"]

_Result = TypeVar("_Result")

_APPLICATION_ID = 0x41554653  # tells our files from those of other programs
_SCHEMA_VERSION = 1
_TABLE = "CREATE TABLE scores (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
# SQLite before 3.32 takes 999 values per query.
_KEYS_PER_QUERY = 500
_SECONDS_TO_WAIT = 60.0
_CHECKSUM_BYTES = 4


class AUScoreCache:
    """Keep AU scores in an SQLite file.

    What is kept are SHA-256 hashes and scores, never pictures, paths or names.
    A picture is known by its pixels and by the detector's identity, so that
    renamed files are found again, and other models or settings never are given
    scores that are not theirs.

    Parameters
    ----------
    path : str or path
        The file; it and its folder are made when first needed.

    Notes
    -----
    Any number of processes and threads may use one file at once: each call
    opens it anew, and writes in one short transaction. It must lie on a local
    disk, since SQLite's write-ahead log does not work over network file
    systems. Deleting the file (with its ``-wal`` and ``-shm``) is always safe.

    Every row has a checksum; one that does not fit counts as missing. A file
    that is damaged as a whole is renamed to ``<name>.damaged-1`` and begun anew.
    What `put_many` wrote is there after the process was killed; after a power
    cut the last rows may be missing. On a full or read-only disk `get_many` finds
    what the file itself holds, and `put_many` raises.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.aus import AUScoreCache
    >>> cache = AUScoreCache("scores.sqlite")
    >>> faces = np.array([np.zeros((8, 8, 3)), np.ones((8, 8, 3))], dtype=np.uint8)
    >>> cache.put_many(faces[:1], "my detector", [[0.25, 0.75]])
    >>> scores, missing = cache.get_many(faces, "my detector", n_aus=2)
    >>> scores
    array([[0.25, 0.75],
           [ nan,  nan]], dtype=float32)
    >>> missing
    array([1])
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"AUScoreCache({os.fspath(self.path)!r})"

    @judged(
        images=check_images,
        identity=[str],
        n_aus=[Interval(Integral, 1, 10_000, closed="both")],
    )
    def get_many(
        self, images: Sequence[NDArray[np.uint8]], identity: str, *, n_aus: int
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Look up the scores of pictures.

        Parameters
        ----------
        images : sequence of n ndarrays of uint8 of shape (H, W, 3)
        identity : str
            Names the detector with all that changes its scores.
        n_aus : int
            Number of AUs; rows of another length count as missing.

        Returns
        -------
        scores : ndarray of float32 of shape (n, n_aus), values in [0, 1]
            NaN rows where no face was found, and for missing pictures.
        missing : ndarray of int of shape (m,)
            Positions of the pictures that the cache does not know.

        Raises
        ------
        ValueError
            If a picture is no uint8 RGB array, or the file belongs to another
            program.
        OSError
            If the file cannot be opened, or is locked for longer than a minute.

        Warns
        -----
        UserWarning
            If the file is damaged, or has another version's form.
        """
        keys = [_key(image, identity) for image in images]
        found = self._run(lambda c: _select(c, keys), reads=True) if keys else {}
        scores = np.full((len(keys), n_aus), np.nan, dtype=np.float32)
        missing = []
        for i, key in enumerate(keys):
            row = _unpack(key, found.get(key), n_aus)
            if row is None:
                missing.append(i)
            else:
                scores[i] = row
        return scores, np.array(missing, dtype=np.intp)

    @judged(images=check_images, identity=[str])
    def put_many(
        self, images: Sequence[NDArray[np.uint8]], identity: str, scores: ArrayLike
    ) -> None:
        """Keep the scores of pictures, in one transaction.

        Parameters
        ----------
        images : sequence of n ndarrays of uint8 of shape (H, W, 3)
        identity : str
            Names the detector with all that changes its scores.
        scores : array-like of float32 of shape (n, n_aus), values in [0, 1]
            NaN rows where no face was found. Rows that the cache knows already
            are replaced.

        Raises
        ------
        ValueError
            If there is not one row per picture, or as in `get_many`.
        OSError
            As in `get_many`.

        Warns
        -----
        UserWarning
            As in `get_many`.
        """
        with naming("scores"):
            rows = np.asarray(scores)
            if np.iscomplexobj(rows):
                raise ValueError("Complex data not supported")
            rows = rows.astype("<f4")
        if rows.ndim != 2 or len(rows) != len(images):
            raise ValueError(
                f"scores must have one row per picture, shape ({len(images)}, n_aus); got shape "
                f"{rows.shape}."
            )
        keys = [_key(image, identity) for image in images]
        entries = [(key, _pack(key, row)) for key, row in zip(keys, rows, strict=True)]
        if entries:
            self._run(lambda connection: _insert(connection, entries))

    def _run(
        self, work: Callable[[sqlite3.Connection], _Result], *, reads: bool = False
    ) -> _Result:
        """Do something with the file open; set it aside and try again if it is damaged."""
        path = Path(os.path.realpath(self.path))
        for last in (False, True):
            before = file_number(path)
            try:
                with _opened(path) as connection:
                    return work(connection)
            except sqlite3.DatabaseError as error:
                # Damaged files raise the class itself; what is locked, full or not
                # permitted raises OperationalError.
                if last or type(error) is not sqlite3.DatabaseError:
                    if reads and before is not None and "locked" not in str(error):
                        with (
                            contextlib.suppress(sqlite3.Error),
                            _opened_to_read(path) as connection,
                        ):
                            return work(connection)
                    raise _unusable(path, error) from error
                reason = str(error)
            if before is not None:
                _set_aside(path, before, reason)
        raise AssertionError("not reached")


def _unusable(path: Path, reason: object) -> OSError:
    return OSError(
        f"The AU score cache {str(path)!r} cannot be used: {reason}. Expected a file on a local "
        "disk that may be written to; check its folder, its permissions and the free space, or "
        "choose another path."
    )


def _key(image: NDArray[np.uint8], identity: str) -> bytes:
    """Hash identity, shape and pixels, each of which ends where the next begins."""
    pixels = np.ascontiguousarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(
            f"A picture must be an RGB array of uint8 of shape (H, W, 3); got {pixels.dtype} of "
            f"shape {pixels.shape}. Read it with adafer.faces.read_face or check_faces."
        )
    name = identity.encode()
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{len(name)}:{height}x{width}:".encode())
    digest.update(name)
    digest.update(pixels.data)
    return digest.digest()


def _pack(key: bytes, row: NDArray[np.float32]) -> bytes:
    content = row.tobytes()
    return content + zlib.crc32(key + content).to_bytes(_CHECKSUM_BYTES, "little")


def _unpack(key: bytes, value: object, n_aus: int) -> NDArray[np.float32] | None:
    """Read a row, or nothing if its length or its checksum is wrong."""
    if not isinstance(value, bytes) or len(value) != 4 * n_aus + _CHECKSUM_BYTES:
        return None
    content, checksum = value[:-_CHECKSUM_BYTES], value[-_CHECKSUM_BYTES:]
    if zlib.crc32(key + content) != int.from_bytes(checksum, "little"):
        return None
    return np.frombuffer(content, dtype="<f4")


def _select(connection: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        some = keys[start : start + _KEYS_PER_QUERY]
        marks = ",".join("?" * len(some))
        # nothing but question marks goes into the text
        query = f"SELECT key, value FROM scores WHERE key IN ({marks})"  # nosec B608
        found.update(connection.execute(query, some))
    return found


def _insert(connection: sqlite3.Connection, entries: list[tuple[bytes, bytes]]) -> None:
    with _transaction(connection):
        connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", entries)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    # Immediate: waits for other writers at the start, where waiting is possible.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if path.is_dir():
        raise IsADirectoryError(
            f"The AU score cache {str(path)!r} is a folder; expected the name of a file in it."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error
    # While it is open here, nobody may give its name and that of its log to other files: SQLite
    # opens and deletes the log by name.
    with locked(path.parent, _SECONDS_TO_WAIT, shared=True):
        connection = sqlite3.connect(path, timeout=_SECONDS_TO_WAIT, isolation_level=None)
        try:
            if not _is_current(connection):
                _prepare(connection, path)
            connection.execute("PRAGMA synchronous = NORMAL")
            yield connection
        finally:
            connection.close()


@contextlib.contextmanager
def _opened_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file where nothing can be written, on a full or read-only disk.

    What a log holds that cannot be worked in is not seen then.
    """
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        if not _is_current(connection):
            raise sqlite3.DatabaseError("another version's file")
        yield connection
    finally:
        connection.close()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _is_current(connection: sqlite3.Connection) -> bool:
    form = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if form != (_APPLICATION_ID, _SCHEMA_VERSION):
        return False
    tables = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchall()
    return tables == [(_TABLE,)]


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the table of a new file, or make it anew for another version's."""
    # Where two processes meet here, one may fail; the other's success is for both.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")
    rebuilt = False
    with _transaction(connection):
        if _is_current(connection):  # another process was quicker
            return
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if names and _pragma(connection, "application_id") != _APPLICATION_ID:
            raise ValueError(
                f"{str(path)!r} is a database of another program, with the table {names[0][0]!r}; "
                "expected a cache of AU scores or a free name. Choose another path."
            )
        rebuilt = bool(names)
        for (name,) in names:
            quoted = name.replace('"', '""')
            connection.execute(f'DROP TABLE "{quoted}"')
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    if rebuilt:
        warnings.warn(
            f"The AU score cache {str(path)!r} was written by another version of adafer and was "
            "emptied: its pictures will be scored again.",
            stacklevel=6,
        )


def _set_aside(path: Path, number: tuple[int, int], reason: str) -> None:
    """Rename a damaged file, unless another process has replaced it meanwhile."""
    with locked(path.parent, _SECONDS_TO_WAIT) as alone:
        if file_number(path) != number:
            return
        if not alone:
            raise _unusable(path, f"{reason}, and other processes do not let go of it")
        count = 1
        while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{count}")):
            count += 1
        try:
            # The log goes first: it must never be applied to the file that comes next.
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{path}{suffix}", f"{aside}{suffix}")
        except OSError as error:
            raise _unusable(path, f"{reason}, and it cannot be renamed ({error})") from error
    warnings.warn(
        f"The AU score cache {str(path)!r} is damaged ({reason}). It was renamed to "
        f"{aside.name!r} and a new one begun: its pictures will be scored again. Delete the "
        "renamed file if you do not want to look into it.",
        stacklevel=4,
    )
