"""Plans, results and arrays of studies that are damaged or hostile."""

import io
import json
import os
import zipfile

import numpy as np
import pytest

from adafer._json_files import SEAL, seal
from adafer.study._arrays import read_arrays
from adafer.study.cells import read_result
from adafer.study.reading import read_plan

PLAN = """
sources = ["facs_faces:studio"]
targets = ["facs_faces:wild"]
methods = ["source_only"]
seeds = 2
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('include = "plan.toml"', "includes itself"),
        (
            PLAN.replace("seeds = 2", "seeds = 100000000000000"),
            "seeds is 100000000000000; expected",
        ),
        ("a = " + "[" * 100_000, "is no TOML"),
        ("\x00", "is no TOML"),
        (PLAN.replace('["source_only"]', "[3]"), "expected a table"),
        (
            PLAN.replace('["source_only"]', '[{method = "source_only", grid = 3}]'),
            "expected a table",
        ),
        (PLAN.replace('["source_only"]', '["no_such_module:Class"]'), "no_such_module"),
        (PLAN + "published = [3]", "expected a table"),
        (PLAN + "[data]\n'facs_faces:wild' = 3", "expected a table"),
        (
            PLAN.replace(
                '["source_only"]',
                '[{method = "source_only", grid = {'
                + ", ".join(f"p{i} = {list(range(99))}" for i in range(9))
                + "}}]",
            ),
            "more than 10000 points",
        ),
    ],
    ids=range(10),
)
def test_plans_that_ask_for_too_much_or_are_none_are_told(tmp_path, text, words):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_plan(tmp_path / "plan.toml")


def test_a_plan_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "plan.toml")
    with pytest.raises(OSError, match="is a pipe, socket or device"):
        read_plan(tmp_path / "plan.toml")


def test_a_result_that_was_damaged_is_none(tmp_path):
    """It is computed again: a changed digit would be a wrong figure in the report."""
    path = tmp_path / "cell.json"
    result = {"format": 1, "facts": {"coverage": float("nan")}, "accuracy": 0.5}
    path.write_text(json.dumps({**result, SEAL: seal(result)}))
    assert read_result(path)["accuracy"] == 0.5
    path.write_text(path.read_text().replace("0.5", "0.9"))
    assert read_result(path) is None
    path.write_text(json.dumps(result))  # of an earlier version
    assert read_result(path)["accuracy"] == 0.5
    for text in ("[" * 100_000, "", "3", '{"format": 1, "format": 1}'):
        path.write_text(text)
        assert read_result(path) is None


def test_arrays_that_are_bombs_or_damaged_are_value_errors(tmp_path):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, X=np.arange(6.0).reshape(2, 3))
    assert read_arrays(path)["X"].shape == (2, 3)
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    with pytest.raises(ValueError, match="holds no arrays"):
        read_arrays(path)
    np.savez(path, X=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="holds no arrays"):
        read_arrays(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", header.getvalue())
    with pytest.raises(ValueError, match="holds no arrays"):
        read_arrays(path)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("X.npy", "w") as f,
    ):
        for _ in range(1100):
            f.write(bytes(2**20))
    with pytest.raises(ValueError, match="zip bomb"):
        read_arrays(path)
