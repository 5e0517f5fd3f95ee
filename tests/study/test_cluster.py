"""Cells, searches and AU scores on clusters of dask and Ray: the same bits as here."""

import os
import signal
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from typer.testing import CliRunner

from adafer import AdaFERClassifier, AUExtractor, as_target
from adafer.cli import app
from adafer.datasets import load_facs_faces
from adafer.study.cells import fit_cell
from adafer.study.cluster import on_cluster

# what dask and Ray warn of while they start and stop is theirs
pytestmark = pytest.mark.filterwarnings("ignore")

METHODS = ["au_query", "adafer"]


def results_of(study):
    return {
        (row.method, row.seed): (row.result["network_sha256"], row.result["probabilities_sha256"])
        for row in study.rows
    }


def search(problem):
    """Scores of a grid search, to the bit."""
    classifier = AdaFERClassifier(epochs=1, batch_size=32, random_state=0, device="cpu")
    found = GridSearchCV(classifier, {"epsilon": [0.0, 1.0]}, cv=2, n_jobs=-1).fit(
        problem["X"],
        problem["y"],
        X_tgt=as_target(problem["X_tgt"]),
        au_src=problem["au_src"],
        au_tgt=as_target(problem["au_tgt"]),
    )
    return found.cv_results_["mean_test_score"], found.best_estimator_.predict_proba(problem["X"])


def score(images, chunk=4):
    """AU scores, a chunk of pictures per task."""
    extractor = AUExtractor()
    chunks = [images[start : start + chunk] for start in range(0, len(images), chunk)]
    calls = (joblib.delayed(extractor.score_faces)(part) for part in chunks)
    return np.concatenate(joblib.Parallel(n_jobs=-1)(calls))


@pytest.fixture(scope="module")
def images():
    return load_facs_faces(domain="studio", split="test").images[:8]


@pytest.fixture(scope="module")
def dask_cluster():
    distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ray_cluster():
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=10**8)
    yield ray
    ray.shutdown()


@pytest.fixture(params=["dask", "ray"])
def address(request):
    """How `--cluster` names a cluster of two workers."""
    if request.param == "dask":
        return request.getfixturevalue("dask_cluster").scheduler_address
    request.getfixturevalue("ray_cluster")
    return "ray"


def test_studies_searches_and_scores_are_the_same_to_the_bit(
    address, plan_of, run, feature_problem, images
):
    # Ray starts its workers anew for source stages and for cells
    methods = METHODS if address != "ray" else ["au_query"]
    plan = plan_of(methods=methods, seeds=1)
    here = run(plan, output="here")
    with joblib.parallel_config("sequential"):
        scores, probabilities = search(feature_problem)
        aus = score(images)
    with on_cluster(address):
        there = run(plan, output="there", jobs=-1)
        scores_there, probabilities_there = search(feature_problem)
        aus_there = score(images)
    assert there.n_computed == len(here.rows) == len(methods)
    assert results_of(there) == results_of(here)
    np.testing.assert_array_equal(scores_there, scores)
    np.testing.assert_array_equal(probabilities_there, probabilities)
    np.testing.assert_array_equal(aus_there, aus)


def test_a_study_survives_a_killed_worker(address, plan_of, run, tmp_path, monkeypatch):
    plan = plan_of(methods=["au_query"], seeds=6)
    here = run(plan, output="here")
    mark, parent = tmp_path / "died", os.getpid()

    # within the test, so that it is sent by value
    def die_once(*arguments):
        if os.getpid() != parent and not mark.exists():
            mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return fit_cell(*arguments)

    monkeypatch.setattr("adafer.study.run.fit_cell", die_once)
    with on_cluster(address):
        there = run(plan, output="there", jobs=-1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    assert there.failures == []
    assert results_of(there) == results_of(here)


def test_a_worker_without_the_output_folder_says_so(plan_of, run, monkeypatch, tmp_path):
    import shutil

    def elsewhere(cell, output, *rest):
        shutil.rmtree(output.parent)
        return fit_cell(cell, output, *rest)

    monkeypatch.setattr("adafer.study.run.fit_cell", elsewhere)
    study = run(plan_of(methods=["au_query"], seeds=1))
    assert "does not see" in study.rows[0].failure.error
    assert "share the study's output folder" in study.rows[0].failure.error


def test_a_cluster_that_is_none_is_refused():
    with (
        pytest.raises(ValueError, match="expected the address of a dask scheduler"),
        on_cluster("10.0.0.1:8786"),
    ):
        pass


def test_the_command_takes_a_cluster(tmp_path, features):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'pairs = [["source", "target"]]\nmethods = ["au_query"]\nseeds = 1\n'
        f'[data.source]\nreader = "npz"\npath = "{features}/source.npz"\n'
        f'[data.target]\nreader = "npz"\npath = "{features}/target.npz"\n'
    )
    found = CliRunner().invoke(
        app, ["study", str(plan), "--output", str(tmp_path / "out"), "--cluster", "10.0.0.1:8786"]
    )
    assert found.exit_code == 2
    assert "expected the address of a dask scheduler" in found.output


def test_missing_packages_are_named():
    code = (
        "import sys; sys.modules['distributed'] = sys.modules['ray'] = None\n"
        "from adafer.study.cluster import on_cluster\n"
        "for address in ('tcp://localhost:1', 'ray'):\n"
        "    try:\n"
        "        on_cluster(address).__enter__()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "dask[distributed]" in found.stdout
    assert "package ray" in found.stdout
    assert found.stdout.count('pip install "adafer[cluster]"') == 2
