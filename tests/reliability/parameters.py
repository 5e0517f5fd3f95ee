"""Every public function with every parameter out of range: the error must name the parameter.

    python tests/reliability/parameters.py --record
    python tests/reliability/parameters.py --short
    python tests/reliability/parameters.py --only make_split

What is public is read from the packages: each name that they export, each public method of
these, each parameter. What is out of range comes from the constraints that estimators
declare, and from the tables in ``_probes.py``. Each wrong value must raise a ValueError,
a TypeError or an OSError whose text names the parameter (or the path that was given),
within ten seconds. A parameter that is in no table, or to which anything may be given
without a reason being named, fails, too.

Constructors of displays hold what they are given, as scikit-learn's do; their class methods
and `plot` judge.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import os
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
warnings.simplefilter("ignore")

from _probe_aus import aligner_calls, annotating_calls, au_calls  # noqa: E402
from _probe_classifiers import classifier_calls  # noqa: E402
from _probe_reading import reading_calls  # noqa: E402
from _probe_rest import display_calls, other_calls, scorer_calls  # noqa: E402
from _probes import PACKAGES, RECORDS, Call, taken_as_they_are, wrong_for_constraints  # noqa: E402
from _record import report  # noqa: E402

from adafer import rivals  # noqa: E402

# Methods that scikit-learn wrote and judges, and what has no parameters of its own.
_FOREIGN = re.compile(r"^(get|set)_(params|metadata_routing|output|\w+_request)$")
_SECONDS = 10


class Parameter(NamedTuple):
    """One parameter of one public callable, such as ("make_split", "groups")."""

    call: str
    name: str


class Outcome(NamedTuple):
    """What became of a wrong value; `fault` is empty where all was right."""

    parameter: Parameter
    value: str
    fault: str


def public_parameters() -> Iterator[Parameter]:
    """Name every parameter of everything that the packages export."""
    seen = set()
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if not callable(thing) or id(thing) in seen or name in RECORDS:
                continue
            seen.add(id(thing))
            if not inspect.isclass(thing):
                yield from (Parameter(name, p) for p in _names(thing))
                continue
            if issubclass(thing, Exception):
                continue
            if not name.endswith("Display"):
                yield from (Parameter(name, p) for p in _names(thing.__init__))
            for method, function in inspect.getmembers(thing, callable):
                if not method.startswith("_") and not _FOREIGN.match(method):
                    yield from (Parameter(f"{name}.{method}", p) for p in _names(function))


def _names(function: Callable) -> list[str]:
    try:
        found = inspect.signature(function).parameters
    except ValueError:
        return []
    return [name for name in found if name not in ("self", "cls", "args", "kwargs")]


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raise TimeoutError after some seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"took more than {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def judge(parameter: Parameter, call: Call, value: Any) -> Outcome:
    """Call with one wrong value, and tell whether the error is a good one."""
    told = _short(value)
    arguments = {**call.arguments(), parameter.name: value}
    try:
        with time_limit(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            call.function(**arguments)
    except (ValueError, TypeError, OSError) as error:
        if isinstance(error, TimeoutError):
            return Outcome(parameter, told, str(error))
        text = str(error)
        names = (parameter.name, *call.other_names.get(parameter.name, ()))
        if any(
            re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text) for name in names
        ):
            return Outcome(parameter, told, "")
        if isinstance(value, str | Path) and str(value) and str(value) in text:
            return Outcome(parameter, told, "")
        if len(_names(call.function)) == 1 and repr(value) in text:
            return Outcome(parameter, told, "")  # what else could it be
        fault = f"{type(error).__name__} names it not: {text[:150]!r}"
        return Outcome(parameter, told, fault)
    except Exception as error:
        return Outcome(parameter, told, f"{type(error).__name__}: {str(error)[:150]!r}")
    return Outcome(parameter, told, "taken without an error")


def _try(call: Call) -> str:
    """Make the right call; give the error if there is one."""
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            call.function(**call.arguments())
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {str(error)[:150]!r}"
    return ""


def _short(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return (
            f"{type(value).__name__} of {value.dtype if hasattr(value, 'dtype') else '?'} {shape}"
        )
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def probe(only: str | None, short: bool) -> Iterator[Outcome]:
    """Try every wrong value of every public parameter."""
    inherited = set(rivals.__all__) if short else set()
    tables: dict[str, Call] = {}
    for make in (
        classifier_calls,
        annotating_calls,
        au_calls,
        aligner_calls,
        reading_calls,
        display_calls,
        scorer_calls,
        other_calls,
    ):
        tables |= make()
    tried: set[str] = set()
    anything = taken_as_they_are()
    for parameter in public_parameters():
        if only is not None and only not in ".".join(parameter):
            continue
        if parameter.call.split(".")[0] in inherited and "." in parameter.call:
            continue
        if parameter in anything or ("*", parameter.name) in anything:
            continue
        call = tables.get(parameter.call)
        wrong = None
        if call is not None:
            wrong = call.wrong.get(parameter.name)
            if wrong is None:
                wrong = wrong_for_constraints(call.constraints.get(parameter.name))
        if not wrong:
            yield Outcome(parameter, "", "is in no table")
            continue
        assert call is not None
        if call.works and parameter.call not in tried:
            tried.add(parameter.call)
            fault = _try(call)
            if fault:
                yield Outcome(Parameter(parameter.call, ""), "", f"the right call fails: {fault}")
        for value in wrong:
            yield judge(parameter, call, value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="not what rivals inherit")
    parser.add_argument("--only", metavar="TEXT", help="names that contain it")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    started = time.monotonic()
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            found = []
            for one in probe(options.only, options.short):
                found.append(one)
                if one.fault:
                    told = f"{one.parameter.call}({one.parameter.name}={one.value})"
                    print(f"{told}: {one.fault}", flush=True)
        finally:
            os.chdir(here)
    faults = [one for one in found if one.fault]
    parameters = {one.parameter for one in found}
    report(
        "Parameters out of range",
        {
            "callables": len({one.call for one in parameters}),
            "parameters": len(parameters),
            "to which anything may be given": len(taken_as_they_are()),
            "wrong values": len(found),
            "without a good error": len(faults),
            "seconds": round(time.monotonic() - started),
        },
        seed=None,
        record=options.record,
    )
    return 1 if faults or not found else 0


if __name__ == "__main__":
    sys.exit(main())
