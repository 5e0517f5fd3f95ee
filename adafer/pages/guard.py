"""Who may ask the local page, and how often."""

from __future__ import annotations

import hmac
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

__all__ = ["RateLimit", "allowed_host", "is_loopback", "right_token"]

_MAX_CLIENTS = 1024


def is_loopback(address: str) -> bool:
    """Tell addresses that only this machine can reach.

    Parameters
    ----------
    address : str
        A numeric address.

    Returns
    -------
    bool

    Examples
    --------
    >>> from adafer.pages.guard import is_loopback
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("192.168.0.2")
    (True, True, False)
    """
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def allowed_host(header: str, *, bound: str, loopback: bool) -> bool:
    """Judge a Host header: names of other sites must not lead here.

    A site can give its name the address of this machine ("DNS rebinding"), and its
    scripts could then read the answers. Numeric addresses cannot be rebound, and
    ports tell nothing, so that tunnels may change them.

    Parameters
    ----------
    header : str
        What the browser sent.
    bound : str
        Host as the user named it.
    loopback : bool
        Whether only this machine can reach the page.

    Returns
    -------
    bool

    Examples
    --------
    >>> from adafer.pages.guard import allowed_host
    >>> allowed_host("localhost:8765", bound="127.0.0.1", loopback=True)
    True
    >>> allowed_host("evil.example:8765", bound="127.0.0.1", loopback=True)
    False
    """
    host = header.strip().lower()
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        port = port.removeprefix(":")
        if not bracket:
            return False
    else:
        host, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return False
    if host in ("localhost", bound.lower()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or not loopback


def right_token(wanted: str, *, cookies: str | None, authorization: str | None, name: str) -> bool:
    """Tell whether a request bears the token, in a cookie or as ``Bearer``.

    Parameters
    ----------
    wanted : str
    cookies, authorization : str or None
        Headers of these names.
    name : str
        Of the cookie.

    Returns
    -------
    bool
    """
    given = []
    if authorization is not None and authorization.startswith("Bearer "):
        given.append(authorization.removeprefix("Bearer ").strip())
    if cookies is not None:
        try:
            found = SimpleCookie(cookies).get(name)
        except CookieError:
            found = None
        if found is not None:
            given.append(found.value)
    # the same time whatever is wrong
    return any(hmac.compare_digest(text.encode(), wanted.encode()) for text in given)


class RateLimit:
    """Allows each client a number of requests at once, and then so many per second.

    Parameters
    ----------
    per_second : float
    at_once : int
    clock : callable, default=time.monotonic

    Examples
    --------
    >>> from adafer.pages.guard import RateLimit
    >>> limit = RateLimit(per_second=1, at_once=2, clock=lambda: 0.0)
    >>> [limit.seconds_to_wait("somebody") for _ in range(3)]
    [0.0, 0.0, 1.0]
    """

    def __init__(
        self, per_second: float, at_once: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._clock = clock
        self._lock = threading.Lock()
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, client: str) -> float:
        """Count a request, or say how long to wait; 0 lets it pass."""
        with self._lock:
            now = self._clock()
            left, before = self._clients.pop(client, (float(self._at_once), now))
            left = min(self._at_once, left + (now - before) * self._per_second)
            allowed = left >= 1
            self._clients[client] = (left - 1 if allowed else left, now)
            while len(self._clients) > _MAX_CLIENTS:
                self._clients.popitem(last=False)
            return 0.0 if allowed else (1 - left) / self._per_second
