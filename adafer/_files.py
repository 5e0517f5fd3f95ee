"""Writing files and folders whole: under a temporary name first, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = [
    "check_output_file",
    "check_output_folder",
    "lock_folder",
    "new_file",
    "new_folder",
    "remove_unfinished",
    "sha256",
]

# of an output's name in that of its temporary folder; a name has 255 bytes at most
_NAME_BYTES = 200


def check_output_file(path: str | os.PathLike[str]) -> Path:
    """Make sure, before long work, that a file can be written.

    Nothing is left behind; missing folders are made when the file is written.

    Parameters
    ----------
    path : path
        An existing file there will be replaced.

    Returns
    -------
    path : pathlib.Path
        Absolute, with symbolic links followed, so that a link stays a link.

    Raises
    ------
    OSError
        If the place is a folder or no regular file, or cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> from adafer._files import check_output_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_output_file(folder + "/new/table.csv").name
    'table.csv'
    """
    real = Path(os.path.realpath(path))
    if real.is_dir():
        raise IsADirectoryError(
            f"The output {str(path)!r} is a folder; expected the name of a file in it."
        )
    if os.path.lexists(real) and not real.is_file():
        raise OSError(f"The output {str(path)!r} is no regular file. Choose a name that is free.")
    _check_place(real.parent, path)
    return real


def check_output_folder(path: str | os.PathLike[str]) -> Path:
    """Make sure, before long work, that files can be written into a folder.

    Parameters
    ----------
    path : path
        Need not exist; nothing is made.

    Returns
    -------
    path : pathlib.Path
        Absolute, with symbolic links followed.

    Raises
    ------
    OSError
        If it is a file, or cannot be made or written to.
    """
    real = Path(os.path.realpath(path))
    _check_place(real, path)
    return real


def _check_place(folder: Path, path: str | os.PathLike[str]) -> None:
    """Try to write into a folder, or into the first of its parents that exists."""
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(
            f"The output {str(path)!r} cannot be written: {str(folder)!r} is a file, expected a "
            "folder. Choose another place."
        )
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(
            f"The output {str(path)!r} cannot be written: {str(folder)!r} takes no files "
            f"({error.strerror}). Choose another place or change its permissions."
        ) from error


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under a temporary name; it gets its own when it is complete.

    Parameters
    ----------
    path : path
        Replaced by what is written; left as it was if an exception is raised.

    Yields
    ------
    temporary : pathlib.Path
        Where to write, in the same folder and with the same suffix.

    Raises
    ------
    OSError
        As `check_output_file`.
    """
    real = check_output_file(path)
    real.parent.mkdir(parents=True, exist_ok=True)
    # within a folder of its own the file gets the permissions of any other file
    with _folder_beside(real) as holder:
        temporary = holder / real.name
        yield temporary
        _flush(temporary)
        os.replace(temporary, real)
        _flush_names(real.parent)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a folder under a temporary name; it gets its own when it is complete.

    The caller must have made sure that a folder of this name may be deleted.

    Parameters
    ----------
    path : path
        Replaced by what is written; left as it was if an exception is raised.

    Yields
    ------
    temporary : pathlib.Path
        An empty folder to write into.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    real = Path(os.path.realpath(path))
    _check_place(real.parent, path)
    real.parent.mkdir(parents=True, exist_ok=True)
    with _folder_beside(real) as holder:
        temporary = holder / "new"
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _flush(file)
        _flush_names(temporary)
        # a folder that is not empty cannot be replaced in one step
        former = holder / "former"
        with contextlib.suppress(FileNotFoundError):
            os.rename(real, former)
        try:
            os.rename(temporary, real)
        except OSError:
            if former.exists():
                os.rename(former, real)
            raise
        _flush_names(real.parent)


@contextlib.contextmanager
def _folder_beside(real: Path) -> Iterator[Path]:
    """Give an empty folder beside an output, ``.NAME-0.part``, and remove it afterwards.

    A process that is killed leaves it behind. Who writes the same output next takes
    it over, which a lock allows once its owner is gone; as long as it is in use, or
    where the file system has no locks, the next number is taken.
    """
    name = real.name.encode()[:_NAME_BYTES].decode(errors="ignore")
    found = None
    numbers = itertools.count()
    while found is None:
        holder = real.parent / f".{name}-{next(numbers)}.part"
        found = _taken(holder)
    try:
        yield holder
    finally:
        shutil.rmtree(holder, ignore_errors=True)
        if found >= 0:
            os.close(found)


def _taken(holder: Path) -> int | None:
    """Make a folder, or take over and empty one without an owner: its lock, or -1; else None."""
    try:
        holder.mkdir(mode=0o700)
        is_new = True
    except FileExistsError:
        is_new = False
    lock, is_free = lock_folder(holder)
    if lock is None:
        return -1 if is_new and is_free else None
    try:
        # its owner may have removed it before we had the lock
        if not os.path.samestat(os.fstat(lock), os.stat(holder)):
            raise FileNotFoundError
        for left in holder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    except OSError:
        os.close(lock)
        return None
    return lock


def lock_folder(folder: Path) -> tuple[int | None, bool]:
    """Take a folder for this process, until the handle is closed or the process ends.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    handle : int or None
        To be closed by `os.close`; None if the folder is not to be had.
    is_free : bool
        Whether nobody is known to have it: where there are no locks, nobody is.
    """
    if fcntl is None:
        return None, True
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None, False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        return None, not isinstance(error, BlockingIOError)
    return handle, True


def _flush(file: Path) -> None:
    """Bring a file to the disk, so that a power cut cannot leave a name without content."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_names(folder: Path) -> None:
    """Bring a folder's list of names to the disk, where a folder can be opened for that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # some network file systems have no such thing
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished(folder: Path, name: str) -> None:
    """Remove what killed processes left of outputs whose names begin so.

    Parameters
    ----------
    folder : pathlib.Path
        Nobody else may be writing such outputs there.
    name : str
    """
    for holder in folder.glob(f".{name}*.part"):
        shutil.rmtree(holder, ignore_errors=True)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
