import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from adafer import AUExtractor
from adafer.cli import app
from adafer.study import run as run_module


def adafer(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Bars:
    """Two AUs: light above, light below."""

    au_names = ("AU01", "AU12")
    identity = "bars"

    def detect(self, images):
        return np.array(
            [[image[:10].mean() / 255, image[10:].mean() / 255] for image in images], np.float32
        )


@pytest.fixture
def folders(face_problem, tmp_path, monkeypatch):
    """Source and labelled target as folders of classes, and a flat target."""

    def extractor(**options):
        return AUExtractor(detector=Bars(), **options)

    monkeypatch.setattr(run_module, "AUExtractor", extractor)
    for name, X, y in (("source", "X", "y"), ("target", "X_tgt", "y_tgt")):
        for n, (face, label) in enumerate(zip(face_problem[X], face_problem[y], strict=True)):
            places = [tmp_path / name / label]
            if name == "target":
                places.append(tmp_path / "flat")
            for place in places:
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(face).save(place / f"{n:02}.png")
    return tmp_path


def compare(folders, target, *more):
    small = "--backbone convnet --image-size 16 --epochs 1 --batch-size 16 --device cpu --seeds 1"
    return adafer(
        "compare", "--source", folders / "source", "--target", folders / target,
        "--output", folders / "results", *small.split(), *more,
    )  # fmt: skip


@pytest.fixture
def plan_file(tmp_path, features):
    path = tmp_path / "small.toml"
    path.write_text(
        """
        sources = ["source"]
        targets = ["target"]
        methods = ["source_only", "au_query"]
        seeds = 2
        [base]
        epochs = 1
        device = "cpu"
        [data.source]
        reader = "npz"
        path = "{PLACE}/source.npz"
        [data.target]
        reader = "npz"
        path = "{PLACE}/target.npz"
        """
    )
    return path


def study(plan, features, output, *more):
    return adafer("study", plan, "--output", output, "--data", f"PLACE={features}", *more)


def test_a_study_is_run_and_goes_on(plan_file, features, tmp_path):
    first = study(plan_file, features, tmp_path / "out", "--seeds", 1)
    assert first.exit_code == 0, first.output
    assert "2 cells, of which 0 are there already" in first.stderr
    for name in ("small.md", "small.csv", "small-summary.csv", "small.html"):
        assert (tmp_path / "out" / name).is_file()
    assert f"wrote {tmp_path / 'out' / 'small.html'}" in first.stdout
    again = study(plan_file, features, tmp_path / "out")
    assert "4 cells, of which 2 are there already" in again.stderr


def test_several_plans_come_on_one_page(plan_file, features, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text('title = "The other"\n' + plan_file.read_text())
    result = adafer("study", plan_file, other, "--output", tmp_path / "out", "--seeds", 1,
                    "--data", f"PLACE={features}")  # fmt: skip
    assert "2 cells, of which 0 are there already" in result.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<h1>small</h1>" in page
    assert "<h1>The other</h1>" in page


def test_a_failed_cell_is_told_at_the_end_with_exit_code_1(plan_file, features, tmp_path):
    method = '{method = "sklearn.neighbors:KNeighborsClassifier", parameters = {n_neighbors = 999}}'
    plan_file.write_text(plan_file.read_text().replace('"au_query"]', f"{method}]"))
    result = study(plan_file, features, tmp_path / "out", "--seeds", 1)
    assert result.exit_code == 1
    assert re.search(r"FAILED source to target, sklearn.*: ValueError: Expected", result.stderr)
    assert "source_only" in (tmp_path / "out" / "small.md").read_text()


def test_interrupting_leaves_finished_cells(plan_file, features, tmp_path, monkeypatch):
    original, calls = run_module.fit_cell, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(run_module, "fit_cell", stopped)
    result = study(plan_file, features, tmp_path / "out")
    assert result.exit_code == 130
    assert "the same command goes on from there" in result.stderr
    assert len(list((tmp_path / "out" / "cells").glob("*.json"))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "asks for PLACE.*--data PLACE=PATH"),
        (["--data", "PLACE"], "--data is 'PLACE'; expected NAME=PATH"),
        (["--data", "PLACE=/nowhere/at/all"], "does not exist"),
        (["--embedded"], r"no table \[embedded\]"),
    ],
)
def test_errors_come_before_any_work(plan_file, tmp_path, arguments, message):
    result = adafer("study", plan_file, "--output", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert re.search(message, result.stderr)
    assert not (tmp_path / "out").exists()


def test_folders_with_labels_are_compared(folders):
    result = compare(folders, "target", "--target-labels", "--methods", "source_only,adafer")
    assert result.exit_code == 0, result.output
    text = (folders / "results" / "compare.md").read_text()
    assert "# source to target" in text
    assert "## Accuracy, inductive, %" in text
    assert "## Recall, target, transductive, %" in text
    assert "| target | - | 20 | 20 | 0 | 0 |" in text


def test_folders_without_labels_are_compared(folders):
    result = compare(folders, "flat")
    assert result.exit_code == 0, result.output
    text = (folders / "results" / "compare.md").read_text()
    assert "Accuracy" not in text
    assert "## Labels given, target, transductive, %" in text
    for method in ("source_only", "au_query_near", "pseudo_hard", "adafer"):
        assert f"| {method} |" in text


def test_names_of_target_folders_do_not_reach_a_fit(folders):
    first = compare(folders, "target", "--target-labels", "--methods", "source_only,adafer")
    assert "2 cells, of which 0 are there already" in first.stderr
    joy, sad = folders / "target" / "joy", folders / "target" / "sad"
    joy.rename(folders / "target" / "other")
    sad.rename(joy)
    (folders / "target" / "other").rename(sad)
    again = compare(folders, "target", "--target-labels", "--methods", "source_only,adafer")
    # the very same fits, scored otherwise
    assert "2 cells, of which 2 are there already" in again.stderr


def test_compare_refuses_what_it_does_not_know(folders):
    result = compare(folders, "flat", "--methods", "source_only,adafr")
    assert result.exit_code == 2
    assert "'adafr'" in result.stderr
    assert "Did you mean 'adafer'" in result.stderr
