"""Nothing is sent or looked up: the work is done in a network namespace, under strace.

    python tests/reliability/network_silence.py --short --record    # a list of usual work
    python tests/reliability/network_silence.py --record            # the whole test-suite
    python tests/reliability/network_silence.py -- adafer demo      # any command

The namespace has no interface but the loopback, so that nothing can be reached; strace
counts what was tried: connections and messages to addresses that are not of this machine,
and questions to name servers wherever they are. A control shows that both would be seen.
Where namespaces or strace are not permitted the report says so, and the rest is done.
"""

from __future__ import annotations

import argparse
import fcntl
import ipaddress
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

ROOT = Path(__file__).resolve().parents[2]
CALLS = "connect,sendto,sendmsg,sendmmsg"

IN_PYTHON = """
import importlib, pkgutil, sys
import adafer
for found in pkgutil.walk_packages(adafer.__path__, "adafer."):
    if not found.name.endswith("__main__"):
        try:
            importlib.import_module(found.name)
        except ImportError as error:
            print("left out:", error, file=sys.stderr)
from adafer import AdaFERClassifier
from adafer.datasets import load_facs_faces
from adafer.pages import write_report
faces = load_facs_faces(domain="studio")
X, y = faces.images[:40], faces.target[:40]
clf = AdaFERClassifier("convnet", image_size=32, epochs=1, batch_size=16, device="cpu")
clf.fit(X, y, X[::2])
clf.predict(X)
clf.transform(X[:4])
clf.save("model")
again = AdaFERClassifier.load("model")
again.predict_proba(X[:4])
write_report(again, "report.html")
from pathlib import Path
from PIL import Image
for i, (image, label) in enumerate(zip(faces.images[:40], faces.target[:40])):
    folder = Path("faces", str(label))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f"{i}.png")
"""

SERVE = """
import re, subprocess, sys, urllib.request
run = subprocess.Popen([sys.executable, "-m", "adafer", "serve", "fitted", "--port", "0",
                        "--no-align"], stdout=subprocess.PIPE, text=True)
url = re.search("http://\\\\S+", run.stdout.readline())[0]
assert b"adafer" in urllib.request.urlopen(url).read()
run.terminate()
assert run.wait(30) == 0
"""

_CLI = [sys.executable, "-m", "adafer"]
# All in one folder, in this order.
SHORT = {
    "import, fit, predict, save, load, report in Python": [sys.executable, "-c", IN_PYTHON],
    "adafer fit": [
        *_CLI, "fit", "--source", "faces", "--target", "faces", "--output", "fitted",
        "--backbone", "convnet", "--image-size", "32", "--epochs", "1", "--source-epochs", "1",
        "--cache", "aus.sqlite",
    ],
    "adafer predict": [*_CLI, "predict", "fitted", "faces"],
    "adafer report": [*_CLI, "report", "fitted", "--faces", "faces"],
    "adafer serve": [sys.executable, "-c", SERVE],
}  # fmt: skip
CONTROLS = {
    "connects": "s.connect(('192.0.2.1', 9))",
    "sends": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))",
    "looks up": "socket.getaddrinfo('adafer.invalid', 80)",
}


class Seen(NamedTuple):
    """What a command did.

    Attributes
    ----------
    code : int
        Its exit status.
    attempts : list of str or None
        Lines of strace that lead elsewhere; None without strace.
    last : str
        The last line that it printed.
    """

    code: int
    attempts: list[str] | None
    last: str


def works(*command: str) -> bool:
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    )


def namespace() -> list[str]:
    """Give the start of a command that runs without network; nothing if it is not permitted."""
    for start in (["unshare", "-n"], ["unshare", "-rn"]):
        if works(*start):
            return [*start, sys.executable, __file__, "--inside"]
    return []


def run_inside(command: list[str]) -> None:
    """Set up the loopback and become the command."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        up = struct.pack("16sh14x", b"lo", 1)
        fcntl.ioctl(stream, 0x8914, up)  # SIOCSIFFLAGS with IFF_UP
    found = [name for _, name in socket.if_nameindex()]
    assert found == ["lo"], found
    os.execvp(command[0], command)


def leads_elsewhere(line: str) -> bool:
    """Tell whether a line of strace is about another machine, or a name server."""
    port = re.search(r"sin6?_port=htons\((\d+)\)", line)
    address = re.search(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', line)
    if port is None or address is None:
        return False  # within the machine, or to a socket that was connected before
    found = ipaddress.ip_address(address[1] or address[2])
    return int(port[1]) == 53 or not (found.is_loopback or found.is_unspecified)


def watch(
    command: list[str], folder: Path, inside: list[str], traced: bool, *, quiet: bool = False
) -> Seen:
    log = folder / "strace.log"
    strace = ["strace", "-f", "-qq", "-s", "64", "-e", f"trace={CALLS}", "-o", str(log)]
    if traced and works("strace", "--seccomp-bpf", "-f", "-qq", "-e", "trace=connect"):
        strace.insert(1, "--seccomp-bpf")  # stops at these calls alone
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as said:
        run = subprocess.run(
            [*inside, *(strace if traced else []), *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "HOME": str(folder), "PYTHONSAFEPATH": "1"},
            stdout=said,
            stderr=subprocess.DEVNULL if quiet else None,
            check=False,
        )
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").splitlines()
        if run.returncode and not quiet:
            print("\n".join(lines[-60:]), file=sys.stderr)
    last = lines[-1] if lines else ""
    if not traced:
        return Seen(run.returncode, None, last)
    elsewhere = [x for x in log.read_text().splitlines() if leads_elsewhere(x)]
    return Seen(run.returncode, elsewhere, last)


def controls(folder: Path, inside: list[str], traced: bool) -> dict[str, object]:
    """Do on purpose what must be seen."""
    rows: dict[str, object] = {}
    for what, code in CONTROLS.items():
        text = f"import socket\ns = socket.socket()\ns.settimeout(1)\n{code}"
        with tempfile.TemporaryDirectory(dir=folder) as place:
            seen = watch([sys.executable, "-c", text], Path(place), inside, traced, quiet=True)
        failed = "fails" if seen.code else "SUCCEEDS"
        noticed = "" if seen.attempts is None else f", seen {len(seen.attempts)} times"
        rows[f"control: what {what}"] = failed + noticed
    return rows


def main() -> int:
    if "--inside" in sys.argv[1:2]:
        run_inside(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="usual work instead of the tests")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--no-strace", action="store_true", help="the namespace alone; faster")
    parser.add_argument("--break", dest="broken", action="store_true", help="connect on purpose")
    parser.add_argument("command", nargs="*", help="after --; else the test-suite")
    options = parser.parse_args()
    from _record import report

    commands = SHORT
    if options.command:
        commands = {" ".join(options.command): options.command}
    elif not options.short:
        suite = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(ROOT), str(ROOT / "tests")]
        commands = {"the test-suite": ["env", f"--chdir={ROOT}", *suite]}
    if options.broken:
        code = f"import socket\ns = socket.socket()\ntry:\n    {CONTROLS['connects']}\n"
        commands = {"hidden": [sys.executable, "-c", code + "except OSError: pass"], **commands}
    inside = namespace()
    traced = not options.no_strace and works("strace", "-f", "-o", os.devnull)
    rows: dict[str, object] = {
        "network namespace without interfaces": "yes" if inside else "NOT PERMITTED here",
        "strace": "yes" if traced else ("left out" if options.no_strace else "NOT THERE"),
    }
    good, attempts = bool(inside or traced), 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows |= controls(place, inside, traced)
        good &= not any("SUCCEEDS" in str(x) or " 0 times" in str(x) for x in rows.values())
        for what, command in commands.items():
            seen = watch(command, place, inside, traced)
            for line in seen.attempts or []:
                print(f"{what}: {line}", file=sys.stderr)
            attempts += len(seen.attempts or [])
            good &= seen.code == 0
            rows[what] = f"exit {seen.code}"
            if what == "the test-suite":
                rows[what] = f"exit {seen.code}; {seen.last}"
    rows["attempts to reach or look up anything else"] = attempts if traced else "not counted"
    good &= attempts == 0
    rows["silent"] = "yes" if good else "NO"
    title = "Network cut off" + (": usual work" if options.short else "")
    report(title, rows, seed=None, record=options.record)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
