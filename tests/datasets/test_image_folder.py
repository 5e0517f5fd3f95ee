"""Pictures in folders."""

import numpy as np
import pytest
from PIL import Image

from adafer.datasets import load_image_folder, load_image_paths
from adafer.datasets.labels import RAF_DB
from adafer.faces import FaceReadError


def draw(folder, *names, grey=100):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("L", (20, 16), grey).save(folder / name)


@pytest.fixture
def root(tmp_path):
    draw(tmp_path / "sad", "b.png", "a.JPG", "c.jpeg", grey=50)
    draw(tmp_path / "Happy", "z.tiff", "y.WebP", grey=200)
    draw(tmp_path / "bored", "1.bmp", "2.gif", "3.tif", grey=150)
    return tmp_path


def test_folders_become_classes_in_a_fixed_order(root):
    faces = load_image_folder(root)
    assert faces.target_names == ["bored", "happiness", "sadness"]
    assert faces.target.tolist() == ["bored"] * 3 + ["happiness"] * 2 + ["sadness"] * 3
    assert [path.rsplit("/", 1)[1] for path in faces.paths] == [
        "1.bmp", "2.gif", "3.tif", "y.WebP", "z.tiff", "a.JPG", "b.png", "c.jpeg",
    ]  # fmt: skip
    assert "images" not in faces
    assert faces.skipped == []
    assert "sadness: 3" in faces.DESCR


def test_pictures_are_read_when_a_size_is_given(root):
    faces = load_image_folder(root, size=8)
    assert faces.images.shape == (8, 8, 8, 3)
    expected = np.repeat([150, 200, 50], [3, 2, 3])
    assert np.abs(faces.images[:, 4, 4, 0].astype(int) - expected).max() <= 3


def test_names_can_be_left_as_they_are(root):
    faces = load_image_folder(root, label_names="as-is")
    assert faces.target_names == ["Happy", "bored", "sad"]


def test_a_table_of_codes_names_numbered_folders(tmp_path):
    draw(tmp_path / "1", "a.png")
    draw(tmp_path / "4", "b.png")
    faces = load_image_folder(tmp_path, label_names=RAF_DB)
    assert dict(zip(faces.target, faces.paths, strict=True)) == {
        "surprise": str(tmp_path / "1" / "a.png"),
        "happiness": str(tmp_path / "4" / "b.png"),
    }
    draw(tmp_path / "8", "c.png")
    with pytest.raises(ValueError, match=r"no label for the folders \['8'\]"):
        load_image_folder(tmp_path, label_names=RAF_DB)


def test_folders_with_one_meaning_become_one_class(root):
    draw(root / "joy", "x.png")
    assert (load_image_folder(root).target == "happiness").sum() == 3


def test_classes_select(root):
    faces = load_image_folder(root, classes=["sadness", "happiness"])
    assert faces.target_names == ["happiness", "sadness"]
    assert len(faces.paths) == 5


@pytest.mark.parametrize("classes", [["sadness", "fear"], ["sad"]])
def test_classes_that_are_not_there_are_an_error_that_lists_both(root, classes):
    with pytest.raises(ValueError, match=r"classes=.*\['bored', 'happiness', 'sadness'\]"):
        load_image_folder(root, classes=classes)


@pytest.mark.parametrize("classes", ["fear", [], 7, [7], ["sadness", "sadness"]])
def test_classes_are_names_that_differ(root, classes):
    with pytest.raises((ValueError, TypeError), match="classes must"):
        load_image_folder(root, classes=classes)


def test_X_and_y_can_be_had_alone(root):
    X, y = load_image_folder(root, return_X_y=True)
    assert load_image_folder(root).paths == X
    assert len(y) == len(X)
    X, y = load_image_folder(root, size=4, return_X_y=True)
    assert X.shape == (8, 4, 4, 3)


def test_hidden_and_other_files_are_ignored(root):
    draw(root / "sad", ".hidden.png")
    draw(root / ".cache", "x.png")
    draw(root / "__MACOSX", "x.png")
    (root / "sad" / "notes.txt").write_text("no picture")
    (root / "list.csv").write_text("no picture")
    (root / "sad" / "folder.png").mkdir()
    assert len(load_image_folder(root).paths) == 8


def test_unreadable_pictures_are_errors_or_skipped(root):
    (root / "sad" / "a.JPG").write_bytes(b"broken")
    with pytest.raises(FaceReadError, match=r"a\.JPG"):
        load_image_folder(root, size=4)
    faces = load_image_folder(root, size=4, on_error="skip")
    assert len(faces.images) == len(faces.paths) == len(faces.target) == 7
    assert [(index, path) for index, path, _ in faces.skipped] == [(5, str(root / "sad" / "a.JPG"))]
    assert str(root / "sad" / "a.JPG") not in faces.paths
    assert "1 pictures could not be read" in faces.DESCR


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "a.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="None of the 1 pictures"):
        load_image_folder(tmp_path, size=4, on_error="skip")


def test_missing_folders_are_named(tmp_path):
    for load in (load_image_folder, load_image_paths):
        with pytest.raises(FileNotFoundError, match="nowhere' does not exist"):
            load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="is a file, not a folder"):
        load_image_folder(tmp_path / "file")


def test_a_flat_folder_is_pointed_to_load_image_paths(tmp_path):
    draw(tmp_path, "b.png", "a.png")
    with pytest.raises(ValueError, match=r"<path>/<class>/<picture>.*2 pictures: load_image_paths"):
        load_image_folder(tmp_path)
    assert load_image_paths(tmp_path) == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def test_an_empty_class_is_an_error_with_a_mend(root):
    (root / "fear").mkdir()
    with pytest.raises(ValueError, match=r"fear' holds no pictures.*Remove the folder"):
        load_image_folder(root)
    assert len(load_image_folder(root, classes=["sadness"]).paths) == 3


def test_one_level_too_high_is_pointed_down(tmp_path):
    draw(tmp_path / "train" / "sad", "a.png")
    with pytest.raises(ValueError, match=r"\['sad'\]: if these are the classes, pass .*train'"):
        load_image_folder(tmp_path)
    with pytest.raises(ValueError, match=r"holds no pictures.*load_image_folder reads"):
        load_image_paths(tmp_path)


@pytest.mark.parametrize("setting", [{"label_names": "short"}, {"on_error": "ignore"}])
def test_bad_settings_are_refused(root, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        load_image_folder(root, **setting)
