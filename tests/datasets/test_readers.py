"""What all readers of public data sets have in common."""

import inspect

import numpy as np
import pytest

from adafer import datasets

# Codes as the data sets document them, in the order of EXPRESSIONS.
EXPRESSIONS = (
    "surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral", "contempt",
)  # fmt: skip
CODES = {
    "fer2013": [5, 2, 1, 3, 4, 0, 6],
    "icml_face_data": [5, 2, 1, 3, 4, 0, 6],
    "raf_db": [1, 2, 3, 4, 5, 6, 7],
    "ck_plus": [7, 4, 3, 5, 6, 1, 0, 2],
    "jaffe": ["SU", "FE", "DI", "HA", "SA", "AN", "NE"],
    "expw": [5, 2, 1, 3, 4, 0, 6],
    "affectnet": [3, 4, 5, 1, 2, 6, 0, 7],
    "affectnet_newer": [3, 4, 5, 1, 2, 6, 0, 7],
}
READERS = {
    "fer2013": datasets.load_fer2013,
    "icml_face_data": datasets.load_fer2013,
    "fer2013_folders": datasets.load_fer2013,
    "ferplus": datasets.load_ferplus,
    "raf_db": datasets.load_raf_db,
    "ck_plus": datasets.load_ck_plus,
    "ck_plus_folders": datasets.load_ck_plus,
    "jaffe": datasets.load_jaffe,
    "expw": datasets.load_expw,
    "affectnet": datasets.load_affectnet,
    "affectnet_newer": datasets.load_affectnet,
    "sfew": datasets.load_split_folders,
}
CONTEMPT = ("ck_plus", "ck_plus_folders", "affectnet", "affectnet_newer", "ferplus")
VOTES = [[10 * (column == row) for column in range(10)] for row in range(10)]


def build(layouts, kind, root):
    root.mkdir(parents=True, exist_ok=True)
    extra = [VOTES] if kind == "ferplus" else []
    return getattr(layouts, kind)(root, *extra)


@pytest.mark.parametrize("kind", CODES)
def test_every_code_becomes_the_documented_expression(layouts, tmp_path, kind):
    options = {"contempt": True} if kind in CONTEMPT else {}
    if kind == "ck_plus":
        options["neutral"] = False
    for code, expression in zip(CODES[kind], EXPRESSIONS, strict=False):
        path = getattr(layouts, kind)(tmp_path / str(code), [code])
        faces = READERS[kind](path, **options)
        assert set(faces.target.tolist()) == {expression}, code
        assert faces.target_names == [expression]


def test_every_vote_column_becomes_its_expression(layouts, tmp_path):
    faces = datasets.load_ferplus(layouts.ferplus(tmp_path, VOTES), contempt=True)
    assert faces.target.tolist() == [
        "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "names"), [
    ("fer2013_folders", EXPRESSIONS[:7]),
    ("sfew", EXPRESSIONS[:7]),
    ("ck_plus_folders", EXPRESSIONS[:6]),
])  # fmt: skip
def test_class_folders_become_expressions(layouts, tmp_path, kind, names):
    faces = READERS[kind](build(layouts, kind, tmp_path))
    assert faces.target_names == sorted(names)
    for path, label in zip(faces.paths, faces.target, strict=True):
        assert datasets.canonical_label(path.split("/")[-2]) == label


@pytest.mark.parametrize("kind", READERS)
def test_readers_give_the_same_keys_with_a_row_per_face(layouts, tmp_path, kind):
    faces = READERS[kind](build(layouts, kind, tmp_path))
    n = len(faces.target)
    assert n > 0
    assert faces.target.dtype.kind == "U"
    for key in ("paths", "images", "subject", "split"):
        assert faces.get(key) is None or len(faces[key]) == n
    assert ("paths" in faces) != ("images" in faces)
    assert faces.missing == []
    assert (
        f"{faces.target_names[0]}: {np.sum(faces.target == faces.target_names[0])}" in faces.DESCR
    )
    for label in faces.target_names:
        datasets.canonical_label(label)


@pytest.mark.parametrize("kind", READERS)
def test_X_and_y_can_be_had_alone(layouts, tmp_path, kind):
    path = build(layouts, kind, tmp_path)
    options = {"size": 8} if kind in ("expw", "affectnet") else {}
    faces = READERS[kind](path, **options)
    X, y = READERS[kind](path, return_X_y=True, **options)
    assert np.array_equal(X, faces.images if "images" in faces else faces.paths)
    assert np.array_equal(y, faces.target)


@pytest.mark.parametrize("kind", READERS)
def test_a_split_is_the_rows_that_bear_its_name(layouts, tmp_path, kind):
    path = build(layouts, kind, tmp_path)
    faces = READERS[kind](path)
    if faces.split is None:
        with pytest.raises(ValueError, match=r"no published split.*make_split"):
            READERS[kind](path, split="train")
        return
    parts = np.unique(faces.split).tolist()
    assert len(parts) > 1
    for part in parts:
        some = READERS[kind](path, split=part)
        assert set(some.split) == {part}
        assert np.array_equal(some.target, faces.target[faces.split == part])
        if "paths" in faces:
            assert some.paths == [faces.paths[i] for i in np.flatnonzero(faces.split == part)]
        else:
            assert np.array_equal(some.images, faces.images[faces.split == part])
    with pytest.raises(ValueError, match=r"split must be one of \['all', 'train'.*got 'dev'"):
        READERS[kind](path, split="dev")


@pytest.mark.parametrize("reader", [*dict.fromkeys(READERS.values()), datasets.read_split])
def test_common_parameters_have_one_name_and_order(reader):
    names = list(inspect.signature(reader).parameters)
    assert names[:3] == ["path", "split", "return_X_y"]
    if "on_missing" in names:
        assert names[3] == "on_missing"
    kinds = [parameter.kind for parameter in inspect.signature(reader).parameters.values()]
    assert set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("reader", dict.fromkeys(READERS.values()))
def test_wrong_layouts_show_the_expected_one(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"nowhere' does not exist.*Expected layout:\n  <p"):
        reader(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("no data set")
    with pytest.raises(
        (FileNotFoundError, ValueError), match=r"other'.*Expected layout:\n  <path>"
    ):
        reader(tmp_path / "other")


LOST = {
    "raf_db": "Image/aligned/train_00000_aligned.jpg",
    "ck_plus": "cohn-kanade-images/S010/001/S010_001_00000005.png",
    "expw": "image/origin/sad_boy_0.jpg",
    "affectnet": "Manually_Annotated_Images/100/t000.jpg",
    "affectnet_newer": "train_set/images/0.jpg",
}


@pytest.mark.parametrize("kind", LOST)
def test_missing_pictures_are_an_error_or_listed(layouts, tmp_path, kind):
    build(layouts, kind, tmp_path)
    whole = READERS[kind](tmp_path)
    lost = tmp_path / LOST[kind]
    lost.unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"1 pictures .*{lost.name}.*on_missing=.*Expected"
    ):
        READERS[kind](tmp_path)
    faces = READERS[kind](tmp_path, on_missing="skip")
    assert faces.missing == [str(lost)]
    gone = 4 if kind == "ck_plus" else 1  # a sequence without its peak is left out whole
    assert len(faces.target) == len(faces.paths) == len(whole.target) - gone
    assert "1 listed pictures are missing" in faces.DESCR
    with pytest.raises(ValueError, match="on_missing must be"):
        READERS[kind](tmp_path, on_missing="ignore")


@pytest.mark.parametrize("kind", LOST)
def test_nothing_there_is_an_error_even_when_missing_pictures_are_skipped(layouts, tmp_path, kind):
    build(layouts, kind, tmp_path)
    for suffix in ("jpg", "png"):
        for picture in tmp_path.rglob(f"*.{suffix}"):
            picture.unlink()
    with pytest.raises(FileNotFoundError, match="are not there"):
        READERS[kind](tmp_path, on_missing="skip")


@pytest.mark.parametrize("kind", CONTEMPT)
def test_contempt_is_loaded_when_asked_for(layouts, tmp_path, kind):
    path = build(layouts, kind, tmp_path)
    assert "contempt" not in READERS[kind](path).target_names
    assert "contempt" in READERS[kind](path, contempt=True).target_names


@pytest.mark.parametrize("kind", ["fer2013", "raf_db", "expw", "affectnet", "affectnet_newer"])
def test_unknown_codes_are_refused(layouts, tmp_path, kind):
    path = getattr(layouts, kind)(tmp_path, [3, 42])
    with pytest.raises(ValueError, match=r"expression codes \[42\]; expected \["):
        READERS[kind](path)


def test_all_names_can_be_imported():
    for name in datasets.__all__:
        assert callable(getattr(datasets, name))
    with pytest.raises(AttributeError, match="load_nothing"):
        _ = datasets.load_nothing
