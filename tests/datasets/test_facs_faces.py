"""What load_facs_faces promises about its pictures, labels and files."""

import hashlib
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from adafer.datasets import facs_faces
from adafer.datasets.facs_faces import load_facs_faces

DATA = Path(facs_faces.__file__).parent / "data" / "facs_faces"
DOMAINS = ["studio", "wild", "webcam"]
EXPRESSIONS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]


@pytest.fixture(scope="module")
def faces():
    return load_facs_faces()


def unit(faces, number):
    return faces.au[:, faces.au_names.index(f"AU{number:02d}")]


def test_every_column_has_one_entry_per_face(faces):
    n_faces = len(faces.images)
    assert n_faces >= 4500
    assert faces.images.shape == (n_faces, 64, 64, 3)
    assert faces.images.dtype == np.uint8
    assert faces.au.shape == (n_faces, len(faces.au_names))
    assert faces.au.dtype == np.float32
    assert faces.ethnicity.shape == (n_faces, len(faces.ethnicity_names))
    columns = ("target", "clean_target", "identity", "domain", "split", "age", "sex")
    for column in (*columns, "yaw", "pitch", "roll"):
        assert faces[column].shape == (n_faces,), column


def test_each_domain_has_fifteen_hundred_faces_and_all_expressions_alike(faces):
    assert faces.target_names == EXPRESSIONS
    assert list(dict.fromkeys(faces.domain)) == DOMAINS
    for domain in DOMAINS:
        names, counts = np.unique(faces.clean_target[faces.domain == domain], return_counts=True)
        assert sorted(names) == sorted(EXPRESSIONS)
        assert counts.sum() >= 1500
        assert len(set(counts)) == 1


@pytest.mark.parametrize("domain", DOMAINS)
def test_annotators_err_as_often_as_their_confusion_says(faces, domain):
    here, expected = faces.domain == domain, faces.confusion[domain]
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    counts = confusion_matrix(
        faces.clean_target[here], faces.target[here], labels=faces.target_names
    )
    n = counts.sum(axis=1, keepdims=True)
    # five standard errors, for 49 entries
    np.testing.assert_array_less(
        np.abs(counts - n * expected), 5 * np.sqrt(n * expected * (1 - expected)) + 1
    )


def test_annotators_of_the_domains_differ(faces):
    right = {domain: np.diag(faces.confusion[domain]).mean() for domain in DOMAINS}
    assert right["studio"] > 0.93
    assert 0.75 < right["wild"] < 0.9
    assert 0.75 < right["webcam"] < 0.9
    a, b = (faces.confusion[domain] - np.eye(7) for domain in ("wild", "webcam"))
    off = ~np.eye(7, dtype=bool)
    assert np.corrcoef(a[off], b[off])[0, 1] < 0.5


def test_pictures_are_neither_empty_nor_twice_the_same(faces):
    assert (faces.images.reshape(len(faces.images), -1).std(axis=1) > 10).all()
    assert len({image.tobytes() for image in faces.images}) == len(faces.images)


def test_studio_has_colour_and_about_half_of_wild_has_none(faces):
    spread = np.ptp(faces.images.astype(int), axis=-1).mean(axis=(1, 2))
    is_grey = spread < 1.5
    assert not is_grey[faces.domain == "studio"].any()
    assert 0.35 < is_grey[faces.domain == "wild"].mean() < 0.6
    assert is_grey[faces.domain == "webcam"].mean() < 0.2


def test_wild_heads_are_turned_more_than_studio_heads(faces):
    studio, wild, webcam = (faces.yaw[faces.domain == name].std() for name in DOMAINS)
    assert wild > 2 * studio
    assert wild > webcam > studio
    assert np.abs(faces.yaw).max() < 45


def test_columns_are_in_their_ranges(faces):
    assert faces.au.min() >= 0
    assert faces.au.max() <= 1
    assert 0 <= faces.sex.min() <= faces.sex.max() <= 1
    assert 10 <= faces.age.min() <= faces.age.max() <= 90
    np.testing.assert_allclose(faces.ethnicity.sum(axis=1), 1, atol=5e-3)


def test_names_of_action_units_have_two_digits(faces):
    assert all(
        len(name) == 4 and name[:2] == "AU" and name[2:].isdigit() for name in faces.au_names
    )
    assert faces.au_names == sorted(faces.au_names)


def test_each_action_unit_is_strong_in_some_face(faces):
    strongest = dict(zip(faces.au_names, faces.au.max(axis=0), strict=True))
    assert {name for name, top in strongest.items() if top < 0.15} == set()


def test_no_identity_is_in_both_splits_or_in_both_domains(faces):
    pairs = [("train", "test", "split"), *((a, b, "domain") for a, b in combinations(DOMAINS, 2))]
    for first, second, column in pairs:
        in_first = set(faces.identity[faces[column] == first])
        in_second = set(faces.identity[faces[column] == second])
        assert in_first
        assert in_second
        assert not in_first & in_second


def test_about_thirty_percent_are_for_testing(faces):
    for domain in DOMAINS:
        share = (faces.split[faces.domain == domain] == "test").mean()
        assert 0.25 < share < 0.35


@pytest.mark.parametrize(
    ("expression", "numbers"),
    [
        ("happiness", [6, 12]),
        ("surprise", [1, 2, 5]),
        ("sadness", [1, 15]),
        ("anger", [4, 7]),
        ("disgust", [9]),
        ("fear", [1, 4, 5, 20]),
    ],
)
def test_expression_shows_the_units_of_its_prototype(faces, expression, numbers):
    shown = faces.clean_target == expression
    for number in numbers:
        assert unit(faces, number)[shown].min() > 0.1, number


def test_every_smile_is_a_clear_one_and_no_other_expression_smiles(faces):
    happy = faces.clean_target == "happiness"
    assert unit(faces, 12)[happy].min() > 0.3
    assert unit(faces, 12)[~happy].max() < 0.3


def test_neutral_faces_show_no_unit_strongly(faces):
    assert faces.au[faces.clean_target == "neutral"].max() <= 0.15


def test_one_expression_has_several_combinations_of_units(faces):
    for expression in EXPRESSIONS[1:]:
        strong = faces.au[faces.clean_target == expression] > 0.2
        assert len(np.unique(strong, axis=0)) >= 2, expression


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_domain_and_split_select_their_faces(faces, domain, split):
    part = load_facs_faces(domain=domain, split=split)
    wanted = (faces.domain == domain) & (faces.split == split)
    np.testing.assert_array_equal(part.images, faces.images[wanted])
    np.testing.assert_array_equal(part.target, faces.target[wanted])
    np.testing.assert_array_equal(part.clean_target, faces.clean_target[wanted])
    np.testing.assert_array_equal(part.au, faces.au[wanted])
    assert list(part.confusion) == [domain]


def test_return_x_y_gives_images_and_target(faces):
    images, target = load_facs_faces(return_X_y=True)
    np.testing.assert_array_equal(images, faces.images)
    np.testing.assert_array_equal(target, faces.target)


def test_description_tells_the_licence(faces):
    assert "CC0" in faces.DESCR


@pytest.mark.parametrize("argument", ["domain", "split"])
def test_unknown_choice_is_refused_with_what_is_allowed(argument):
    with pytest.raises(ValueError, match=rf"{argument} is 'indoor', expected one of \['all', "):
        load_facs_faces(**{argument: "indoor"})


def test_shipped_files_are_small_and_match_their_checksums():
    assert sum(path.stat().st_size for path in DATA.iterdir()) <= 16e6
    for line in (DATA / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest


def copy_of_data(folder):
    target = folder / "data" / "facs_faces"
    target.mkdir(parents=True)
    for path in DATA.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_damaged_file_is_named(tmp_path, monkeypatch):
    copy = copy_of_data(tmp_path)
    content = bytearray((copy / "wild.npz").read_bytes())
    content[5000] ^= 1
    (copy / "wild.npz").write_bytes(content)
    monkeypatch.setattr(facs_faces, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=r"data file wild\.npz .* is damaged: its SHA-256"):
        load_facs_faces(domain="wild")
    assert len(load_facs_faces(domain="studio", split="test").images)


@pytest.mark.parametrize("name", ["studio.npz", "SHA256SUMS"])
def test_missing_file_is_named(tmp_path, monkeypatch, name):
    (copy_of_data(tmp_path) / name).unlink()
    monkeypatch.setattr(facs_faces, "files", lambda package: tmp_path)
    with pytest.raises(FileNotFoundError, match=f"data file {name} .* cannot be read"):
        load_facs_faces(domain="studio")


def test_loading_needs_neither_torch_nor_the_renderer():
    code = (
        "import sys; from adafer.datasets.facs_faces import load_facs_faces as load; "
        "load(domain='wild', split='test'); "
        "print({'torch', 'numba', 'adafer.datasets.render'} & set(sys.modules))"
    )
    root = Path(facs_faces.__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert result.stdout.strip() == "set()"
