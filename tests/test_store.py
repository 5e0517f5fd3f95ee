import gc
import json
import os
import resource
import threading
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adafer import AdaFERClassifier, SourceOnlyClassifier, _files, faces, store
from adafer.aus import AUExtractor
from adafer.deep.batches import Feed
from adafer.faces import FaceReadError, check_faces, resize_faces
from adafer.store import decode_faces, pick_rows


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + i, 36, 3), dtype=np.uint8) for i in range(9)]


@pytest.fixture
def files(pictures, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return paths


@pytest.fixture
def decoded(monkeypatch):
    """Paths in the order in which they were decoded."""
    seen = []
    plain = faces._read_file
    monkeypatch.setattr(
        faces, "_read_file", lambda path, limits: seen.append(path) or plain(path, limits)
    )
    return seen


class Extractor:
    """Scores a picture by its height; counts what it saw."""

    def __init__(self, identity="by height"):
        self.detector_ = self
        self.au_names = ["AU01", "AU02"]
        self.identity = identity
        self.seen = 0

    def scores_identity(self):
        return self.identity

    def score_faces(self, images):
        self.seen += len(images)
        return np.array([[len(image) / 100, 0.5] for image in images], dtype=np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder for temporary files; all faces go to a file."""
    found = tmp_path / "temporary"
    found.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(found))
    monkeypatch.setattr(store, "MEMORY_BYTES", 0)
    return found


def n_mapped(place):
    """Files of a folder that are mapped, those without a name, too."""
    gc.collect()
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("Only Linux tells what is mapped.")
    return sum(str(place) in line for line in maps.read_text().splitlines())


# --------------------------------------------------------------- where faces are held


@pytest.mark.parametrize("n_jobs", [None, 3])
def test_a_file_holds_what_memory_would_hold(files, pictures, monkeypatch, n_jobs):
    in_memory = decode_faces(check_faces(files), 24).faces
    monkeypatch.setattr(store, "MEMORY_BYTES", 1000)
    mapped = decode_faces(check_faces(files), 24, n_jobs=n_jobs).faces
    assert not isinstance(in_memory, np.memmap)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(in_memory, resize_faces(pictures, 24))
    np.testing.assert_array_equal(mapped, in_memory)


def test_some_of_many_faces_go_to_a_file_too(files, place):
    held = decode_faces(check_faces(files), 24).faces
    rows = np.array([0, 3, 4, 8])
    picked = pick_rows(held, rows)
    assert isinstance(picked, np.memmap)
    np.testing.assert_array_equal(picked, held[rows])
    features = np.arange(18, dtype=np.float32).reshape(9, 2)
    np.testing.assert_array_equal(pick_rows(features, rows), features[rows])


def test_the_file_has_no_name_and_goes_with_its_faces(files, place):
    held = decode_faces(check_faces(files), 24)
    assert list(place.iterdir()) == []
    assert n_mapped(place) == 1
    del held
    assert n_mapped(place) == 0


def test_nothing_is_left_of_a_file_when_a_picture_is_broken(files, place):
    files[7].write_bytes(b"broken")
    for where in (None, place / "store"):
        with pytest.raises(FaceReadError, match=r"7\.png"):
            decode_faces(check_faces(files), 24, store=where)
    assert [file for file in place.rglob("*") if file.is_file()] == []


def test_pictures_of_one_chunk_are_forgotten_before_the_next(files, place, monkeypatch):
    references, most = [], []
    plain = faces._read_file

    class Pixels(np.ndarray):
        pass

    def watched(path, limits):
        image = plain(path, limits).view(Pixels)
        references.append(weakref.ref(image))
        most.append(sum(reference() is not None for reference in references))
        return image

    monkeypatch.setattr(faces, "_read_file", watched)
    monkeypatch.setattr(faces, "_CHUNK_BYTES", 2 * 40 * 36 * 3)
    assert len(decode_faces(check_faces(files), 24).faces) == len(files)
    assert max(most) <= 4  # a chunk is two; the one before goes when this one is there


def test_too_little_room_is_told_before_anything_is_decoded(files, decoded, monkeypatch):
    monkeypatch.setattr(store, "MEMORY_BYTES", 0)
    usage = type("Usage", (), {"free": 100})()
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    with pytest.raises(OSError, match=r"need 0\.0 GiB.*Set TMPDIR"):
        decode_faces(check_faces(files), 24)
    assert decoded == []


def test_an_array_of_the_right_size_is_not_copied():
    X = np.zeros((4, 24, 24, 3), np.uint8)
    assert decode_faces(check_faces(X), 24).faces is X
    scored = decode_faces(check_faces(X), 24, extractor=Extractor())
    assert scored.faces is X
    assert scored.scores.shape == (4, 2)
    grey = decode_faces(check_faces(X[..., 0]), 24).faces
    np.testing.assert_array_equal(grey, X)


# ---------------------------------------------------------------- a folder that is kept


def test_a_kept_store_is_read_without_decoding(files, tmp_path, decoded):
    place = tmp_path / "store"
    first = decode_faces(check_faces(files), 24, store=place)
    assert decoded == [str(file) for file in files]
    second = decode_faces(check_faces(files), 24, store=place, n_jobs=2)
    assert len(decoded) == len(files)
    np.testing.assert_array_equal(second.faces, first.faces)
    np.testing.assert_array_equal(second.kept, first.kept)


@pytest.mark.parametrize("change", ["size", "file", "order", "version"])
def test_what_changed_is_decoded_again(files, tmp_path, decoded, monkeypatch, change):
    place, size, paths = tmp_path / "store", 24, files
    decode_faces(check_faces(files), size, store=place)
    if change == "size":
        size = 20
    elif change == "file":
        status = files[2].stat()
        os.utime(files[2], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "order":
        paths = files[::-1]
    else:
        monkeypatch.setattr(store, "_VERSION", 2)
    again = decode_faces(check_faces(paths), size, store=place)
    assert len(decoded) == 2 * len(files)
    np.testing.assert_array_equal(again.faces, decode_faces(check_faces(paths), size).faces)


@pytest.mark.parametrize("damage", ["a bit", "cut", "no faces", "description", "other format"])
def test_a_damaged_store_is_made_anew(files, tmp_path, decoded, damage):
    place = tmp_path / "store"
    expected = np.array(decode_faces(check_faces(files), 24, store=place).faces)
    (entry,) = place.iterdir()
    stored, description = entry / "faces.bin", entry / "faces.json"
    content = bytearray(stored.read_bytes())
    if damage == "a bit":
        content[1234] ^= 1
        stored.write_bytes(content)
    elif damage == "cut":
        stored.write_bytes(content[:-1])
    elif damage == "no faces":
        stored.unlink()
    elif damage == "description":
        description.write_text(description.read_text()[:-5])
    else:
        found = json.loads(description.read_text()) | {"format": "other"}
        description.write_text(json.dumps(found))
    for n_times in (2, 2):  # made anew once, then found
        again = decode_faces(check_faces(files), 24, store=place)
        assert len(decoded) == n_times * len(files)
        np.testing.assert_array_equal(again.faces, expected)
    assert [file.name for file in place.iterdir()] == [entry.name]


def test_checksums_of_blocks_do_not_depend_on_how_bytes_arrive(monkeypatch):
    monkeypatch.setattr(store, "_BLOCK_BYTES", 10)
    data = bytes(range(37))
    found = []
    for step in (1, 7, 10, 25, 37):
        checksums = store._Checksums()
        for start in range(0, len(data), step):
            checksums.update(memoryview(data)[start : start + step])
        found.append(checksums.all())
    assert len(found[0]) == 4
    assert found == [found[0]] * 5


def test_skipped_pictures_are_remembered_and_still_an_error(files, tmp_path, decoded):
    files[3].write_bytes(b"broken")
    place = tmp_path / "store"
    first = decode_faces(check_faces(files), 24, on_error="skip", store=place)
    second = decode_faces(check_faces(files), 24, on_error="skip", store=place)
    assert len(decoded) == len(files)
    assert first.kept.tolist() == second.kept.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert first.skipped == second.skipped
    np.testing.assert_array_equal(first.faces, second.faces)
    with pytest.raises(FaceReadError, match=r"3\.png"):
        decode_faces(check_faces(files), 24, store=place)


def test_scores_are_kept_beside_the_faces_by_detector(files, tmp_path, decoded):
    place = tmp_path / "store"
    decode_faces(check_faces(files), 24, store=place)
    extractors = [Extractor(), Extractor(), Extractor("another")]
    found = [decode_faces(check_faces(files), 24, store=place, extractor=e) for e in extractors]
    assert [e.seen for e in extractors] == [9, 0, 9]
    assert len(decoded) == 3 * len(files)  # once for faces, once for each detector
    np.testing.assert_array_equal(found[0].scores, found[1].scores)
    np.testing.assert_allclose(found[0].scores[:, 0], np.arange(40, 49) / 100, rtol=1e-6)
    file = next(place.rglob("aus-*.bin"))
    file.write_bytes(file.read_bytes()[:-1])
    again = Extractor(), Extractor("another")
    for e in again:
        decode_faces(check_faces(files), 24, store=place, extractor=e)
    assert sum(e.seen for e in again) == 9  # only the damaged scores are made anew


def test_scores_of_a_detector_without_identity_are_not_kept(files, tmp_path):
    first, second = Extractor(None), Extractor(None)
    for extractor in (first, second):
        decode_faces(check_faces(files), 24, store=tmp_path / "store", extractor=extractor)
    assert second.seen == len(files)
    assert list(tmp_path.rglob("aus-*")) == []


# ------------------------------------------------- others at work, and disks without room


@pytest.fixture
def small_disk():
    """Let no file become longer than some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("before", [None, "damaged"])
def test_of_two_that_make_an_entry_at_once_the_first_stays(files, tmp_path, monkeypatch, before):
    place = tmp_path / "store"
    if before == "damaged":
        decode_faces(check_faces(files), 24, store=place)
        (stored,) = place.glob("*/faces.bin")
        stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    plain, others = resize_faces, []

    def interrupted(images, size):
        if not others:  # another makes it, with scores, while this one is at its first chunk
            others.append(None)
            others[0] = decode_faces(check_faces(files), 24, store=place, extractor=Extractor())
        return plain(images, size)

    monkeypatch.setattr(store, "resize_faces", interrupted)
    mine = decode_faces(check_faces(files), 24, store=place)
    np.testing.assert_array_equal(mine.faces, others[0].faces)
    (entry,) = place.iterdir()
    assert len(list(entry.glob("aus-*"))) == 1  # the first's scores are there still
    assert mine.faces.filename == entry / "faces.bin"
    again = Extractor()
    decode_faces(check_faces(files), 24, store=place, extractor=again)
    assert again.seen == 0


@pytest.mark.parametrize("held", ["memory", "file"])
@pytest.mark.parametrize("room", [0, 3, 8.5])
def test_nothing_is_lost_when_the_store_gets_full(
    files, tmp_path, place, monkeypatch, small_disk, held, room
):
    if held == "memory":
        monkeypatch.setattr(store, "MEMORY_BYTES", 2**30)
    else:  # the limit below is for all files, that without a name as well
        monkeypatch.setattr(store._RowsOfFile, "_write", without_limit(store._RowsOfFile._write))
    monkeypatch.setattr(faces, "_CHUNK_BYTES", 2 * 40 * 36 * 3)
    expected = resize_faces([np.asarray(Image.open(file)) for file in files], 24)
    extractor = Extractor()
    small_disk(int(room * 24 * 24 * 3))
    with pytest.warns(UserWarning, match=r"faces could not be kept in the store .*store.*lost"):
        found = decode_faces(check_faces(files), 24, store=place / "store", extractor=extractor)
    np.testing.assert_array_equal(found.faces, expected)
    assert found.scores.shape == (9, 2)
    assert extractor.seen == 9
    assert list((place / "store").iterdir()) == []
    small_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    again = decode_faces(check_faces(files), 24, store=place / "store")
    np.testing.assert_array_equal(again.faces, expected)


def without_limit(write):
    def written(*arguments):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        try:
            return write(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return written


@pytest.mark.parametrize("step", ["put_in_place", "sync_folder"])
def test_nothing_is_lost_when_an_entry_cannot_get_its_name(files, tmp_path, monkeypatch, step):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files, step, refuse)
    with pytest.warns(UserWarning, match=r"could not be kept .*No space left"):
        found = decode_faces(check_faces(files), 24, store=tmp_path / "store")
    monkeypatch.undo()
    np.testing.assert_array_equal(found.faces, decode_faces(check_faces(files), 24).faces)


def test_scores_that_the_store_does_not_take_are_given_all_the_same(
    files, tmp_path, monkeypatch, small_disk
):
    decode_faces(check_faces(files), 24, store=tmp_path / "store")
    small_disk(10)
    with pytest.warns(UserWarning, match=r"AU scores could not be kept"):
        found = decode_faces(
            check_faces(files), 24, store=tmp_path / "store", extractor=Extractor()
        )
    assert found.scores.shape == (9, 2)
    assert list((tmp_path / "store").rglob("aus-*")) == []


def test_a_full_folder_for_temporary_files_is_named(files, place, small_disk):
    small_disk(3 * 24 * 24 * 3 + 5)
    with pytest.raises(OSError, match=r"temporary files, '.*temporary', takes no more .*TMPDIR"):
        decode_faces(check_faces(files), 24)
    assert list(place.iterdir()) == []


def test_a_store_that_takes_no_files_is_told_before_anything_is_decoded(files, tmp_path, decoded):
    (tmp_path / "store").touch()
    with pytest.raises(OSError, match="store"):
        decode_faces(check_faces(files), 24, store=tmp_path / "store")
    assert decoded == []


@pytest.mark.parametrize(
    "change", [("[3,", "[4,"), ('"crc32"', '"crc33"'), ('"n_faces": 8', '"n_faces": 1e999')]
)
def test_a_description_that_changed_by_a_sign_is_not_believed(files, tmp_path, decoded, change):
    files[3].write_bytes(b"broken")
    place = tmp_path / "store"
    first = decode_faces(check_faces(files), 24, on_error="skip", store=place)
    (description,) = place.glob("*/faces.json")
    text = description.read_text()
    assert change[0] in text
    description.write_text(text.replace(*change, 1))
    again = decode_faces(check_faces(files), 24, on_error="skip", store=place)
    assert again.kept.tolist() == first.kept.tolist()
    assert len(decoded) == 2 * len(files)


# ------------------------------------------------------------------------- threads


def test_threads_keep_order_errors_and_warnings(files, decoded, monkeypatch):
    files[4].write_bytes(b"broken")
    before = list(warnings.filters)
    names = set()
    plain = faces._read_file
    monkeypatch.setattr(
        faces,
        "_read_file",
        lambda path, limits: names.add(threading.current_thread().name) or plain(path, limits),
    )
    one, several = (
        [
            (index.tolist(), [image.shape for image in images])
            for index, images in found.chunks(4, "skip", n_jobs)
        ]
        for found, n_jobs in ((check_faces(files), None), (check_faces(files), 3))
    )
    assert one == several
    assert len(names) > 1
    with pytest.raises(FaceReadError, match=r"4\.png"):
        list(check_faces(files).chunks(4, n_jobs=3))
    assert list(warnings.filters) == before


@pytest.mark.parametrize("n_jobs", [None, 3])
def test_too_many_pixels_are_an_error_for_threads_too(files, monkeypatch, n_jobs):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 36)
    found = check_faces(files)
    assert [len(index) for index, _ in found.chunks(20, "skip", n_jobs)] == [1]
    assert len(found.skipped) == 8
    assert "more than the 1440 allowed" in found.skipped[0].reason


# ------------------------------------------------------------------ what classifiers do


def written(problem, folder):
    folder.mkdir()
    found = []
    for name in ("X", "X_tgt"):
        paths = [folder / f"{name}{i}.png" for i in range(len(problem[name]))]
        for path, face in zip(paths, problem[name], strict=True):
            Image.fromarray(face).save(path)
        found.append(paths)
    return found


def small(method, **options):
    training = {"image_size": 16, "epochs": 1, "batch_size": 16, "random_state": 0, "device": "cpu"}
    return method("convnet", **(training | options))


def test_mapped_faces_train_the_same_network_to_the_bit(face_problem, tmp_path, monkeypatch):
    p = face_problem
    X, X_tgt = written(p, tmp_path / "pictures")
    known = {"au_src": p["au_src"], "au_tgt": p["au_tgt"]}
    expected = small(AdaFERClassifier).fit(X, p["y"], X_tgt, **known).predict_proba(X_tgt)
    seen = []
    plain = Feed.batch
    monkeypatch.setattr(Feed, "batch", lambda *a: seen.append(n_mapped(place)) or plain(*a))
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    monkeypatch.setattr(store, "MEMORY_BYTES", 0)
    clf = small(AdaFERClassifier, n_jobs=2).fit(X, p["y"], X_tgt, **known)
    assert max(seen) == 2  # one file for each domain
    assert n_mapped(place) == 0
    np.testing.assert_array_equal(clf.predict_proba(X_tgt), expected)


def test_a_second_fit_with_a_store_decodes_nothing(face_problem, tmp_path, decoded):
    p = face_problem
    X, _ = written(p, tmp_path / "pictures")
    clf = small(SourceOnlyClassifier, store=tmp_path / "store").fit(X, p["y"])
    state = {name: value.clone() for name, value in clf.network_.state_dict().items()}
    assert len(decoded) == len(X)
    clf.fit(X, p["y"])
    assert len(decoded) == len(X)
    assert all((value == state[name]).all() for name, value in clf.network_.state_dict().items())


def test_a_second_fit_with_a_store_scores_no_aus(face_problem, tmp_path, decoded):
    seen = []

    class Bars:
        au_names = ("AU01", "AU02")
        identity = "bars"

        def detect(self, images):
            seen.extend(images)
            means = [(image[3:9].mean() / 255, image[15:21].mean() / 255) for image in images]
            return np.array(means, dtype=np.float32)

    p = face_problem
    X, X_tgt = written(p, tmp_path / "pictures")
    expected = small(AdaFERClassifier, au_extractor=AUExtractor(Bars())).fit(X, p["y"], X_tgt)
    decoded.clear()
    seen.clear()
    for _ in range(2):
        clf = small(
            AdaFERClassifier, au_extractor=AUExtractor(Bars()), store=tmp_path / "store"
        ).fit(X, p["y"], X_tgt)
        assert len(seen) == len(decoded) == len(X) + len(X_tgt)
        assert clf.history_[-1]["loss"] == expected.history_[-1]["loss"]
        np.testing.assert_array_equal(clf.target_labels_, expected.target_labels_)


def test_a_place_that_takes_no_store_is_told_before_reading(face_problem, tmp_path, decoded):
    (tmp_path / "file").write_text("")
    X, _ = written(face_problem, tmp_path / "pictures")
    with pytest.raises(NotADirectoryError, match="is a file"):
        small(SourceOnlyClassifier, store=tmp_path / "file" / "store").fit(X, face_problem["y"])
    assert decoded == []


def test_a_saved_model_does_not_name_the_store(face_problem, tmp_path):
    X, _ = written(face_problem, tmp_path / "pictures")
    clf = small(SourceOnlyClassifier, store=tmp_path / "secret").fit(X, face_problem["y"])
    clf.save(tmp_path / "model")
    assert "secret" not in (tmp_path / "model" / "model.json").read_text()
    assert SourceOnlyClassifier.load(tmp_path / "model").store is None
