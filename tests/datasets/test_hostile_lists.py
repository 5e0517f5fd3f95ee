"""Lists and tables of data sets that lie, lead out of their folder, or are damaged."""

import csv
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from adafer.datasets import (
    load_affectnet,
    load_expw,
    load_fer2013,
    load_ferplus,
    load_raf_db,
    read_split,
)

CLIMBING = ["../secret.png", "a/../../secret.png", "/etc/secret.png", "a\0.png", " "]
HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,"
    "valence,arousal\n"
)
PIXELS = " ".join(["9"] * 48 * 48)
VOTES = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


@pytest.fixture
def place(tmp_path):
    """A folder, beside a picture that no list in it may reach."""
    Image.new("L", (60, 60)).save(tmp_path / "secret.png")
    root = tmp_path / "set"
    for name in ("a", "label", "origin", "EmoLabel", "Image/original", "Image/aligned"):
        (root / name).mkdir(parents=True)
    return root


def expw(root, *lines):
    (root / "label/label.lst").write_text("\n".join(lines), encoding="utf-8")
    return root


def affectnet(root, *rows, header=HEADER):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    (root / "training.csv").write_text(header + text.getvalue(), encoding="utf-8")
    return root


# ------------------------------------------------------------------- climbing out


@pytest.mark.parametrize("name", CLIMBING)
def test_a_split_file_cannot_name_pictures_outside_of_its_folder(place, name):
    with (place / "split.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "label", "split"], [name, "fear", "train"]])
    with pytest.raises(ValueError, match="which is no picture below"):
        read_split(place / "split.csv")


@pytest.mark.parametrize("name", [*CLIMBING[:3], "..\\secret.png", "a\\..\\..\\secret.png"])
def test_lists_cannot_name_pictures_outside_of_their_folder(place, name):
    with pytest.raises(ValueError, match="which is no picture below"):
        load_affectnet(affectnet(place, [name, 0, 0, 9, 9, "", 1, 0, 0]), split="train")
    if "\\" not in name:
        with pytest.raises(ValueError, match="which is no picture below"):
            load_expw(expw(place, f"{name} 0 1 1 9 9 75.5 3"))
        (place / "EmoLabel/list_patition_label.txt").write_text(f"train_/../{name} 4")
        with pytest.raises(ValueError, match="which is no picture below"):
            load_raf_db(place, aligned=False)


def test_names_with_dots_that_do_not_climb_are_names(place):
    for name in ("..png", "a..b.png", "...png"):
        shutil.copy(place.parent / "secret.png", place / name)
    rows = [["file", "label", "split"]] + [[n, "fear", "train"] for n in ("..png", "a..b.png")]
    with (place / "split.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    assert len(read_split(place / "split.csv").paths) == 2


# ------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e300", "1e18"])
@pytest.mark.parametrize("column", [1, 2, 5, 6, 7])
def test_numbers_of_expw_are_finite(place, number, column):
    cells = ["a.jpg", "0", "1", "1", "9", "9", "75.5", "3"]
    cells[column] = number
    with pytest.raises(ValueError, match=r"label\.lst', line 1: got a number that is none"):
        load_expw(expw(place, " ".join(cells)))


def test_a_code_of_expw_is_not_cut_to_a_whole_number(place):
    with pytest.raises(ValueError, match=r"expression code 3\.7; expected whole numbers"):
        load_expw(expw(place, "a.jpg 0 1 1 9 9 75.5 3.7"))


@pytest.mark.parametrize("code", ["99999999999999999999", "9" * 5000, "1_0", "٣", "3.0", "", "0x3"])
def test_codes_are_whole_numbers(place, tmp_path, code):
    affectnet(place, ["a/1.jpg", 0, 0, 9, 9, "", code, 0, 0])
    with pytest.raises(ValueError, match=r"training\.csv'(, line 2: | has the expression codes)"):
        load_affectnet(place, split="train")
    table = tmp_path / "fer2013.csv"
    table.write_text(f"emotion,pixels,Usage\n{code},{PIXELS},Training\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"fer2013\.csv'(, line 2: | has the expression codes)"):
        load_fer2013(table)


@pytest.mark.parametrize("number", ["inf", "nan", "1e300", "-1e12"])
def test_boxes_of_affectnet_are_pixels(place, number):
    affectnet(place, ["a/1.jpg", number, 0, 9, 9, "", 1, 0, 0])
    with pytest.raises(ValueError, match=r"training\.csv', line 2"):
        load_affectnet(place, split="train")


@pytest.mark.parametrize(
    "row",
    ['a/1.jpg,0,0,9,9,"open,1,0,0', "a/1.jpg,0,0,9,9,,1", '"a"b,0,0,9,9,,1,0,0', "x" * 200_000],
)
def test_tables_of_affectnet_that_are_no_csv_are_refused(place, row):
    (place / "training.csv").write_text(HEADER + row + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"training\.csv', line"):
        load_affectnet(place, split="train")
    (place / "training.csv").write_text('"' + "y" * 200_000, encoding="utf-8")
    with pytest.raises(ValueError, match="is no table in CSV"):
        load_affectnet(place, split="train")


def header_of_npy(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def npz():
    stream = io.BytesIO()
    np.savez(stream, a=np.array(1))
    return stream.getvalue()


def npy(value):
    stream = io.BytesIO()
    np.save(stream, value)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        header_of_npy((2**50,)),
        header_of_npy((2**62, 2**62)),
        npz(),
        npy(np.array([1, 2])),
        npy(np.array(np.inf)),
        npy(np.array(1.5)),
        npy(np.array(1 + 2j)),
        npy(np.array("six")),
        npy(np.array({"a": 1})),
        npy(np.zeros(100_000)),
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_annotations_of_affectnet_hold_one_code(tmp_path, content):
    for name in ("annotations", "images"):
        (tmp_path / "val_set" / name).mkdir(parents=True)
    (tmp_path / "val_set/images/1.jpg").touch()
    (tmp_path / "val_set/annotations/1_exp.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"1_exp\.npy' is no annotation"):
        load_affectnet(tmp_path, split="val")


def test_rows_that_are_not_asked_for_are_judged_too(tmp_path):
    table = tmp_path / "fer2013.csv"
    lines = ["emotion,pixels,Usage", f"3,{PIXELS},Training", f"4,{PIXELS},Trainig"]
    table.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=re.escape("has the Usage ['Trainig']")):
        load_fer2013(table, split="train")
    table.write_text("\n".join([*lines[:2], f"9,{PIXELS},PrivateTest"]))
    with pytest.raises(ValueError, match=r"codes \[9\]"):
        load_fer2013(table, split="train")


@pytest.mark.parametrize("vote", ["-1", "99999999999999999999", "1000000", "nan"])
def test_votes_are_counts(tmp_path, vote):
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n6,{PIXELS},Training")
    (tmp_path / "fer2013new.csv").write_text(f"{VOTES}\nTraining,a.png,{vote},8,0,0,0,0,0,0,0,0")
    with pytest.raises(ValueError, match="has a damaged row"):
        load_ferplus(tmp_path)


def test_a_list_that_is_a_pipe_or_huge_is_not_waited_for(place):
    import os

    os.mkfifo(place / "label/label.lst")
    with pytest.raises(OSError, match="is a pipe, socket or device"):
        load_expw(place)
    (place / "label/label.lst").unlink()
    with (place / "label/label.lst").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(ValueError, match=r"label\.lst' is no list: it has 1099511627776 bytes"):
        load_expw(place)
