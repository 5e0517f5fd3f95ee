"""Several processes that train one network do what a single one does."""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from adafer import AdaFERClassifier
from adafer._ranks import this_rank
from adafer.cli import app
from adafer.datasets import load_facs_faces
from adafer.deep.device import resolve_device
from adafer.persistence import load_model, save_model

SCRIPT = Path(__file__).parent / "train_together.py"
REPOSITORY = Path(__file__).parents[2]


def run_together(*arguments, limit=300):
    """Start two processes by torchrun; none of them outlives the test."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    process = subprocess.Popen(
        [*command, "--nproc-per-node", "2", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=limit)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    code, _, errors = run_together(SCRIPT, folder)
    assert code == 0, errors
    return {
        "folder": folder,
        "errors": errors,
        "ranks": [np.load(folder / f"found-{rank}.npz") for rank in (0, 1)],
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return runpy.run_path(str(SCRIPT))["fit_all"](tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize(
    "fit",
    ["fused", "paper", "DANNClassifier", "SelfTrainingClassifier", "SWDClassifier", "weighted"],
)
def test_two_processes_follow_one_with_the_same_batches(together, alone, fit):
    for found in together["ranks"]:
        np.testing.assert_allclose(found[fit], alone[fit], rtol=0, atol=2e-6)
        if f"{fit}_losses" in alone:
            for what in ("losses", "margin"):
                np.testing.assert_allclose(
                    found[f"{fit}_{what}"], alone[f"{fit}_{what}"], rtol=1e-5, atol=1e-6
                )


def test_batch_normalisation_sees_the_whole_batch(together, alone):
    for found in together["ranks"]:
        np.testing.assert_allclose(found["pictures_losses"], alone["pictures_losses"], rtol=1e-3)
        np.testing.assert_allclose(found["pictures"], alone["pictures"], rtol=0, atol=5e-3)


def test_each_process_scores_its_share_of_the_pictures(together, alone):
    counts = [int(found["n_scored"][0]) for found in together["ranks"]]
    assert sum(counts) == int(alone["n_scored"][0])
    assert abs(counts[0] - counts[1]) <= 2


def test_without_a_seed_all_processes_draw_alike(together, alone):
    first, second = together["ranks"]
    np.testing.assert_array_equal(first["unseeded"], second["unseeded"])
    assert np.abs(first["unseeded"] - alone["unseeded"]).max() > 1e-3


def test_several_processes_resume_and_refuse_as_one(together, alone):
    for found in (*together["ranks"], alone):
        np.testing.assert_array_equal(found["resumed"], found["fused"])
        assert found["epochs_run"].tolist() == [1]
        assert bool(found["refused"])


def test_only_the_first_process_writes(together):
    assert isinstance(load_model(together["folder"] / "model-0"), AdaFERClassifier)
    assert not (together["folder"] / "model-1").exists()
    assert together["errors"].count("joint   2") == 2  # one line for each of two verbose fits


def test_an_error_in_one_process_ends_all(tmp_path):
    started = time.monotonic()
    code, _, errors = run_together(SCRIPT, tmp_path, "fail", limit=120)
    assert code != 0
    assert "the disk of this process is full" in errors
    assert time.monotonic() - started < 110
    for rank in (0, 1):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"pid-{rank}").read_text()), 0)


def test_fit_works_under_torchrun(tmp_path):
    from PIL import Image

    data = load_facs_faces(domain="studio", split="train")
    for folder, rows in (("labelled", slice(0, 24)), ("camera", slice(24, 32))):
        for row in range(rows.start, rows.stop):
            place = tmp_path / folder
            if folder == "labelled":
                place = place / ["a", "b"][row % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(data.images[row]).save(place / f"{row}.png")
    options = "--backbone convnet --image-size 32 --epochs 1 --batch-size 16 --device cpu"
    code, output, errors = run_together(
        *(
            "-m",
            "adafer",
            "fit",
            "--source",
            tmp_path / "labelled",
            "--target",
            tmp_path / "camera",
        ),
        *("--output", tmp_path / "model", *options.split()),
    )
    assert code == 0, errors
    assert output.count("coverage") == 1
    assert errors.count("scoring action units and training") == 1
    predicted = AdaFERClassifier.load(tmp_path / "model").predict(data.images[24:32])
    assert set(predicted) <= {"a", "b"}


# ------------------------------------------------------- places told by torchrun


@pytest.fixture
def second_of_two(monkeypatch):
    told = {
        "TORCHELASTIC_RUN_ID": "test",
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_WORLD_SIZE": "1",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)


def test_place_of_a_process_is_what_torchrun_says(second_of_two):
    rank = this_rank()
    assert (rank.index, rank.count, rank.local_index, rank.local_count) == (1, 2, 1, 2)


def test_workers_of_a_process_are_no_part_of_the_group(second_of_two):
    from joblib import Parallel, delayed

    assert Parallel(n_jobs=2)([delayed(this_rank)()])[0].count == 1


def test_one_process_is_alone(monkeypatch, second_of_two):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert this_rank().count == 1


@pytest.mark.usefixtures("second_of_two")
def test_each_process_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda", 1)
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="cannot be split over 2 processes"):
        resolve_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 processes on a machine with 1 GPUs"):
        resolve_device("cuda")


@pytest.mark.usefixtures("second_of_two")
def test_commands_that_cannot_be_split_refuse_several_processes(tmp_path):
    found = CliRunner().invoke(app, ["aus", str(tmp_path), "--output", str(tmp_path / "aus.csv")])
    assert found.exit_code == 2
    assert "(process 2 of 2)" in found.output
    assert "without torchrun" in found.output


def test_second_process_saves_nothing(tmp_path, second_of_two, monkeypatch, feature_problem):
    monkeypatch.setenv("WORLD_SIZE", "1")
    given = feature_problem
    fitted = AdaFERClassifier(epochs=0, device="cpu").fit(given["X"], given["y"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    save_model(fitted, tmp_path / "model")
    assert not (tmp_path / "model").exists()
