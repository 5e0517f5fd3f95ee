import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from adafer.pages.analysis import NoFaceError, PictureAnalyst
from adafer.pages.command import run_until_stopped
from adafer.pages.server import Limits, PageServer
from adafer.persistence import load_model

from .conftest import EVIL, Page


class Analyst:
    """Answers at once, with the size of the picture."""

    aligner = None

    def __init__(self, classifier):
        self.classifier = classifier
        self.pause = threading.Event()
        self.pause.set()
        self.entered = threading.Semaphore(0)

    def analyse(self, image, mode):
        self.entered.release()
        self.pause.wait(10)
        if image.shape[0] == 1:
            raise NoFaceError("No face was found.")
        if image.shape[0] == 2:
            raise RuntimeError("a bug")
        return {"width": image.shape[1], "mode": mode, "faces": []}


class Served:
    """A server at work, and how to ask it."""

    def __init__(self, analyst, **options):
        self.analyst = analyst
        self.server = PageServer(analyst, port=0, **options)
        self.port = self.server.server_port
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.close_gently()

    def ask(self, method="GET", path="/", body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.content = answer.read()
        connection.close()
        return answer

    def send(self, content, mode="auto", **headers):
        return self.ask("POST", "/analyse", content, X_Adafer_Mode=mode, **headers)

    def talk(self, text):
        """Send bytes as they are; give back all that is answered."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as stream:
            stream.sendall(text)
            pieces = []
            while piece := stream.recv(2**16):
                pieces.append(piece)
        return b"".join(pieces)


@pytest.fixture(scope="module")
def classifier(model):
    return load_model(model)


@pytest.fixture
def serve(classifier):
    """Start servers that are stopped at the end."""
    started = []

    def start(analyst=None, **options):
        started.append(Served(analyst or Analyst(classifier), **options))
        return started[-1]

    yield start
    for served in started:
        served.analyst.pause.set()
        served.stop()


def png(height=4, width=5):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def error_of(answer):
    return json.loads(answer.content)["error"]


# ------------------------------------------------------------------------ the page


def test_the_page_is_well_formed_and_escapes_names(serve):
    answer = serve(title="<i>mine</i>").ask()
    page = Page(answer.content.decode())
    assert answer.status == 200
    assert "<i>mine</i>" in page.text
    assert EVIL in page.text
    assert page.tags.count("script") == 1
    assert {"b", "i"}.isdisjoint(page.tags)
    assert "need not feel the emotion of that name" in page.text
    assert "adafer[align]" in page.text
    assert "{{" not in page.text
    labelled = {label["for"] for label in page.all("label")}
    assert labelled == {"files", "mode"}


def test_the_page_asks_nobody_else_and_may_not(serve):
    served = serve()
    page = Page(served.ask().content.decode())
    addresses = [tag["src"] for tag in page.all("script")] + [t["href"] for t in page.all("link")]
    assert addresses
    for address in addresses:
        assert address.startswith("/")
        assert served.ask(path=address).status == 200
        assert b"http" not in served.ask(path=address).content.replace(b"HTTP", b"")
    for answer in (served.ask(), served.ask(path="/serve.js"), served.ask(path="/none")):
        policy = answer.getheader("Content-Security-Policy")
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Cache-Control") == "no-store"
        assert answer.getheader("Server") == "adafer"


@pytest.mark.parametrize(
    "path",
    ["/none", "/../model.json", "/%2e%2e/model.json", "//etc/passwd", "/serve.css?x", "/?a=1"],
)
def test_paths_of_requests_lead_nowhere_else(serve, path):
    assert serve().ask(path=path).status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods_are_not_known(serve, method):
    answer = serve().ask(method)
    assert answer.status == 501
    assert answer.getheader("Access-Control-Allow-Origin") is None


def test_nonsense_gets_an_error_and_the_server_goes_on(serve):
    served = serve()
    for text in (
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
    ):
        answer = served.talk(text)
        assert b"200 OK" not in answer
    assert served.ask().status == 200
    assert served.ask("HEAD").content == b""


# ------------------------------------------------------------------- who may ask


def test_names_of_other_sites_are_refused(serve):
    served = serve()
    assert served.ask(Host="evil.example").status == 421
    assert served.ask(Host=f"localhost:{served.port}").status == 200
    assert b" 421 " in served.talk(b"GET / HTTP/1.1\r\n\r\n")
    two = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert b" 421 " in served.talk(two)


def test_other_sites_cannot_send_pictures(serve):
    served = serve()
    own = f"http://127.0.0.1:{served.port}"
    assert served.send(png(), Origin=own).status == 200
    assert served.send(png(), Origin="http://evil.example").status == 403
    assert served.send(png(), Origin="null").status == 403
    assert served.send(png(), Sec_Fetch_Site="cross-site").status == 403
    assert served.ask("POST", "/analyse", png()).status == 400


def test_a_token_is_asked_for_everywhere(serve):
    served = serve(token="s3cret-token")
    assert served.server.url.endswith("/?token=s3cret-token")
    for answer in (
        served.ask(),
        served.ask(path="/serve.js"),
        served.send(png()),
        served.ask(path="/?token=wrong"),
        served.ask(path="/serve.js?token=s3cret-token"),
        served.ask(Cookie="adafer-1=s3cret-token"),
    ):
        assert answer.status == 401
        assert b"s3cret" not in answer.content
    entered = served.ask(path="/?token=s3cret-token")
    assert entered.status == 303
    assert entered.getheader("Location") == "/"
    cookie = entered.getheader("Set-Cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    pair = cookie.partition(";")[0]
    assert served.ask(Cookie=pair).status == 200
    assert served.send(png(), Cookie=pair).status == 200
    assert served.send(png(), Authorization="Bearer s3cret-token").status == 200


def test_addresses_that_others_reach_always_have_a_token(serve):
    served = serve(host="0.0.0.0")
    assert not served.server.is_local
    assert len(served.server.token) >= 32
    assert served.server.token in served.server.url
    assert served.ask().status == 401
    assert serve().server.token is None


def test_by_default_only_this_machine_is_listened_to(serve):
    served = serve()
    assert served.server.server_address[0] == "127.0.0.1"
    assert served.server.is_local


# ---------------------------------------------------------------------- pictures


def test_pictures_are_answered_in_the_mode_asked_for(serve):
    answer = serve().send(png(width=9), mode="crop")
    assert answer.status == 200
    assert json.loads(answer.content) == {"width": 9, "mode": "crop", "faces": []}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello", "no picture in a format"),
        (png(height=40)[:-25], "damaged or cut short"),
        (png(height=50, width=50), "more than 0.002 megapixels"),
        (png(height=1), "No face was found."),
    ],
)
def test_pictures_that_cannot_be_used_say_why(serve, content, words):
    answer = serve(limits=Limits(max_pixels=2000)).send(content)
    assert answer.status == 422
    assert words in error_of(answer)


def test_large_files_are_refused_and_the_answer_arrives(serve):
    # more than fits on the way: what is not read would break the connection
    answer = serve(limits=Limits(max_bytes=2**22)).send(bytes(15 * 2**20))
    assert answer.status == 413
    assert "more than 4 MB" in error_of(answer)


def test_lengths_must_be_told_and_be_right(serve):
    served = serve(limits=Limits(read_seconds=0.5))
    start = b"POST /analyse HTTP/1.1\r\nHost: localhost\r\nX-Adafer-Mode: auto\r\n"
    assert b" 411 " in served.talk(start + b"\r\n")
    assert b" 411 " in served.talk(start + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert b" 400 " in served.talk(start + b"Content-Length: 0\r\n\r\n")
    assert b" 400 " in served.talk(start + b"Content-Length: -5\r\n\r\n")
    # what does not arrive in time is not waited for
    began = time.monotonic()
    assert b" 408 " in served.talk(start + b"Content-Length: 50\r\n\r\nabc")
    assert time.monotonic() - began < 5


def test_too_many_pictures_have_to_wait(serve):
    served = serve(limits=Limits(per_second=0.1, at_once=2))
    answers = [served.send(png()) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].getheader("Retry-After")) <= 10


def test_pictures_are_looked_at_one_at_a_time_and_few_may_wait(serve):
    served = serve(limits=Limits(waiting=2))
    served.analyst.pause.clear()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(served.send(png()))) for _ in "ab"]
    for thread in threads:
        thread.start()
    assert served.analyst.entered.acquire(timeout=5)
    assert not served.analyst.entered.acquire(timeout=0.2)
    deadline = time.monotonic() + 5
    while served.server._queue._value > 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert served.send(png()).status == 503
    served.analyst.pause.set()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200, 200]


def test_too_many_connections_are_turned_away(serve):
    served = serve(limits=Limits(connections=2))
    held = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(2)]
    deadline = time.monotonic() + 5
    while served.server._connections._value > 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as stream:
        assert b" 503 " in stream.recv(1000)
    for stream in held:
        stream.close()
    deadline = time.monotonic() + 5
    while served.server._connections._value < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert served.ask().status == 200


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_requests_that_trickle_in_are_given_up(serve, start):
    served = serve(limits=Limits(read_seconds=0.4, connections=1))
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as stream:
        stream.sendall(start)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 8:
                stream.sendall(b"a")
                stream.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if not stream.recv(1000):
                        break
        assert time.monotonic() - began < 5
    deadline = time.monotonic() + 5
    while served.server._connections._value < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert served.ask().status == 200


def test_hundreds_of_connections_end_no_thread_and_leave_none(serve):
    served = serve()
    before = threading.active_count()
    streams = []
    for _ in range(300):
        with contextlib.suppress(OSError):
            streams.append(socket.create_connection(("127.0.0.1", served.port), timeout=5))
    assert threading.active_count() <= before + 2 * served.server.limits.connections
    for stream in streams:
        stream.close()
    deadline = time.monotonic() + 10
    while (
        served.server._connections._value < served.server.limits.connections
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    assert served.ask().status == 200
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_a_bug_is_told_in_the_terminal_and_not_in_the_answer(serve, capfd):
    served = serve()
    answer = served.send(png(height=2))
    assert answer.status == 500
    assert b"a bug" not in answer.content
    assert "RuntimeError: a bug" in capfd.readouterr().err
    assert served.send(png()).status == 200


_opened: list | None = None


def _watch(event, arguments):
    if _opened is not None and event == "open":
        path, mode, flags = arguments
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & writes:
            _opened.append(path)


def test_uploads_are_never_written_to_disk(serve, classifier, rendered):
    global _opened
    analyst = PictureAnalyst(classifier, None)
    analyst.pause = threading.Event()
    served = serve(analyst)
    stream = io.BytesIO()
    Image.fromarray(rendered[2][0][0]).save(stream, format="TIFF")
    sys.addaudithook(_watch)
    _opened = []
    try:
        answer = served.send(stream.getvalue())
        written, _opened = _opened, None
    finally:
        _opened = None
    assert answer.status == 200
    assert json.loads(answer.content)["faces"][0]["aus"]
    assert [path for path in written if path != os.devnull] == []


# ------------------------------------------------------------------- the command


def test_the_command_serves_and_ctrl_c_ends_it_cleanly(model, rendered):
    command = [sys.executable, "-m", "adafer", "serve", str(model), "--port", "0", "--no-align"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            port = int(re.search(r"http://127\.0\.0\.1:(\d+)/ ", process.stdout.readline())[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            stream = io.BytesIO()
            Image.fromarray(rendered[2][0][0]).save(stream, format="JPEG")
            connection.request("POST", "/analyse", stream.getvalue(), {"X-Adafer-Mode": "auto"})
            assert connection.getresponse().status == 200
            connection.close()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "stopped" in errors


def test_a_request_to_terminate_ends_it_too_and_the_port_is_free_again(classifier, capsys):
    server = PageServer(Analyst(classifier), port=0)
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    run_until_stopped(server)
    timer.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr().err == "stopped\n"
    PageServer(Analyst(classifier), port=server.server_port).close_gently()


def test_a_network_address_is_warned_of(classifier, capsys):
    server = PageServer(Analyst(classifier), host="0.0.0.0", port=0)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    run_until_stopped(server)
    timer.join()
    assert "not encrypted" in capsys.readouterr().err


def test_a_taken_port_is_told(serve, classifier, network_attempts):
    served = serve()
    with pytest.raises(OSError, match="Choose another --port"):
        PageServer(Analyst(classifier), port=served.port)
    with pytest.raises(OSError, match=r"Use 127\.0\.0\.1"):
        PageServer(Analyst(classifier), host="no such host")
    assert network_attempts.pop() == "socket.getaddrinfo 'no such host'"  # it was asked for
