import numpy as np
import pytest
from PIL import Image

from adafer import AUExtractor, datasets
from adafer.faces import resize_faces
from adafer.study.data import load_data_set, source_part, target_parts
from adafer.study.plan import DataPlan

BOTH = ("transductive", "inductive")


@pytest.fixture
def pictures(tmp_path):
    """24 pictures of two classes in folders; the order of files tells the class."""
    rng = np.random.default_rng(0)
    for n in range(24):
        place = tmp_path / "faces" / ("happy" if n < 12 else "sad")
        place.mkdir(parents=True, exist_ok=True)
        face = rng.integers(0, 255, (20, 20, 3)).astype(np.uint8)
        Image.fromarray(face).save(place / f"{n:02}.png")
    return tmp_path / "faces"


def folder(path, **more):
    return DataPlan("faces", "folder", str(path), **more)


def npz(path, **arrays):
    np.savez(path, **arrays)
    return DataPlan("table", "npz", str(path))


def test_pictures_are_kept_in_the_size_that_networks_see(pictures):
    data = load_data_set(folder(pictures), image_size=16)
    raw = [np.asarray(Image.open(name)) for name in data.names]
    assert np.array_equal(data.X, resize_faces(raw, 16))
    assert sorted(set(data.labels)) == ["happiness", "sadness"]


def test_content_decides_not_names_nor_order(pictures, tmp_path):
    first = load_data_set(folder(pictures), image_size=16)
    moved = tmp_path / "moved"
    for number, path in enumerate(sorted(pictures.rglob("*.png"), reverse=True)):
        place = moved / f"class{number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / f"{number}.png")
    second = load_data_set(folder(moved), image_size=16)
    for seed in (0, 1):
        one, other = (
            target_parts(data, folder(moved), protocols=BOTH, held_out=0.25, seed=seed)
            for data in (first, second)
        )
        assert [part.digest for part in one] == [part.digest for part in other]
        assert [len(part) for part in one] == [18, 6]
        assert np.array_equal(one[0].inputs(), other[0].inputs())
    seeds = {
        target_parts(first, folder(moved), protocols=BOTH, held_out=0.25, seed=s)[1].digest
        for s in range(4)
    }
    assert len(seeds) > 1


def test_nothing_is_held_out_for_the_transductive_protocol(pictures):
    data = load_data_set(folder(pictures))
    adapted, held = target_parts(
        data, folder(pictures), protocols=("transductive",), held_out=None, seed=0
    )
    assert held is None
    assert sorted(adapted.rows) == list(range(24))


def test_own_parts_are_taken_and_subjects_stay_together(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 2))
    y, subject = np.repeat(["a", "b"], 20), np.arange(40) // 4
    plan = npz(tmp_path / "a.npz", X=X, y=y, split=np.tile(["train", "test"], 20))
    data = load_data_set(plan)
    part, labels = source_part(data, plan)
    assert part.rows.tolist() == list(range(0, 40, 2))
    assert labels.tolist() == y[::2].tolist()
    adapted, held = target_parts(data, plan, protocols=BOTH, held_out=None, seed=0)
    assert sorted(held.rows) == list(range(1, 40, 2))
    plan = npz(tmp_path / "b.npz", X=X, y=y, subject=subject)
    data = load_data_set(plan)
    with pytest.raises(ValueError, match='held_out = "own" but no parts'):
        target_parts(data, plan, protocols=BOTH, held_out="own", seed=0)
    adapted, held = target_parts(data, plan, protocols=BOTH, held_out=0.3, seed=0)
    assert len(held) == 12
    assert not set(subject[adapted.rows]) & set(subject[held.rows])


def test_a_limit_draws_from_each_part_without_labels(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 2))
    split = np.repeat(["train", "test"], 30)
    y = np.tile(["a", "b"], 30)
    found = []
    for labels in (y, y[::-1]):
        plan = npz(tmp_path / "x.npz", X=X, y=labels, split=split)
        data = load_data_set(DataPlan("table", "npz", plan.path, limit=10))
        assert np.unique(data.split, return_counts=True)[1].tolist() == [10, 10]
        found.append(data.X)
    assert np.array_equal(*found)


def test_only_faces_that_are_kept_are_scored(pictures):
    class Mean:
        au_names = ("AU01",)
        identity = "mean"
        seen = 0

        def detect(self, images):
            Mean.seen += len(images)
            return np.array([[image.mean() / 255] for image in images], dtype=np.float32)

    plan = folder(pictures, limit=8)
    data = load_data_set(plan, image_size=16, extractor=AUExtractor(detector=Mean()))
    assert Mean.seen == 8
    expected = [np.asarray(Image.open(name)).mean() / 255 for name in data.names]
    assert np.allclose(data.au[:, 0], expected)
    assert data.au_names == ("AU01",)


def test_unreadable_pictures_are_left_out_and_listed(pictures):
    (pictures / "happy" / "broken.png").write_bytes(b"no picture")
    data = load_data_set(folder(pictures), image_size=16)
    assert len(data) == len(data.labels) == len(data.names) == 24
    assert [name.endswith("broken.png") for name in data.skipped] == [True]


def test_facs_faces_are_scored_by_what_was_drawn():
    data = load_data_set(DataPlan("studio", "facs_faces", "studio"), image_size=16)
    faces = datasets.load_facs_faces(domain="studio")
    assert np.array_equal(data.labels, faces.target)
    assert np.array_equal(data.truth, faces.clean_target)
    assert data.au is None


def test_any_reader_is_found_by_its_name(monkeypatch, tmp_path):
    def load_mine(path, *, part):
        return {"images": np.zeros((4, 9, 9), np.uint8), "target": [part] * 4}

    monkeypatch.setattr(datasets, "load_mine", load_mine, raising=False)
    plan = DataPlan("mine", "load_mine", str(tmp_path), options={"part": "joy"})
    assert load_data_set(plan).labels.tolist() == ["joy"] * 4
    with pytest.raises(ValueError, match=r"'mine'.*unexpected keyword.*Check its path and options"):
        load_data_set(DataPlan("mine", "load_mine", str(tmp_path), options={"parts": 1}))
    with pytest.raises(ValueError, match=r"'load_mime'.*Did you mean 'load_mine'"):
        load_data_set(DataPlan("mine", "load_mime", str(tmp_path)))


def test_classes_and_labels_can_be_chosen(tmp_path):
    X, y = np.arange(12.0).reshape(6, 2), ["a", "a", "b", "b", "c", "c"]
    plan = npz(tmp_path / "x.npz", X=X, y=y, other=y[::-1])
    data = load_data_set(DataPlan("x", "npz", plan.path, classes=("a", "c"), labels="other"))
    assert data.truth.tolist() == ["a", "a", "c", "c"]
    assert data.labels.tolist() == ["c", "c", "a", "a"]
    with pytest.raises(ValueError, match=r"faces of the classes \['d'\]"):
        load_data_set(DataPlan("x", "npz", plan.path, classes=("d",)))
    with pytest.raises(ValueError, match="no array 'none'"):
        load_data_set(DataPlan("x", "npz", plan.path, truth="none"))
    with pytest.raises(ValueError, match='au = "given" but no array'):
        load_data_set(DataPlan("x", "npz", plan.path, au="given"))


def test_arrays_of_other_lengths_and_poor_sources_are_refused(tmp_path):
    plan = npz(tmp_path / "x.npz", X=np.zeros((4, 2)), y=["a", "b"])
    with pytest.raises(ValueError, match="4 faces but 2 labels"):
        load_data_set(plan)
    plan = npz(tmp_path / "y.npz", X=np.zeros((3, 2)), y=["a", "a", "b"])
    with pytest.raises(ValueError, match=r"has \{'a': 2, 'b': 1\}; expected at least two"):
        source_part(load_data_set(plan), plan)
    plan = npz(tmp_path / "z.npz", X=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="no labels, so that it cannot be a source"):
        source_part(load_data_set(plan), plan)
