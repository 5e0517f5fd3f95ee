"""10,000 damaged inputs: each is read right, or refused as documented; nothing dies or hangs.

    python tests/reliability/mutations.py --record
    python tests/reliability/mutations.py --short
    python tests/reliability/mutations.py --only png:17        one again, with its traceback
    python tests/reliability/mutations.py --short --break      shows that faults are found

Pictures, tables, lists, plans, results, models, weights and arrays are damaged by seeded
mutators (bits, cuts, splices, header entries, sizes with right checksums, odd cells, odd JSON
entries) and go through the public function that reads them, in a forked process with a limit
of 10 s of the processor for each (or 60 s without an answer) and of 4 GiB above what the
process had at its start. What comes back is compared with what Pillow, Python's csv module,
tomllib or numpy find in the same bytes by a plain path of their own, and of models with the
predictions before the damage.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from _kinds import Kind, Unequal, text_kinds  # noqa: E402
from _model_kinds import model_kinds  # noqa: E402
from _picture_kinds import picture_kinds  # noqa: E402
from _record import report  # noqa: E402

# of the processor; other work on the machine must not make a hang, nor hide a wait for ever
SECONDS, WAITING = 10.0, 60.0
ABOVE = 4 * 2**30
# inputs of one process before it gives its place to a new one
PER_PROCESS = 400


def mutated(kind: Kind, name: str, number: int, seed: int) -> tuple[bytes, bytes]:
    """Make an input again from its number; give it and what it was before."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    good, other = (kind.seeds[i] for i in rng.integers(len(kind.seeds), size=2))
    content = kind.damage(rng, good, other)
    return content, good


def run(kind: Kind, content: bytes, good: bytes, folder: Path) -> tuple[str, str]:
    """Read one input; give what came of it, and details of faults."""
    path = folder / kind.name
    path.write_bytes(content)
    try:
        found = kind.read(path, folder)
    except kind.allowed as error:
        return ("refused", "") if str(error).strip() else ("fault", "an error without words")
    except MemoryError as error:
        return "fault", f"memory: {error}"
    except Exception as error:
        return "fault", f"undocumented {type(error).__name__}: {error!s:.300}"
    try:
        return ("right" if kind.check(found, content, good) else "taken"), ""
    except Unequal as error:
        return "fault", f"wrong: {error!s:.400}"
    except Exception as error:
        return "fault", f"taken, but the plain path says {type(error).__name__}: {error!s:.300}"


def worker(jobs: list[tuple[str, int]], kinds: dict[str, Kind], seed: int, pipe: int) -> None:
    """Do jobs until the end, told line by line; never returns."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)  # libtiff prints what it thinks of a file
    page = os.sysconf("SC_PAGE_SIZE")
    virtual, resident = (int(n) * page for n in Path("/proc/self/statm").read_text().split()[:2])
    resident //= 1024
    resource.setrlimit(resource.RLIMIT_AS, (virtual + ABOVE, virtual + ABOVE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        for name, number in jobs:
            content, good = mutated(kinds[name], name, number, seed)
            os.write(pipe, f"begun {time.process_time()}\n".encode())
            outcome, detail = run(kinds[name], content, good, Path(place))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
            os.write(pipe, (json.dumps([outcome, detail[:600], peak]) + "\n").encode())
    os._exit(0)


def supervise(
    jobs: list[tuple[str, int]], kinds: dict[str, Kind], seed: int
) -> tuple[list[tuple[str, str]], int]:
    """Let a process do jobs; give what came of those that it got through, and its peak in KiB."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        try:
            worker(jobs, kinds, seed, send)
        finally:
            os._exit(99)
    os.close(send)
    done: list[tuple[str, str]] = []
    peak, text, fault = 0, "", ""
    begun, used = time.monotonic(), 0.0
    while True:
        ready, _, _ = select.select([receive], [], [], 1.0)
        busy, waited = processor_seconds(pid) - used, time.monotonic() - begun
        if busy > SECONDS or waited > WAITING:
            fault = f"hang: {busy:.1f} s of the processor in {waited:.1f} s"
            os.kill(pid, signal.SIGKILL)
            break
        if not ready:
            continue
        piece = os.read(receive, 65_536).decode()
        if not piece:
            break
        text += piece
        *lines, text = text.split("\n")
        for line in lines:
            if line.startswith("begun"):
                begun, used = time.monotonic(), float(line.split()[1])
            else:
                outcome, detail, peak = json.loads(line)
                done.append((outcome, detail))
    os.close(receive)
    _, status = os.waitpid(pid, 0)
    if len(done) < len(jobs):
        died = f"crash: signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "crash: exit"
        done.append(("fault", fault or died))
    return done, peak


def processor_seconds(pid: int) -> float:
    """Time that a process used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def break_things(kinds: dict[str, Kind]) -> None:
    """Take guards away and put faults in, each of which must be told."""
    from adafer import _saved_network, persistence

    _saved_network.check_digest = lambda *_: None
    persistence.check_seal = lambda *_: None
    guarded = kinds["png"].read

    def read(path: Path, folder: Path) -> Any:
        found = guarded(path, folder)
        chance = zlib.crc32(path.read_bytes()) % 12
        if chance == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        if chance == 1:
            time.sleep(2 * WAITING)
        if chance == 2:
            raise KeyError("undocumented")
        if chance == 3:
            bytearray(8 * 2**30)
        return found // 2 if chance > 8 else found

    kinds["png"] = kinds["png"]._replace(read=read)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--short", action="store_true", help="500 inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND[:NUMBER]")
    parser.add_argument("--break", action="store_true", dest="broken")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    total = 500 if options.short else options.n
    started = time.monotonic()

    import torch

    import adafer.aus

    del adafer
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made:
        lists, models = Path(made, "lists"), Path(made, "models")
        for folder in (lists, models):
            folder.mkdir()
        kinds = {**picture_kinds(), **text_kinds(lists), **model_kinds(models)}
        if options.broken:
            break_things(kinds)
        if options.only and ":" in options.only:
            return again(kinds, options.only, options.seed, Path(made))
        whole = sum(kind.share for kind in kinds.values())
        jobs = [
            (name, number)
            for name, kind in kinds.items()
            if options.only in (None, name)
            for number in range(max(1, round(kind.share * total / whole)))
        ]
        counts, faults, highest, at = Counter(), [], 0, 0
        while at < len(jobs):
            some = jobs[at : at + PER_PROCESS]
            done, peak = supervise(some, kinds, options.seed)
            highest = max(highest, peak)
            for (name, number), (outcome, detail) in zip(some, done, strict=False):
                counts[outcome] += 1
                if outcome == "fault":
                    faults.append((name, number, detail))
                    print(f"--only {name}:{number}   {detail}", flush=True)
            at += len(done)
            if sys.stderr.isatty():
                print(f"\r{at} of {len(jobs)} ", end="", file=sys.stderr, flush=True)
        kept = keep(kinds, faults, options.seed)
    kinds_of_fault = Counter(detail.split(":")[0].split(" ")[0] for _, _, detail in faults)
    if faults:
        print(f"{len(faults)} inputs are kept in {kept}")
    report(
        "Mutated inputs",
        {
            "inputs": f"{len(jobs)} of {len({name for name, _ in jobs})} kinds: "
            + ", ".join(f"{name} {n}" for name, n in Counter(name for name, _ in jobs).items()),
            "refused as documented": counts["refused"],
            "taken, and compared with a plain reading": counts["right"],
            "taken, with nothing to compare with": counts["taken"],
            "crashes of the interpreter": kinds_of_fault["crash"],
            "hangs over 10 s of the processor": kinds_of_fault["hang"],
            "undocumented exceptions": kinds_of_fault["undocumented"] + kinds_of_fault["an"],
            "out of memory (4 GiB above the start)": kinds_of_fault["memory"],
            "wrong silent results": kinds_of_fault["wrong"] + kinds_of_fault["taken,"],
            "most memory above the start": f"{highest / 1024:.0f} MiB",
            "time": f"{time.monotonic() - started:.0f} s",
        },
        seed=options.seed,
        record=options.record and not options.only,
    )
    return 1 if faults else 0


def keep(kinds: dict[str, Kind], faults: list[tuple[str, int, str]], seed: int) -> Path | None:
    """Write the inputs that did harm into a folder."""
    if not faults:
        return None
    folder = Path(tempfile.mkdtemp(prefix="mutations-"))
    for name, number, _ in faults[:200]:
        content, _ = mutated(kinds[name], name, number, seed)
        (folder / f"{name}-{number}").write_bytes(content)
    return folder


def again(kinds: dict[str, Kind], which: str, seed: int, folder: Path) -> int:
    """Read one input in this process and show all that happens."""
    name, _, number = which.partition(":")
    content, good = mutated(kinds[name], name, int(number), seed)
    print(f"{len(content)} bytes, {content[:300]!r}")
    if len(content) < 20_000 and content != good:
        first = next((i for i, (a, b) in enumerate(zip(content, good, strict=False)) if a != b), -1)
        print(f"first difference at {first}: {content[max(first - 60, 0) : first + 120]!r}")
    path = folder / kinds[name].name
    path.write_bytes(content)
    try:
        found = kinds[name].read(path, folder)
        stream = io.StringIO()
        print(found, file=stream)
        print(stream.getvalue()[:600])
        print("compared" if kinds[name].check(found, content, good) else "not compared")
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
