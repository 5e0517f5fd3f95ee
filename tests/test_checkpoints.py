"""A fit that is interrupted goes on from its checkpoint to the bits of one that is not."""

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from adafer import (
    AdaFERClassifier,
    AUGuidedAnnotator,
    AUInputClassifier,
    PseudoLabelClassifier,
    SourceOnlyClassifier,
    as_target,
    rivals,
)
from adafer._checkpoints import SUMS, TENSORS, VALUES, Checkpoints
from adafer._files import sha256
from adafer._network_classifier import NetworkClassifier
from adafer.aus import AUNetwork
from adafer.deep.backbones import build_network
from adafer.deep.loop import Trainer

RIVALS = [getattr(rivals, name) for name in rivals.__all__]
FUSED = {"margin": "learnable", "annotator": AUGuidedAnnotator(threshold=0.5, matching="near")}
PAPER = {"recipe": "paper", "annotator": AUGuidedAnnotator(threshold=0.5)}
CASES = [
    pytest.param(AdaFERClassifier, FUSED, id="fused"),
    pytest.param(AdaFERClassifier, PAPER, id="paper"),
    pytest.param(AdaFERClassifier, {**PAPER, "margin": "learnable"}, id="paper-learnable"),
    pytest.param(SourceOnlyClassifier, {}, id="source-only"),
    pytest.param(PseudoLabelClassifier, {"labels": "soft"}, id="pseudo-labels"),
    pytest.param(AUInputClassifier, {}, id="au-inputs"),
    *(pytest.param(method, {}, id=method.__name__) for method in RIVALS),
]
SMALLER = {
    "AGRAClassifier": {"node_units": 8, "hidden_units": 8},
    "CADAClassifier": {"hidden_units": 8, "max_units": 16},
    "DANNClassifier": {"hidden_units": 8},
    "SWDClassifier": {"n_directions": 8},
    "TENTClassifier": {"adaptation_epochs": 3},
}


class Killed(Exception):
    """Stands for the end of the process."""


def make(method, options, folder=None, **more):
    settings = {
        "backbone": "convnet",
        "image_size": 24,
        "source_epochs": 2,
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 0.01,
        "random_state": 0,
        "device": "cpu",
        "checkpoint_dir": folder,
    }
    smaller = SMALLER.get(method.__name__, {})
    return method(**(settings | smaller | options | more))


def given(problem):
    return {name: problem[name] for name in ("X", "y", "X_tgt", "au_src", "au_tgt")}


def outcome(clf):
    """All that was learnt, but for times."""
    found = {f"network.{k}": v.numpy() for k, v in clf.network_.state_dict().items()}
    for name, value in vars(clf).items():
        if name.endswith("_") and isinstance(value, (np.ndarray, float, int, dict)):
            found[name] = value
    found["history_"] = [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
        for row in clf.history_
    ]
    found.pop("fit_summary_", None)
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        else:
            assert found[name] == value, name


@contextlib.contextmanager
def killed_after(n, monkeypatch):
    """Let the process "die" when it has written n checkpoints."""
    written = 0
    write = Checkpoints.write

    def counted(self, *args):
        nonlocal written
        write(self, *args)
        written += 1
        if written == n:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "write", counted)
        with pytest.raises(Killed):
            yield


@contextlib.contextmanager
def killed_in_step(n, monkeypatch):
    """Let the process "die" in the middle of an epoch, in its n-th step."""
    steps = 0
    descend = Trainer._descend

    def counted(self, *args):
        nonlocal steps
        steps += 1
        if steps == n:
            raise Killed
        descend(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_descend", counted)
        with pytest.raises(Killed):
            yield


def test_every_method_with_a_network_is_here():
    def below(cls):
        return {cls, *(found for sub in cls.__subclasses__() for found in below(sub))}

    public = {
        cls.__name__
        for cls in below(NetworkClassifier)
        if cls.__module__.startswith("adafer") and cls.__module__.rpartition(".")[2][0] != "_"
    }
    assert public == {case.values[0].__name__ for case in CASES}


def infer(clf, problem):
    more = {"au": problem["au_tgt"]} if isinstance(clf, AUInputClassifier) else {}
    return clf.predict_proba(problem["X_tgt"], **more)


@pytest.mark.parametrize(("method", "options"), CASES)
@pytest.mark.parametrize("inputs", ["feature", "face"])
def test_interrupted_after_every_epoch_it_ends_with_the_same_bits(
    inputs, method, options, request, tmp_path, monkeypatch
):
    problem = request.getfixturevalue(f"{inputs}_problem")
    p = given(problem)
    undisturbed = make(method, options).fit(**p)
    for _ in range(undisturbed.n_iter_):
        with killed_after(1, monkeypatch):
            make(method, options, tmp_path).fit(**p)
    resumed = make(method, options, tmp_path).fit(**p)
    assert_same(outcome(resumed), outcome(undisturbed))
    np.testing.assert_array_equal(infer(resumed, problem), infer(undisturbed, problem))


def test_a_fit_that_is_done_is_there_at_once(feature_problem, tmp_path, monkeypatch):
    p = given(feature_problem)
    first = make(AdaFERClassifier, FUSED, tmp_path).fit(**p)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", lambda *_: pytest.fail("an epoch was run"))
        again = make(AdaFERClassifier, FUSED, tmp_path).fit(**p)
    assert_same(outcome(again), outcome(first))
    assert again.history_ == first.history_


def test_what_was_done_is_not_done_again(feature_problem, tmp_path, monkeypatch, capsys):
    p = given(feature_problem)
    with killed_after(4, monkeypatch):
        make(AdaFERClassifier, FUSED, tmp_path).fit(**p)
    run = []
    epoch = Trainer._epoch
    monkeypatch.setattr(
        Trainer,
        "_epoch",
        lambda self, stage, n, *rest: run.append((stage, n)) or epoch(self, stage, n, *rest),
    )
    make(AdaFERClassifier, FUSED, tmp_path, verbose=1).fit(**p)
    assert run == [("joint", 2)]
    said = capsys.readouterr().err
    assert "source   2 | from the checkpoint" in said
    assert " joint   2 | from the checkpoint" in said


@pytest.mark.parametrize("n", [1, 4, 9, 14])
def test_killed_within_an_epoch_it_starts_that_epoch_anew(
    n, feature_problem, tmp_path, monkeypatch
):
    p = given(feature_problem)
    undisturbed = make(AdaFERClassifier, FUSED).fit(**p)
    with killed_in_step(n, monkeypatch):
        make(AdaFERClassifier, FUSED, tmp_path).fit(**p)
    assert_same(outcome(make(AdaFERClassifier, FUSED, tmp_path).fit(**p)), outcome(undisturbed))


def test_checkpoints_change_nothing_outside(feature_problem, tmp_path):
    before = torch.get_rng_state()
    make(AdaFERClassifier, FUSED, tmp_path).fit(**given(feature_problem))
    make(AdaFERClassifier, FUSED, tmp_path).fit(**given(feature_problem))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_au_network_resumes(face_problem, tmp_path, monkeypatch):
    def network(folder=None):
        return AUNetwork(
            ["AU01", "AU12"],
            backbones=("convnet", "convnet"),
            image_size=24,
            epochs=3,
            batch_size=16,
            device="cpu",
            random_state=0,
            checkpoint_dir=folder,
        )

    p = face_problem
    data = p["X"], (p["au_src"][:, :2] > 0.5).astype(int), p["X_tgt"]
    undisturbed = network().fit(*data)
    for _ in range(3):
        with killed_after(1, monkeypatch):
            network(tmp_path).fit(*data)
    resumed = network(tmp_path).fit(*data)
    assert resumed.identity == undisturbed.identity
    assert_same(outcome(resumed), outcome(undisturbed))
    with pytest.raises(ValueError, match="X has other pictures"):
        network(tmp_path).fit(255 - data[0], *data[1:])
    with pytest.raises(ValueError, match="Y_au has other values"):
        network(tmp_path).fit(data[0], 1 - data[1], data[2])
    with pytest.raises(ValueError, match=r"presence: 0\.2 saved, 0\.3 now"):
        network(tmp_path).set_params(presence=0.3).fit(*data)


def test_a_compiled_backbone_is_kept_by_its_plain_names(feature_problem, tmp_path, monkeypatch):
    p = given(feature_problem)

    @contextlib.contextmanager
    def compiled(self):
        plain = self.network.backbone
        self.network.backbone = torch.compile(plain, backend="eager")
        yield
        self.network.backbone = plain

    undisturbed = make(SourceOnlyClassifier, {}).fit(p["X"], p["y"])
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_compiled_backbone", compiled)
        with killed_after(1, monkeypatch):
            make(SourceOnlyClassifier, {}, tmp_path).fit(p["X"], p["y"])
    found = load_file(newest(tmp_path) / TENSORS)
    names = {name.partition(".")[2] for name in found if name.startswith("network.")}
    assert names == set(undisturbed.network_.state_dict())
    resumed = make(SourceOnlyClassifier, {}, tmp_path).fit(p["X"], p["y"])
    assert resumed.n_iter_ == 2


# ------------------------------------------------------------------ what is refused


@pytest.fixture
def interrupted(feature_problem, tmp_path, monkeypatch):
    """A folder with checkpoints of a fit that is not done, and what it was given."""
    folder = tmp_path / "checkpoints"
    with killed_after(3, monkeypatch):
        make(AdaFERClassifier, PAPER, folder).fit(**given(feature_problem))
    return folder, given(feature_problem)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 0.02}, "learning_rate: 0.01 saved, 0.02 now"),
        ({"epochs": 13}, "epochs: 3 saved, 13 now"),
        ({"random_state": 1}, "random_state: 0 saved, 1 now"),
        ({"random_state": None}, "random_state: 0 saved, None now"),
        ({"recipe": "fused"}, "recipe: 'paper' saved, 'fused' now"),
        ({"annotator__threshold": 0.6}, "annotator__threshold: 0.5 saved, 0.6 now"),
        ({"annotator__schemes": ("s-hard",)}, "annotator__schemes"),
        ({"annotator": None}, "annotator: 'AUGuidedAnnotator' saved, None now"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_other_parameters_are_refused_before_data_are_read(change, words, interrupted, monkeypatch):
    folder, p = interrupted
    before = content(folder)
    other = make(AdaFERClassifier, {**PAPER, "annotator": clone(PAPER["annotator"])}, folder)
    monkeypatch.setattr(
        "adafer._domain_classifier.read_domain", lambda *_, **__: pytest.fail("data were read")
    )
    with pytest.raises(ValueError, match="holds checkpoints of another fit") as caught:
        other.set_params(**change).fit(**p)
    assert words in str(caught.value)
    assert "resume='never'" in str(caught.value)
    assert content(folder) == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("X", "X has other values"),
        ("y", "y has other values"),
        ("X_tgt", "X_tgt has other values"),
        ("au_src", "au_src has other values"),
        ("au_tgt", "au_tgt has other values"),
        ("sample_weight", "sample_weight was not given then"),
    ],
)
def test_other_data_are_refused(name, words, interrupted):
    folder, p = interrupted
    before = content(folder)
    if name == "sample_weight":
        p[name] = np.linspace(1, 2, len(p["X"]))
    else:
        p[name] = p[name].copy()
        p[name][0] = p[name][np.flatnonzero(p["y"] != p["y"][0])[0]]
    with pytest.raises(ValueError, match=words) as caught:
        make(AdaFERClassifier, PAPER, folder).fit(**p)
    assert str(caught.value).count("has other") + str(caught.value).count("was not") == 1
    assert content(folder) == before


def test_another_method_and_a_fit_without_target_are_refused(interrupted):
    folder, p = interrupted
    with pytest.raises(ValueError, match="method: AdaFERClassifier saved, MCCClassifier now"):
        make(rivals.MCCClassifier, {}, folder).fit(**p)
    with pytest.raises(ValueError, match="X_tgt was given then"):
        make(AdaFERClassifier, PAPER, folder).fit(p["X"], p["y"])


@pytest.mark.parametrize(
    "harmless",
    [
        {"verbose": 0, "n_jobs": 2},
        {"test_time_flip": True},
        {"on_error": "skip"},
        {"resume": "auto"},
    ],
)
def test_what_changes_nothing_is_not_compared(harmless, interrupted):
    folder, p = interrupted
    undisturbed = make(AdaFERClassifier, PAPER).fit(**p)
    resumed = make(AdaFERClassifier, PAPER, folder, **harmless).fit(**p)
    assert_same(outcome(resumed), outcome(undisturbed))


def test_never_starts_anew(interrupted):
    folder, p = interrupted
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    other = make(AdaFERClassifier, PAPER, folder, epochs=1, resume="never").fit(**p)
    assert_same(outcome(other), outcome(make(AdaFERClassifier, PAPER, epochs=1).fit(**p)))
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert {path.name for path in folder.iterdir()} == {
        ".lock", "notes.txt", "stage-0-epoch-0001", "stage-0-epoch-0002", "stage-1-epoch-0001"
    }  # fmt: skip


def rewrite(folder, change):
    """Change what a checkpoint says, checksum included."""
    path = folder / VALUES
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found), encoding="utf-8")
    sums = "".join(f"{sha256(folder / part)}  {part}\n" for part in (TENSORS, VALUES))
    (folder / SUMS).write_text(sums, encoding="ascii")


def newest(folder):
    return max(folder.glob("stage-*"), key=lambda path: path.name)


def test_other_versions_are_refused_or_told(interrupted):
    folder, p = interrupted
    clf = make(AdaFERClassifier, PAPER, folder)
    rewrite(newest(folder), lambda found: found["versions"].update(torch="1.0"))
    with pytest.warns(UserWarning, match=r"torch 1\.0 \(here .* need not end with the bits"):
        clone(clf).fit(**p)
    rewrite(newest(folder), lambda found: found["fit"].update(adafer="0.0.1"))
    with pytest.raises(ValueError, match=r"adafer: 0\.0\.1 saved"):
        clone(clf).fit(**p)
    rewrite(newest(folder), lambda found: found.update(format_version=2))
    with pytest.raises(ValueError, match="format version 2; this adafer reads version 1"):
        clone(clf).fit(**p)
    rewrite(newest(folder), lambda found: found.update(format="something"))
    with pytest.raises(ValueError, match="no checkpoint of adafer"):
        clone(clf).fit(**p)


def test_tensors_of_another_network_are_an_error(interrupted):
    folder, p = interrupted
    tensors = load_file(newest(folder) / TENSORS)
    name = next(name for name in tensors if name.startswith("network."))
    tensors[name] = torch.zeros(1, 2, 3)
    save_file(tensors, newest(folder) / TENSORS)
    rewrite(newest(folder), lambda found: None)
    with pytest.raises(ValueError, match="does not fit its network"):
        make(AdaFERClassifier, PAPER, folder).fit(**p)


def test_a_folder_in_use_is_refused(interrupted):
    folder, p = interrupted
    with Checkpoints(folder, {}, 0, "never"), pytest.raises(BlockingIOError, match="in use"):
        make(AdaFERClassifier, PAPER, folder).fit(**p)


def test_a_folder_that_cannot_be_is_told_before_data_are_read(feature_problem, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for place in (tmp_path / "file", tmp_path / "file" / "{fit}"):
        with pytest.raises(OSError, match=r"checkpoint_dir: .*is a file, expected a folder"):
            make(AdaFERClassifier, PAPER, place).fit(**given(feature_problem))


# ------------------------------------------------------------- damage, leftovers, full disks


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip_bit(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize("part", [TENSORS, VALUES, SUMS])
@pytest.mark.parametrize("damage", [truncate, flip_bit, lambda path: path.unlink()])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    part, damage, feature_problem, tmp_path, monkeypatch
):
    p = given(feature_problem)
    undisturbed = make(AdaFERClassifier, PAPER).fit(**p)
    with killed_after(4, monkeypatch):
        make(AdaFERClassifier, PAPER, tmp_path).fit(**p)
    assert newest(tmp_path).name == "stage-1-epoch-0002"
    damage(newest(tmp_path) / part)
    with pytest.warns(UserWarning, match="stage-1-epoch-0002' is damaged and is passed over"):
        resumed = make(AdaFERClassifier, PAPER, tmp_path).fit(**p)
    assert_same(outcome(resumed), outcome(undisturbed))


def test_where_all_are_damaged_the_fit_starts_anew(interrupted):
    folder, p = interrupted
    for path in folder.glob("stage-*"):
        truncate(path / TENSORS)
        truncate(path / VALUES)
    with pytest.warns(UserWarning, match="is damaged"):
        resumed = make(AdaFERClassifier, PAPER, folder).fit(**p)
    assert_same(outcome(resumed), outcome(make(AdaFERClassifier, PAPER).fit(**p)))


def test_two_checkpoints_of_each_stage_are_kept_and_nothing_else(feature_problem, tmp_path):
    make(AdaFERClassifier, PAPER, tmp_path).fit(**given(feature_problem))
    names = {path.name for path in tmp_path.iterdir()}
    places = ((0, 1), (0, 2), (1, 2), (1, 3))
    assert names == {".lock"} | {f"stage-{s}-epoch-000{e}" for s, e in places}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("full")])
def test_a_full_disk_is_told_and_the_fit_goes_on(error, feature_problem, tmp_path, monkeypatch):
    p = given(feature_problem)
    with killed_after(3, monkeypatch):
        make(AdaFERClassifier, PAPER, tmp_path).fit(**p)
    before = content(newest(tmp_path))

    def fail(tensors, path, *_, **__):
        path.write_bytes(b"half of it")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", fail)
        with pytest.warns(UserWarning, match="could not be written.*stage-1-epoch-0001"):
            found = make(AdaFERClassifier, PAPER, tmp_path).fit(**p)
    assert_same(outcome(found), outcome(make(AdaFERClassifier, PAPER).fit(**p)))
    assert newest(tmp_path).name == "stage-1-epoch-0001"
    assert content(newest(tmp_path)) == before
    assert not list(tmp_path.glob(".*.part"))
    resumed = make(AdaFERClassifier, PAPER, tmp_path).fit(**p)
    assert_same(outcome(resumed), outcome(found))


def test_a_checkpoint_holds_no_pickle(interrupted):
    folder, _ = interrupted
    assert {path.name for path in newest(folder).iterdir()} == {TENSORS, VALUES, SUMS}
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"torch._utils" not in path.read_bytes()


def test_a_killed_process_resumes_to_the_same_bits(feature_problem, tmp_path):
    """The real thing: SIGKILL, twice, whenever a checkpoint is about to get its name."""
    p = given(feature_problem)
    np.savez(tmp_path / "data.npz", **p)
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
import test_checkpoints as tests
from pathlib import Path
rename = os.rename
def renamed(old, new, *rest):
    if Path(new).name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(old, new, *rest)
os.rename = renamed
data = dict(np.load({str(tmp_path / "data.npz")!r}))
tests.make(tests.AdaFERClassifier, tests.FUSED, {str(tmp_path / "kept")!r}).fit(**data)
"""
    folder = tmp_path / "kept"
    for name in ("stage-0-epoch-0002", "stage-1-epoch-0002"):
        done = subprocess.run([sys.executable, "-c", program, name], check=False)
        assert done.returncode == -signal.SIGKILL
        assert not (folder / name).exists()
        assert len(list(folder.glob(".*.part"))) == 1
    resumed = make(AdaFERClassifier, FUSED, folder).fit(**p)
    assert not list(folder.glob(".*.part"))
    assert_same(outcome(resumed), outcome(make(AdaFERClassifier, FUSED).fit(**p)))


# --------------------------------------------------------- random states, searches, starts


@pytest.mark.parametrize("make_state", [lambda: None, np.random.RandomState])
@pytest.mark.parametrize("place", ["here", "in/{fit}"])
def test_without_a_number_the_one_drawn_first_is_kept(
    place, make_state, feature_problem, tmp_path, monkeypatch
):
    p = given(feature_problem)
    drawn = {"random_state": make_state(), "backbone": "resnet18"}
    first = make(AdaFERClassifier, PAPER, tmp_path / place, **drawn)
    with killed_after(5, monkeypatch):
        first.fit(**p)
    folder = newest(tmp_path / place.split("{")[0]) if place == "here" else None
    found = folder or newest(next((tmp_path / "in").iterdir()))
    seed = json.loads((found / VALUES).read_text(encoding="utf-8"))["seed"]

    class Drawn:
        """Draws this seed first."""

        def randint(self, _):
            return seed

    resumed = make(AdaFERClassifier, PAPER, tmp_path / place, **drawn).fit(**p)
    monkeypatch.setattr("adafer._network_classifier.check_random_state", lambda _: Drawn())
    assert_same(outcome(resumed), outcome(make(AdaFERClassifier, PAPER, **drawn).fit(**p)))


def test_searches_have_a_folder_per_fit(feature_problem, tmp_path, monkeypatch):
    p = given(feature_problem)
    target = {"X_tgt": as_target(p["X_tgt"]), "au_src": p["au_src"],
              "au_tgt": as_target(p["au_tgt"])}  # fmt: skip

    def search(folder):
        clf = make(AdaFERClassifier, PAPER, folder, epochs=1)
        return GridSearchCV(clf, {"epsilon": [0.0, 1.0]}, cv=2, error_score="raise")

    plain = search(None).fit(p["X"], p["y"], **target)
    with killed_after(8, monkeypatch):
        search(tmp_path / "{fit}").fit(p["X"], p["y"], **target)
    found = search(tmp_path / "{fit}").fit(p["X"], p["y"], **target)
    assert len(list(tmp_path.iterdir())) == 5
    for i in range(2):
        name = f"split{i}_test_score"
        np.testing.assert_array_equal(found.cv_results_[name], plain.cv_results_[name])
    assert_same(outcome(found.best_estimator_), outcome(plain.best_estimator_))
    with pytest.raises(ValueError, match=r"put '\{fit\}' into checkpoint_dir"):
        search(tmp_path / "one").fit(p["X"], p["y"], **target)


def test_a_warm_start_goes_on_from_its_own_network_only(feature_problem, tmp_path, monkeypatch):
    p = given(feature_problem)
    source = make(SourceOnlyClassifier, {}).fit(p["X"], p["y"])

    def adapted(folder, start):
        clf = make(AdaFERClassifier, PAPER, folder, warm_start=True, source_epochs=0)
        clf.network_, clf.classes_ = start.network_, start.classes_
        return clf

    before = outcome(source)
    undisturbed = adapted(None, source).fit(**p)
    with killed_after(2, monkeypatch):
        adapted(tmp_path, source).fit(**p)
    assert_same(outcome(source), before)
    assert_same(outcome(adapted(tmp_path, source).fit(**p)), outcome(undisturbed))
    with pytest.raises(ValueError, match="the network of warm_start has other weights"):
        adapted(tmp_path, undisturbed).fit(**p)


def test_a_fit_that_fails_leaves_the_network_of_a_warm_start(feature_problem, monkeypatch):
    p = given(feature_problem)
    clf = make(AdaFERClassifier, PAPER, warm_start=True).fit(**p)
    before = outcome(clf)
    with killed_in_step(9, monkeypatch):
        clf.fit(**p)
    assert_same(outcome(clf), before)


def test_other_weights_under_one_name_are_refused(face_problem, tmp_path, monkeypatch):
    p, path = face_problem, tmp_path / "weights.pth"
    clf = make(SourceOnlyClassifier, {}, tmp_path / "checkpoints", weights=path, epochs=2)
    torch.save(build_network("convnet", 2, image_size=24).backbone.state_dict(), path)
    with killed_after(1, monkeypatch):
        clone(clf).fit(p["X"], p["y"])
    path.rename(tmp_path / "moved.pth")
    clone(clf).set_params(weights=tmp_path / "moved.pth").fit(p["X"], p["y"])
    torch.save(build_network("convnet", 2, image_size=24).backbone.state_dict(), path)
    with pytest.raises(ValueError, match="weights has other content"):
        clone(clf).fit(p["X"], p["y"])


def test_other_points_are_refused(face_problem, tmp_path, monkeypatch):
    p = face_problem
    points = np.random.default_rng(0).random((len(p["X"]), 5, 2))
    clf = make(rivals.AGRAClassifier, {}, tmp_path)
    with killed_after(1, monkeypatch):
        clf.fit(p["X"], p["y"], points_src=points)
    with pytest.raises(ValueError, match="points_src has other values"):
        clf.fit(p["X"], p["y"], points_src=1 - points)


def test_a_saved_model_knows_no_checkpoints(feature_problem, tmp_path):
    clf = make(AdaFERClassifier, PAPER, tmp_path / "checkpoints")
    clf.fit(**given(feature_problem)).save(tmp_path / "model")
    assert AdaFERClassifier.load(tmp_path / "model").checkpoint_dir is None


def test_a_saved_au_network_knows_no_checkpoints(face_problem, tmp_path):
    net = AUNetwork(
        ["AU01", "AU12"],
        backbones=("convnet", "convnet"),
        image_size=24,
        epochs=1,
        device="cpu",
        checkpoint_dir=tmp_path / "checkpoints",
    )
    net.fit(face_problem["X"], (face_problem["au_src"][:, :2] > 0.5).astype(int))
    net.save(tmp_path / "net")
    assert AUNetwork.load(tmp_path / "net").checkpoint_dir is None
    assert "checkpoints" not in (tmp_path / "net" / "model.json").read_text(encoding="utf-8")
