"""The page on many machines: its code runs, its plan adds up."""

import re
import runpy
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from adafer import AUGuidedAnnotator

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def plan():
    return runpy.run_path(str(ROOT / "tests" / "benchmarks" / "plan_billion.py"))["plan"]


def test_code_of_the_page_runs_and_shards_add_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "many_machines.md").read_text(), re.DOTALL
    )
    # one worker: functions of a page cannot be sent to another process by name
    names = {}
    exec(compile(block.replace("n_jobs=2", "n_jobs=1"), "many_machines.md", "exec"), names)
    source, rows = names["source"], np.concatenate(names["rows"])
    scores = names["extractor"].score_faces(source.images[rows])
    whole = AUGuidedAnnotator(threshold=0.5).partial_fit(
        scores, source.target[rows], classes=source.target_names
    )
    np.testing.assert_array_equal(names["annotator"].code_table_.counts, whole.code_table_.counts)
    found = whole.annotate(np.concatenate(names["scored"])).labels
    np.testing.assert_array_equal(np.concatenate(names["labels"]), found)


def test_plan_multiplies_faces_by_rates(plan):
    rates = {
        "read a JPEG of 224 px": 0.001,
        "score AUs": 0.0026,
        "count labels by AU code": 1e-7,
        "annotate, exact": 3.6e-7,
        "draw triplets": 1e-6,
        "joint step, ResNet-18, 224 px, per picture": 0.05,
        "predict, ResNet-18, 224 px": 0.02,
    }
    options = Namespace(
        faces=1e9, source=1e6, trained=1e7, epochs=10, size=224, aus=18, jpeg_bytes=15_000,
        hours=10.0, gpu_images_per_second=None, cores_per_gpu=16,
    )  # fmt: skip
    lines = plan(rates, options)
    row = {line.split(" | ")[0]: line for line in lines}
    assert "| 1e+03 (core) | 100 cores |" in row["| read and score AUs of all"]
    assert "| 0.1 (core) | 1 core |" in row["| annotate all"]
    assert "| 15 TB |" in row["| faces as JPEG files"]
    options.gpu_images_per_second = 1000.0
    trained = next(line for line in plan(rates, options) if line.startswith("| train"))
    assert "| 83.3 (GPU) | 9 GPUs |" in trained
