"""All places of the package that write files, and how to make each of them do so.

`write_sites` finds them in the sources. What is found there must be in `SITES`, which
`full_disk.py` goes through, or in `NO_OUTPUT` with the reason: a new one is told by name.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WRITING = {
    "new_file", "new_folder", "TemporaryFile", "NamedTemporaryFile", "TemporaryDirectory",
    "mkdtemp", "mkstemp", "write_text", "write_bytes", "write_tensors", "write_all", "savefig",
    "to_csv", "save", "save_file", "savez", "savez_compressed", "savetxt", "tofile", "imwrite",
    "open_memmap", "copyfile", "copytree", "copyfileobj", "connect",
}  # fmt: skip
_OPENING = {"open", "fdopen"}

# Written, but to memory, or by way of a site that is in the table.
NO_OUTPUT = {
    "_files.py:_check_place": "an empty file without a name, to see whether one can be written",
    "_files.py:_flush": "opens what was written, to sync it",
    "_files.py:write_tensors": "part of saving a model",
    "_parts.py:_make": "the folder in which all others write",
    "aus/cache.py:_opened_to_read": "reads",
    "aus/training.py:degrade": "to memory",
    "aus/training.py:main": "calls TrainedHeads.save",
    "cli/fitting.py:fit": "calls save of the classifier",
    "datasets/render/camera.py:_compressed": "to memory",
    "datasets/render/make.py:_render_identity": "to memory",
    "pages/pictures.py:data_address": "to memory",
    "study/blocks.py:Picture.of": "to memory",
}


class Site(NamedTuple):
    """How to write at some places of the package.

    Attributes
    ----------
    covers : tuple of str
        ``module.py:function``.
    write : callable
        Takes a folder, a number that changes what is written, and what to call
        in the midst of the work, when `late`.
    late : bool
        The disk gets full in the midst of the work; before, it is not allowed to.
    warns : bool
        A full disk is a warning, and the result is given.
    adds : tuple of str
        What may be there in addition after a failure, as patterns.
    replaces : tuple of str
        What may have been replaced by then, whole.
    command : bool
        It is a command, whose exit status tells.
    quick : bool
        Part of the short run.
    """

    covers: tuple[str, ...]
    write: Callable[[Path, int, Callable[[], None]], Any]
    late: bool = False
    warns: bool = False
    adds: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    command: bool = False
    quick: bool = False


def write_sites(package: Path) -> set[str]:
    """Find all functions that write, by the names of what they call."""
    found = set()

    def visit(node: ast.AST, module: str, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}".lstrip(".")
            if isinstance(child, ast.Call) and _writes(child):
                found.add(f"{module}:{inner}")
            visit(child, module, inner)

    for file in package.rglob("*.py"):
        visit(ast.parse(file.read_text("utf-8")), file.relative_to(package).as_posix(), "")
    return found


def _writes(call: ast.Call) -> bool:
    called = call.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    if name in _WRITING:
        return True
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    texts = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return name in _OPENING and any(len(x) < 5 and set(x) & set("wax+") for x in texts)


# ------------------------------------------------------------------------ what is written


def _nothing() -> None:
    pass


@cache
def _place() -> Path:
    """Where inputs lie: not on the small disk."""
    return Path(_place_holder().name)


@cache
def _place_holder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@cache
def _classifier(number: int) -> Any:
    from adafer import AdaFERClassifier

    X = np.random.default_rng(number).normal(size=(40, 60)).astype(np.float32)
    y = np.repeat(["joy", "sad"], 20)
    return AdaFERClassifier(epochs=1, device="cpu", random_state=number).fit(X, y)


@cache
def _pictures(n: int = 200) -> list[Path]:
    folder = _place() / "pictures"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
    return sorted(folder.iterdir())


@cache
def _saved_model() -> Path:
    from adafer import AdaFERClassifier

    path = _place() / "model"
    settings = {"image_size": 16, "epochs": 1, "batch_size": 16, "device": "cpu"}
    X = [str(file) for file in _pictures()[:24]]
    AdaFERClassifier("convnet", **settings).fit(X, np.repeat(["joy", "sad"], 12)).save(path)
    return path


def _command(*arguments: object) -> Any:
    from typer.testing import CliRunner

    from adafer.cli import app

    return CliRunner().invoke(app, [str(a) for a in arguments])


class _Detector:
    """Scores by brightness, as detector and as extractor; can fill the disk in between."""

    au_names = [f"AU{i:02}" for i in range(1, 9)]
    identity = "by brightness"

    def __init__(self, now: Callable[[], None] = _nothing) -> None:
        self.detector_ = self
        self.now = now

    def scores_identity(self) -> str:
        return self.identity

    def detect(self, images: Any) -> NDArray[np.float32]:
        self.now()
        rows = [np.resize(np.asarray(image) / 255, len(self.au_names)) for image in images]
        return np.array(rows, dtype=np.float32)

    score_faces = detect


def _network(folder: Path, number: int, _: Any) -> None:
    from adafer.aus import AUNetwork

    rng = np.random.default_rng(number)
    X = rng.integers(0, 256, (32, 24, 24), dtype=np.uint8)
    Y = rng.integers(0, 2, (32, 2)).astype(float)
    network = AUNetwork(
        ["AU01", "AU02"], backbones=("convnet", "convnet"), image_size=24, epochs=1, device="cpu"
    )
    network.fit(X, Y).save(folder / "network")


def _demo(folder: Path, number: int, _: Any) -> None:
    from adafer.demo import DemoSettings, run_demo

    run_demo(
        folder / "demo",
        seed=number,
        settings=DemoSettings(image_size=16, source_epochs=1, epochs=1, max_faces=60, n_jobs=1),
        au_extractor=_Detector(),
        device="cpu",
    )


def _crops(folder: Path, number: int, _: Any) -> None:
    from sklearn.utils import Bunch

    from adafer.datasets import save_crops

    paths = [str(file) for file in _pictures()[20 * number : 20 * number + 20]]
    boxes = np.tile([2, 2, 20, 20], (len(paths), 1))
    save_crops(Bunch(paths=paths, boxes=boxes, target=np.zeros(len(paths))), folder / "crops")


def _pack(folder: Path, number: int, _: Any) -> None:
    from adafer.datasets.render import pack

    before = pack.read_makehuman, pack._columns
    columns = {"a": np.random.default_rng(number).random(4000)}
    pack.read_makehuman, pack._columns = (lambda source: None), (lambda found: columns)
    try:
        pack.pack(folder, folder / "head.npz")
    finally:
        pack.read_makehuman, pack._columns = before


def _render(folder: Path, number: int, folders: bool) -> None:
    from adafer.datasets.render import make_domain

    output = folder / f"folders{number}" if folders else folder
    make_domain(output, "studio", n=8, size=32, seed=number, folders=folders)


def _sheet(folder: Path, number: int, _: Any) -> None:
    from adafer.datasets.render import command

    pixels = np.random.default_rng(number).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    command._save(Image.fromarray(pixels), folder / "sheet.png")


def _cache(folder: Path, number: int, now: Callable[[], None]) -> NDArray:
    from adafer.aus import AUExtractor

    images = np.random.default_rng(number).integers(0, 256, (600, 8, 8, 3), dtype=np.uint8)
    extractor = AUExtractor(_Detector(now), cache=folder / "aus.sqlite")
    found = np.concatenate([extractor.score_faces(images[i : i + 100]) for i in range(0, 600, 100)])
    np.testing.assert_array_equal(found, _Detector().detect(images))
    return found


def _checkpointed(folder: Path, number: int, now: Callable[[], None]) -> None:
    from unittest import mock

    from adafer import SourceOnlyClassifier, _checkpoints

    plain = _checkpoints.Checkpoints.write

    def write(self: Any, stage: int, epoch: int, state: Any) -> None:
        if epoch == 2:
            now()
        plain(self, stage, epoch, state)

    X = np.random.default_rng(number).random((24, 6))
    place = folder / f"checkpoints-{number}"
    clf = SourceOnlyClassifier(epochs=3, batch_size=8, random_state=0, checkpoint_dir=place)
    with mock.patch.object(_checkpoints.Checkpoints, "write", write):
        clf.fit(X, ["anger", "fear"] * 12)


def _decode(store: Path | None, number: int, now: Callable[[], None], scored: bool = True) -> Any:
    from adafer import faces
    from adafer.store import decode_faces

    paths = _pictures()[number : number + 60]
    before, faces._CHUNK_BYTES = faces._CHUNK_BYTES, 20 * 24 * 24 * 3
    try:
        checked = faces.check_faces([str(file) for file in paths])
        found = decode_faces(checked, 24, store=store, extractor=_Detector(now) if scored else None)
    finally:
        faces._CHUNK_BYTES = before
    expected = np.array([np.asarray(Image.open(file)) for file in paths])
    np.testing.assert_array_equal(found.faces, expected)
    assert not scored or len(found.scores) == len(paths)
    return found


def _scores_of_known_faces(folder: Path, number: int, now: Callable[[], None]) -> None:
    if number == 0:
        for n in range(6):
            _decode(folder / "store", n, _nothing, scored=False)
    else:
        _decode(folder / "store", number, now)


def _temporary(folder: Path, number: int, now: Callable[[], None]) -> None:
    from adafer import store

    before = tempfile.tempdir, store.MEMORY_BYTES
    tempfile.tempdir, store.MEMORY_BYTES = str(folder), 0
    try:
        _decode(None, number, now)
    finally:
        tempfile.tempdir, store.MEMORY_BYTES = before


def _download(folder: Path, number: int, _: Any) -> None:
    import hashlib

    from adafer.deep.weights import download

    there = _place() / "weights.pth"
    content = np.random.default_rng(number).bytes(200_000)
    there.write_bytes(content)
    download(there.as_uri(), folder / "weights.pth", hashlib.sha256(content).hexdigest())


def _report(folder: Path, number: int, _: Any) -> None:
    from adafer.pages import write_report

    write_report(_classifier(number), folder / "report.html")


_PLAN = """
title = "A plan"
sources = ["source"]
targets = ["target"]
methods = ["source_only", "adafer", "pseudo_hard"]
protocols = ["transductive"]
seeds = 1
[[figures]]
kind = "features"
[data.source]
reader = "npz"
path = "source.npz"
[data.target]
reader = "npz"
path = "target.npz"
[base]
epochs = 1
batch_size = 32
device = "cpu"
"""


def _study(folder: Path, number: int, _: Any) -> Any:
    plans = _place() / "plans"
    plans.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    labels = np.repeat(["anger", "fear", "joy"], 30)
    for name in ("source", "target"):
        X = rng.normal(size=(90, 6)).astype(np.float32)
        np.savez(plans / f"{name}.npz", X=X, labels=labels, au=rng.random((90, 4)))
    (plans / "plan.toml").write_text(_PLAN)
    return _command(
        "study", plans / "plan.toml", "--output", folder / "study", "--seeds", number + 1
    )


def _failing_study(folder: Path, number: int, _: Any) -> None:
    """Write what a cell that fails leaves, as `_compute` does."""
    from adafer.study import run
    from adafer.study.cells import Failure

    (folder / "cells").mkdir(exist_ok=True)
    place = SimpleNamespace(
        cell=SimpleNamespace(keep=False), method="a", source="b", target="c", seed=0
    )
    before = run._side_by_side, run.stage_of
    details = "a line\n" * 2000
    run._side_by_side = lambda calls, jobs: [(f"key{number}", Failure("went wrong", details))]
    run.stage_of = lambda cell: None
    try:
        run._compute({f"key{number}": place}, folder, 1, 1, lambda line: None)
    finally:
        run._side_by_side, run.stage_of = before


def _heads(folder: Path, number: int, _: Any) -> None:
    from adafer.aus.heads import load_heads

    load_heads("trained").save(folder / "heads.safetensors")


SITES = {
    "model": Site(
        ("persistence.py:save_model",),
        lambda folder, n, _: _classifier(n).save(folder / "model"),
        quick=True,
    ),
    "AU network": Site(("aus/_network_files.py:save_network",), _network),
    "AU heads": Site(("aus/heads.py:TrainedHeads.save",), _heads, quick=True),
    "ONNX": Site(
        ("onnx_export.py:export_onnx", "onnx_export.py:_write", "onnx_export.py:_add_metadata"),
        lambda folder, n, _: _classifier(n).export_onnx(folder / "model.onnx"),
    ),
    "adafer predict": Site(
        ("_folders.py:write_table",),
        lambda folder, n, _: _command(
            "predict", _saved_model(), _place() / "pictures", "--output", folder / "table.csv"
        ),
        command=True,
        quick=True,
    ),
    "demo": Site(("demo.py:run_demo",), _demo, replaces=("demo/demo.png",)),
    "crops": Site(("datasets/crops.py:save_crops",), _crops, adds=("crops/*.jpg",), quick=True),
    "rendered file": Site(
        ("datasets/render/make.py:make_domain", "datasets/render/archive.py:update_checksums"),
        lambda folder, n, _: _render(folder, n, False),
        replaces=("studio.npz",),
    ),
    "rendered folders": Site(
        ("datasets/render/make.py:_write_folders",), lambda folder, n, _: _render(folder, n, True)
    ),
    "packed head": Site(
        ("datasets/render/pack.py:pack",), _pack, replaces=("head.npz",), quick=True
    ),
    "sheet of faces": Site(("datasets/render/command.py:_save",), _sheet, quick=True),
    "AU cache": Site(
        ("aus/cache.py:_opened",), _cache, warns=True, replaces=("aus.sqlite",), quick=True
    ),
    "AU cache, full in the midst": Site(
        (), _cache, late=True, warns=True, replaces=("aus.sqlite",), quick=True
    ),
    "face store": Site(
        ("store.py:_rows_of_entry",),
        lambda folder, n, now: _decode(folder / "store", n, now),
        adds=("store/faces-*/faces.*",),  # the faces where there was no room for their scores
        quick=True,
    ),
    "face store, full in the midst": Site(
        ("store.py:_RowsOfEntry._write", "store.py:_RowsOfEntry.finish"),
        lambda folder, n, now: _decode(folder / "store", n, now),
        late=True,
        warns=True,
        quick=True,
    ),
    "scores in the store": Site(
        ("store.py:_Entry.keep_scores",), _scores_of_known_faces, late=True, warns=True, quick=True
    ),
    "decoded faces without a name": Site(("store.py:_passing_rows",), _temporary, quick=True),
    "the same, full in the midst": Site(
        ("store.py:_RowsOfFile._write",), _temporary, late=True, quick=True
    ),
    "download": Site(
        ("_download.py:_opened", "_download.py:_fetch"),
        _download,
        adds=("weights.pth.part",),  # from which the next one goes on
        quick=True,
    ),
    "HTML report": Site(
        ("pages/report.py:write_report",), _report, quick=True
    ),
    "adafer study": Site(
        (
            "study/cells.py:fit_stage", "study/cells.py:fit_cell", "study/cells.py:_keep",
            "study/results.py:_write", "study/report.py:write_reports",
            "study/report.py:_write_text",
        ),
        _study,
        command=True,
        adds=("study/cells/*", "study/stages/**", "study/errors/*", "study/*"),
        replaces=("study/plan*",),
    ),
    "failed cell of a study": Site(("study/run.py:_compute",), _failing_study, quick=True),
    "checkpoint": Site(
        ("_checkpoints.py:Checkpoints.write",), _checkpointed, late=True, warns=True,
        adds=("checkpoints-*/**", "checkpoints-*"), quick=True,
    ),
}  # fmt: skip
