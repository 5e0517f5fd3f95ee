"""Ctrl-C that ends a command in one way, whenever it is pressed."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from types import FrameType

__all__ = ["EXIT_CODE", "install", "was_interrupted"]

EXIT_CODE = 130
# how often the end of an import is looked for
_SECONDS = 0.05


class _Interrupts:
    """What happened so far."""

    pressed = False
    from_waiter = False
    waiting = False


def install() -> None:
    """Let Ctrl-C wait for the end of an import; called first, before anything slow.

    An exception that is raised inside an import may pass through compiled code
    that swallows it, turns it into another, or ends the process by the signal
    (torch's does). So an interrupt waits until no import is running, and is
    raised as KeyboardInterrupt then. A second one in the meantime ends the
    process at once. Does nothing outside the main thread, or where Ctrl-C is
    ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle)
        # what is registered first runs last
        atexit.register(_keep_exit_code)


def was_interrupted() -> bool:
    """Tell whether Ctrl-C was pressed since `install`."""
    return _Interrupts.pressed


def _handle(number: int, frame: FrameType | None) -> None:
    ours, _Interrupts.from_waiter = _Interrupts.from_waiter, False
    _Interrupts.pressed = True
    if not _is_importing(frame):
        _Interrupts.waiting = False
        raise KeyboardInterrupt
    if _Interrupts.waiting and not ours:
        os.write(2, b"adafer: interrupted\n")
        os._exit(EXIT_CODE)
    _Interrupts.waiting = True
    threading.Thread(target=_wait_for_imports, daemon=True).start()


def _keep_exit_code() -> None:
    """Hold back the signal that Python may end itself with.

    It does so, whatever the exit code, once a KeyboardInterrupt has passed
    through ``exec`` or ``eval`` of a text, as dataclasses and type hints use it.
    """
    if _Interrupts.pressed and hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _wait_for_imports() -> None:
    """Press again once the main thread imports nothing."""
    main = threading.main_thread().ident
    assert main is not None
    while _is_importing(sys._current_frames().get(main)):
        time.sleep(_SECONDS)
    _Interrupts.from_waiter = True
    if hasattr(signal, "pthread_kill"):
        # wakes the main thread where it waits for something
        signal.pthread_kill(main, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
