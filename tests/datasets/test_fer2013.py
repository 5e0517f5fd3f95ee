"""The tables and folders of FER2013."""

import numpy as np
import pytest

from adafer.datasets import load_fer2013


def test_a_table_gives_grey_pictures_with_their_rows(layouts, tmp_path):
    layouts.fer2013(tmp_path)
    faces = load_fer2013(tmp_path)
    assert faces.images.shape == (7, 48, 48)
    assert faces.images.dtype == np.uint8
    assert faces.images[:, 5, 7].tolist() == list(range(7))
    assert faces.split.tolist() == ["train", "val", "test"] * 2 + ["train"]
    assert load_fer2013(tmp_path / "fer2013.csv", split="val").row.tolist() == [1, 4]


def test_pixels_keep_their_places(layouts, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48))
    row = f"3,{' '.join(map(str, pixels.ravel()))},Training"
    layouts.write(tmp_path / "fer2013.csv", "emotion,pixels,Usage", row)
    assert np.array_equal(load_fer2013(tmp_path).images[0], pixels)


def test_the_second_table_with_blanks_in_its_header_is_the_same(layouts, tmp_path):
    first = load_fer2013(layouts.fer2013(tmp_path))
    second = load_fer2013(layouts.icml_face_data(tmp_path))
    for key in ("images", "target", "split"):
        assert np.array_equal(first[key], second[key])


def test_the_folder_of_the_unpacked_archive_is_entered(layouts, tmp_path):
    layouts.fer2013(tmp_path / "fer2013")
    assert len(load_fer2013(tmp_path).target) == 7


def test_class_folders_give_paths(layouts, tmp_path):
    faces = load_fer2013(layouts.fer2013_folders(tmp_path), split="test")
    assert len(faces.paths) == 7
    assert all("/test/" in path for path in faces.paths)
    assert "7 faces of 7 classes of FER2013" in faces.DESCR


def test_class_folders_of_another_data_set_are_refused(layouts, tmp_path):
    layouts.fer2013_folders(tmp_path)
    layouts.draw(tmp_path / "train" / "contempt" / "1.png")
    with pytest.raises(ValueError, match=r"\['contempt'\], which are none of FER2013's"):
        load_fer2013(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("3,1 2 3,Training", "line 2: got 3 pixels"),
        ("3," + "999 " * 2304 + ",Training", "line 2: got pixels from 999 to 999"),
        ("3," + "1 " * 2303 + "x,Training", "line 2:"),
        ("happy," + "1 " * 2304 + ",Training", "line 2: invalid literal"),
        ("3," + "1 " * 2304, "line 2: .*cut short"),
        ("3," + "1 " * 2304 + ",Testing", r"Usage \['Testing'\]; expected \['Training'"),
    ],
)
def test_damaged_rows_are_named(layouts, tmp_path, row, message):
    layouts.write(tmp_path / "fer2013.csv", "emotion,pixels,Usage", row)
    with pytest.raises(ValueError, match=message):
        load_fer2013(tmp_path)


def test_other_tables_show_the_layout(layouts, tmp_path):
    table = layouts.write(tmp_path / "table.csv", "file,label", "a.png,happy")
    with pytest.raises(ValueError, match=r"columns \['file', 'label'\].*Expected layout"):
        load_fer2013(table)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="no table in CSV"):
        load_fer2013(tmp_path / "bytes.csv")
