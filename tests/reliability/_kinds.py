"""Kinds of mutated input: what is damaged, what reads it, what that may raise, what must hold."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _mutators import (
    damage,
    damage_json,
    damage_text,
)
from PIL import Image

__all__ = ["Kind", "Unequal", "same", "text_kinds"]


class Unequal(AssertionError):
    """A reader gave something else than the content says."""


class Kind(NamedTuple):
    """A kind of input.

    Attributes
    ----------
    seeds : list of bytes
        Good contents.
    damage : callable
        (rng, content, other content) -> bytes.
    read : callable
        (path of the file, folder around it) -> what the public function gives.
    allowed : tuple of exception types
        Those that its docstring names.
    check : callable
        (result, content, good content) -> None; raises Unequal. Says by its result
        whether anything was compared.
    share : int
        Of 10,000.
    name : str
        Of the file.
    """

    seeds: list[bytes]
    damage: Callable[[np.random.Generator, bytes, bytes], bytes]
    read: Callable[[Path, Path], Any]
    allowed: tuple[type[BaseException], ...]
    check: Callable[[Any, bytes, bytes], bool]
    share: int
    name: str = "input"


def same(found: Any, expected: Any, what: str) -> bool:
    """Compare values, NaN with NaN; give True."""
    if not np.array_equal(np.asarray(found), np.asarray(expected), equal_nan=_floats(expected)):
        raise Unequal(f"{what}: got {str(found)[:200]}, the content says {str(expected)[:200]}")
    return True


def _floats(values: Any) -> bool:
    return np.asarray(values).dtype.kind == "f"


# ------------------------------------------------------------------ tables and lists


def _rows(content: bytes, **options: Any) -> list[list[str]]:
    text = content.decode("utf-8-sig", "surrogateescape")
    return [row for row in csv.reader(io.StringIO(text, newline=""), **options) if row]


_MISSING = {
    "", "NA", "N/A", "NULL", "NaN", "None", "n/a", "nan", "null", "<NA>", "#N/A", "#NA",
    "-NaN", "-nan", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN", "#N/A N/A",
}  # fmt: skip


def _number(cell: str) -> float:
    text = cell.strip()
    if text in _MISSING:
        return float("nan")
    return {"true": 1.0, "false": 0.0}.get(text.lower()) or float(text or "nan")


def _check_units(columns: list[str], scores: np.ndarray, content: bytes) -> bool:
    from adafer.aus import parse_au_name

    header, *rows = _rows(content, skipinitialspace=True)
    by_au: dict[str, int] = {}
    for at, name in enumerate(header):
        try:
            by_au[parse_au_name(name.strip())] = at
        except ValueError:
            continue
    same(columns, sorted(by_au), "AUs")
    expected = [[_number(row[by_au[name]]) for name in columns] for row in rows]
    if scores.shape != np.shape(expected) or not np.allclose(
        scores, expected, rtol=1e-12, atol=0, equal_nan=True
    ):
        raise Unequal(f"scores {scores[:3]}, the csv module finds {expected[:3]}")
    return True


def _check_frame(found: Any, content: bytes, good: bytes) -> bool:
    return _check_units(list(found.columns), found.to_numpy(), content)


def _check_au_table(found: Any, content: bytes, good: bytes) -> bool:
    header, *rows = _rows(content)
    names = [name.strip() for name in header]
    at = names.index("file")
    by_file = {row[at]: [c for i, c in enumerate(row) if i != at] for row in rows}
    expected = [[_number(c) for c in by_file[f"{i:02}.png"]] for i in range(6)]
    return same(found.scores, expected, "scores")


def _check_split(found: Any, content: bytes, good: bytes) -> bool:
    header, *rows = _rows(content)
    there = {f"{i:02}.png" for i in range(6)}
    at = {name: header.index(name) for name in ("file", "label", "split")}
    kept = [row for row in rows if row[at["file"]] in there]
    names = [Path(path).name for path in found.paths]
    same(names, [row[at["file"]] for row in kept], "names")
    same(found.target, [row[at["label"]] for row in kept], "labels")
    return same(found.split, [row[at["split"]] for row in kept], "split")


def _columns(content: bytes) -> tuple[dict[str, int], list[list[str]]]:
    header, *rows = _rows(content)
    names = [name.strip().lower() for name in header]
    return {name: names.index(name) for name in names}, rows


def _check_fer2013(found: Any, content: bytes, good: bytes) -> bool:
    from adafer.datasets.labels import FER2013

    at, rows = _columns(content)
    same(found.target, [FER2013[int(row[at["emotion"]])] for row in rows], "labels")
    pixels = [[int(p) for p in row[at["pixels"]].split()] for row in rows]
    return same(found.images.reshape(len(rows), -1), pixels, "pixels")


def _check_votes(found: Any, content: bytes, good: bytes) -> bool:
    at, rows = _columns(content)
    votes = [[int(rows[r][at[name.lower()]]) for name in found.vote_names] for r in found.row]
    return same(found.votes, votes, "votes")


def _check_expw(found: Any, content: bytes, good: bytes) -> bool:
    from adafer.datasets.labels import EXPW

    expected = []
    for line in content.decode("utf-8-sig").splitlines():
        name, *cells = line.strip().rsplit(maxsplit=7) if line.strip() else ("",)
        if name in {f"{i:02}.png" for i in range(6)}:
            _, top, left, right, bottom, _, code = (float(cell) for cell in cells)
            expected.append(
                [name, *(str(int(x)) for x in (left, top, right, bottom)), EXPW[int(code)]]
            )
    names = [Path(path).name for path in found.paths]
    return same(
        [
            [name, *map(str, box), label]
            for name, box, label in zip(names, found.boxes.tolist(), found.target, strict=True)
        ],
        expected,
        "rows",
    )


def _check_affectnet(found: Any, content: bytes, good: bytes) -> bool:
    from adafer.datasets.labels import AFFECTNET

    if not any(b"subDirectory_filePath" in cell.encode() for cell in _rows(content)[0]):
        content = good.split(b"\n")[0] + b"\n" + content  # tables without a header are taken
    at, rows = _columns(content)
    expected = []
    for row in rows:
        name, code = row[at["subdirectory_filepath"]].strip(), int(row[at["expression"]])
        if name in {f"{i:02}.png" for i in range(6)} and code in AFFECTNET:
            x, y, w, h = (int(float(row[at[f"face_{n}"]])) for n in ("x", "y", "width", "height"))
            if AFFECTNET[code] != "contempt":
                expected.append([name, AFFECTNET[code], *map(str, (x, y, x + w, y + h))])
    names = [Path(path).name for path in found.paths]
    return same(
        [
            [name, label, *map(str, box)]
            for name, box, label in zip(names, found.boxes.tolist(), found.target, strict=True)
        ],
        expected,
        "rows",
    )


def _check_code(found: Any, content: bytes, good: bytes) -> bool:
    array = np.load(io.BytesIO(content), allow_pickle=False)
    return same(int(array.item()), int(np.load(io.BytesIO(good)).item()), "code") or True


def _check_plan(found: Any, content: bytes, good: bytes) -> bool:
    import tomllib

    table = tomllib.loads(content.decode())
    seeds = table.get("seeds", 3)
    same(found.seeds, range(seeds) if isinstance(seeds, int) else seeds, "seeds")
    same(found.title, table.get("title", "input"), "title")
    methods = [m if isinstance(m, str) else m["method"] for m in table["methods"]]
    return same(
        list(dict.fromkeys(m.method for m in found.methods)),
        list(dict.fromkeys(methods)),
        "methods",
    )


_PLAN = b"""title = "two methods"
sources = ["facs_faces:studio"]
targets = ["facs_faces:wild"]
seeds = [0, 1, 2]
protocols = ["inductive"]
held_out = 0.5
reference = "source_only"
methods = ["source_only", {method = "adafer", name = "ours", parameters = {epochs = 2}}]

[base]
backbone = "convnet"
image_size = 48

[au]
quantile = 0.5

[[published]]
method = "source_only"
values = {"facs_faces:wild" = 40.5}

[[figures]]
kind = "coverage"
"""


def text_kinds(place: Path) -> dict[str, Kind]:
    """Make the kinds of tables, lists and plans; pictures that they list lie at `place`."""
    import json

    from adafer import datasets
    from adafer._folders import au_table
    from adafer._json_files import SEAL, seal
    from adafer.aus import read_openface, read_pyfeat
    from adafer.study.cells import read_result
    from adafer.study.reading import read_plan

    rng = np.random.default_rng(1)
    scores = rng.uniform(size=(6, 4)).round(4)
    names = [f"{i:02}.png" for i in range(6)]
    aus = ["AU01", "AU04", "AU12", "AU25"]
    for name in names:
        Image.new("L", (60, 60), 90).save(place / name)
    for folder in ("label", "origin", "val_set/images"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        for folder in ("origin", "val_set/images"):
            (place / folder / name).symlink_to(place / name)

    def table(header: list[str], rows: list[list[Any]]) -> bytes:
        return "".join(",".join(map(str, row)) + "\n" for row in [header, *rows]).encode()

    units = table(["file", *aus], [[n, *row] for n, row in zip(names, scores, strict=True)])
    pyfeat = table(["input", *aus], [[n, *row] for n, row in zip(names, scores, strict=True)])
    openface = table(
        ["frame", " confidence", " success", *(f" {au}_c" for au in aus)],
        [[i, 0.98, 1, *(row > 0.5).astype(float)] for i, row in enumerate(scores)],
    )
    split = table(
        ["file", "label", "subject", "split"],
        [[n, "fear" if i % 2 else "joy", f"S{i // 2}", "train"] for i, n in enumerate(names)],
    )
    usages = ["Training", "PublicTest", "PrivateTest"]
    fer = table(
        ["emotion", "pixels", "Usage"],
        [[i, " ".join(map(str, rng.integers(0, 256, 48 * 48))), usages[i]] for i in range(3)],
    )
    votes = [
        "neutral",
        "happiness",
        "surprise",
        "sadness",
        "anger",
        "disgust",
        "fear",
        "contempt",
        "unknown",
        "NF",
    ]
    ferplus = table(
        ["Usage", "Image name", *votes],
        [[usages[i], f"fer{i}.png", *np.roll([8, 2] + [0] * 8, i)] for i in range(3)],
    )
    (place / "fer2013.csv").write_bytes(fer)
    expw = "".join(f"{n} 0 10 20 50 40 75.5 {i}\n" for i, n in enumerate(names)).encode()
    affectnet = table(
        [
            "subDirectory_filePath",
            "face_x",
            "face_y",
            "face_width",
            "face_height",
            "facial_landmarks",
            "expression",
            "valence",
            "arousal",
        ],
        [[n, 5, 6, 30, 30, "1;2;3", i, 0.5, -0.5] for i, n in enumerate(names)],
    )
    code = io.BytesIO()
    np.save(code, np.array("6"))
    result = {"format": 1, "facts": {"coverage_": 0.5}, "predictions": {"inductive": [0, 1] * 9}}
    result[SEAL] = seal(result)

    def at(name: str, read: Callable[[], Any]) -> Callable[[Path, Path], Any]:
        def reader(path: Path, folder: Path) -> Any:
            path.replace(place / name)
            return read()

        return reader

    skip: dict[str, Any] = {"on_missing": "skip"}
    missing = (ValueError, FileNotFoundError)
    paths = [str(place / name) for name in names]
    affects = at("validation.csv", lambda: datasets.load_affectnet(place, split="val", **skip))
    (place / "val_set/annotations").mkdir()
    newer = place / "newer" / "val_set"
    for folder in ("annotations", "images"):
        (newer / folder).mkdir(parents=True)
    (newer / "images/17.jpg").symlink_to(place / names[0])
    (place / "val_set/annotations").rmdir()
    annotation = at(
        "newer/val_set/annotations/17_exp.npy",
        lambda: datasets.load_affectnet(place / "newer", split="val"),
    )
    return {
        "au-table": Kind(
            [units],
            damage_text,
            lambda p, _: au_table(p, place, paths),
            missing,
            _check_au_table,
            500,
        ),
        "pyfeat": Kind(
            [pyfeat], damage_text, lambda p, _: read_pyfeat(p), missing, _check_frame, 500
        ),
        "openface": Kind(
            [openface], damage_text, lambda p, _: read_openface(p), missing, lambda *_: False, 300
        ),
        "split": Kind(
            [split],
            damage_text,
            lambda p, _: datasets.read_split(p, root=place, **skip),
            missing,
            _check_split,
            500,
        ),
        "fer2013": Kind(
            [fer], damage_text, lambda p, _: datasets.load_fer2013(p), missing, _check_fer2013, 500
        ),
        "ferplus": Kind(
            [ferplus],
            damage_text,
            lambda p, _: datasets.load_ferplus(p, fer2013=place),
            missing,
            _check_votes,
            300,
        ),
        "expw": Kind(
            [expw],
            damage_text,
            at("label/label.lst", lambda: datasets.load_expw(place, **skip)),
            missing,
            _check_expw,
            400,
        ),
        "affectnet": Kind([affectnet], damage_text, affects, missing, _check_affectnet, 300),
        "npy": Kind([code.getvalue()], damage, annotation, missing, lambda *_: False, 150),
        "plan": Kind(
            [_PLAN],
            damage_text,
            lambda p, _: read_plan(p),
            (ValueError, OSError),
            _check_plan,
            400,
            "input.toml",
        ),
        "result": Kind(
            [json.dumps(result).encode()],
            damage_json,
            lambda p, _: read_result(p),
            (),
            lambda found, content, good: (
                found is not None
                and SEAL.encode() in content
                and same(
                    json.dumps(found),
                    json.dumps({k: v for k, v in result.items() if k != SEAL}),
                    "result",
                )
            ),
            300,
        ),
    }
