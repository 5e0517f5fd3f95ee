"""Folders in which files are written: locked while their maker lives, removed after its death."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing can be locked, and so nothing is cleaned up
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "exchange",
    "locked",
    "new_part",
    "put_in_place",
    "remove_abandoned",
    "sync_folder",
    "take_lock",
]

# a dot, eight signs by mkdtemp, the machine's start
_NAME = re.compile(r"\.[a-z0-9_]{8}\.[0-9a-f]{8}\.part")
_FORMER = "former"
# Other machines' locks may not be seen here. What they left untouched for so long is dead.
_SECONDS_OF_OTHERS = 24 * 3600.0
_AT_WORKING_FOLDER, _EXCHANGE = -100, 2  # of Linux, <fcntl.h> and <linux/fs.h>

_cleaned: set[str] = set()


@contextlib.contextmanager
def new_part(folder: Path) -> Iterator[Path]:
    """Make a hidden folder to write in, which is gone at the end.

    Parameters
    ----------
    folder : pathlib.Path
        Where to make it. Hidden folders that killed processes left there are
        removed first, once per process.

    Yields
    ------
    part : pathlib.Path
        Locked: as long as this process lives, no other removes it.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    if str(folder) not in _cleaned:  # a folder with a million faces is not listed for each
        _cleaned.add(str(folder))
        remove_abandoned(folder)
    part, lock = _make(folder)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _make(folder: Path) -> tuple[Path, int | None]:
    while True:
        part = Path(tempfile.mkdtemp(prefix=".", suffix=f".{_boot()}.part", dir=folder))
        if fcntl is None:
            return part, None
        try:
            lock = os.open(part, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another process came before the lock and took it for abandoned
        except OSError:
            part.rmdir()
            raise
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(part):
                return part, lock
        except BlockingIOError:
            pass  # the same, in the midst of it
        except OSError:  # a file system without locks
            os.close(lock)
            return part, None
        os.close(lock)


@cache
def _boot() -> str:
    """Name the start of this machine's system; who shares it sees the same locks."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except (OSError, ValueError):
        return "0" * 8
    return text[:8] if re.fullmatch(r"[0-9a-f]{8}", text[:8]) else "0" * 8


def remove_abandoned(folder: Path) -> None:
    """Remove the hidden folders of `new_part` whose makers are dead.

    A folder that its maker replaced, but had not put its successor in place yet,
    gets its name back.

    Parameters
    ----------
    folder : pathlib.Path
        Where they lie. What cannot be looked at or removed stays.
    """
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        parts = [
            Path(entry.path)
            for entry in entries
            if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        ]
        for part in parts:
            with contextlib.suppress(OSError):
                _remove(part)


def _remove(part: Path) -> None:
    of_others = not part.name.endswith(f".{_boot()}.part") or _boot() == "0" * 8
    if of_others and time.time() - _last_change(part) < _SECONDS_OF_OTHERS:
        return
    lock = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        former = part / _FORMER
        for name in os.listdir(former) if former.is_dir() else ():
            if not os.path.lexists(part.parent / name):
                os.rename(former / name, part.parent / name)
        shutil.rmtree(part, ignore_errors=True)
    finally:
        os.close(lock)


def _last_change(part: Path) -> float:
    return max(path.lstat().st_mtime for path in (part, *part.rglob("*")))


@contextlib.contextmanager
def locked(folder: Path, seconds: float, *, shared: bool = False) -> Iterator[bool]:
    """Let one process at a time change the names in a folder.

    Parameters
    ----------
    folder : pathlib.Path
    seconds : float
        How long to wait for the others.
    shared : bool, default=False
        Let all that ask for it so in together.

    Yields
    ------
    bool
        False if others held it for too long. True, without effect, where the system
        or the file system knows no locks.
    """
    if fcntl is None:
        yield True
        return
    try:
        lock = os.open(folder, os.O_RDONLY)
    except OSError:
        yield True  # what comes next will tell
        return
    try:
        yield take_lock(lock, seconds, shared=shared)
    finally:
        os.close(lock)


def take_lock(number: int, seconds: float, *, shared: bool = False) -> bool:
    """Lock an open file or folder; closing it lets go.

    Parameters
    ----------
    number : int
        Of the open file.
    seconds, shared
        As for `locked`.

    Returns
    -------
    bool
        As `locked` yields.
    """
    if fcntl is None:
        return True
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.002)
        except OSError:
            return True
        else:
            return True


def put_in_place(new: Path, real: Path, part: Path) -> None:
    """Give a folder its name; a folder that bears the name goes to `part`.

    Parameters
    ----------
    new : pathlib.Path
        In `part`.
    real : pathlib.Path
        The name.
    part : pathlib.Path
        Of `new_part`.

    Raises
    ------
    OSError
        If it cannot be; what bore the name bears it still.
    """
    if not os.path.lexists(real):
        os.rename(new, real)
        return
    if exchange(new, real):
        return
    # in two steps; after a death between them `remove_abandoned` takes the first back
    former = part / _FORMER / real.name
    former.parent.mkdir()
    os.rename(real, former)
    try:
        os.rename(new, real)
    except OSError:
        os.rename(former, real)
        raise


def exchange(first: Path, second: Path) -> bool:
    """Give two folders each other's name in one step.

    Parameters
    ----------
    first, second : pathlib.Path

    Returns
    -------
    bool
        False where the system or the file system has no such step.
    """
    if sys.platform != "linux":
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    here = _AT_WORKING_FOLDER
    return call(here, os.fsencode(first), here, os.fsencode(second), _EXCHANGE) == 0


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can.

    Parameters
    ----------
    folder : pathlib.Path
    """
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
