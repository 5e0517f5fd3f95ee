"""Small problems that several tests use, and a guard that no test asks other machines."""

import ipaddress
import signal
import sys
import threading

import numpy as np
import pytest
import torch

# the networks of the tests are too small to share among threads
torch.set_num_threads(1)
# what a script starts in the background ignores Ctrl-C, and so would the commands that tests start
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Connecting, sending and looking up; what listens and answers is no attempt.
_ADDRESS_AT = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getnameinfo": 0,
}
_HOST_AT = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0}
_attempts = []


def _is_here(host):
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host in ("", "localhost")
    return address.is_loopback or address.is_unspecified


def _guard(event, arguments):
    """Refuse what leads to other machines, and remember it: what asks may hide the error."""
    if event in _ADDRESS_AT:
        address = arguments[_ADDRESS_AT[event]]
        host = address[0] if isinstance(address, tuple) else ""  # names of Unix sockets are text
    elif event in _HOST_AT:
        host = arguments[_HOST_AT[event]] or ""
    else:
        return
    if isinstance(host, str | bytes) and not _is_here(host):
        _attempts.append(f"{event} {host!r}")
        raise ConnectionRefusedError(f"Tests ask no other machine; this was {_attempts[-1]}.")


sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def network_attempts():
    """Fail what connects, sends or looks up anything but this machine."""
    yield _attempts
    if found := _attempts[:]:
        _attempts.clear()
        pytest.fail(f"This asked other machines: {', '.join(found)}.")


@pytest.fixture
def feature_problem():
    """Two shifted clouds of 2-D features with AUs that tell the class."""
    rng = np.random.default_rng(0)
    names = np.array(["anger", "fear", "joy"])
    y_src, y_tgt = rng.integers(0, 3, 150), rng.integers(0, 3, 120)
    centres = np.array([[2.5, 0.0, 0.0], [0.0, 2.5, 0.0], [0.0, 0.0, 2.5]])
    X_src = (centres[y_src] + rng.normal(0, 0.5, (150, 3))).astype(np.float32)
    X_tgt = (centres[y_tgt] + rng.normal(0, 0.5, (120, 3)) + [1.8, 1.8, -1.5]).astype(np.float32)
    codes = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0]])
    au_src = np.clip(0.25 + 0.5 * codes[y_src] + rng.normal(0, 0.12, (150, 4)), 0, 1)
    au_tgt = np.clip(0.25 + 0.5 * codes[y_tgt] + rng.normal(0, 0.12, (120, 4)), 0, 1)
    return {
        "X": X_src,
        "y": names[y_src],
        "X_tgt": X_tgt,
        "y_tgt": names[y_tgt],
        "au_src": au_src,
        "au_tgt": au_tgt,
    }


@pytest.fixture
def face_problem():
    """Tiny pictures of two classes: a bright bar above or below, target inverted."""
    rng = np.random.default_rng(1)
    y_src, y_tgt = rng.integers(0, 2, 48), rng.integers(0, 2, 40)

    def draw(labels, invert):
        faces = rng.integers(40, 90, (len(labels), 24, 24, 3))
        for face, label in zip(faces, labels, strict=True):
            face[(slice(3, 9) if label else slice(15, 21))] += 140
        faces = 255 - faces if invert else faces
        return faces.astype(np.uint8)

    def score(labels):
        codes = np.array([[1, 0, 0], [0, 1, 0]])[labels]
        return np.clip(0.25 + 0.5 * codes + rng.normal(0, 0.1, (len(labels), 3)), 0, 1)

    return {
        "X": draw(y_src, False),
        "y": np.array(["joy", "sad"])[y_src],
        "X_tgt": draw(y_tgt, True),
        "y_tgt": np.array(["joy", "sad"])[y_tgt],
        "au_src": score(y_src),
        "au_tgt": score(y_tgt),
    }
