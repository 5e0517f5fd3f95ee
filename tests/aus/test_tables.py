"""AU tables of other tools: scales are checked, rows find their pictures."""

import re
import sys

import numpy as np
import pandas as pd
import pytest

from adafer.aus import (
    au_scores_from_frame,
    join_scores,
    read_libreface,
    read_openface,
    read_pyfeat,
)

OPENFACE_R = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
OPENFACE_C = (*OPENFACE_R[:-1], 28, 45)
PYFEAT = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
LIBREFACE_C = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
LIBREFACE_R = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)


def names(numbers):
    return [f"AU{number:02d}" for number in numbers]


@pytest.fixture
def openface_file(tmp_path):
    """Six frames, the third without success, the fifth of low confidence."""
    rng = np.random.default_rng(0)
    intensities = rng.uniform(0, 5, (6, len(OPENFACE_R))).round(2)
    occurrences = rng.integers(0, 2, (6, len(OPENFACE_C)))
    frame = pd.DataFrame({"frame": range(1, 7), "face_id": 0, "timestamp": 0.0})
    frame["confidence"] = [0.98, 0.93, 0.9, 0.88, 0.3, 0.98]
    frame["success"] = [1, 1, 0, 1, 1, 1]
    frame["gaze_0_x"] = 0.1
    for column, values in zip(OPENFACE_R, intensities.T, strict=True):
        frame[f"AU{column:02d}_r"] = values
    for column, values in zip(OPENFACE_C, occurrences.T, strict=True):
        frame[f"AU{column:02d}_c"] = values
    path = tmp_path / "openface.csv"
    frame.to_csv(path, index=False)
    return path, intensities, occurrences


@pytest.mark.parametrize("blanks", [False, True])
def test_openface_intensities_are_divided_by_5_and_failed_rows_are_nan(openface_file, blanks):
    path, intensities, _ = openface_file
    if blanks:  # as older versions wrote it
        path.write_text(path.read_text().replace(",", ", "))
    scores = read_openface(path, kind="intensity")
    expected = intensities / 5
    expected[2] = np.nan
    assert list(scores.columns) == names(OPENFACE_R)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_openface_occurrences_have_au28_and_min_confidence_is_honoured(openface_file):
    path, _, occurrences = openface_file
    expected = occurrences.astype(float)
    expected[2] = np.nan
    scores = read_openface(path)
    assert list(scores.columns) == names(OPENFACE_C)
    np.testing.assert_array_equal(scores, expected)
    expected[4] = np.nan
    np.testing.assert_array_equal(read_openface(path, min_confidence=0.88), expected)


def test_values_of_rows_without_a_face_are_not_judged(tmp_path):
    path = tmp_path / "openface.csv"
    path.write_text("success,confidence,AU01_r\n1,0.9,5\n0,0,-9\n")
    np.testing.assert_array_equal(read_openface(path, kind="intensity"), [[1], [np.nan]])
    path.write_text("success,confidence,AU01_r\n1,0.9,5\n1,0.9,-9\n")
    with pytest.raises(ValueError, match=r"'AU01_r' holds values from -9 to 5.*0\.\.5.*Choose"):
        read_openface(path, kind="intensity")


def test_min_confidence_needs_the_column_and_lies_in_0_to_1(tmp_path):
    path = tmp_path / "openface.csv"
    path.write_text("AU01_c\n1\n")
    assert read_openface(path).to_numpy() == 1
    with pytest.raises(ValueError, match="no column 'confidence'"):
        read_openface(path, min_confidence=0.5)
    with pytest.raises(ValueError, match="'min_confidence' parameter of read_openface"):
        read_openface(path, min_confidence=80)


def test_a_folder_of_openface_files_is_indexed_by_picture(tmp_path):
    (tmp_path / "b.csv").write_text("face, confidence, AU01_c, AU02_c\n0, 0.9, 1, 0\n")
    (tmp_path / "a.csv").write_text("face, confidence, AU01_c, AU02_c\n")
    (tmp_path / "c.csv").write_text("")
    (tmp_path / "notes.txt").write_text("no table")
    scores = read_openface(tmp_path)
    assert list(scores.index) == ["a", "b", "c"]
    np.testing.assert_array_equal(scores, [[np.nan] * 2, [1, 0], [np.nan] * 2])
    joined, report = join_scores(scores, ["x/b.jpg", "x/d.jpg"])
    np.testing.assert_array_equal(joined, [[1, 0], [np.nan] * 2])
    assert report == (["x/d.jpg"], ["a", "c"])


def test_a_picture_with_two_faces_must_be_decided_by_the_user(tmp_path):
    (tmp_path / "a.csv").write_text("face,confidence,AU01_c\n0,0.9,1\n1,0.8,0\n")
    (tmp_path / "b.csv").write_text("face,confidence,AU01_c\n0,0.9,0\n")
    scores = read_openface(tmp_path)
    with pytest.raises(ValueError, match=r"more than one row for 1 of its pictures: 'a'\. .*keep"):
        join_scores(scores, ["a.png"])
    joined, _ = join_scores(scores[~scores.index.duplicated()], ["a.png", "b.png"])
    assert joined["AU01"].tolist() == [1, 0]


def test_pyfeat_probabilities_are_taken_as_they_are(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.random((3, len(PYFEAT)))
    values[1] = np.nan
    frame = pd.DataFrame(values, columns=names(PYFEAT))
    frame.insert(0, "FaceScore", 0.99)
    frame["anger"] = 0.5
    frame["input"] = ["f/x.jpg", "f/y.jpg", "f/z.jpg"]
    frame["frame"] = [0, 1, 2]
    frame.to_csv(tmp_path / "feat.csv")  # with pandas' column of row numbers
    scores = read_pyfeat(tmp_path / "feat.csv")
    assert list(scores.columns) == names(PYFEAT)
    assert list(scores.index) == ["f/x.jpg", "f/y.jpg", "f/z.jpg"]
    np.testing.assert_allclose(scores, values, rtol=1e-12)


def test_blanks_before_file_names_are_no_part_of_them(tmp_path):
    (tmp_path / "feat.csv").write_text("AU01, input\n0.5, x.jpg\n")
    assert list(read_pyfeat(tmp_path / "feat.csv").index) == ["x.jpg"]


def test_libreface_kinds_hold_different_aus(tmp_path):
    rng = np.random.default_rng(2)
    occurrences = rng.integers(0, 2, (4, len(LIBREFACE_C)))
    intensities = rng.uniform(0, 5, (4, len(LIBREFACE_R)))
    frame = pd.DataFrame({"frame_idx": range(4), "facial_expression": "Neutral"})
    for number, values in zip(LIBREFACE_C, occurrences.T, strict=True):
        frame[f"au_{number}"] = values
    for number, values in zip(LIBREFACE_R, intensities.T, strict=True):
        frame[f"au_{number}_intensity"] = values
    path = tmp_path / "libre.csv"
    frame.to_csv(path, index=False)
    scores = read_libreface(path)
    assert list(scores.columns) == names(LIBREFACE_C)
    np.testing.assert_array_equal(scores, occurrences)
    scores = read_libreface(path, kind="intensity")
    assert list(scores.columns) == names(LIBREFACE_R)
    np.testing.assert_allclose(scores, intensities / 5, rtol=1e-12)


@pytest.mark.parametrize(
    ("scale", "values", "words"),
    [
        ("probability", [0.2, 1.5], r"from 0\.2 to 1\.5, for example 1\.5; expected values in"),
        ("probability", [-0.1, 0.5], "example -0.1"),
        ("probability", [0.1, np.inf], "example inf"),
        ("intensity", [0.2, 5.1], r"5\.1; expected values in 0\.\.5"),
        ("binary", [1, 0.5], "example 0.5; expected zeros and ones"),
        ("binary", [1, 2], "example 2; expected zeros and ones"),
    ],
)
def test_values_out_of_the_scale_are_refused(scale, values, words):
    with pytest.raises(ValueError, match=f"Column 'AU01' holds values.*{words}.*Choose the scale"):
        au_scores_from_frame(pd.DataFrame({"AU01": values}), scale=scale)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [("probability", [0, 1, np.nan]), ("intensity", [0, 0.2, np.nan]), ("binary", [0, 1, np.nan])],
)
def test_each_scale_is_converted_and_nan_stays(scale, expected):
    frame = pd.DataFrame({"AU12": [0, 1, np.nan], "au_2": [0, 1, np.nan], "other": "x"})
    before = frame.copy()
    scores = au_scores_from_frame(frame, scale=scale)
    assert list(scores.columns) == ["AU02", "AU12"]
    assert (scores.dtypes == np.float64).all()
    np.testing.assert_array_equal(scores["AU02"], expected)
    pd.testing.assert_frame_equal(frame, before)


def test_frames_keep_their_index_unless_a_file_column_is_named():
    frame = pd.DataFrame({"AU1": [0.1, 0.2], "where": ["a.png", "b.png"]}, index=["r", "s"])
    assert list(au_scores_from_frame(frame).index) == ["r", "s"]
    assert list(au_scores_from_frame(frame, file_column="where").index) == ["a.png", "b.png"]
    with pytest.raises(ValueError, match="no column 'path'; its columns are 'AU1', 'where'"):
        au_scores_from_frame(frame, file_column="path")


def test_tables_that_are_none_say_what_is_wrong(tmp_path, openface_file):
    path = tmp_path / "table.csv"
    with pytest.raises(FileNotFoundError, match=r"table\.csv' does not exist; relative paths"):
        read_pyfeat(path)
    path.write_text("")
    with pytest.raises(ValueError, match="is empty"):
        read_pyfeat(path)
    path.write_text("a,b\n1,2\n")
    for read in (read_openface, read_pyfeat, read_libreface):
        with pytest.raises(ValueError, match=r"table\.csv' has no AU columns for"):
            read(path)
    path.write_text("AU01\nhigh\n")
    with pytest.raises(ValueError, match=r"'AU01' must hold numbers; got .*high"):
        read_pyfeat(path)
    path.write_bytes(b"AU01\n\xff\xfe\n")
    with pytest.raises(ValueError, match="is no AU table"):
        read_pyfeat(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="holds no AU tables"):
        read_openface(tmp_path / "folder")
    with pytest.raises(ValueError, match="two columns for AU01: 'AU01_r' and 'AU01_c'"):
        read_pyfeat(openface_file[0])


def test_unknown_kinds_and_scales_are_refused(openface_file):
    for read in (read_openface, read_libreface):
        with pytest.raises(ValueError, match="'occurrence' or 'intensity'; got 'both'"):
            read(openface_file[0], kind="both")
    with pytest.raises(
        ValueError, match=r"'scale' parameter of au_scores_from_frame.*'probability'.*'percent'"
    ):
        au_scores_from_frame(pd.DataFrame({"AU01": [1]}), scale="percent")


def test_reading_without_pandas_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"adafer\[tables\]"):
        read_pyfeat(tmp_path / "feat.csv")


# Joining


def table_of(files):
    return pd.DataFrame({"AU01": np.arange(len(files)) / 100}, index=files)


def rows_of(scores):
    return [None if np.isnan(value) else round(value * 100) for value in scores["AU01"]]


def test_scores_come_in_the_order_of_the_pictures_and_the_rest_is_reported(tmp_path):
    files = [f"{i:02d}.png" for i in range(20)]
    order = np.random.default_rng(3).permutation(20)[:12]
    paths = [tmp_path / files[i] for i in order]
    paths.insert(4, tmp_path / "new.png")
    scores, report = join_scores(table_of(files), paths)
    assert rows_of(scores) == [*order[:4], None, *order[4:]]
    assert list(scores.index) == [str(path) for path in paths]
    assert report.missing == [str(tmp_path / "new.png")]
    assert report.unused == [file for i, file in enumerate(files) if i not in order]


@pytest.mark.parametrize(
    ("files", "paths", "expected"),
    [
        # one picture and one row of a name: folders are not looked at
        (["old/1.png", "old/2.png"], ["new/2.png", "new/1.png"], [1, 0]),
        # clashes: the longest common end decides
        (["a/1.png", "b/1.png"], ["/x/b/1.png", "/x/a/1.png"], [1, 0]),
        (["/old/a/1.png", "/old/b/1.png"], ["/new/b/1.png", "/new/a/1.png"], [1, 0]),
        (["t/a/1.png", "s/a/1.png"], ["r/s/a/1.png", "r/t/a/1.png"], [1, 0]),
        # only one of two pictures is in the table
        (["a/1.png"], ["a/1.png", "b/1.png"], [0, None]),
        (["x/a/1.png"], ["y/a/1.png", "x/a/1.png"], [None, 0]),
        (["a/1.png", "b/1.png", "2.png"], ["c/1.png", "2.png"], [None, 2]),
        (["c/1.png", "2.png"], ["a/1.png", "b/1.png", "2.png"], [None, None, 1]),
        # a row without a folder is meant where the others' folders differ
        (["1.png", "c/1.png"], ["b/1.png"], [0]),
        # other systems' paths, a dot, one picture twice
        (["C:\\faces\\a\\1.png", "C:\\faces\\b\\1.png"], ["./b/1.png", "a/1.png"], [1, 0]),
        (["1.png", "2.png"], ["x/2.png", "x/2.png", "x/1.png"], [1, 1, 0]),
        # names without the ending of a picture
        (["1", "S005.0001"], ["x/S005.0001.PNG", "x/1.jpg"], [1, 0]),
        # ... and with it: then the endings count
        (["1.jpg", "1.png"], ["1.png", "1.jpg"], [1, 0]),
    ],
)
def test_rows_find_their_pictures(files, paths, expected):
    scores, report = join_scores(table_of(files), paths)
    assert rows_of(scores) == expected
    assert report.missing == [p for p, row in zip(paths, expected, strict=True) if row is None]
    assert report.unused == [file for row, file in enumerate(files) if row not in expected]


@pytest.mark.parametrize(
    ("files", "paths"),
    [
        (["1.png"], ["a/1.png", "b/1.png"]),
        (["a/1.png", "b/1.png"], ["1.png"]),
        (["a/1.png"], ["x/a/1.png", "y/a/1.png"]),
        (["x/a/1.png", "y/a/1.png"], ["z/a/1.png"]),
        (["1"], ["1.png", "1.jpg"]),
    ],
)
def test_what_cannot_be_told_apart_is_an_error(files, paths):
    with pytest.raises(ValueError, match=r"cannot be told from others: .* give longer paths"):
        join_scores(table_of(files), paths)


def test_paths_are_taken_as_names(tmp_path):
    scores, _ = join_scores(table_of([tmp_path / "1.png"]), [tmp_path / "1.png"])
    assert rows_of(scores) == [0]
    assert list(scores.index) == [str(tmp_path / "1.png")]


def test_duplicates_are_named():
    files = ["1.png", "2.png", "./1.png", "2.png", "3.png"]
    words = "more than one row for 3 of its pictures: '1.png', '2.png', './1.png'"
    with pytest.raises(ValueError, match=re.escape(words)):
        join_scores(table_of(files), ["3.png"])


def test_tables_without_file_names_and_foreign_ones_are_refused():
    with pytest.raises(ValueError, match=r"indexed by the pictures' files; got 0 as the first"):
        join_scores(pd.DataFrame({"AU01": [0.5]}), ["1.png"])
    with pytest.raises(ValueError, match="None of the 2 pictures is in the table of 1 rows"):
        join_scores(table_of(["9.png"]), ["1.png", "2.png"])
    with pytest.raises(TypeError, match=r"paths must be a list of paths; got '1\.png'"):
        join_scores(table_of(["1.png"]), "1.png")


def test_many_pictures_of_one_name_are_joined_quickly():
    files = [f"{i}/{j}/face.png" for i in range(40) for j in range(50)]
    order = np.random.default_rng(4).permutation(len(files))
    scores, report = join_scores(table_of(files), [f"/data/{files[i]}" for i in order])
    assert rows_of(scores) == order.tolist()
    assert report == ([], [])


# ------------------------------------------------------------------ hostile tables


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input,AU01,AU01\na.png,0.1,0.9\n", "two columns 'AU01'"),
        ("input,AU01, AU01\na.png,0.1,0.9\n", "two columns 'AU01'"),
        ("input,AU01,AU1\na.png,0.1,0.9\n", "two columns for AU01"),
        ("input,AU01\na.png,0.1,0.9\n", "line 2 has 3 cells under 2 columns"),
        ("input,AU01,AU02\na.png,0.1,0.2\nb.png,0.3\n", "line 3 has 2 cells under 3 columns"),
        ('input,AU01\n"a.png,0.1\n', "unexpected end of data"),
        ("input,AU01\na.png,0_1\n", "'_'"),
        ("input,AU01,AU02\n\r,0.5,0.1\nb.png,0.3,0.2\n", "a carriage return without a line feed"),
        ("input,AU01\na.png,4.5\n", "expected values in"),
        ("input,AU01\na.png,55\n", "expected values in"),
        ("input,AU01\na.png,inf\n", "expected values in"),
        ("input,AU01\na.png,high\n", "must hold numbers"),
        ("input,AU01\n" + "a" * 200_000 + ",0.5\n", "field larger than"),
    ],
)
def test_tables_that_pandas_would_mend_in_silence_are_refused(tmp_path, text, words):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        read_pyfeat(tmp_path / "table.csv")
