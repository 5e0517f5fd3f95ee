"""The guard in conftest.py that lets no test ask other machines."""

import contextlib
import socket
import subprocess
import sys
import threading
import urllib.request

import pytest


def connect(family, kind, address):
    with socket.socket(family, kind) as stream:
        stream.settimeout(1)
        stream.connect(address)


ATTEMPTS = {
    "connect": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 9)),
    "connect by UDP": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("8.8.8.8", 53)),
    "connect by IPv6": lambda: connect(socket.AF_INET6, socket.SOCK_STREAM, ("2001:db8::1", 9)),
    "create_connection": lambda: socket.create_connection(("example.org", 80), timeout=1),
    "getaddrinfo": lambda: socket.getaddrinfo("example.org", 443),
    "gethostbyname": lambda: socket.gethostbyname("example.org"),
    "gethostbyaddr": lambda: socket.gethostbyaddr("192.0.2.1"),
    "urlopen": lambda: urllib.request.urlopen("https://example.org", timeout=1),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempts_are_refused_and_remembered(network_attempts, name):
    with pytest.raises(OSError, match="Tests ask no other machine"):
        ATTEMPTS[name]()
    assert network_attempts
    network_attempts.clear()


def test_attempts_to_send_are_refused(network_attempts):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream,
        pytest.raises(ConnectionRefusedError),
    ):
        stream.sendto(b"", ("192.0.2.1", 9))
    network_attempts.clear()


def test_what_hides_its_error_in_a_thread_is_remembered(network_attempts):
    def hidden():
        with contextlib.suppress(OSError):
            ATTEMPTS["connect"]()

    thread = threading.Thread(target=hidden)
    thread.start()
    thread.join()
    assert network_attempts == ["socket.connect '192.0.2.1'"]
    network_attempts.clear()


def test_a_test_that_asked_others_fails(tmp_path, request):
    conftest = request.config.rootpath / "tests" / "conftest.py"
    (tmp_path / "conftest.py").write_text(conftest.read_text(encoding="utf-8"))
    (tmp_path / "test_it.py").write_text(
        "import contextlib, socket\n"
        "def test_it():\n"
        "    with contextlib.suppress(OSError):\n"
        "        socket.gethostbyname('example.org')\n"
        "def test_other():\n"
        "    pass\n"
    )
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert "This asked other machines: socket.gethostbyname 'example.org'" in run.stdout
    assert "2 passed, 1 error" in run.stdout


def test_this_machine_may_be_asked():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    assert socket.getaddrinfo("localhost", 80)
    one, other = socket.socketpair()
    one.close()
    other.close()
