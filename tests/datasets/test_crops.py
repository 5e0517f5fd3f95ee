"""Faces cut out of photographs."""

import os

import numpy as np
import pytest
from PIL import Image
from sklearn.utils import Bunch

from adafer.datasets import crop_faces, load_expw, save_crops
from adafer.faces import FaceReadError, read_face


@pytest.fixture
def photograph(tmp_path):
    """Red tells the column, green the row."""
    rows, columns = np.mgrid[:40, :60].astype(np.uint8)
    pixels = np.stack([columns, rows, np.zeros_like(rows)], axis=-1)
    Image.fromarray(pixels).save(tmp_path / "photograph.png")
    return str(tmp_path / "photograph.png")


def test_boxes_cut_out_what_they_say(photograph):
    face = crop_faces([photograph], [[10, 5, 30, 25]], size=20)[0]
    assert face[0, :, 0].tolist() == list(range(10, 30))
    assert face[:, 0, 1].tolist() == list(range(5, 25))


def test_margins_widen_by_the_longer_side_and_stop_at_the_border(photograph):
    face = crop_faces([photograph], [[20, 10, 30, 15]], size=100, margin=0.5)[0]
    assert (face[..., 0].min(), face[..., 0].max()) == (15, 34)
    assert (face[..., 1].min(), face[..., 1].max()) == (5, 19)
    border = crop_faces([photograph], [[-5, -5, 15, 15]], size=15)[0]
    assert border[0, :, 0].tolist() == list(range(15))


def test_faces_keep_their_order_and_photographs_are_read_once(photograph, tmp_path, monkeypatch):
    other = str(tmp_path / "a.png")
    Image.new("RGB", (60, 40), (200, 0, 0)).save(other)
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda p, *a: opened.append(p) or real(p, *a))
    boxes = [[0, 0, 4, 4], [0, 0, 4, 4], [8, 0, 12, 4]]
    faces = crop_faces([photograph, other, photograph], boxes, size=4)
    assert faces[:, 0, 0, 0].tolist() == [0, 200, 8]
    assert sorted(opened) == sorted([photograph, other])


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[60, 0, 70, 10]], r"boxes\[0\], \[60, 0, 70, 10\], holds nothing .* 60 x 40"),
        ([[20, 10, 10, 20]], "holds nothing"),
        ([[0, 0, 10]], r"boxes must be integers of shape \(1, 4\)"),
        ([[0.5, 0, 10, 10]], "got float64"),
    ],
)
def test_bad_boxes_are_refused(photograph, boxes, message):
    with pytest.raises(ValueError, match=message):
        crop_faces([photograph], boxes, size=4)


@pytest.mark.parametrize("option", [{"size": 0}, {"size": 4, "margin": -1}])
def test_bad_settings_are_refused_before_anything_is_read(option):
    with pytest.raises(ValueError, match="must be"):
        crop_faces(["nowhere.png"], [[0, 0, 4, 4]], **option)


def test_saved_crops_are_a_data_set_of_faces(layouts, tmp_path):
    photographs = load_expw(layouts.expw(tmp_path / "ExpW"))
    faces = save_crops(photographs, tmp_path / "faces")
    assert faces.target.tolist() == photographs.target.tolist()
    assert faces.confidence.tolist() == photographs.confidence.tolist()
    assert "boxes" not in faces
    assert "boxes" in photographs
    assert os.path.basename(faces.paths[3]) == "sad_boy_3_10_4_22_16.jpg"
    for path in faces.paths:
        face = read_face(path)
        assert face.shape == (12, 12, 3)
        assert face.min() > 200
    assert read_face(save_crops(photographs, tmp_path / "small", size=5).paths[0]).shape == (
        5,
        5,
        3,
    )


def test_what_was_saved_is_not_done_again(layouts, tmp_path):
    photographs = load_expw(layouts.expw(tmp_path / "ExpW"))
    first = save_crops(photographs, tmp_path / "faces")
    times = [os.stat(path).st_mtime_ns for path in first.paths]
    os.unlink(first.paths[2])
    broken = photographs.paths[5]
    with open(broken, "wb") as stream:
        stream.write(b"no picture")
    second = save_crops(photographs, tmp_path / "faces")
    assert second.paths == first.paths
    again = [os.stat(path).st_mtime_ns for path in second.paths]
    assert [old == new for old, new in zip(times, again, strict=True)] == [
        True, True, False, True, True, True, True,
    ]  # fmt: skip
    # other settings are other files
    wider = save_crops(photographs, tmp_path / "faces", margin=0.1, on_error="skip")
    assert not set(wider.paths) & set(first.paths)


def test_unreadable_photographs_are_left_out_of_all_columns(layouts, tmp_path):
    photographs = load_expw(layouts.expw(tmp_path / "ExpW"))
    with open(photographs.paths[5], "wb") as stream:
        stream.write(b"no picture")
    save_crops(Bunch(paths=photographs.paths[:2], boxes=photographs.boxes[:2],
                     target=photographs.target[:2]), tmp_path / "faces")  # fmt: skip
    with pytest.raises(FaceReadError, match="sad_boy_5"):
        save_crops(photographs, tmp_path / "faces")
    faces = save_crops(photographs, tmp_path / "faces", on_error="skip")
    assert [(index, path) for index, path, _ in faces.skipped] == [(5, photographs.paths[5])]
    assert faces.confidence.tolist() == np.delete(photographs.confidence, 5).tolist()
    assert len(faces.paths) == len(faces.target) == 6
    assert "surprise" not in faces.target_names


def test_what_cannot_be_saved_is_told(layouts, tmp_path):
    photographs = load_expw(layouts.expw(tmp_path / "ExpW"))
    with pytest.raises(ValueError, match="faces must be a Bunch with paths and boxes"):
        save_crops(Bunch(paths=photographs.paths, target=photographs.target), tmp_path / "faces")
    twice = Bunch(paths=photographs.paths[:1] * 2, boxes=photographs.boxes[:2],
                  target=photographs.target[:2])  # fmt: skip
    with pytest.raises(ValueError, match=r"Two faces would be written to 'sad_boy_0_10_4_22_16"):
        save_crops(twice, tmp_path / "faces")
    with pytest.raises(ValueError, match="'on_error' parameter of save_crops"):
        save_crops(photographs, tmp_path / "faces", on_error="ignore")
    assert not (tmp_path / "faces").exists()
