import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from adafer import AdaFERClassifier, __version__, _domain_classifier
from adafer.aus import AUNetwork, LandmarkDetector
from adafer.cli import app
from adafer.cli.group import show_warning
from adafer.datasets import load_facs_faces
from adafer.deep import loop
from adafer.persistence import load_model

CLASSES = ("joy", "sad")
AUS = ["AU04", "AU12"]


def adafer(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def draw(path, label, seed, invert=False):
    face = np.random.default_rng(seed).integers(40, 90, (20, 20, 3))
    face[(slice(2, 8) if label else slice(12, 18))] += 140
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 - face if invert else face).astype(np.uint8)).save(path)


def units_of(label, seed):
    return np.clip([0.8 - 0.6 * label, 0.2 + 0.6 * label] + 0.1 * np.sin([seed, 2 * seed]), 0, 1)


def write_units(table, folder, labels, no_face=()):
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", *AUS])
        for n, (name, label) in enumerate(labels.items()):
            assert (folder / name).is_file()
            writer.writerow([name, *(["", ""] if name in no_face else units_of(label, n))])


def read_table(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def place(tmp_path):
    """Source with classes, flat target, AU tables of both."""
    labels = {"source": {}, "target": {}}
    for n in range(16):
        name = f"{CLASSES[n % 2]}/{n:02}.png"
        draw(tmp_path / "source" / name, n % 2, n)
        labels["source"][name] = n % 2
    for n in range(12):
        name = f"{n:02}.png"
        draw(tmp_path / "target" / name, n % 2, 100 + n, invert=True)
        labels["target"][name] = n % 2
    for domain, known in labels.items():
        write_units(tmp_path / f"{domain}.csv", tmp_path / domain, known)
    return tmp_path


def fit_arguments(place, output="model", **options):
    settings = {
        "source": place / "source",
        "target": place / "target",
        "output": place / output,
        "au-source": place / "source.csv",
        "au-target": place / "target.csv",
        "backbone": "convnet",
        "image-size": 16,
        "epochs": 1,
        "matching": "near",
        "device": "cpu",
    } | {name.replace("_", "-"): value for name, value in options.items()}
    return ["fit", *(part for name, value in settings.items() for part in (f"--{name}", value))]


def assert_refused(result, *words):
    assert result.exit_code == 2, result.output
    last = result.output.strip().splitlines()[-1]
    assert last.startswith("adafer: error: ")
    for word in words:
        assert word in last
    assert "Traceback" not in result.output


@pytest.fixture
def no_fit(monkeypatch):
    monkeypatch.setattr(AdaFERClassifier, "fit", lambda *_, **__: pytest.fail("fit was begun"))


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(
        _domain_classifier, "read_domain", lambda *_, **__: pytest.fail("pictures were read")
    )


# ------------------------------------------------------------------------ fit


def test_fit_reports_and_writes_a_model(place):
    result = adafer(*fit_arguments(place))
    assert result.exit_code == 0, result.output
    for words in ("8 joy, 8 sad", "target faces   12", "coverage", "last losses", "fused"):
        assert words in result.output
    model = load_model(place / "model")
    assert model.classes_.tolist() == ["joy", "sad"]
    assert model.au_names_ == AUS
    assert [row["stage"] for row in model.history_] == ["source", "joint"]


def test_names_of_target_folders_make_no_difference(place):
    """Target labels must not reach fit, not even by the order of the pictures."""
    models = []
    for number, names in enumerate([("joy", "sad"), ("zebra", "ant"), None]):
        target = place / f"target_{number}"
        labels = {}
        for n in range(12):
            # two folders share each picture's name
            name = f"{names[n % 2]}/{n // 2}.png" if names else f"all/{n % 2}/{n // 2}.png"
            draw(target / name, n % 2, 100 + n, invert=True)
            labels[name] = n % 2
        write_units(place / "target.csv", target, labels)
        result = adafer(*fit_arguments(place, f"model_{number}", target=target))
        assert result.exit_code == 0, result.output
        models.append((place / f"model_{number}" / "model.safetensors").read_bytes())
    assert models[0] == models[1] == models[2]


def test_options_reach_the_classifier(place):
    arguments = fit_arguments(
        place,
        schemes="t-hard",
        matching="hamming",
        backoff="prior",
        source_epochs=0,
        seed=7,
        batch_size=4,
        learning_rate=0.005,
        on_error="skip",
    )
    assert adafer(*arguments).exit_code == 0
    model = load_model(place / "model")
    assert model.annotator.get_params()["schemes"] == ("t-hard",)
    assert (model.annotator.matching, model.annotator.backoff) == ("hamming", "prior")
    assert (model.source_epochs, model.random_state, model.batch_size) == (0, 7, 4)
    assert (model.learning_rate, model.on_error, model.image_size) == (0.005, "skip", 16)


def test_fit_goes_on_from_its_checkpoints(place, monkeypatch):
    kept = place / "kept"
    arguments = fit_arguments(place, checkpoint_dir=kept)
    assert adafer(*fit_arguments(place, "undisturbed")).exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(AdaFERClassifier, "_adapt", lambda *_: (_ for _ in ()).throw(OSError("full")))
        assert adafer(*arguments).exit_code == 2
    assert {path.name for path in kept.iterdir()} == {".lock", "stage-0-epoch-0001"}
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "fit_source", _without_epochs(loop.Trainer.fit_source))
        result = adafer(*arguments)
    assert result.exit_code == 0, result.output
    weights = [(place / m / "model.safetensors").read_bytes() for m in ("model", "undisturbed")]
    assert weights[0] == weights[1]
    refused = adafer(*fit_arguments(place, checkpoint_dir=kept, seed=5))
    assert_refused(refused, "random_state: 0 saved, 5 now")
    assert adafer(*fit_arguments(place, checkpoint_dir=kept, seed=5, resume="never")).exit_code == 0


def _without_epochs(fit_source):
    def fit(self, *arguments):
        run, self._epoch = self._epoch, lambda *_: pytest.fail("an epoch was run again")
        fit_source(self, *arguments)
        self._epoch = run

    return fit


def test_unreadable_pictures_stop_fit_or_are_listed(place):
    (place / "target" / "03.png").write_bytes(b"no picture")
    assert_refused(adafer(*fit_arguments(place)), "03.png", "cannot be read")
    assert not (place / "model").exists()
    result = adafer(*fit_arguments(place, on_error="skip"))
    assert result.exit_code == 0, result.output
    assert "unreadable     1 of the target" in result.output
    assert "target faces   11" in result.output


@pytest.mark.usefixtures("no_fit")
def test_an_output_that_cannot_be_written_is_refused_before_fitting(place):
    (place / "file").write_text("mine", encoding="utf-8")
    assert_refused(adafer(*fit_arguments(place, "file")), "is a file; a model is a folder")
    assert_refused(adafer(*fit_arguments(place, "file/model")), "is a file, expected a folder")
    assert_refused(adafer(*fit_arguments(place, "source")), "is not replaced by a model")
    assert len(list((place / "source").iterdir())) == 2


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schemes": "t-soft,best"}, ("--schemes", "t-soft,best", "s-hard")),
        ({"schemes": ","}, ("--schemes",)),
        ({"backbone": "resnet81"}, ("'resnet81' is not known",)),
        ({"device": "cuda:99"}, ("not on this machine",)),
        ({"weights": "no-such-file.pth"}, ("no-such-file.pth", "is no file")),
        ({"image_size": 8}, ("image_size",)),
        ({"source": "nowhere"}, ("nowhere",)),
        ({"target": "nowhere"}, ("nowhere", "does not exist")),
        ({"au_source": "nowhere.csv"}, ("nowhere.csv",)),
    ],
)
def test_what_cannot_work_is_refused_before_pictures_are_read(place, options, words):
    assert_refused(adafer(*fit_arguments(place, **options)), *words)


@pytest.mark.usefixtures("no_fit")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("expected 'file' and one per AU",)),
        ("name,AU12\na.png,1\n", ("expected 'file' and one per AU",)),
        ("file,AU12\n00.png,high\n", ("line 2", "could not convert")),
        ("file,AU12\n00.png\n", ("line 2", "got 1 cells, expected 2")),
        ("file,AU12\n00.png,1\n00.png,1\n", ("line 3", "second time")),
        ("file,AU12,AU12\n00.png,1,0\n", ("two columns named 'AU12'",)),
        ("file,AU12\n00.png,3.5\n", ("line 2", "got '3.5'", "by 5 and percentages by 100")),
        ("file,AU12\n00.png,-1\n", ("line 2", "got '-1'")),
        ("file,AU12\n00.png,inf\n", ("line 2", "got 'inf'")),
        ("file,AU12\n00.png,0_1\n", ("line 2", "got '0_1'")),
        ('file,AU12\n"00.png"x,1\n', ("is no table in CSV",)),
        ("\x89PNG\0\n", ("wrong.csv",)),
        ("file,AU12\n00.png,1\n", ("lacks 11 of the 12 pictures", "01.png")),
    ],
)
def test_wrong_au_tables_are_refused(place, text, words):
    (place / "wrong.csv").write_text(text, encoding="utf-8")
    assert_refused(adafer(*fit_arguments(place, au_target=place / "wrong.csv")), *words)


def test_columns_of_the_au_tables_are_matched_by_name(place):
    assert adafer(*fit_arguments(place, "first")).exit_code == 0
    rows = [line.split(",") for line in (place / "target.csv").read_text("utf-8").split()]
    swapped = "\n".join(",".join([row[0], row[2], row[1]]) for row in rows)
    (place / "target.csv").write_text(swapped, encoding="utf-8")
    assert adafer(*fit_arguments(place, "second")).exit_code == 0
    first, second = (
        (place / name / "model.safetensors").read_bytes() for name in ("first", "second")
    )
    assert first == second


def test_an_interrupt_ends_with_130_and_leaves_no_model(place, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(AdaFERClassifier, "fit", interrupted)
    result = adafer(*fit_arguments(place))
    assert result.exit_code == 130
    assert "interrupted" in result.output
    assert not (place / "model").exists()


# -------------------------------------------------------------------- predict


@pytest.fixture
def model(place):
    assert adafer(*fit_arguments(place)).exit_code == 0
    return place / "model"


def test_predict_writes_what_the_model_says(place, model):
    output = place / "new" / "table.csv"
    result = adafer("predict", model, place / "source", "--output", output, "--device", "cpu")
    assert result.exit_code == 0, result.output
    rows = read_table(output)
    classifier = load_model(model)
    names = [str(name) for name in classifier.classes_]
    assert list(rows[0]) == ["file", "label", "probability"] + [f"probability_{n}" for n in names]
    assert [row["file"] for row in rows] == sorted(
        f"{CLASSES[n % 2]}/{n:02}.png" for n in range(16)
    )
    expected = classifier.predict_proba([str(place / "source" / row["file"]) for row in rows])
    found = [[float(row[f"probability_{name}"]) for name in names] for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for row, shares in zip(rows, expected, strict=True):
        assert row["label"] == names[shares.argmax()]
        assert float(row["probability"]) == pytest.approx(shares.max(), abs=1e-6)


def test_predict_leaves_rows_of_unreadable_pictures_empty_if_asked(place, model):
    (place / "target" / "03.png").write_bytes(b"no picture")
    output = place / "table.csv"
    arguments = ["predict", model, place / "target", "--output", output, "--device", "cpu"]
    assert_refused(adafer(*arguments), "03.png")
    assert not output.exists()
    result = adafer(*arguments, "--on-error", "skip")
    assert result.exit_code == 0, result.output
    assert "1 could not be read" in result.output
    rows = read_table(output)
    assert len(rows) == 12
    assert rows[3]["label"] == rows[3]["probability"] == ""
    assert rows[4]["label"] != ""


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_names_that_are_no_utf8_or_have_line_breaks_are_written_and_found_again(place, model):
    folder = os.fsencode(place / "odd")
    os.mkdir(folder)
    names = [b"a\xff.png", b"b\nc.png", b"d,e.png", b'f"g.png', b"\xfe unreadable.png"]
    for name, old in zip(names[:-1], sorted((place / "target").iterdir()), strict=False):
        shutil.copy(os.fsencode(old), os.path.join(folder, name))
    with open(os.path.join(folder, names[-1]), "wb") as stream:
        stream.write(b"no picture")
    arguments = ["predict", model, place / "odd", "--output", place / "odd.csv", "--device", "cpu"]
    result = adafer(*arguments, "--on-error", "skip", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [os.path.basename(os.fsencode(path)) for path in told["unreadable"]] == names[-1:]
    with (place / "odd.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert [os.fsencode(row["file"]) for row in rows] == sorted(names)
    assert "\\udcfe unreadable.png" in adafer(*arguments, "--on-error", "skip").output
    # as a table of AUs, too
    (place / "target").rename(place / "before")
    (place / "odd").rename(place / "target")
    os.unlink(os.path.join(os.fsencode(place / "target"), names[-1]))
    lines = b"".join(b'"%s",0.%d,0.5\n' % (n.replace(b'"', b'""'), i) for i, n in enumerate(names))
    (place / "target.csv").write_bytes(b"file,AU04,AU12\n" + lines)
    assert adafer(*fit_arguments(place, "again")).exit_code == 0


def test_limits_of_pictures_are_options_before_the_command(place, model):
    arguments = ["predict", model, place / "target", "--output", place / "t.csv", "--device", "cpu"]
    assert_refused(adafer("--max-pixels", 399, *arguments), "00.png", "more than the 399 allowed")
    assert_refused(adafer("--max-bytes", 99, *arguments), "00.png", "more than the 99 allowed")
    assert_refused(adafer("--max-seconds", 0, *arguments), "max_seconds must be a number above 0")
    assert adafer("--max-pixels", 400, *arguments).exit_code == 0
    before = Image.MAX_IMAGE_PIXELS
    assert adafer("--max-pixels", before + 1, *arguments).exit_code == 0
    assert before == Image.MAX_IMAGE_PIXELS
    assert adafer(*arguments).exit_code == 0


def test_a_pipe_among_the_pictures_does_not_hang(place, model):
    (place / "target" / "more").mkdir()
    os.mkfifo(place / "target" / "more" / "00.png")
    os.mkfifo(place / "source" / "joy" / "pipe.png")  # no file: readers of folders pass it by
    assert_refused(adafer("predict", model, place / "target"), "00.png' is a pipe")
    assert_refused(adafer(*fit_arguments(place)), "lacks 1 of the 13 pictures")
    assert_refused(adafer("predict", model, place / "source" / "joy"), "is a pipe")


def test_predict_refuses_what_it_cannot_use(place, model):
    (place / "empty").mkdir()
    assert_refused(adafer("predict", place / "empty", place / "source"), "no complete model")
    assert_refused(adafer("predict", model, place / "empty"), "holds no pictures")
    blocked = place / "source.csv" / "table.csv"
    assert_refused(
        adafer("predict", model, place / "source", "--output", blocked), "is a file, expected"
    )
    rng = np.random.default_rng(0)
    features = AdaFERClassifier(epochs=0, device="cpu")
    features.fit(rng.normal(size=(8, 3)), [0, 1] * 4).save(place / "features")
    assert_refused(adafer("predict", place / "features", place / "source"), "fitted on features")


# ------------------------------------------------------------------------ aus


def test_aus_writes_scores_and_leaves_faceless_rows_empty(tmp_path):
    faces = load_facs_faces(domain="studio", split="test").images[:3]
    folder = tmp_path / "faces"
    (folder / "inner").mkdir(parents=True)
    for number, face in enumerate(faces):
        Image.fromarray(face).save(folder / "inner" / f"{number}.png")
    Image.new("RGB", (64, 64)).save(folder / "black.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    output = tmp_path / "aus.csv"
    assert_refused(adafer("aus", folder, "--output", output), "broken.jpg")
    result = adafer("aus", folder, "--output", output, "--on-error", "skip")
    assert result.exit_code == 0, result.output
    assert "3 of 5 pictures have action unit scores" in result.output
    assert "1 show no face" in result.output
    assert "1 could not be read" in result.output
    rows = read_table(output)
    files = ["black.png", "broken.jpg", "inner/0.png", "inner/1.png", "inner/2.png"]
    assert [row["file"] for row in rows] == files
    assert "AU12" in rows[0]
    assert set(list(rows[0].values())[1:]) == set(list(rows[1].values())[1:]) == {""}
    scores = [float(cell) for row in rows[2:] for cell in list(row.values())[1:]]
    assert min(scores) >= 0
    assert max(scores) <= 1


def test_aus_takes_other_heads_and_keeps_scores(tmp_path, monkeypatch):
    face = load_facs_faces(domain="studio", split="test").images[0]
    (tmp_path / "faces").mkdir()
    Image.fromarray(face).save(tmp_path / "faces" / "0.png")

    def scored(name, *options):
        result = adafer("aus", tmp_path / "faces", "--output", tmp_path / name, *options)
        assert result.exit_code == 0, result.output
        return read_table(tmp_path / name)[0]

    cache = tmp_path / "scores.sqlite"
    by_heads = scored("heads.csv", "--cache", cache)
    by_name = scored("names.csv", "--heads", "blendshape-names", "--cache", cache)
    assert "AU09" in by_heads
    assert "AU09" not in by_name
    assert by_heads["AU12"] != by_name["AU12"]
    monkeypatch.setattr(LandmarkDetector, "detect", lambda *_: pytest.fail("scored twice"))
    assert scored("again.csv", "--cache", cache) == by_heads


def test_aus_takes_a_saved_network(tmp_path):
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    network = AUNetwork(
        ["AU01", "AU12"],
        backbones=("convnet", "convnet"),
        image_size=32,
        epochs=1,
        device="cpu",
        random_state=0,
    )
    network.fit(faces, np.arange(16).reshape(8, 2) // 3 % 2).save(tmp_path / "network")
    (tmp_path / "faces").mkdir()
    Image.fromarray(faces[0]).save(tmp_path / "faces" / "0.png")
    output = tmp_path / "aus.csv"
    arguments = ["aus", tmp_path / "faces", "--output", output]
    result = adafer(*arguments, "--detector", tmp_path / "network")
    assert result.exit_code == 0, result.output
    row = read_table(output)[0]
    expected = network.predict_proba(faces[:1])[0]
    np.testing.assert_allclose([float(row["AU01"]), float(row["AU12"])], expected, atol=1e-5)


def test_detectors_that_cannot_be_had_are_told_before_pictures_are_read(place, no_fit):
    aus = ["aus", place / "source", "--output", place / "aus.csv"]
    assert_refused(adafer(*aus, "--detector", "openface"), "--detector", "openface", "AUNetwork")
    assert_refused(adafer(*aus, "--heads", place / "none.safetensors"), "none.safetensors")
    fit = fit_arguments(place, heads=place / "none.safetensors")
    assert_refused(adafer(*fit), "none.safetensors")


# --------------------------------------------------------------------- others


def test_render_passes_its_arguments_on():
    pytest.importorskip("numba")
    result = adafer("render", "--help")
    assert result.exit_code == 0
    for option in ("--output", "--domain", "--faces", "--n ", "--size", "--seed", "--jobs"):
        assert option in result.output
    refused = adafer("render")
    assert refused.exit_code == 2
    assert "nothing to do: give --output" in refused.stderr


def test_download_weights_names_unknown_backbones():
    assert_refused(adafer("download-weights", "convnet"), "no ImageNet weights", "convnet")


def test_info_and_version_tell_what_is_there():
    assert adafer("--version").output.strip() == f"adafer {__version__}"
    result = adafer("info")
    assert result.exit_code == 0, result.output
    for words in (
        "adafer",
        "torch",
        "device",
        "face_landmarker.task",
        "au_heads",
        "ImageNet weights",
    ):
        assert words in result.output


def test_debug_shows_where_an_error_comes_from(place):
    result = adafer("--debug", "predict", place / "nothing", place / "source")
    assert result.exit_code == 2
    assert "Traceback" in result.output
    assert result.output.strip().splitlines()[-1].startswith("adafer: error: There is no model")


def test_a_mistyped_choice_is_told(place):
    result = adafer(*fit_arguments(place, matching="nearest"))
    assert result.exit_code == 2
    assert "hamming" in result.output


def test_demo_passes_its_options_on(tmp_path, monkeypatch):
    from adafer import demo

    seen = {}
    monkeypatch.setattr(demo, "run_demo", lambda output, **options: seen.update(options))
    result = adafer("demo", "--output", tmp_path / "x", "--quick", "--epochs", 3, "--seed", 4)
    assert result.exit_code == 0, result.output
    assert seen["seed"] == 4
    assert seen["settings"].epochs == 3
    assert seen["settings"].max_faces == demo.DemoSettings.quick().max_faces


def test_warnings_are_one_line(capsys):
    show_warning(UserWarning("two\n  lines"), UserWarning, "file.py", 3)
    assert capsys.readouterr().err == "adafer: warning: two lines\n"


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "adafer", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def test_errors_go_to_the_standard_error(tmp_path):
    result = run("predict", tmp_path / "nothing", tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("adafer: error: There is no model")
    assert result.stderr.count("\n") == 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from adafer.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'sklearn', 'numpy', 'matplotlib', 'faiss'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "download-weights" in result.stdout


def last_json(result):
    lines = result.stdout.splitlines()
    assert len(lines) == 1, result.stdout
    return json.loads(lines[0])


def test_json_is_one_line_on_the_standard_output(place):
    (place / "target" / "03.png").write_bytes(b"no picture")
    result = adafer(*fit_arguments(place, on_error="skip"), "--json")
    assert result.exit_code == 0, result.output
    fitted = last_json(result)
    assert fitted["command"] == "fit"
    assert fitted["model"] == str(place / "model")
    assert fitted["source_faces"] == {"joy": 8, "sad": 8}
    assert fitted["target_faces"] == 11
    assert fitted["unreadable"]["target"] == [str(place / "target" / "03.png")]
    assert 0 <= fitted["coverage"] <= fitted["labelled_share"] <= 1
    assert fitted["last_losses"]
    assert "coverage" in result.stderr

    output = place / "table.csv"
    asked = ["predict", place / "model", place / "source", "--output", output, "--json"]
    told = last_json(adafer(*asked))
    counts = {name: [row["label"] for row in read_table(output)].count(name) for name in CLASSES}
    assert told["predicted"] == counts
    assert (told["pictures"], told["unreadable"]) == (16, [])

    versions = last_json(adafer("info", "--json", place / "model"))
    assert versions["versions"]["adafer"] == __version__
    assert versions["models"][str(place / "model")]["classes"] == ["joy", "sad"]


def test_json_tells_errors_too_and_is_not_remembered(place):
    result = adafer("predict", place / "nothing", place / "source", "--json")
    assert result.exit_code == 2
    assert last_json(result)["error"]["type"] == "FileNotFoundError"
    assert "adafer: error: There is no model" in result.stderr
    plain = adafer("predict", place / "nothing", place / "source")
    assert plain.stdout == ""


def test_the_page_lists_every_command_and_exit_code():
    page = (Path(__file__).parents[1] / "docs" / "terminal.md").read_text(encoding="utf-8")
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"| `adafer {name}" in page, name
    text = " ".join(adafer("--help").output.split())
    for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE):
        assert f"{code} " in text[text.index("Exit codes") :]


def test_info_tells_of_saved_models(model):
    result = adafer("info", model)
    assert result.exit_code == 0, result.output
    for words in ("AdaFERClassifier", "joy, sad", "faces of 16 x 16 pixels", "AU04, AU12"):
        assert words in result.output
    assert_refused(adafer("info", model / "none"), "There is no model")


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        ("adafer pre", {"predict"}),
        ("adafer fit --mat", {"--matching"}),
        ("adafer fit --recipe ", {"fused", "paper"}),
    ],
)
def test_the_shell_completes_commands_options_and_values(typed, proposed):
    words = typed.split(" ")
    asked = {
        "_ADAFER_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = run(env=os.environ | asked)
    assert set(result.stdout.split()) == proposed, result.stderr


def test_the_script_of_the_completion_can_be_shown():
    asked = {"_ADAFER_COMPLETE": "source_bash"}
    result = run(env=os.environ | asked)
    assert "complete -o default -F _adafer_completion adafer" in result.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
@pytest.mark.parametrize("imported", ["typer", "torch._C", "torchvision"])
def test_control_c_in_the_middle_of_imports_ends_with_130(place, imported):
    command = [sys.executable, "-X", "importtime", "-m", "adafer", *map(str, fit_arguments(place))]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.split("|")[-1].strip().startswith(imported):
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 130, rest[-2000:]
    assert "adafer: interrupted" in rest
    assert "Traceback" not in rest
    assert not (place / "model").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_control_c_inside_evaluated_text_ends_with_130(tmp_path):
    (tmp_path / "adafer_main.py").write_text(
        "import sys\n"
        "from adafer import __main__, cli\n"
        "cli.main = lambda: eval('[print(1, flush=True), __import__(\"time\").sleep(60)]')\n"
        "__main__.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, tmp_path / "adafer_main.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "1\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert (process.returncode, rest) == (130, "adafer: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_a_second_control_c_does_not_wait_for_an_import(tmp_path):
    (tmp_path / "slow.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    code = "from adafer._interrupt import install; install(); import slow"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest == "adafer: interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_control_c_ends_with_130(place):
    command = fit_arguments(place, epochs=10_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "adafer", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "training ..." in line:
            break
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, [*lines, rest]
    assert "adafer: interrupted" in rest
    assert not (place / "model").exists()
