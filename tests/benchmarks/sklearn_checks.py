"""How many of scikit-learn's own checks estimators pass: ours, skada's and adapt's.

    pip install skada adapt tensorflow-cpu
    python tests/benchmarks/sklearn_checks.py --output tests/benchmarks/results/sklearn_checks.md

Each package runs in a process of its own, since skada switches scikit-learn's metadata routing on
for all, and goes on in a new one where a check ends it. What is not installed is left out, and
said. Estimators are made as their documentation makes them, with a logistic regression where they
need a classifier; each gets the checks that `check_estimator` chooses by its tags.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("adafer", "skada", "adapt")


def adafer_estimators() -> Iterator[tuple[str, str, Any]]:
    """Family, name and estimator of all that `adafer` and `adafer.rivals` export."""
    import adafer
    from adafer import rivals

    small = {"epochs": 2, "batch_size": 32, "device": "cpu", "random_state": 0}
    for family, module in (("adafer", adafer), ("adafer.rivals", rivals)):
        for name in sorted(module.__all__):
            kind = getattr(module, name)
            if inspect.isclass(kind) and hasattr(kind, "get_params"):
                known = inspect.signature(kind).parameters
                yield family, name, kind(**{k: v for k, v in small.items() if k in known})


def skada_estimators() -> Iterator[tuple[str, str, Any]]:
    """All shallow methods: adapters alone, and the pipelines that their functions make."""
    import skada
    from sklearn.base import BaseEstimator

    for name in sorted(set(skada.__all__)):
        made = getattr(skada, name, None)
        if made is None or not callable(made) or name.startswith(("Base", "make_", "solve_")):
            continue
        if name.endswith("_split"):
            continue
        try:
            estimator = made()
        except TypeError:
            continue
        if isinstance(estimator, BaseEstimator):
            family = "adapters" if name.endswith("Adapter") else "methods and selectors"
            yield f"skada, {family}", name, estimator


def adapt_estimators() -> Iterator[tuple[str, str, Any]]:
    """All methods that take a scikit-learn classifier."""
    from sklearn.linear_model import LogisticRegression

    for family in ("feature_based", "instance_based", "parameter_based"):
        module = importlib.import_module(f"adapt.{family}")
        for name in sorted(vars(module)):
            kind = getattr(module, name)
            if not inspect.isclass(kind) or not hasattr(kind, "get_params"):
                continue
            if "Deep" in str(kind.__mro__):
                continue  # networks of TensorFlow
            try:
                estimator = kind(LogisticRegression())
            except Exception:
                continue
            yield f"adapt.{family}", name, estimator


def count(package: str, first: int) -> None:
    """Check one package's estimators from a number on; print a line of JSON for each."""
    from sklearn.utils.estimator_checks import check_estimator

    for number, (family, name, estimator) in enumerate(globals()[f"{package}_estimators"]()):
        if number < first:
            continue
        row = {"family": family, "name": name, "passed": 0, "failed": 0, "skipped": 0, "note": ""}
        # named before the checks, for the case that they end the process
        print(json.dumps(row | {"note": "the process crashed"}), flush=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = check_estimator(estimator, on_fail=None, on_skip=None)
            except Exception as error:
                row["note"] = f"no check runs: {type(error).__name__}: {str(error).split('.')[0]}"
                found = []
        for result in found:
            row[result["status"] if result["status"] in row else "skipped"] += 1
        if package == "adafer":
            failed = {result["check_name"] for result in found if result["status"] == "failed"}
            row["note"] = ", ".join(sorted(failed))
        print(json.dumps(row), flush=True)


def run(package: str) -> list[dict[str, Any]] | None:
    """Run one package's checks in processes of their own; None if it cannot be imported."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    while True:
        command = [sys.executable, __file__, "--package", package, "--first", str(len(rows))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        rows |= {(row["family"], row["name"]): row for row in lines}
        if done.returncode == 0:
            return list(rows.values())
        if not lines:
            return None


def table(rows: list[dict[str, Any]], versions: dict[str, str]) -> str:
    """Write families and estimators as Markdown."""
    lines = [
        "# Checks of scikit-learn passed",
        "",
        "Made by `python tests/benchmarks/sklearn_checks.py` with "
        + ", ".join(f"{name} {found}" for name, found in versions.items())
        + ".",
        "",
        "| family | estimators | checks run | passed | pass all |",
        "| --- | --- | --- | --- | --- |",
    ]
    for family in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == family]
        run = sum(row["passed"] + row["failed"] for row in own)
        passed = sum(row["passed"] for row in own)
        whole = sum(row["failed"] == 0 and row["passed"] > 0 for row in own)
        share = f"{passed} ({passed / run:.0%})" if run else "0"
        lines.append(f"| {family} | {len(own)} | {run} | {share} | {whole} |")
    lines += [
        "",
        "| estimator | passed | failed | skipped | |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['family']}: {row['name']} | {row['passed']} | {row['failed']} "
        f"| {row['skipped']} | {row['note']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="Markdown file; else the standard output")
    parser.add_argument("--package", choices=PACKAGES, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.package:
        count(options.package, options.first)
        return
    rows: list[dict[str, Any]] = []
    versions = {"scikit-learn": version("scikit-learn")}
    for package in PACKAGES:
        if package != "adafer":
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                versions[package] = "not installed, left out"
                continue
        found = run(package)
        if found is None:
            versions[package] = "cannot be imported, left out"
            continue
        rows += found
    text = table(rows, versions)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
