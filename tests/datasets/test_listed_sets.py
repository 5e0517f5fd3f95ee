"""RAF-DB, JAFFE, ExpW, AffectNet and folders per split: what is particular to each."""

import numpy as np
import pytest
from PIL import Image

from adafer.datasets import (
    load_affectnet,
    load_expw,
    load_jaffe,
    load_raf_db,
    load_split_folders,
)
from adafer.faces import FaceReadError


def test_raf_db_has_aligned_faces_and_photographs(layouts, tmp_path):
    layouts.raf_db(tmp_path / "basic")
    aligned = load_raf_db(tmp_path, split="test")
    photographs = load_raf_db(tmp_path / "basic", split="test", aligned=False)
    assert [path.rsplit("/", 2)[1:] for path in aligned.paths[:2]] == [
        ["aligned", "test_00001_aligned.jpg"], ["aligned", "test_00003_aligned.jpg"],
    ]  # fmt: skip
    assert photographs.paths[0].endswith("Image/original/test_00001.jpg")
    assert aligned.target.tolist() == ["fear", "happiness", "anger"]


@pytest.mark.parametrize("line", ["train_00001.jpg", "train_00001.jpg five", "face.jpg 5"])
def test_damaged_lists_of_raf_db_are_refused(layouts, tmp_path, line):
    layouts.raf_db(tmp_path)
    layouts.write(tmp_path / "EmoLabel" / "list_patition_label.txt", "train_00000.jpg 1", line)
    with pytest.raises(ValueError, match=r"line 2: got .*Expected layout"):
        load_raf_db(tmp_path)


def test_jaffe_tells_subjects_from_names(layouts, tmp_path):
    layouts.jaffe(tmp_path / "jaffedbase")
    faces = load_jaffe(tmp_path)
    assert faces.subject.tolist() == ["KA"] * 7 + ["YM"] * 7
    assert len(faces.paths) == 14
    assert "Subjects: 2." in faces.DESCR


@pytest.mark.parametrize("name", ["portrait.png", "KA.XX1.39.tiff"])
def test_other_names_among_jaffe_are_refused(layouts, tmp_path, name):
    layouts.jaffe(tmp_path)
    layouts.draw(tmp_path / name)
    with pytest.raises(ValueError, match=rf"1 pictures .*{name}.*codes are \['AN'"):
        load_jaffe(tmp_path)


def test_expw_boxes_are_left_top_right_bottom(layouts, tmp_path):
    faces = load_expw(layouts.expw(tmp_path), size=6)
    assert faces.boxes.tolist() == [[10, 4, 22, 16]] * 7
    assert faces.images.shape == (7, 6, 6, 3)
    assert faces.images.min() > 200  # the bright face fills the crop
    assert faces.skipped == []
    assert load_expw(tmp_path, size=6, margin=0.5).images[0, 0, 0, 0] < 50


def test_expw_can_leave_out_unsure_boxes(layouts, tmp_path):
    faces = load_expw(layouts.expw(tmp_path), min_confidence=30)
    assert faces.confidence.tolist() == [31.5, 42.0, 52.5, 63.0]
    assert faces.target.tolist() == ["happiness", "sadness", "surprise", "neutral"]
    assert len(faces.boxes) == len(faces.paths) == 4


def test_whole_photographs_are_not_given_as_faces(layouts, tmp_path):
    for load, root in ((load_expw, layouts.expw(tmp_path / "e")),
                       (load_affectnet, layouts.affectnet(tmp_path / "a"))):  # fmt: skip
        with pytest.raises(ValueError, match=r"return_X_y=True needs size.*save_crops"):
            load(root, return_X_y=True)


def test_a_photograph_with_two_faces_is_missing_once(layouts, tmp_path):
    layouts.expw(tmp_path)
    lines = [f"sad_boy_{n}.jpg {face} 4 10 22 16 50 {face}" for n in (0, 1) for face in (0, 1)]
    layouts.write(tmp_path / "label" / "label.lst", *lines)
    lost = tmp_path / "image" / "origin" / "sad_boy_0.jpg"
    lost.unlink()
    faces = load_expw(tmp_path, on_missing="skip")
    assert faces.missing == [str(lost)]
    assert faces.target.tolist() == ["anger", "disgust"]


def test_unreadable_photographs_are_errors_or_skipped(layouts, tmp_path):
    layouts.expw(tmp_path)
    broken = tmp_path / "image" / "origin" / "sad_boy_2.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(FaceReadError, match="sad_boy_2"):
        load_expw(tmp_path, size=4)
    faces = load_expw(tmp_path, size=4, on_error="skip")
    assert [(index, path) for index, path, _ in faces.skipped] == [(2, str(broken))]
    assert len(faces.images) == len(faces.paths) == len(faces.boxes) == len(faces.target) == 6
    assert "fear" not in faces.target_names
    with pytest.raises(ValueError, match="'on_error' parameter of load_expw"):
        load_expw(tmp_path, size=4, on_error="ignore")


@pytest.mark.parametrize("line", ["a.jpg 0 1 2 3 4 5", "a.jpg 0 1 2 3 four 5 6"])
def test_damaged_lists_of_expw_are_refused(layouts, tmp_path, line):
    layouts.expw(tmp_path)
    layouts.write(tmp_path / "label" / "label.lst", line)
    with pytest.raises(ValueError, match=r"(?s)line 1: .*top left right bottom"):
        load_expw(tmp_path)


def test_affectnet_tables_give_boxes_and_leave_out_what_is_no_expression(layouts, tmp_path):
    layouts.affectnet(tmp_path)
    faces = load_affectnet(tmp_path, contempt=True)
    assert len(faces.target) == 16  # codes 8, 9, 10 are no expressions
    assert faces.boxes.tolist() == [[3, 4, 11, 10]] * 16
    assert faces.split.tolist() == ["train"] * 8 + ["val"] * 8
    assert faces.paths[0] == str(tmp_path / "Manually_Annotated_Images" / "100" / "t000.jpg")
    assert load_affectnet(tmp_path, split="val", size=5).images.shape == (7, 5, 5, 3)


def test_affectnet_tables_and_pictures_may_lie_apart(layouts, tmp_path):
    layouts.affectnet(tmp_path)
    (tmp_path / "Manually_Annotated_file_lists").mkdir()
    for name in ("training.csv", "validation.csv"):
        (tmp_path / name).rename(tmp_path / "Manually_Annotated_file_lists" / name)
    (tmp_path / "Manually_Annotated_Images").rename(tmp_path / "pictures")
    with pytest.raises(FileNotFoundError, match="14 pictures"):
        load_affectnet(tmp_path)
    assert len(load_affectnet(tmp_path, images=tmp_path / "pictures").target) == 14


def test_affectnet_tables_without_header_or_boxes_of_what_is_no_face_are_read(layouts, tmp_path):
    layouts.affectnet(tmp_path)
    table = tmp_path / "validation.csv"
    lines = table.read_text().splitlines()[1:]
    lines[10] = lines[10].replace(",3,4,8,6,", ",NULL,NULL,NULL,NULL,")
    layouts.write(table, *lines)
    assert load_affectnet(tmp_path, split="val").target.tolist() == [
        "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger",
    ]  # fmt: skip


def test_damaged_files_of_affectnet_are_named(layouts, tmp_path):
    layouts.affectnet(tmp_path / "old")
    table = tmp_path / "old" / "training.csv"
    table.write_text(table.read_text().replace("100/t000.jpg,3,", "100/t000.jpg,left,"))
    with pytest.raises(ValueError, match=r"training.csv', line 2: .*Expected numbers"):
        load_affectnet(tmp_path / "old")
    table.write_text("file,label\na.jpg,3\n")
    with pytest.raises(ValueError, match=r"lacks the columns \['subDirectory_filePath'"):
        load_affectnet(tmp_path / "old")
    layouts.affectnet_newer(tmp_path / "new")
    (tmp_path / "new" / "val_set" / "annotations" / "3_exp.npy").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"3_exp.npy' is no annotation"):
        load_affectnet(tmp_path / "new")
    assert len(load_affectnet(tmp_path / "new", split="train").target) == 7


def test_the_newer_affectnet_needs_no_boxes(layouts, tmp_path):
    layouts.affectnet_newer(tmp_path)
    np.save(tmp_path / "val_set" / "annotations" / "0_exp.npy", np.array(4))  # a bare number
    faces = load_affectnet(tmp_path, split="val", size=5)
    assert faces.boxes is None
    assert faces.images.shape == (7, 5, 5, 3)
    assert faces.target[0] == "fear"
    (tmp_path / "val_set" / "images" / "2.jpg").write_bytes(b"no picture")
    faces = load_affectnet(tmp_path, split="val", size=5, on_error="skip")
    assert [index for index, _, _ in faces.skipped] == [2]
    assert len(faces.images) == len(faces.target) == len(faces.paths) == 6


def test_split_folders_prefer_aligned_faces_and_list_what_has_no_labels(layouts, tmp_path):
    faces = load_split_folders(layouts.sfew(tmp_path))
    assert len(faces.paths) == 14
    assert all("_Aligned_Faces/" in path for path in faces.paths)
    assert [path.rsplit("/", 1)[1] for path in faces.unlabelled] == [
        "Film_0.png", "Film_1.png", "Film_2.png",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"The 3 pictures of split='test'.*load_image_paths"):
        load_split_folders(tmp_path, split="test")


@pytest.mark.parametrize(
    ("folder", "split"),
    [("Training", "train"), ("val_set", "val"), ("Validation", "val"), ("valid", "val"),
     ("TEST", "test"), ("Val_Aligned_Faces_new", "val")],
)  # fmt: skip
def test_splits_are_known_by_many_names(layouts, tmp_path, folder, split):
    layouts.draw(tmp_path / folder / "happy" / "1.png")
    layouts.draw(tmp_path / "trainers" / "happy" / "1.png")  # no split
    assert load_split_folders(tmp_path).split.tolist() == [split]


def test_options_of_class_folders_reach_them(layouts, tmp_path):
    for code in ("1", "4"):
        layouts.draw(tmp_path / "train" / code / "1.png")
    names = {"1": "surprise", "4": "happiness"}
    assert load_split_folders(tmp_path, label_names="as-is").target.tolist() == ["1", "4"]
    faces = load_split_folders(tmp_path, label_names=names, classes=["happiness"])
    assert faces.target.tolist() == ["happiness"]


def test_two_folders_of_one_split_or_a_split_that_is_not_there_are_errors(layouts, tmp_path):
    layouts.draw(tmp_path / "train" / "happy" / "1.png")
    with pytest.raises(ValueError, match=r"split='val' but .*\['train'\]"):
        load_split_folders(tmp_path, split="val")
    layouts.draw(tmp_path / "Training" / "happy" / "1.png")
    with pytest.raises(ValueError, match="two folders for 'train': 'Training' and 'train'"):
        load_split_folders(tmp_path)


def test_pictures_are_not_opened_unless_asked_for(layouts, tmp_path, monkeypatch):
    roots = {
        load_raf_db: layouts.raf_db(tmp_path / "raf"),
        load_jaffe: layouts.jaffe(tmp_path / "jaffe"),
        load_expw: layouts.expw(tmp_path / "expw"),
        load_affectnet: layouts.affectnet(tmp_path / "affectnet"),
        load_split_folders: layouts.sfew(tmp_path / "sfew"),
    }

    def refuse(*_, **__):
        raise AssertionError("a picture was opened")

    monkeypatch.setattr(Image, "open", refuse)
    for load, root in roots.items():
        assert len(load(root).paths) > 0
