import io

import numpy as np
import pytest
from PIL import Image

from adafer import AUInputClassifier, SourceOnlyClassifier
from adafer.faces import FaceReadError, decode_face
from adafer.pages.analysis import NoFaceError, PictureAnalyst, installed_aligner
from adafer.persistence import load_model


@pytest.fixture(scope="module")
def classifier(model):
    return load_model(model)


@pytest.fixture(scope="module")
def analyst(classifier):
    aligner = installed_aligner()
    if aligner is None:
        pytest.skip("the extra align is not installed")
    return PictureAnalyst(classifier, aligner)


@pytest.fixture(scope="module")
def without_aligner(classifier):
    return PictureAnalyst(classifier, None)


def photograph(faces, sides=(120, 150)):
    """Put faces side by side onto grey."""
    picture = np.full((220, 230 * len(sides), 3), 110, dtype=np.uint8)
    for number, (face, side) in enumerate(zip(faces, sides, strict=False)):
        large = Image.fromarray(face).resize((side, side), Image.Resampling.BILINEAR)
        picture[30 : 30 + side, 230 * number + 30 : 230 * number + 30 + side] = np.asarray(large)
    return picture


def test_a_crop_goes_in_whole_and_gets_the_network_s_own_answer(analyst, classifier, rendered):
    face = rendered[2][0][0]
    found = analyst.analyse(face)
    assert "whole picture" in found["notes"][0]
    (only,) = found["faces"]
    shares = classifier.predict_proba(face[None])[0]
    given = {row["name"]: row["probability"] for row in only["expressions"]}
    assert given == {
        str(name): pytest.approx(p) for name, p in zip(classifier.classes_, shares, strict=True)
    }
    assert only["label"] == str(classifier.predict(face[None])[0])
    assert [unit["name"] for unit in only["aus"]] == classifier.au_names_
    scores = classifier._new_extractor().score_faces([face])[0]
    assert [unit["score"] for unit in only["aus"]] == pytest.approx(scores.tolist())
    left, top, width, height = only["box"]
    assert 0 <= left < left + width <= 1
    assert 0 <= top < top + height <= 1
    assert max(width, height) > 0.6


def test_all_faces_of_a_photograph_are_aligned_and_the_largest_comes_first(analyst, rendered):
    faces = rendered[2][0]
    found = analyst.analyse(photograph([faces[0], faces[6]]))
    assert "photograph" in found["notes"][0]
    assert "There are 2 faces; all are shown, the largest first." in found["notes"]
    boxes = [face["box"] for face in found["faces"]]
    assert boxes[0][0] > 0.5 > boxes[1][0]
    assert all(face["aus"] for face in found["faces"])
    # each face has its own AUs, not those of its larger neighbour
    first, second = ([unit["score"] for unit in face["aus"]] for face in found["faces"])
    assert not np.allclose(first, second)


def test_without_the_extra_pictures_are_crops_and_the_answer_says_so(without_aligner, rendered):
    faces = rendered[2][0]
    assert len(without_aligner.analyse(faces[0])["notes"]) == 1
    notes = without_aligner.analyse(photograph([faces[0]], sides=(100,)))["notes"]
    assert "do not rely on the label" in notes[1]
    assert "adafer[align]" in notes[1]
    with pytest.raises(ValueError, match=r"adafer\[align\]"):
        without_aligner.analyse(faces[0], "photograph")


def test_no_face_is_an_error_unless_the_whole_picture_is_asked_for(without_aligner):
    empty = np.full((60, 80, 3), 120, dtype=np.uint8)
    with pytest.raises(NoFaceError, match="No face was found"):
        without_aligner.analyse(empty)
    found = without_aligner.analyse(empty, "crop")
    assert found["faces"][0]["box"] is None
    assert found["faces"][0]["aus"] is None
    assert any("do not rely" in note for note in found["notes"])


def test_models_that_take_aus_at_predict_get_them(rendered):
    (X, y), (X_tgt, _), (unseen, _) = rendered
    classifier = AUInputClassifier("convnet", image_size=32, epochs=1, random_state=0, device="cpu")
    classifier.fit(X, y, X_tgt)
    found = PictureAnalyst(classifier, None).analyse(unseen[0])
    shares = [row["probability"] for row in found["faces"][0]["expressions"]]
    assert shares == pytest.approx(classifier.predict_proba(unseen[:1])[0].tolist(), abs=1e-6)


def test_models_that_cannot_look_at_pictures_are_refused_at_once(feature_problem, face_problem):
    p = feature_problem
    with pytest.raises(ValueError, match="fitted on features"):
        PictureAnalyst(SourceOnlyClassifier(epochs=0).fit(p["X"], p["y"]), None)
    p = face_problem
    nameless = AUInputClassifier("convnet", image_size=32, epochs=0, device="cpu")
    nameless.fit(p["X"], p["y"], au_src=p["au_src"])
    with pytest.raises(ValueError, match="no column names"):
        PictureAnalyst(nameless, None)


# ----------------------------------------------------------- pictures from memory


def encoded(picture, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format=kind, **options)
    return stream.getvalue()


def test_bytes_are_read_like_files(tmp_path):
    from adafer.faces import read_face

    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    for kind, options in (("PNG", {}), ("JPEG", {"exif": exif})):
        content = encoded(picture, kind, **options)
        path = tmp_path / "picture"
        path.write_bytes(content)
        np.testing.assert_array_equal(decode_face(content), read_face(path))
    assert decode_face(content).shape == (7, 5, 3)


def test_pictures_with_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    content = encoded(np.zeros((40, 30, 3), dtype=np.uint8))
    assert decode_face(content, max_pixels=1200).shape == (40, 30, 3)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(FaceReadError, match="30 x 40 pixels, more than the 1199 allowed"):
        decode_face(content, max_pixels=1199)
