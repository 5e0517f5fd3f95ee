"""Splits by label and subject, and the files that keep them."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from adafer.datasets import load_jaffe, make_split, read_split, write_split

LABELS = np.repeat(["anger", "fear", "happiness"], [60, 30, 110])


def shares(split):
    return {part: np.mean(split == part) for part in np.unique(split).tolist()}


def test_parts_have_the_sizes_and_shares_asked_for():
    split = make_split(LABELS, test_size=0.2, val_size=0.1)
    assert shares(split) == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2})
    for part in ("train", "val", "test"):
        labels = LABELS[split == part]
        assert np.mean(labels == "anger") == pytest.approx(0.3, abs=0.02)
        assert np.mean(labels == "fear") == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("sizes", [(0.2, 0.0), (0.3, 0.1), (0.5, 0.25), (0.15, 0.15)])
def test_no_subject_is_in_two_parts(sizes):
    rng = np.random.default_rng(0)
    labels = rng.choice(["anger", "fear", "happiness", "neutral"], 800, p=[0.1, 0.2, 0.3, 0.4])
    subjects = rng.integers(0, 60, 800)
    split = make_split(labels, subjects, test_size=sizes[0], val_size=sizes[1])
    for subject in range(60):
        assert len(set(split[subjects == subject])) == 1
    assert np.mean(split == "test") == pytest.approx(sizes[0], abs=0.04)
    assert np.mean(split == "val") == pytest.approx(sizes[1], abs=0.04)
    for label in np.unique(labels):
        everywhere = np.mean(labels == label)
        assert np.mean(labels[split == "test"] == label) == pytest.approx(everywhere, abs=0.06)


@pytest.mark.parametrize("groups", [None, np.arange(200) // 5])
def test_the_same_seed_gives_the_same_split(groups):
    splits = [make_split(LABELS, groups, random_state=seed) for seed in (3, 3, 4)]
    assert np.array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])
    assert np.array_equal(make_split(LABELS, groups), make_split(LABELS, groups))


def test_few_subjects_can_be_split():
    labels, subjects = ["fear", "anger"] * 2, ["a", "a", "b", "b"]
    split = make_split(labels, subjects, test_size=0.01)
    assert sorted(split.tolist()) == ["test", "test", "train", "train"]
    split = make_split(labels, subjects, test_size=0.99)
    assert sorted(split.tolist()) == ["test", "test", "train", "train"]
    with pytest.raises(ValueError, match="groups has 1 different entries"):
        make_split(labels, ["a"] * 4)
    with pytest.raises(ValueError, match="groups has 1 different entries"):
        make_split(labels, subjects, test_size=0.5, val_size=0.25)


def test_a_label_that_a_part_lacks_is_told():
    labels = ["anger"] * 8 + ["fear"] * 2
    subjects = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    with pytest.warns(UserWarning, match=r"has no faces of \['fear'\]"):
        make_split(labels, subjects)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_split(["anger", "fear"] * 5, subjects)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (["a", "b"] * 5, {"test_size": 0}, "'test_size' parameter of make_split"),
        (["a", "b"] * 5, {"test_size": 0.6, "val_size": 0.4}, "their sum below 1"),
        (["a", "b"] * 5, {"groups": [1, 2]}, "groups must have one entry per label"),
        (["a"] * 9 + ["b"], {}, r"cannot be held out.*\{'a': 9, 'b': 1\}"),
        ([], {}, "^y: one entry per picture"),
        ([["a"]], {}, "^y: one entry per picture"),
    ],
)
def test_impossible_splits_are_refused(y, options, message):
    with pytest.raises(ValueError, match=message):
        make_split(y, **options)


@pytest.fixture
def kept(layouts, tmp_path):
    """JAFFE with a split in a file beside its folder."""
    faces = load_jaffe(layouts.jaffe(tmp_path / "jaffe"))
    split = make_split(faces.target, faces.subject, test_size=0.5)
    file = tmp_path / "splits" / "jaffe.csv"
    write_split(file, faces.paths, faces.target, split, subject=faces.subject,
                root=tmp_path / "jaffe")  # fmt: skip
    return file, tmp_path / "jaffe", faces, split


def test_what_is_written_is_read(kept):
    file, root, faces, split = kept
    again = read_split(file, root=root)
    assert again.paths == faces.paths
    for key in ("target", "subject"):
        assert again[key].tolist() == faces[key].tolist()
    assert again.split.tolist() == split.tolist()
    assert again.missing == again.unlisted == []
    test = read_split(file, root=root, split="test")
    assert test.paths == [faces.paths[row] for row in np.flatnonzero(split == "test")]
    X, y = read_split(file, root=root, split="test", return_X_y=True)
    assert (X, y.tolist()) == (test.paths, test.target.tolist())


def test_the_file_is_small_and_knows_no_absolute_path(kept):
    file, root, faces, _ = kept
    lines = file.read_text().splitlines()
    assert lines[0] == "file,label,subject,split"
    assert lines[1].startswith("KA.AN1.39.tiff,anger,KA,t")
    assert len(lines) == 1 + len(faces.paths)
    assert str(root) not in file.read_text()


def test_a_copy_elsewhere_with_the_file_in_it_needs_no_root(kept, tmp_path):
    file, root, faces, _ = kept
    moved = root.rename(tmp_path / "copy")
    file.rename(moved / "split.csv")
    again = read_split(moved / "split.csv")
    assert [Path(path).parent for path in again.paths] == [moved] * 14
    assert again.target.tolist() == faces.target.tolist()


def test_missing_and_unlisted_pictures_are_reported(kept, layouts):
    file, root, faces, split = kept
    Path(faces.paths[0]).unlink()
    layouts.draw(root / "more" / "new.png")
    with pytest.raises(FileNotFoundError, match=r"1 pictures .*KA.AN1.39.tiff"):
        read_split(file, root=root)
    again = read_split(file, root=root, on_missing="skip")
    assert again.missing == [faces.paths[0]]
    assert again.unlisted == [str(root / "more" / "new.png")]
    assert again.paths == faces.paths[1:]
    # the other part lacks nothing, and what it leaves out is listed all the same
    other = "train" if split[0] == "test" else "test"
    part = read_split(file, root=root, split=other)
    assert part.missing == []
    assert part.unlisted == [str(root / "more" / "new.png")]


def test_subjects_may_be_unknown(tmp_path, layouts):
    paths = [str(layouts.draw(tmp_path / name)) for name in ("a, b.png", "ü.png")]
    write_split(tmp_path / "split.csv", paths, ["fear", "anger"], ["train", "val"])
    faces = read_split(tmp_path / "split.csv")
    assert faces.paths == paths
    assert faces.subject is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": ["fear"]}, r"target must have one entry for each of the 2 paths"),
        ({"split": ["train", "dev"]}, r"split holds \['dev'\]"),
        ({"root": "inner"}, r"2 pictures, such as .* do not lie in .*root="),
        ({"paths": ["a.png", "./a.png"]}, "1 of the 2 pictures are there a second time"),
    ],
)
def test_what_cannot_be_repeated_is_not_written(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    given = {"paths": ["a.png", "b.png"], "target": ["fear", "anger"], "split": ["train", "test"]}
    with pytest.raises(ValueError, match=message):
        write_split("split.csv", **{**given, **change})
    assert not Path("split.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,fear\n", r"lacks the columns \['split'\].*Expected layout"),
        ("file,label,split\n", "has no rows"),
        ("file,label,split\na.png,fear,dev\n", r"row 2: got \['a.png', 'fear', 'dev'\]"),
        ("file,label,split\na.png,fear\n", "row 2: "),
        ("file,label,split\na.png,,train\n", "row 2: .*a label"),
        ("file,label,split\na.png,fear,train\na.png,fear,test\n", "row 3: 'a.png' is there twice"),
    ],
)
def test_damaged_files_are_refused(tmp_path, text, message):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_split(tmp_path / "split.csv")


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"split\.csv' does not exist"):
        read_split(tmp_path / "split.csv")
    with pytest.raises(FileNotFoundError, match="is a folder, not a split file"):
        read_split(tmp_path)
