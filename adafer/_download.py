"""Fetching files: the one place of the package that connects to other machines."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ._files import check_output_file, file_number, naming, write_all
from ._files import sha256 as file_sha256
from ._parts import sync_folder, take_lock

__all__ = ["download"]

_MAX_BYTES = 4 * 2**30
_SECONDS = 60.0
_PIECE = 2**18


def download(url: str, path: Path, sha256: str, *, max_bytes: int = _MAX_BYTES) -> Path:
    """Fetch a file, check it, and only then give it its name.

    What an interrupted download has got so far stays beside it, with the suffix
    ``.part``; the next one goes on from there, where the server can.

    Parameters
    ----------
    url : str
        Of ``https``, also after redirections. ``file``, and ``http`` from this
        machine's own address, are allowed.
    path : pathlib.Path
        Kept if it is there and right.
    sha256 : str
        The SHA-256 of the file or its first digits.
    max_bytes : int, default=4 GiB
        Of the file.

    Returns
    -------
    path : pathlib.Path

    Raises
    ------
    ValueError
        If the content has another SHA-256 or is too large, or the address is of another
        kind. Nothing is kept.
    OSError
        If it cannot be reached or written, or another process fetches it; the message
        says where to put the file by hand.

    Examples
    --------
    >>> import hashlib
    >>> from pathlib import Path
    >>> from adafer._download import download
    >>> _ = Path("there.bin").write_bytes(b"weights")
    >>> digest = hashlib.sha256(b"weights").hexdigest()
    >>> download(Path("there.bin").absolute().as_uri(), Path("here.bin"), digest).name
    'here.bin'
    """
    _check_address(url)
    if path.is_file() and file_sha256(path).startswith(sha256):
        return path
    real = check_output_file(path)
    part = real.with_name(f"{real.name}.part")
    with naming(path):
        real.parent.mkdir(parents=True, exist_ok=True)
        with _opened(part) as sink:
            for resumed in (sink.seek(0, os.SEEK_END) > 0, False):
                if not (resumed and file_sha256(part).startswith(sha256)):
                    try:
                        _fetch(url, sink, max_bytes)
                    except urllib.error.URLError as error:
                        raise _unreachable(url, path, error.reason) from error
                    except (ConnectionError, TimeoutError, HTTPException) as error:
                        raise _unreachable(url, path, repr(error)) from error
                found = file_sha256(part)
                if found.startswith(sha256):
                    break
                sink.truncate(0)
                if not resumed:  # else what was there may have been of another file
                    raise ValueError(
                        f"{url} has the SHA-256 {found}, expected it to begin with {sha256}. "
                        "The file was not kept."
                    )
            os.fsync(sink.fileno())
            os.replace(part, real)
        sync_folder(real.parent)
    return path


def _unreachable(url: str, path: Path, reason: object) -> OSError:
    return OSError(
        f"{url} cannot be fetched ({reason}). What has arrived is kept: the same command goes on "
        f"from there. On a machine without network, fetch it elsewhere and put it at {path}."
    )


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[IO[bytes]]:
    """Open what has arrived, for this process alone; what is empty in the end goes."""
    with part.open("ab+", buffering=0) as sink:
        status = os.fstat(sink.fileno())
        # the lock may be had because the other one has just given the file its name
        mine = take_lock(sink.fileno(), 0) and file_number(part) == (status.st_dev, status.st_ino)
        if not mine:
            raise OSError(f"Another process fetches {str(part)!r} already. Wait for it.")
        try:
            yield sink
        finally:
            if os.fstat(sink.fileno()).st_size == 0:
                part.unlink(missing_ok=True)


def _fetch(url: str, sink: IO[bytes], max_bytes: int) -> None:
    """Add what is missing, or all if the server gives no parts."""
    there = sink.seek(0, os.SEEK_END)
    if there > max_bytes:
        there = sink.truncate(0)
    with _response(url, there) as (stream, goes_on):
        if not goes_on:
            there = sink.truncate(0)
        left = stream.headers.get("Content-Length", "")
        expected = there + int(left) if left.isdigit() else None
        if (expected or 0) > max_bytes:
            _refuse_size(url, sink, max_bytes)
        while piece := stream.read(_PIECE):
            there += len(piece)
            if there > max_bytes:
                _refuse_size(url, sink, max_bytes)
            write_all(sink, piece)
    if expected is not None and there < expected:
        raise ConnectionError(f"the connection ended after {there} of {expected} bytes")


def _refuse_size(url: str, sink: IO[bytes], max_bytes: int) -> None:
    sink.truncate(0)
    raise ValueError(
        f"{url} has more than {max_bytes} bytes, which is not what is expected there. The file was "
        "not kept."
    )


@contextlib.contextmanager
def _response(url: str, there: int) -> Iterator[tuple[Any, bool]]:
    """Ask for what comes after `there` bytes, and tell whether that is what comes."""
    headers = {"Range": f"bytes={there}-"} if there else {}
    opener = urllib.request.build_opener(_Redirects)
    try:
        stream = opener.open(urllib.request.Request(url, headers=headers), timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416:  # nothing comes after it: all is there, or of another file
            raise
        stream = opener.open(urllib.request.Request(url), timeout=_SECONDS)
    with stream:
        begins = str(stream.headers.get("Content-Range", "")).startswith(f"bytes {there}-")
        yield stream, bool(there) and stream.status == 206 and begins


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to allowed addresses only."""

    def redirect_request(self, *arguments: Any) -> Any:
        _check_address(arguments[-1], before=arguments[0].full_url)
        return super().redirect_request(*arguments)


def _check_address(url: str, *, before: str | None = None) -> None:
    """Refuse what is not encrypted, unless it is of this machine."""
    address = urlsplit(url)
    local = before is None or _is_local(before)
    if address.scheme == "https" or (address.scheme == "http" and local and _is_local(url)):
        return
    if address.scheme == "file" and before is None:
        return
    whence = "" if before is None else f"{before} leads to "
    raise ValueError(f"{whence}{url}: expected an address that begins with https://.")


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
