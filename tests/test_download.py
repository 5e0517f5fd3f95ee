"""Downloads: resumed, checked, only by a command, and never from where they should not come."""

import ast
import hashlib
import http.server
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest

import adafer
from adafer import _download
from adafer._download import download

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one content; how is up to the server's attributes."""

    def do_GET(self):
        told = self.server.told
        self.server.asked.append(self.headers.get("Range"))
        if "redirect" in told:
            self.send_response(302)
            self.send_header("Location", told["redirect"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, start = told.get("content", CONTENT), 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and told.get("ranges", True):
            start = int(wanted[1])
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            told_start = start + told.get("shift", 0)
            self.send_header("Content-Range", f"bytes {told_start}-{len(content) - 1}/*")
        else:
            self.send_response(told.get("status", 200))
        if told.get("length", True):
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + told.pop("only", len(content))])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.told, found.asked = {}, []
        found.url = f"http://127.0.0.1:{found.server_port}/weights.pth"
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hub" / "weights.pth"


def test_an_interrupted_download_goes_on_from_where_it_was(server, path):
    server.told["only"] = 100_000
    with pytest.raises(OSError, match=r"after 100000 of 300000 bytes.*goes on from there.*weights"):
        download(server.url, path, DIGEST)
    assert os.listdir(path.parent) == ["weights.pth.part"]
    assert download(server.url, path, DIGEST) == path
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]
    assert os.listdir(path.parent) == ["weights.pth"]
    download(server.url, path, DIGEST[:8])
    assert len(server.asked) == 2  # kept


@pytest.mark.parametrize("how", [{"ranges": False}, {"shift": 1}, {"shift": -50_000}])
def test_without_the_right_part_it_starts_anew(server, path, how):
    server.told["only"] = 100_000
    with pytest.raises(OSError, match="after 100000"):
        download(server.url, path, DIGEST)
    server.told.update(how)  # no parts, or another part than was asked for
    assert download(server.url, path, DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"of another file", CONTENT + b"and more", b"x" * 300_000])
def test_what_was_left_of_another_file_is_not_gone_on_with(server, path, left):
    path.parent.mkdir()
    Path(f"{path}.part").write_bytes(left)
    assert download(server.url, path, DIGEST).read_bytes() == CONTENT


def test_all_that_had_arrived_is_taken_without_asking(server, path):
    path.parent.mkdir()
    Path(f"{path}.part").write_bytes(CONTENT)
    assert download(server.url, path, DIGEST).read_bytes() == CONTENT
    assert server.asked == []


def test_a_wrong_hash_is_not_kept_and_what_was_there_stays(server, path):
    path.parent.mkdir()
    path.write_bytes(b"earlier")
    with pytest.raises(ValueError, match=f"has the SHA-256 {DIGEST}, expected it to begin with 00"):
        download(server.url, path, "00")
    assert os.listdir(path.parent) == ["weights.pth"]
    assert path.read_bytes() == b"earlier"


@pytest.mark.parametrize("length", [True, False])
def test_more_than_expected_is_not_kept(server, path, length):
    server.told["length"] = length
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        download(server.url, path, DIGEST, max_bytes=1000)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "http://adafer.invalid/weights.pth", "ftp://127.0.0.1/a"]
)
def test_redirections_lead_to_allowed_addresses_only(server, path, target):
    server.told["redirect"] = target
    ours = rf"leads to {target}: expected an address .* https://"
    urllibs = rf"Redirection to url '{target}' is not allowed"
    with pytest.raises((ValueError, OSError), match=f"{ours}|{urllibs}"):
        download(server.url, path, DIGEST)
    assert os.listdir(path.parent) == []


def test_a_redirection_within_this_machine_is_followed(server, path):
    server.told["redirect"] = server.url + "2"
    plain = Handler.do_GET

    def once(self):
        if self.path.endswith("2"):
            self.server.told.pop("redirect", None)
        plain(self)

    server.RequestHandlerClass = type("Once", (Handler,), {"do_GET": once})
    assert download(server.url, path, DIGEST).read_bytes() == CONTENT


def test_https_does_not_lead_to_this_machine():
    with pytest.raises(ValueError, match="leads to http://127"):
        _download._check_address("http://127.0.0.1/a", before="https://example.org/a")


@pytest.mark.parametrize("url", ["http://example.org/a", "ftp://example.org/a", "data:,a", "a"])
def test_other_addresses_are_refused_before_anything_is_asked(path, url):
    with pytest.raises(ValueError, match="expected an address that begins with https://"):
        download(url, path, DIGEST)
    assert not path.parent.exists()


@pytest.mark.parametrize("status", [404, 500])
def test_errors_of_the_server_say_where_to_put_the_file(server, path, status):
    server.told["status"] = status
    with pytest.raises(OSError, match=r"cannot be fetched .* put it at .*weights\.pth"):
        download(server.url, path, DIGEST)
    assert os.listdir(path.parent) == []


def test_two_do_not_write_one_file_at_once(server, path):
    path.parent.mkdir()
    with (
        _download._opened(Path(f"{path}.part")),
        pytest.raises(OSError, match=r"Another process fetches .*weights\.pth\.part"),
    ):
        download(server.url, path, DIGEST)
    assert server.asked == []


def test_one_place_connects_and_one_command_uses_it():
    connecting, users = set(), set()
    for file in Path(adafer.__file__).parent.rglob("*.py"):
        name = file.relative_to(Path(adafer.__file__).parent).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [str(node.module)]
                users |= {name for alias in node.names if alias.name.startswith("download")}
            wanted = ("urllib.request", "http.client", "requests", "ftplib", "smtplib", "socket")
            if any(module.startswith(wanted) for module in modules):
                connecting.add(name)
    # the local page listens, and asks nobody
    assert connecting == {"_download.py", "pages/server.py"}
    assert users == {"deep/weights.py", "cli/files.py", "cli/__init__.py"}
