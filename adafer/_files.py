"""Writing files and folders whole: under a temporary name first, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ._parts import locked, new_part, put_in_place, sync_folder
from ._paths import check_path

__all__ = [
    "check_output_file",
    "check_output_folder",
    "file_number",
    "naming",
    "new_file",
    "new_folder",
    "sha256",
    "write_all",
    "write_tensors",
]

_SECONDS_TO_WAIT = 10.0
# Of a place that takes no more; others, such as a missing source, are not the output's.
_OF_THE_PLACE = {errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


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
    real = Path(os.path.realpath(check_path(path)))
    if real.is_dir():
        raise IsADirectoryError(
            f"The output {str(path)!r} is a folder; expected the name of a file in it."
        )
    if os.path.lexists(real) and not real.is_file():
        raise OSError(f"The output {str(path)!r} is no regular file. Choose a name that is free.")
    _check_place(real.parent, path)
    return real


def check_output_folder(
    path: str | os.PathLike[str], *, of: str | os.PathLike[str] | None = None
) -> Path:
    """Make sure, before long work, that files can be written into a folder.

    Parameters
    ----------
    path : path
        Need not exist; nothing is made.
    of : path, default=None
        What is to be written there, for the error; `path` by default.

    Returns
    -------
    path : pathlib.Path
        Absolute, with symbolic links followed.

    Raises
    ------
    OSError
        If it is a file, or cannot be made or written to.
    """
    real = Path(os.path.realpath(check_path(path)))
    _check_place(real, path if of is None else of)
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
        As `check_output_file`, or if the disk is full.
    """
    real = check_output_file(path)
    with naming(path):
        real.parent.mkdir(parents=True, exist_ok=True)
        # within a folder of its own the file gets the permissions of any other file
        with new_part(real.parent) as part:
            temporary = part / real.name
            yield temporary
            _flush(temporary)
            os.replace(temporary, real)
        sync_folder(real.parent)


@contextlib.contextmanager
def new_folder(
    path: str | os.PathLike[str], *, unless: Callable[[], bool] | None = None
) -> Iterator[Path]:
    """Write a folder under a temporary name; it gets its own when it is complete.

    The caller must have made sure that a folder of this name may be deleted.

    Parameters
    ----------
    path : path
        Replaced by what is written, where the system can in one step; left as it
        was if an exception is raised.
    unless : callable, optional
        Asked when all is written, while no other process gives a folder beside it
        its name. If it says True, what is there stays, and what was written goes.

    Yields
    ------
    temporary : pathlib.Path
        An empty folder to write into.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    real = Path(os.path.realpath(check_path(path)))
    _check_place(real.parent, path)
    with naming(path):
        real.parent.mkdir(parents=True, exist_ok=True)
        with new_part(real.parent) as part:
            temporary = part / "new"
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                sync_folder(file) if file.is_dir() else _flush(file)
            sync_folder(temporary)
            # where it cannot be had, the later of two takes the name, and both are whole
            with locked(real.parent, _SECONDS_TO_WAIT):
                if unless is None or not unless():
                    put_in_place(temporary, real, part)
        sync_folder(real.parent)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say which output a full disk is about; the system's own error names none.

    Parameters
    ----------
    path : path
        What is written meanwhile.

    Raises
    ------
    OSError
        Instead of one of a full or read-only disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.errno not in _OF_THE_PLACE:
            raise
        told = type(error)(
            f"The output {str(path)!r} cannot be written: {os.strerror(error.errno)}. What was "
            "there before is as it was. Make room, or choose another place."
        )
        told.errno = error.errno
        raise told from error


def _flush(file: Path) -> None:
    """Bring a file to the disk, so that a power cut cannot leave a name without content."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def write_all(stream: IO[bytes], data: bytes | memoryview) -> None:
    """Write to a file without buffer, of which a disk that gets full takes a part.

    Parameters
    ----------
    stream : binary file
    data : bytes or memoryview

    Raises
    ------
    OSError
        If it cannot be written. Unlike with a buffer, closing raises no other.
    """
    left = memoryview(data).cast("B")
    while left:
        left = left[stream.write(left) :]


def write_tensors(tensors: Mapping[str, Any], path: Path, metadata: dict[str, str]) -> None:
    """Write tensors as safetensors, with the permissions and the errors of any other file.

    Parameters
    ----------
    tensors : mapping of str -> torch.Tensor
        Contiguous.
    path : pathlib.Path
        Must not exist.
    metadata : dict of str -> str

    Raises
    ------
    OSError
        If it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with path.open("xb") as stream:
        mode = os.fstat(stream.fileno()).st_mode & 0o777
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from error
    os.chmod(path, mode)  # some versions of safetensors let the owner alone read


def file_number(path: Path) -> tuple[int, int] | None:
    """Tell a file or folder from others that had or get its name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
