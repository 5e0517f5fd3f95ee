"""Data sets that the face renderer makes, its command, and its packed head."""

import csv
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import adafer

pytest.importorskip("numba", reason="the renderer needs the extra adafer[render]")

from adafer.datasets import load_image_folder, render
from adafer.datasets.facs_faces import load_facs_faces
from adafer.datasets.render import archive, assets, make, pack

ROOT = Path(adafer.__file__).parents[1]
FEW = {"n": 14, "size": 16}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --------------------------------------------------------------- data sets


def test_two_renders_of_one_seed_are_the_same_bytes(tmp_path):
    digests = {}
    for folder, n_jobs in (("first", 1), ("second", 2)):
        for domain in ("studio", "wild"):
            path = render.make_domain(tmp_path / folder, domain, n_jobs=n_jobs, **FEW)
            digests[folder, domain] = digest(path)
    assert digests["first", "studio"] == digests["second", "studio"]
    assert digests["first", "wild"] == digests["second", "wild"]
    assert digests["first", "studio"] != digests["first", "wild"]
    assert digest(render.make_domain(tmp_path / "other", "wild", seed=1, **FEW)) not in (
        digests.values()
    )
    listing = (tmp_path / "first" / archive.CHECKSUMS).read_text()
    assert listing == (
        f"{digests['first', 'studio']}  studio.npz\n{digests['first', 'wild']}  wild.npz\n"
    )
    leftovers = {path.name for path in (tmp_path / "first").iterdir()}
    assert leftovers == {"studio.npz", "wild.npz", archive.CHECKSUMS}


def test_expressions_have_both_labels_and_the_annotators_confusion(tmp_path):
    with np.load(render.make_domain(tmp_path, "webcam", **FEW), allow_pickle=False) as made:
        assert made["clean_target"].tolist() == list(range(7)) * 2
        assert made["target"].shape == (14,)
        assert made["confusion"].shape == (7, 7)
        assert made["identity"].tolist() == [0] * 7 + [1] * 7
        assert set(made["split"]) == {"train", "test"}
        assert made["au"].shape == (14, len(made["au_names"]))


def test_combinations_have_action_units_and_no_label(tmp_path):
    path = render.make_domain(tmp_path, "wild", faces="combinations", n=10, size=16)
    with np.load(path, allow_pickle=False) as made:
        assert not {"target", "clean_target", "target_names", "confusion"} & set(made.files)
        assert len(made["au"]) == len(made["offsets"]) - 1 == 10
        assert np.bincount(made["identity"]).tolist() == [7, 3]
        assert (made["au"] > 0.1).sum() > 5
        low, high = made["offsets"][:2]
        with Image.open(io.BytesIO(made["jpeg"].tobytes()[low:high])) as image:
            assert image.size == (16, 16)


def test_folders_are_what_fit_takes(tmp_path):
    folder = render.make_domain(tmp_path, "studio", folders=True, **FEW)
    faces = load_image_folder(folder)
    assert len(faces.paths) == 14
    assert set(faces.target) <= set(render.EXPRESSIONS)
    with open(folder / "labels.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 14
    for row in rows:
        assert (folder / row["file"]).is_file()
        assert row["file"].split("/")[0] == row["target"]
        assert row["clean_target"] in render.EXPRESSIONS
        assert 0 <= float(row["AU12"]) <= 1
    with pytest.raises(FileExistsError, match="is there already"):
        render.make_domain(tmp_path, "studio", folders=True, **FEW)


def test_progress_counts_faces(tmp_path):
    told = []
    render.make_domain(tmp_path, "studio", progress=lambda *state: told.append(state), **FEW)
    assert told == [(7, 14), (14, 14)]


def test_split_has_both_parts_even_for_two_identities():
    assert set(make.split_of_identities(2, 0, 1)) == {"train", "test"}
    assert (make.split_of_identities(200, 0, 1) == "test").sum() == 60


def test_packed_arrays_are_the_same_at_any_time_and_open_with_numpy(tmp_path):
    arrays = {"numbers": np.arange(5), "words": np.array(["a", "bc"])}
    packed = archive.pack_arrays(arrays)
    assert packed == archive.pack_arrays(arrays)
    (tmp_path / "packed.npz").write_bytes(packed)
    with np.load(tmp_path / "packed.npz", allow_pickle=False) as opened:
        assert opened["words"].tolist() == ["a", "bc"]


@pytest.mark.parametrize("domain", list(render.DOMAINS))
def test_renderer_still_draws_the_shipped_faces(tmp_path, domain):
    path = render.make_domain(tmp_path, domain, n=14)
    shipped = load_facs_faces(domain=domain)
    with np.load(path) as drawn:
        np.testing.assert_array_equal(drawn["au"], shipped.au[:14])
        names = drawn["target_names"]
        np.testing.assert_array_equal(names[drawn["target"]], shipped.target[:14])
        np.testing.assert_array_equal(names[drawn["clean_target"]], shipped.clean_target[:14])
        blob, offsets = drawn["jpeg"].tobytes(), drawn["offsets"]
    for number in range(14):
        with Image.open(io.BytesIO(blob[offsets[number] : offsets[number + 1]])) as image:
            difference = np.asarray(image, dtype=float) - shipped.images[number]
        # Other versions of the libraries may round or compress a little otherwise.
        assert np.abs(difference).mean() < 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"domain": "cinema"}, "domain is 'cinema', expected one of"),
        ({"faces": "smiles"}, r"faces is 'smiles', expected one of \['expressions'"),
        ({"n": 7}, "n is 7, expected an integer from 8"),
        ({"size": 8}, "size is 8, expected an integer from 16 to 1024"),
        ({"seed": -1}, "seed is -1, expected an integer from 0"),
        ({"n_jobs": 0}, "n_jobs is 0, expected an integer from 1"),
        ({"size": 64.0}, r"size is 64\.0, expected an integer"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        render.make_domain(tmp_path, **{"domain": "studio", **arguments})


def test_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="is a file, expected a folder"):
        render.make_domain(tmp_path / "taken", "studio")


# ----------------------------------------------------------------- command


def test_command_renders_folders(tmp_path, capsys):
    arguments = ["--domain", "studio", "--n", "8", "--size", "16", "--folders"]
    assert render.main([*arguments, "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'studio'}\n"
    assert len(list(tmp_path.glob("studio/*/*.jpg"))) == 8


def test_command_renders_combinations_of_all_domains(tmp_path):
    code = "import sys; from adafer.cli import main; main()"
    arguments = ["render", "--faces", "combinations", "--n", "8", "--size", "16"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == [
        "studio.npz",
        "webcam.npz",
        "wild.npz",
    ]


def test_command_tells_its_errors_in_one_line(tmp_path, capsys):
    assert render.main(["--output", str(tmp_path), "--size", "4"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: size is 4, expected an integer from 16")
    assert told.count("\n") == 1


def test_command_without_a_task_shows_its_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        render.main([])
    assert stop.value.code == 2
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--gallery", "--contact-sheet"])
def test_sheets_must_be_png(tmp_path, capsys, option):
    assert render.main([option, str(tmp_path / "sheet.txt")]) == 2
    assert "expected a name that ends in .png" in capsys.readouterr().err


def test_missing_extra_is_named():
    code = "import sys; sys.modules['numba'] = None; import adafer.datasets.render"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 1
    assert 'pip install "adafer[render]"' in result.stderr


# ------------------------------------------------------------- packed head


@pytest.fixture
def copied(tmp_path):
    for path in assets.PACKED.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / assets.PACKED.name


def test_a_damaged_head_is_told(copied):
    content = bytearray(copied.read_bytes())
    content[len(content) // 2] ^= 1
    copied.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        render.load_assets(copied)


def test_a_missing_head_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        render.load_assets(tmp_path / "head.npz")
    with pytest.raises(FileNotFoundError, match=r"holds no mpfb2/3dobjs/base\.obj"):
        render.load_assets(tmp_path)


def test_another_head_is_taken_from_the_environment(copied, monkeypatch):
    monkeypatch.setenv(assets.ENVIRONMENT_VARIABLE, str(copied))
    assert render.load_assets().vertices.shape == render.load_assets(copied).vertices.shape
    monkeypatch.setenv(assets.ENVIRONMENT_VARIABLE, str(copied.parent / "nothing.npz"))
    with pytest.raises(FileNotFoundError):
        render.load_assets()


@pytest.mark.skipif(
    not os.path.isdir(os.environ.get("ADAFER_RENDER_ASSETS", "")),
    reason="ADAFER_RENDER_ASSETS does not name the MakeHuman data",
)
def test_packing_again_gives_the_same_bytes(tmp_path):
    path = pack.pack(os.environ["ADAFER_RENDER_ASSETS"], tmp_path / "head.npz")
    assert path.read_bytes() == assets.PACKED.read_bytes()


def test_packing_tells_what_is_wrong(tmp_path, capsys):
    assert pack.main([str(tmp_path), "--output", str(tmp_path / "head.zip")]) == 2
    assert "expected a name that ends in .npz" in capsys.readouterr().err
    assert pack.main([str(tmp_path), "--output", str(tmp_path / "head.npz")]) == 2
    assert "base.obj" in capsys.readouterr().err
