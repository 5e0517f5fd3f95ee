"""The versions that setup.py claims are those that are tested."""

import re
from pathlib import Path

import setuptools

ROOT = Path(__file__).parents[1]


def claims(monkeypatch):
    found = {}
    monkeypatch.setattr(setuptools, "setup", found.update)
    code = compile((ROOT / "setup.py").read_text(encoding="utf-8"), "setup.py", "exec")
    exec(code, {"__file__": str(ROOT / "setup.py"), "__name__": "setup"})
    return [*found["install_requires"], *found["extras_require"]["test"]]


def test_the_oldest_versions_of_setup_py_are_the_ones_tested(monkeypatch):
    lowest = dict(
        re.match(r"([\w-]+)>=([\d.]+)", claim).groups()
        for claim in claims(monkeypatch)
        if ">=" in claim
    )
    # for other systems and Pythons than the tests run on
    for name in ("faiss-cpu", "tomli"):
        del lowest[name]
    pinned = dict(
        line.split("==")
        for line in (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    assert lowest.keys() == pinned.keys()

    def numbers(version):
        parts = [int(part) for part in version.split(".")]
        return parts + [0] * (4 - len(parts))

    for name, version in lowest.items():
        assert numbers(version) == numbers(pinned[name]), name
