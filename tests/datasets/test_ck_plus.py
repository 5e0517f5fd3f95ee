"""The sequences and class folders of CK+."""

import numpy as np
import pytest

from adafer.datasets import load_ck_plus


def test_the_first_frame_is_neutral_and_the_last_three_are_labelled(layouts, tmp_path):
    faces = load_ck_plus(layouts.ck_plus(tmp_path, [1, 7], n_frames=6))
    assert faces.target.tolist() == ["neutral"] + ["anger"] * 3 + ["neutral"] + ["surprise"] * 3
    assert faces.frame.tolist() == [1, 4, 5, 6] * 2
    assert faces.sequence.tolist() == ["S010_001"] * 4 + ["S010_002"] * 4
    assert faces.subject.tolist() == ["S010"] * 8
    assert faces.paths[1] == str(
        tmp_path / "cohn-kanade-images" / "S010" / "001" / "S010_001_00000004.png"
    )


def test_as_many_frames_as_in_the_paper_come_from_309_sequences(layouts, tmp_path):
    """Four per sequence without contempt: 7 sequences here, one of them contempt."""
    faces = load_ck_plus(layouts.ck_plus(tmp_path))
    assert len(faces.paths) == 4 * 6
    assert len(load_ck_plus(tmp_path, contempt=True).paths) == 4 * 7


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({"n_peak": 1}, [1, 5]),
        ({"n_peak": 2, "neutral": False}, [4, 5]),
        ({"n_peak": 0}, [1]),
        ({"n_peak": 4}, [1, 2, 3, 4, 5]),
    ],
)
def test_how_many_frames_can_be_chosen(layouts, tmp_path, options, frames):
    faces = load_ck_plus(layouts.ck_plus(tmp_path, [3]), **options)
    assert faces.frame.tolist() == frames
    assert (faces.target == "disgust").sum() == options["n_peak"]


def test_a_frame_is_not_both_neutral_and_peak(layouts, tmp_path):
    layouts.ck_plus(tmp_path, [3])
    with pytest.raises(ValueError, match="5 frames, too few for n_peak=5 and neutral=True"):
        load_ck_plus(tmp_path, n_peak=5)
    assert len(load_ck_plus(tmp_path, n_peak=5, neutral=False).paths) == 5


def test_labels_are_looked_for_in_both_names_of_their_folder(layouts, tmp_path):
    layouts.ck_plus(tmp_path, [5])
    (tmp_path / "Emotion").rename(tmp_path / "Emotion_labels")
    assert load_ck_plus(tmp_path, neutral=False).target_names == ["happiness"]


def test_sequences_without_labels_or_damaged_ones_are_errors(layouts, tmp_path):
    layouts.ck_plus(tmp_path, [5])
    label = next((tmp_path / "Emotion").rglob("*_emotion.txt"))
    for text in ("happy", "9.0", "2.5", ""):
        label.write_text(text)
        with pytest.raises(ValueError, match=r"_emotion.txt' holds .*such as 3.0000000e\+00"):
            load_ck_plus(tmp_path)
    label.unlink()
    with pytest.raises(FileNotFoundError, match="no labels of its sequences"):
        load_ck_plus(tmp_path)


def test_class_folders_give_subjects_and_sequences(layouts, tmp_path):
    faces = load_ck_plus(layouts.ck_plus_folders(tmp_path))
    assert len(faces.paths) == 18
    subjects = ["S000", "S002", "S003", "S004", "S005", "S006"]
    assert faces.subject.tolist() == np.repeat(subjects, 3).tolist()
    assert faces.sequence[0] == "S000_004"
    assert faces.frame[:3].tolist() == [15, 16, 17]
    one = load_ck_plus(tmp_path, n_peak=1, contempt=True)
    assert one.frame.tolist() == [17] * 7
    assert one.target_names == [
        "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise",
    ]  # fmt: skip


def test_other_class_folders_are_refused(layouts, tmp_path):
    layouts.ck_plus_folders(tmp_path)
    layouts.draw(tmp_path / "fear" / "0001.png")
    with pytest.raises(ValueError, match=r"1 pictures that are not named as frames.*0001\.png"):
        load_ck_plus(tmp_path)
    layouts.draw(tmp_path / "bored" / "S010_004_00000017.png")
    with pytest.raises(ValueError, match=r"folders \['bored'\], which are no classes of CK\+"):
        load_ck_plus(tmp_path)


@pytest.mark.parametrize(
    "options", [{"n_peak": -1}, {"n_peak": 1.5}, {"n_peak": 0, "neutral": False}]
)
def test_bad_numbers_of_frames_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match="n_peak"):
        load_ck_plus(tmp_path, **options)
