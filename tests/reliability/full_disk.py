"""A full and a read-only disk at each place of the package that writes.

    python tests/reliability/full_disk.py --record
    python tests/reliability/full_disk.py --short
    python tests/reliability/full_disk.py --only "face store"

A small tmpfs is mounted (as root; else a limit on the length of files stands for it). Each
site writes once with room enough. Then the disk is filled so far that the next attempt
fails at its start, in the middle and near its end, and is made read-only. Each time there
must be an error that names the place, or a command's exit status with one line; what was
there before must be there to the byte; and nothing half written may be left. Then, with
room again, the attempt must succeed. A site of the sources that is not in the table
(`_write_sites.py`) is a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import hashlib
import io
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

from _record import report  # noqa: E402
from _write_sites import NO_OUTPUT, SITES, Site, write_sites  # noqa: E402

import adafer  # noqa: E402

MIB, PAGE = 2**20, 4096
SIZE = 48 * MIB


class SmallDisk:
    """A tmpfs, filled and emptied."""

    what = "tmpfs of 48 MiB"

    def __init__(self, place: Path):
        self.place = place
        self.ballast = place / "ballast"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)],
            check=True, capture_output=True,
        )  # fmt: skip

    def used(self) -> int:
        status = os.statvfs(self.place)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def fill(self, room: int) -> None:
        with self.ballast.open("wb") as file:
            status = os.statvfs(self.place)
            left = status.f_bavail * status.f_frsize - room // PAGE * PAGE
            os.posix_fallocate(file.fileno(), 0, max(left, 1))

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        subprocess.run(["mount", "-o", "remount,ro", str(self.place)], check=True)
        try:
            yield
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(self.place)], check=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=True)


class ShortFiles:
    """Stands for a small disk where nothing can be mounted: no file may be longer."""

    what = "limit on the length of files (mounting is not permitted here)"

    def __init__(self, place: Path):
        self.place = place
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def used(self) -> int:
        sizes = [path.stat().st_size for path in self.place.rglob("*") if path.is_file()]
        return max(sizes, default=0)

    def fill(self, room: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(room, 0), self.before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        folders = [self.place, *(path for path in self.place.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        try:
            yield
        finally:
            for folder in folders:
                folder.chmod(0o755)

    def close(self) -> None:
        self.free()


def snapshot(place: Path) -> dict[str, str]:
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        # SQLite's log comes and goes
        if path.is_file() and path.name != "ballast" and not path.name.endswith(("-wal", "-shm"))
    }


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def attempt(site: Site, place: Path, number: int, now: Any) -> str:
    """Write, and say what came of it: done, warned, or what was wrong with the error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                result = site.write(place, number, now)
        except OSError as error:
            clear = str(place) in str(error) or "TMPDIR" in str(error)
            return "error" if clear else f"UNCLEAR ({type(error).__name__}: {error})"
        except Exception as error:
            return f"WRONG ERROR ({type(error).__name__}: {error})"
    if site.command and result.exit_code:
        lines = [x for x in result.stderr.splitlines() if x.startswith("adafer: error")]
        if isinstance(result.exception, SystemExit) and "Traceback" not in result.stderr:
            told = result.exit_code == 1 or (len(lines) == 1 and str(place) in lines[0])
            return "error" if told else f"UNCLEAR ({result.stderr[-300:]!r})"
        return f"WRONG ERROR ({result.exception!r})"
    told = ("kept", "could not be written")
    kept = [w for w in caught if any(words in str(w.message) for words in told)]
    return "warned" if kept else "done"


def judge(site: Site, disk: Any, before: dict[str, str], said: str, must_fail: bool) -> list[str]:
    """Give what is wrong after an attempt that should have failed."""
    wrong = [said] if said.split()[0] in ("UNCLEAR", "WRONG") else []
    if must_fail and said != ("warned" if site.warns else "error"):
        wrong.append(f"it was {said}")
    if said == "done" and not must_fail:
        return wrong
    after = snapshot(disk.place)
    for name, digest in before.items():
        if after.get(name) != digest and not (name in after and matches(name, site.replaces)):
            wrong.append(f"{name} is {'changed' if name in after else 'gone'}")
    for name in set(after) - set(before):
        if ".part/" in name or not matches(name, site.adds + site.replaces):
            wrong.append(f"{name} is left")
    wrong += [f"{path.name} is left" for path in disk.place.rglob(".*.part")]
    return wrong


def go_through(site: Site, disk: Any) -> tuple[list[str], int]:
    """Make a site fail at several moments; give what is wrong, and how often it failed."""
    nothing: Any = lambda: None  # noqa: E731
    empty = disk.used()
    if (said := attempt(site, disk.place, 0, nothing)) != "done":
        return [f"with room: {said}"], 0
    need = disk.used() - empty
    before, wrong, failed = snapshot(disk.place), [], 0
    moments = {"start": 0, "middle": need // 2, "end": max(0, need - PAGE)}
    for number, (moment, room) in enumerate(moments.items(), start=1):
        fill = once(disk.fill, room)
        if not site.late:
            fill()
        said = attempt(site, disk.place, number, fill if site.late else nothing)
        disk.free()
        failed += said in ("error", "warned")
        wrong += [f"{moment}: {x}" for x in judge(site, disk, before, said, moment == "start")]
        before = snapshot(disk.place)
    number = len(moments) + 1
    with disk.read_only():
        said = attempt(site, disk.place, number, nothing)
    failed += said in ("error", "warned")
    wrong += [f"read-only: {x}" for x in judge(site, disk, before, said, False)]
    if said == "done":
        wrong.append("read-only: nothing was told")
    if (said := attempt(site, disk.place, number, nothing)) != "done":
        wrong.append(f"with room again: {said}")
    return wrong, failed


def once(fill: Any, room: int) -> Any:
    """Fill the disk at the first call alone."""
    left = [room]

    def now() -> None:
        if left:
            fill(left.pop())

    return now


def missing_sites() -> list[str]:
    found = write_sites(Path(adafer.__file__).parent)
    covered = {name for site in SITES.values() for name in site.covers} | set(NO_OUTPUT)
    return [
        *(f"{name} writes, but is in no table" for name in sorted(found - covered)),
        *(f"{name} is in a table, but does not write" for name in sorted(covered - found)),
    ]


def run_site(name: str) -> tuple[list[str], int, str]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        try:
            disk: Any = SmallDisk(place)
        except (OSError, subprocess.CalledProcessError):
            disk = ShortFiles(place)
        try:
            wrong, failed = go_through(SITES[name], disk)
        finally:
            disk.close()
        return wrong, failed, disk.what


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="the quick ones")
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    names = options.only or [n for n, site in SITES.items() if site.quick or not options.short]
    problems, failures, what = missing_sites(), 0, ""
    for name in names:
        wrong, failed, what = run_site(name)
        failures += failed
        print(f"{name}: failed {failed} times{''.join(f'; {x}' for x in wrong)}", flush=True)
        problems += [f"{name}: {x}" for x in wrong]
        if not failed:
            problems.append(f"{name}: never failed")
    for problem in problems:
        print(problem, file=sys.stderr)
    n_sites = len(write_sites(Path(adafer.__file__).parent) - set(NO_OUTPUT))
    report(
        "Full disk",
        {
            "disk": what,
            "functions of the sources that write files": n_sites,
            "ways to make them write": len(names),
            "attempts that failed, full or read-only": failures,
            "errors that do not name the place": sum("UNCLEAR" in x for x in problems),
            "other errors": sum("WRONG" in x for x in problems),
            "earlier results changed or gone": sum(
                "is changed" in x or "is gone" in x for x in problems
            ),
            "leftovers": sum("is left" in x for x in problems),
            "problems of any kind": len(problems),
        },
        seed=None,
        record=options.record,
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
