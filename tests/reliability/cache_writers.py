"""Many processes on one AU score cache and one face store, one of them killed every few seconds.

    python tests/reliability/cache_writers.py --record
    python tests/reliability/cache_writers.py --short

Eight processes write scores that are a function of the picture, some of pictures that all
of them write, and read what they wrote before. After each `put_many` a process notes in a
log of its own what it knows to be kept. In between all make the same entry of one store,
with AU scores, and look whether its faces and scores are those of the files. Every ten
seconds one gets SIGKILL and a new one takes its place. Nothing that was noted may be
missing at any time, and nothing that is read may be wrong. ``--lose`` notes rows that were
not written, and ``--wrong`` writes a wrong score now and then: both must fail.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image  # noqa: E402

N_WORKERS, N_AUS, N_HOT, N_FILES, SIZE = 8, 5, 256, 40, 16
IDENTITY = "scores by number"
SECONDS_PER_ENTRY = 1.5


def picture(number: int) -> NDArray[np.uint8]:
    """Make the picture of a number."""
    pixels = np.random.default_rng(number).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    pixels[0, 0] = list(number.to_bytes(8, "little")[:3])
    return pixels


def scores(number: int) -> NDArray[np.float32]:
    """Score a number; one in seven shows no face."""
    row = np.random.default_rng([number, 1]).random(N_AUS, dtype=np.float32)
    return row if number % 7 else np.full(N_AUS, np.nan, dtype=np.float32)


def colour(index: int) -> NDArray[np.uint8]:
    """Give the one colour of a file of the store."""
    return np.array([index, 255 - index, 7 * index % 256], dtype=np.uint8)


class Detector:
    """Scores a picture of one colour by its colour."""

    def __init__(self) -> None:
        self.detector_ = self
        self.au_names = ["AU01", "AU02", "AU04"]

    def scores_identity(self) -> str:
        return "by colour"

    def score_faces(self, images: list[NDArray]) -> NDArray[np.float32]:
        return np.array([image[0, 0] / np.float32(255) for image in images], dtype=np.float32)


class Worker:
    """What one of the processes does until it is killed."""

    def __init__(self, place: Path, number: int, options: argparse.Namespace):
        from adafer.aus import AUScoreCache

        self.place = place
        self.options = options
        self.rng = np.random.default_rng([options.seed, number])
        self.cache = AUScoreCache(place / "scores.sqlite")
        self.files = sorted((place / "pictures").iterdir())
        self.log = os.open(
            place / "logs" / f"{number}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
        )
        self.mine: list[int] = []
        self.round = -1

    def work(self) -> None:
        while not (self.place / "stop").exists():
            self.use_cache()
            if (now := int(time.time() / SECONDS_PER_ENTRY)) != self.round:
                self.round = now
                self.use_store(np.random.default_rng(now))
        self.note("end")

    def note(self, line: str) -> None:
        os.write(self.log, f"{line}\n".encode())

    def use_cache(self) -> None:
        new = self.rng.integers(N_HOT, 2**40, size=24)
        hot = self.rng.integers(N_HOT, size=8)
        known = self.rng.choice(self.mine, size=16) if self.mine else np.empty(0, int)
        numbers = [int(n) for n in (*known, *new, *hot)]
        self.check(numbers, len(known))
        numbers = numbers[len(known) :]
        rows = np.array([scores(n) for n in numbers])
        if self.options.wrong and self.rng.random() < 0.01:
            rows[0] = 0.123
        written = numbers
        if self.options.lose and self.rng.random() < 0.01:
            written = numbers[1:]
        self.cache.put_many([picture(n) for n in written], IDENTITY, rows[-len(written) :])
        self.note("kept " + " ".join(map(str, numbers)))
        self.mine = [*self.mine[-2000:], *numbers]

    def check(self, numbers: list[int], n_known: int) -> None:
        """Look numbers up; the first of them must be there."""
        found, missing = self.cache.get_many([picture(n) for n in numbers], IDENTITY, n_aus=N_AUS)
        there = np.setdiff1d(np.arange(len(numbers)), missing)
        expected = np.array([scores(n) for n in numbers])
        wrong = sum(found[i].tobytes() != expected[i].tobytes() for i in there)
        self.note(f"read {len(there)} wrong {wrong} lost {(missing < n_known).sum()}")

    def use_store(self, rng: np.random.Generator) -> None:
        """Make or read the entry of this moment, which is the same for all."""
        from adafer.faces import check_faces
        from adafer.store import decode_faces

        chosen = rng.permutation(N_FILES)[:24]
        found = decode_faces(
            check_faces([self.files[i] for i in chosen]),
            SIZE,
            store=self.place / "store",
            extractor=Detector(),  # type: ignore[arg-type]
        )
        assert found.scores is not None
        colours = np.array([colour(i) for i in chosen])
        faces = np.broadcast_to(colours[:, None, None], (len(chosen), SIZE, SIZE, 3))
        wrong = (np.asarray(found.faces) != faces).any(axis=(1, 2, 3)).sum()
        wrong += (found.scores != (colours / np.float32(255))).any(axis=1).sum()
        self.note(f"store {len(chosen)} wrong {wrong}")


def run_worker(place: Path, number: int, options: argparse.Namespace) -> int:
    warnings.simplefilter("error")  # nothing may be damaged, set aside or not kept
    try:
        Worker(place, number, options).work()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def start(place: Path, number: int) -> subprocess.Popen[bytes]:
    passed = [a for a in sys.argv[1:] if a != "--record"]
    return subprocess.Popen(
        [sys.executable, __file__, *passed, "--worker", str(place), str(number)]
    )


def wait_for_first_rows(place: Path) -> None:
    """Let all processes come to work before the time counts."""
    until = time.monotonic() + 120
    while sum(log.stat().st_size > 0 for log in (place / "logs").iterdir()) < N_WORKERS:
        if time.monotonic() > until:
            raise SystemExit("The processes did not come to write within two minutes.")
        time.sleep(0.2)


def count_logs(place: Path) -> tuple[dict[str, int], set[int]]:
    """Sum what the processes noted; a line that a kill cut short does not count."""
    counts = dict.fromkeys(("read", "wrong", "lost", "store"), 0)
    kept: set[int] = set()
    for log in (place / "logs").iterdir():
        for line in log.read_text().split("\n")[:-1]:
            words = line.split()
            if words[0] == "kept":
                kept.update(map(int, words[1:]))
            else:
                for what, n in zip(words[::2], words[1::2], strict=False):
                    counts[what] += int(n)
    return counts, kept


def lost_and_wrong(place: Path, kept: set[int]) -> tuple[int, int]:
    """Look up all that was noted."""
    from adafer.aus import AUScoreCache

    cache, numbers = AUScoreCache(place / "scores.sqlite"), sorted(kept)
    lost = wrong = 0
    for at in range(0, len(numbers), 500):
        some = numbers[at : at + 500]
        found, missing = cache.get_many([picture(n) for n in some], IDENTITY, n_aus=N_AUS)
        there = np.setdiff1d(np.arange(len(some)), missing)
        lost += len(missing)
        wrong += sum(found[i].tobytes() != scores(some[i]).tobytes() for i in there)
    return lost, wrong


def integrity(place: Path) -> tuple[str, int]:
    connection = sqlite3.connect(place / "scores.sqlite")
    try:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        (rows,) = connection.execute("SELECT count(*) FROM scores").fetchone()
        return str(verdict), int(rows)
    finally:
        connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--kill-seconds", type=float, default=10.0)
    parser.add_argument("--short", action="store_true", help="35 seconds, a kill each 4 seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lose", action="store_true", help="break it: note what is not written")
    parser.add_argument("--wrong", action="store_true", help="break it: write wrong scores")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        return run_worker(Path(options.worker[0]), int(options.worker[1]), options)
    from _record import report

    seconds, every = options.minutes * 60, options.kill_seconds
    if options.short:
        seconds, every = 35.0, 4.0
    rng = np.random.default_rng([options.seed, 10**6])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for part in ("logs", "pictures", "store"):
            (place / part).mkdir()
        for i in range(N_FILES):
            pixels = np.broadcast_to(colour(i), (20, 20, 3))
            Image.fromarray(np.ascontiguousarray(pixels)).save(place / "pictures" / f"{i:02}.png")
        workers = [start(place, i) for i in range(N_WORKERS)]
        try:
            wait_for_first_rows(place)
            until = time.time() + seconds
            n_started, errors, kills = N_WORKERS, 0, 0
            due = time.time() + every
            while time.time() < until - 1:
                time.sleep(max(0.0, min(due, until - 1) - time.time()) * rng.uniform(0.9, 1.0))
                chosen = int(rng.integers(N_WORKERS))
                if workers[chosen].poll() is None:
                    workers[chosen].send_signal(signal.SIGKILL)
                    kills += 1
                errors += workers[chosen].wait() not in (0, -signal.SIGKILL)
                workers[chosen] = start(place, n_started)
                n_started += 1
                due += every
            (place / "stop").touch()
            errors += sum(worker.wait(timeout=120) != 0 for worker in workers)
        finally:
            for worker in workers:
                worker.kill()
        counts, kept = count_logs(place)
        lost, wrong = lost_and_wrong(place, kept)
        verdict, rows = integrity(place)
        leftovers = len(list((place / "store").glob(".*.part")))
        Worker(place, n_started, options).use_store(np.random.default_rng(0))
        still = len(list((place / "store").glob(".*.part")))
        aside = len(list(place.glob("*.damaged-*")))
        entries = len(list((place / "store").glob("faces-*")))
    lost += counts["lost"]
    wrong += counts["wrong"]
    wanted = int(seconds / every) // 2
    good = (
        not (lost or wrong or errors or aside or still)
        and verdict == "ok" and len(kept) <= rows and kills >= wanted and counts["store"] > 0
    )  # fmt: skip
    report(
        "Many processes on one cache",
        {
            "time, processes": f"{seconds:.0f} s, {N_WORKERS} at a time, {n_started} in all",
            "killed by SIGKILL": kills,
            "rows known as committed": len(kept),
            "of these lost, at the end or at any time": lost,
            "scores read back while others wrote": counts["read"],
            "faces read from the store": f"{counts['store']}, {entries} entries",
            "wrong scores or faces": wrong,
            "errors or warnings in any process": errors,
            "rows in the file, integrity_check": f"{rows}, {verdict}",
            "files set aside as damaged": aside,
            "leftovers of killed writers, before and after the next": f"{leftovers}, {still}",
            "nothing lost, nothing wrong": "yes" if good else "NO",
        },
        seed=options.seed,
        record=options.record,
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
