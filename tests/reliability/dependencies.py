"""Known faults in what the package needs, faults that bandit sees in it, and all licences.

    python tests/reliability/dependencies.py --record
    python tests/reliability/dependencies.py --offline --write docs/licences.md

Looks at everything that an installation with the extras named below brings. pip-audit
asks the package index for the advisories of each version. Where the index has no page of
its own for a version, the page of the project is asked, which lists the advisories of its
newest version: that counts only where the newest version is the one that is installed.
What could not be audited is counted and named, and fails; ``--offline`` audits nothing
and says so. Licences are those that the packages declare of themselves; one that is not
in the list here fails. Findings of bandit that are no faults are named, with the reason,
in pyproject.toml or beside the line.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from _record import report
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("align", "onnx", "render", "tables", "cluster")
INDEX = "https://pypi.org/pypi/{name}/json"

# Words that tell a licence, in the order in which they are looked for; all of these let
# the packages be installed and used beside this one, which contains none of them.
LICENCES = (
    ("NVIDIA", r"nvidia|LicenseRef-NVIDIA|proprietary"),
    ("MPL-2.0", r"mpl|mozilla"),
    ("LGPL", r"lgpl|lesser"),
    ("PSF-2.0", r"\bpsf|python software foundation|matplotlib"),
    ("Apache-2.0", r"apache"),
    ("BSD", r"bsd"),
    ("MIT", r"\bmit\b|mit-cmu|hpnd"),
    ("ISC", r"\bisc"),
    ("Unlicense or public domain", r"unlicense|public domain|cc0|0bsd"),
)

# Packages that declare no licence and bring no file of it.
SILENT = {"cuda-toolkit": "NVIDIA"}


def needed() -> list[metadata.Distribution]:
    """Everything that an installation with the extras brings, sorted by name."""
    found: dict[str, metadata.Distribution] = {}
    asked: set[tuple[str, str]] = set()
    todo = [("adafer", extra) for extra in ("", *EXTRAS)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in asked:
            continue
        asked.add((name, extra))
        try:
            one = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise SystemExit(
                f"{name} is not installed: expected an environment with "
                f'`pip install ".[{",".join(EXTRAS)}]"`.'
            ) from None
        found[name] = one
        for text in one.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": extra}):
                wanted = canonicalize_name(requirement.name)
                todo.extend((wanted, more) for more in ("", *requirement.extras))
    del found["adafer"]
    return [found[name] for name in sorted(found)]


def licence(one: metadata.Distribution) -> str:
    """The licence that a package declares, or what it says if that is unknown."""
    fields = one.metadata
    classifiers = [c for c in fields.get_all("Classifier", []) if c.startswith("License ::")]
    said = [fields.get("License-Expression"), *classifiers, (fields.get("License") or "")[:120]]
    if one.name in SILENT:
        return SILENT[one.name]
    for text in filter(None, said):
        for name, words in LICENCES:
            if re.search(words, text, re.IGNORECASE):
                return name
    return _licence_of_file(one) or f"unknown: {said}"


def _licence_of_file(one: metadata.Distribution) -> str | None:
    """Look into the licence file, where the package says nothing else."""
    for file in one.files or ():
        if re.match(r"(licen[cs]e|copying)", file.name, re.IGNORECASE):
            text = Path(str(file.locate())).read_text(encoding="utf-8", errors="replace")[:1500]
            for name, words in LICENCES:
                if re.search(words, text, re.IGNORECASE):
                    return name
    return None


def audit(packages: list[metadata.Distribution]) -> tuple[int, list[str], list[str]]:
    """Ask for advisories.

    Returns
    -------
    n_audited : int
    faults, unaudited : list of str
    """
    lines = "".join(f"{one.name}=={one.version}\n" for one in packages)
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text(lines, encoding="utf-8")
        command = ["pip_audit", "--disable-pip", "--no-deps", "-f", "json", "-r", str(wanted)]
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=False
        )
    try:
        rows = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise SystemExit(f"pip-audit gave no result:\n{done.stderr[-2000:]}") from None
    faults, unaudited = [], []
    for row in rows:
        found = row.get("vulns")
        if found is None:
            found = _advisories_of_newest(row["name"], _version(packages, row["name"]))
        if found is None:
            unaudited.append(row["name"])
        else:
            faults.extend(f"{row['name']}: {one['id']}" for one in found)
    return len(rows) - len(unaudited), faults, unaudited


def _version(packages: list[metadata.Distribution], name: str) -> str:
    return next(p.version for p in packages if canonicalize_name(p.name) == canonicalize_name(name))


def _advisories_of_newest(name: str, version: str) -> list[dict] | None:
    """What the project's page says, if it speaks of this version."""
    try:
        with urllib.request.urlopen(INDEX.format(name=name), timeout=60) as stream:
            page = json.load(stream)
    except (OSError, ValueError):
        return None
    if page["info"]["version"] != version.split("+")[0]:
        return None
    return [one for one in page.get("vulnerabilities", ()) if not one.get("withdrawn")]


def bandit() -> Iterator[str]:
    """What bandit finds in the package."""
    command = ["bandit", "-q", "-r", "adafer", "-c", "pyproject.toml", "-f", "json"]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"bandit gave no result:\n{done.stderr[-2000:]}") from None
    if not found["metrics"]["_totals"]["loc"]:
        raise SystemExit("bandit looked at nothing.")
    for one in found["results"]:
        yield f"{one['filename']}:{one['line_number']}: {one['test_id']} {one['issue_text']}"


def page(licences: dict[str, list[str]]) -> str:
    """Write the list of licences for docs/."""
    rows = "\n".join(f"| {name} | {', '.join(licences[name])} |" for name in sorted(licences))
    extras = ", ".join(EXTRAS)
    return (
        "# Licences of what is installed beside the package\n\n"
        "The package contains none of these; pip installs them. Listed is everything that an "
        f"installation with the extras {extras} brings on Linux with Python "
        f"{sys.version_info.major}.{sys.version_info.minor}, by the licence that each declares. "
        "NVIDIA's libraries come with torch and faiss-gpu and work on machines with NVIDIA's GPUs "
        "alone; PyTorch's own index has CPU builds without them. What is in the package itself "
        "and not written for it is named in `adafer/aus/models/NOTICE`.\n\n"
        "Written by `python tests/reliability/dependencies.py --offline --write FILE`.\n"
        f"\n| licence | packages |\n| --- | --- |\n{rows}\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--offline", action="store_true", help="ask for no advisories")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the list of licences")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()

    packages = needed()
    licences: dict[str, list[str]] = {}
    for one in packages:
        licences.setdefault(licence(one), []).append(one.name)
    unknown = [f"{name} {found}" for name, found in licences.items() if name.startswith("unknown")]
    if options.write is not None and not unknown:
        part = options.write.with_name(f".{options.write.name}.part")
        part.write_text(page(licences), encoding="utf-8")
        os.replace(part, options.write)

    rows: dict[str, object] = {"packages": len(packages)}
    faults: list[str] = []
    unaudited: list[str] = []
    if options.offline:
        rows["advisories"] = "not asked for"
    else:
        n_audited, faults, unaudited = audit(packages)
        rows["audited"] = n_audited
        rows["known faults"] = ", ".join(faults) or 0
        if unaudited:
            why = "the index gave no page of these versions, and they are not its newest"
            rows["not audited"] = f"{len(unaudited)}: {', '.join(unaudited)} ({why})"
    seen = list(bandit())
    rows["findings of bandit"] = "; ".join(seen) or 0
    rows["licences"] = ", ".join(f"{name} {len(found)}" for name, found in sorted(licences.items()))
    rows["unknown licences"] = "; ".join(unknown) or 0
    report("Dependencies", rows, seed=None, record=options.record)
    return 1 if faults or unaudited or seen or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
