"""Plans of studies: TOML read, judged and turned into dataclasses, before any fit."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from os import PathLike
from pathlib import Path
from typing import Any

from .._checks import naming
from .._paths import check_path
from .._resumable import FIT
from .._sklearn import judged
from ..picture_files import read_file
from ._arguments import judge_base, judge_name, judge_paths
from ._tables import check_keys, check_table, names_of, text_of
from .methods import METHODS, build_estimator, takes_parameter
from .plan import (
    FIGURES,
    METRICS,
    PROTOCOLS,
    READERS,
    DataPlan,
    FigurePlan,
    MethodPlan,
    PublishedPlan,
    StudyPlan,
)

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef]

__all__ = ["make_plan", "read_plan"]

_EMBEDDED = (
    "Run with --embedded: at a reduced size, on the rendered faces of the package in the place of "
    "the data sets named above."
)
# what no study needs, but a file that is wrong may ask for
_MAX_BYTES, _MAX_INCLUDES, _MAX_RUNS = 2**24, 16, 10_000
_VARIABLE = re.compile(r"\{(\w+)\}")
_COMMON: dict[str, Any] = {"paths": judge_paths, "embedded": ["boolean"], "base": judge_base}


@judged(path=check_path, **_COMMON)
def read_plan(
    path: str | PathLike[str],
    *,
    paths: Mapping[str, str] | None = None,
    embedded: bool = False,
    seeds: Sequence[int] | None = None,
    base: Mapping[str, Any] | None = None,
) -> StudyPlan:
    """Read a plan and judge all of it.

    Parameters
    ----------
    path : path
        A TOML file.
    paths : dict of str -> str, optional
        Values of the variables in the plan's paths, ``{NAME}``.
    embedded : bool, default=False
        Take what the plan's table ``[embedded]`` says instead of the rest.
    seeds : sequence of int, optional
        Instead of the plan's.
    base : dict, optional
        Parameters that go before the plan's ``[base]``, for methods that have them.

    Returns
    -------
    plan : StudyPlan

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError, TypeError
        If it is no TOML, something in it is unknown, missing or wrong, or another
        argument is.
    """
    path = Path(path)
    table = _read_toml(path)
    if seeds is not None:
        with naming("seeds"):
            table["seeds"] = list(seeds)
        if isinstance(table.get("embedded"), dict):
            table["embedded"].pop("seeds", None)
    try:
        return make_plan(
            table,
            name=path.stem,
            folder=path.parent,
            paths=paths,
            embedded=embedded,
            base=base,
        )
    except ValueError as error:
        raise ValueError(f"The plan {str(path)!r}: {error}") from error
    except (TypeError, AttributeError, LookupError, ImportError, OSError) as error:
        raise ValueError(
            f"The plan {str(path)!r} has an entry of another form than docs/studies.md says "
            f"({type(error).__name__}: {error!s:.300})."
        ) from error


def _read_toml(path: Path, depth: int = 0) -> dict[str, Any]:
    """Read a file and what it includes; its own entries go before included ones."""
    if depth > _MAX_INCLUDES:
        raise ValueError(f"The plan {str(path)!r} includes itself, or more than {depth} others.")
    try:
        table = tomllib.loads(read_file(path, _MAX_BYTES).decode("utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no plan {str(path)!r}. Give the path of a TOML file, see docs/studies.md."
        ) from error
    except OSError as error:
        raise type(error)(
            f"The plan {str(path)!r} cannot be read: {error.strerror or error}. Give the path of a "
            "TOML file."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The plan {str(path)!r} is no TOML: {error}.") from error
    if "include" in table:
        included = text_of(table, "include", "")
        del table["include"]
        table = _merged(_read_toml(path.parent / included, depth + 1), table)
    return table


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    if "pairs" in above:
        found = {key: found[key] for key in found if key not in ("sources", "targets")}
    for key, value in above.items():
        under = found.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            value = _merged(under, value)
        found[key] = value
    return found


@judged(table=[Mapping], name=judge_name, folder=[None, str, PathLike], **_COMMON)
def make_plan(
    table: Mapping[str, Any],
    *,
    name: str = "study",
    folder: str | PathLike[str] | None = None,
    paths: Mapping[str, str] | None = None,
    embedded: bool = False,
    base: Mapping[str, Any] | None = None,
) -> StudyPlan:
    """Judge a plan that was read already.

    Parameters
    ----------
    table : dict
        As in the TOML file.
    name : str, default="study"
        Of the result files.
    folder : path, optional
        Where relative paths in the plan start.
    paths, embedded, base : as in `read_plan`

    Returns
    -------
    plan : StudyPlan

    Raises
    ------
    ValueError, TypeError
        If something is unknown, missing or wrong.

    Examples
    --------
    >>> from adafer.study.reading import make_plan
    >>> plan = make_plan({
    ...     "sources": ["facs_faces:studio"], "targets": ["facs_faces:wild"],
    ...     "methods": ["source_only", {"method": "adafer", "grid": {"epsilon": [0, 1]}}],
    ...     "seeds": 3, "base": {"backbone": "convnet", "image_size": 48},
    ... })
    >>> [method.name for method in plan.methods]
    ['source_only', 'adafer, epsilon = 0', 'adafer, epsilon = 1']
    """
    table = dict(table)
    paths = {key: os.fspath(value) for key, value in (paths or {}).items()}
    folder = None if folder is None else Path(folder)
    instead = table.pop("embedded", None)
    if embedded:
        if instead is None:
            raise ValueError(
                "there is no table [embedded], which says what --embedded runs. Add one, or give "
                "the data sets with --data."
            )
        allowed = {"sources", "targets", "pairs", "data", "base", "seeds", "protocols", "held_out"}
        check_table(instead, "[embedded]")
        check_keys(instead, allowed | {"methods", "figures"}, "[embedded]")
        if "sources" in instead or "targets" in instead or "pairs" in instead:
            for key in ("sources", "targets", "pairs", "data"):
                table.pop(key, None)
        table.update(instead)
        table.pop("published", None)
    known = {
        "title", "description", "sources", "targets", "pairs", "data", "methods", "base", "seeds",
        "protocols", "held_out", "reference", "au", "published", "figures",
    }  # fmt: skip
    check_keys(table, known, "the plan")
    kinds: dict[str, Any] = dict.fromkeys(("base", "data", "au"), Mapping)
    kinds |= dict.fromkeys(("methods", "published", "figures"), list)
    for key, kind in kinds.items():
        if key in table and not isinstance(table[key], kind):
            raise ValueError(f"{key} is {table[key]!r}; expected {_KINDS[kind]}.")

    pairs = _pairs(table)
    data = {
        key: _data(key, table.get("data", {}), folder, paths)
        for key in dict.fromkeys(key for pair in pairs for key in pair)
    }
    protocols = _protocols(table.get("protocols", ["transductive"]), "protocols")
    for key in ("base", "methods"):
        table[key] = _filled(table.get(key, {} if key == "base" else []), f"[{key}]", paths)
    methods = _methods(table, base or {})
    names = [method.name for method in methods]
    reference = table.get("reference", "source_only")
    if reference not in names:
        if "reference" in table:
            raise ValueError(f"reference is {reference!r}; expected one of the methods {names}.")
        by_method = [row.name for row in methods if row.method == reference]
        reference = by_method[0] if by_method else None
    plan = StudyPlan(
        name=name,
        title=text_of(table, "title", name),
        description=" ".join(
            [text_of(table, "description", ""), _EMBEDDED if embedded else ""]
        ).strip(),
        data=data,
        pairs=pairs,
        methods=methods,
        seeds=_seeds(table.get("seeds", 3)),
        protocols=protocols,
        held_out=_held_out(table.get("held_out"), "held_out"),
        reference=reference,
        au=dict(table.get("au", {})),
        published=tuple(_published(row) for row in table.get("published", ())),
        figures=tuple(_figure(row, names, data) for row in table.get("figures", ())),
    )
    _check_oracle(plan)
    _check_extractor(plan)
    return plan


_KINDS: dict[Any, str] = {Mapping: "a table", list: "a list"}


# ------------------------------------------------------------------------ parts


def _pairs(table: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if "pairs" in table:
        if "sources" in table or "targets" in table:
            raise ValueError("got pairs beside sources or targets; expected one or the other.")
        pairs = table["pairs"]
        if not isinstance(pairs, list) or not all(
            isinstance(pair, list) and len(pair) == 2 for pair in pairs
        ):
            raise ValueError(f"pairs is {pairs!r}; expected a list of [source, target].")
        found = tuple((str(source), str(target)) for source, target in pairs)
    else:
        sources, targets = (names_of(table.get(key, []), key) for key in ("sources", "targets"))
        found = tuple(pair for pair in product(sources, targets) if pair[0] != pair[1])
    if not found:
        raise ValueError(
            "there is no pair of a source and another data set as target. Give sources and "
            "targets, lists of data sets."
        )
    return found


def _data(
    key: str, tables: Mapping[str, Any], folder: Path | None, paths: Mapping[str, str]
) -> DataPlan:
    where = f"[data.{key}]"
    if key in tables:
        check_table(tables[key], where)
        table = dict(tables[key])
        check_keys(table, [entry.name for entry in fields(DataPlan) if entry.name != "name"], where)
        for item in ("reader", "labels", "truth", "groups"):
            if item in table:
                text_of(table, item, "")
        if "reader" not in table:
            raise ValueError(f"{where} has no reader; expected {_readers()}.")
        for item, kind in {"limit": int, "options": dict, "path": str, "au": str}.items():
            if item in table and not isinstance(table[item], kind):
                raise ValueError(f"{where} {item} is {table[item]!r}; expected {kind.__name__}.")
        if "protocols" in table:
            table["protocols"] = _protocols(table["protocols"], f"{where} protocols")
        if "classes" in table:
            table["classes"] = names_of(table["classes"], f"{where} classes")
        table["held_out"] = _held_out(table.get("held_out"), f"{where} held_out")
        plan = DataPlan(name=key, **table)
    else:
        plan = DataPlan(name=key, reader=key)
    reader, _, argument = plan.reader.partition(":")
    if argument:
        plan = replace(plan, reader=reader, path=argument)
    if plan.reader not in READERS and not plan.reader.startswith(("load_", "read_")):
        if key not in tables:
            raise ValueError(
                f"the data set {key!r} is not described. Add a table {where}, or name it as "
                'reader and path, such as "facs_faces:studio" or "folder:faces".'
            )
        raise ValueError(f"{where} reader is {plan.reader!r}; expected {_readers()}.")
    if plan.limit is not None and plan.limit < 4:
        raise ValueError(f"{where} limit is {plan.limit}; expected at least 4 faces.")
    if plan.au not in (None, "computed", "given"):
        raise ValueError(f'{where} au is {plan.au!r}; expected "computed" or "given".')
    options = _filled(plan.options, where, paths)
    return replace(plan, path=_path(plan, where, folder, paths), options=options)


def _readers() -> str:
    return f"one of {', '.join(READERS)}, or a function load_... of adafer.datasets"


def _path(plan: DataPlan, where: str, folder: Path | None, paths: Mapping[str, str]) -> str | None:
    """Put variables in, and let relative paths start at the plan."""
    if plan.path is None:
        if plan.reader in READERS:
            raise ValueError(f"{where} has no path, which the reader {plan.reader!r} needs.")
        return None
    if plan.reader == "facs_faces":
        return plan.path
    filled = _filled(plan.path, where, paths)
    path = Path(filled).expanduser()
    if filled == plan.path and folder is not None and not path.is_absolute():
        path = folder / path
    if not path.exists():
        raise ValueError(f"{where}: {str(path)!r} does not exist. Check the path of the data set.")
    return str(path)


def _filled(value: Any, where: str, paths: Mapping[str, str]) -> Any:
    """Put the values of variables into all texts."""
    if isinstance(value, Mapping):
        return {key: _filled(item, where, paths) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, where, paths) for item in value]
    if not isinstance(value, str):
        return value
    # stays as it is: in `checkpoint_dir` each fit puts its own name there
    paths = {FIT: f"{{{FIT}}}", **paths}
    missing = [name for name in _VARIABLE.findall(value) if name not in paths]
    if missing:
        raise ValueError(
            f"{where} asks for {missing[0]}, of which no path was given. Add "
            f"--data {missing[0]}=PATH, or run the plan on the embedded faces with --embedded."
        )
    return _VARIABLE.sub(lambda found: paths[found[1]], value)


def _protocols(value: Any, where: str) -> tuple[str, ...]:
    found = names_of(value, where)
    if not found or set(found) - set(PROTOCOLS):
        raise ValueError(f"{where} is {value!r}; expected some of {list(PROTOCOLS)}.")
    return found


def _held_out(value: Any, where: str) -> str | float | None:
    share = isinstance(value, float) and 0 < value < 1
    if value is not None and value != "own" and not share:
        raise ValueError(f'{where} is {value!r}; expected "own" or a share between 0 and 1.')
    return value


def _seeds(value: Any) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_RUNS:
        return tuple(range(value))
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in value)
        or len(set(value)) < len(value)
    ):
        raise ValueError(f"seeds is {value!r}; expected their number, or a list of numbers.")
    return tuple(value)


def _methods(table: Mapping[str, Any], more: Mapping[str, Any]) -> tuple[MethodPlan, ...]:
    base = {**table.get("base", {}), **more}
    rows: list[MethodPlan] = []
    for row in table.get("methods", []):
        if not isinstance(row, str):
            check_table(row, "a method")
        entry: dict[str, Any] = {"method": row} if isinstance(row, str) else dict(row)
        check_keys(entry, {"method", "name", "parameters", "grid"}, "a method")
        method = entry.get("method")
        if not isinstance(method, str) or (method not in METHODS and ":" not in method):
            close = difflib.get_close_matches(str(method), METHODS, 1)
            mend = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"the method {method!r} is not known; expected one of {list(METHODS)}, or "
                f'"module:Class" of an estimator of your own.{mend}'
            )
        shared = {key: value for key, value in base.items() if takes_parameter(method, key)}
        own, grid = entry.get("parameters", {}), entry.get("grid", {})
        for key in ("parameters", "grid"):
            check_table(entry.get(key, {}), f"{key} of the method {method!r}")
        for key, values in grid.items():
            if not isinstance(values, list) or not values:
                raise ValueError(
                    f"the grid of the method {method!r} has {key} = {values!r}; expected a list."
                )
        name = text_of(entry, "name", method)
        if math.prod(len(values) for values in grid.values()) > _MAX_RUNS:
            raise ValueError(f"the grid of {name!r} has more than {_MAX_RUNS} points. Shorten it.")
        for values in product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            label = ", ".join([name, *(f"{key} = {value}" for key, value in point.items())])
            rows.append(MethodPlan(label, method, {**shared, **own, **point}, point))
    if not rows:
        raise ValueError(f"there is no method. Give methods, a list with some of {list(METHODS)}.")
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"several methods are named {twice[0]!r}. Give each a name of its own.")
    for where, keys in (("[base]", table.get("base", {})), ("base", more)):
        for key in keys:
            known = {*METHODS, *(row.method for row in rows)}
            if not any(takes_parameter(method, key) for method in known):
                raise ValueError(f"{where} has {key!r}, a parameter that no method has.")
    for row in rows:
        try:
            build_estimator(row.method, row.parameters, seed=0)
        except (ValueError, TypeError) as error:
            raise ValueError(f"the method {row.name!r}: {error}") from error
    return tuple(rows)


def _published(row: Mapping[str, Any]) -> PublishedPlan:
    check_table(row, "[[published]]")
    check_keys(row, [entry.name for entry in fields(PublishedPlan)], "[[published]]")
    if "method" not in row or not isinstance(row.get("values"), Mapping):
        raise ValueError(f"[[published]] is {dict(row)!r}; expected a method and values by target.")
    metric = row.get("metric", "accuracy")
    if metric not in METRICS:
        raise ValueError(f"[[published]] metric is {metric!r}; expected one of {list(METRICS)}.")
    return PublishedPlan(**row)


def _figure(row: Mapping[str, Any], methods: list[str], data: Iterable[str]) -> FigurePlan:
    check_table(row, "[[figures]]")
    check_keys(row, [entry.name for entry in fields(FigurePlan)], "[[figures]]")
    row = dict(row)
    if row.get("kind") not in FIGURES:
        raise ValueError(f"[[figures]] kind is {row.get('kind')!r}; expected one of {FIGURES}.")
    for key in ("methods", "labels"):
        row[key] = names_of(row.get(key, []), f"[[figures]] {key}")
    if row.get("metric", "accuracy") not in METRICS:
        raise ValueError(f"[[figures]] metric is {row['metric']!r}; expected one of {METRICS}.")
    for name in row["methods"]:
        if name not in methods:
            raise ValueError(f"[[figures]] shows {name!r}; expected some of the methods {methods}.")
    for key in ("source", "target"):
        if row.get(key) is not None and row[key] not in data:
            raise ValueError(f"[[figures]] {key} is {row[key]!r}; expected one of {sorted(data)}.")
    if row["kind"] == "curve" and not row.get("parameter"):
        raise ValueError("[[figures]] of the kind 'curve' needs a parameter, one of a grid.")
    return FigurePlan(**row)


def _check_oracle(plan: StudyPlan) -> None:
    """Target labels serve training on targets with a held-out part only."""
    if not any(row.method == "target_supervised" for row in plan.methods):
        return
    for _, target in plan.pairs:
        protocols = plan.data[target].protocols or plan.protocols
        if "inductive" not in protocols:
            raise ValueError(
                "the method 'target_supervised' trains on target labels and can be scored on a "
                f"held-out part only, but the protocols of {target!r} are {list(protocols)}. Add "
                '"inductive", or leave the method out.'
            )


def _check_extractor(plan: StudyPlan) -> None:
    from ..aus import AUExtractor

    extractor = AUExtractor()
    known = sorted(set(extractor.get_params(deep=False)) - {"cache", "n_jobs", "output", "verbose"})
    check_keys(plan.au, known, "[au]")
    extractor.set_params(**plan.au)._validate_params()
