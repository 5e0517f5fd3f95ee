"""AUScoreCache: never a wrong score, whatever happens to the file."""

import copy
import pickle
import resource
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from adafer._parts import locked
from adafer.aus import AUExtractor, AUScoreCache
from adafer.aus import cache as module


@pytest.fixture
def images():
    return list(np.random.default_rng(0).integers(0, 256, (30, 7, 5, 3), dtype=np.uint8))


@pytest.fixture
def scores():
    scores = np.random.default_rng(1).random((30, 4), dtype=np.float32)
    scores[[2, 17]] = np.nan
    return scores


@pytest.fixture
def cache(tmp_path):
    return AUScoreCache(tmp_path / "deep" / "scores.sqlite")


def assert_known(cache, images, scores, identity="d"):
    found, missing = cache.get_many(images, identity, n_aus=scores.shape[1])
    assert missing.tolist() == []
    assert found.dtype == np.float32
    assert found.tobytes() == scores.tobytes()


def test_scores_come_back_to_the_bit_and_missing_pictures_are_told(cache, images, scores):
    found, missing = cache.get_many(images, "d", n_aus=4)
    assert missing.tolist() == list(range(30))
    assert np.isnan(found).all()
    known = [0, 2, 3, 17, 29]
    cache.put_many([images[i] for i in known], "d", scores[known])
    order = np.random.default_rng(2).permutation(30)
    found, missing = cache.get_many([images[i] for i in order], "d", n_aus=4)
    assert [order[i] for i in missing] == [i for i in order if i not in known]
    expected = np.where(np.isin(order, known)[:, None], scores[order], np.float32(np.nan))
    assert found.tobytes() == expected.tobytes()


def test_a_file_opened_anew_knows_what_was_kept(cache, images, scores):
    cache.put_many(images, "d", scores)
    assert_known(AUScoreCache(str(cache.path)), images, scores)
    assert_known(pickle.loads(pickle.dumps(cache)), images, scores)
    assert_known(copy.deepcopy(cache), images, scores)


def test_pixels_shape_and_identity_tell_pictures_apart(cache):
    image = np.random.default_rng(3).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    cache.put_many([image], "d", [[0.5]])
    other = image.copy()
    other[5, 3, 2] ^= 1
    _, missing = cache.get_many(
        [image, other, image.reshape(4, 6, 3), image.reshape(2, 12, 3)], "d", n_aus=1
    )
    assert missing.tolist() == [1, 2, 3]
    for identity in ("D", "d ", "", "1:6x4:d"):
        assert cache.get_many([image], identity, n_aus=1)[1].tolist() == [0]


def test_the_memory_layout_does_not_matter(cache, images, scores):
    cache.put_many(np.stack(images), "d", scores)
    assert_known(cache, [np.asfortranarray(image) for image in images], scores)
    for image in images:
        image.flags.writeable = False
    assert_known(cache, images, scores)


def test_scores_put_again_replace_the_former(cache, images, scores):
    cache.put_many(images, "d", scores)
    cache.put_many(images, "d", 1 - scores)
    assert_known(cache, images, 1 - scores)


def test_rows_of_another_length_or_checksum_count_as_missing(cache, images, scores):
    cache.put_many(images, "d", scores)
    for n_aus in (3, 5):
        found, missing = cache.get_many(images, "d", n_aus=n_aus)
        assert len(missing) == 30
        assert np.isnan(found).all()
    connection = sqlite3.connect(cache.path)
    keys = [key for (key,) in connection.execute("SELECT key FROM scores ORDER BY key")]
    values = dict(connection.execute("SELECT key, value FROM scores"))
    flipped = bytes([values[keys[0]][0] ^ 1]) + values[keys[0]][1:]
    for key, value in (
        (keys[0], flipped), (keys[1], values[keys[2]]), (keys[3], "text"), (keys[4], b""),
    ):  # fmt: skip
        connection.execute("UPDATE scores SET value = ? WHERE key = ?", (value, key))
    connection.commit()
    connection.close()
    found, missing = cache.get_many(images, "d", n_aus=4)
    assert len(missing) == 4
    known = np.setdiff1d(np.arange(30), missing)
    assert found[known].tobytes() == scores[known].tobytes()


def test_the_file_holds_hashes_and_scores_only(cache):
    image = np.full((9, 9, 3), 65, dtype=np.uint8)  # "AAAA..."
    cache.put_many([image], "the name of a detector", [[0.5, 0.25]])
    content = b"".join(file.read_bytes() for file in cache.path.parent.iterdir())
    assert b"AAAA" not in content
    assert b"the name" not in content
    connection = sqlite3.connect(cache.path)
    rows = connection.execute("SELECT * FROM scores").fetchall()
    connection.close()
    assert [[len(cell) for cell in row] for row in rows] == [[32, 2 * 4 + 4]]


@pytest.mark.parametrize("n", [1, 128, 500])
def test_a_chunk_takes_one_query_and_one_transaction(cache, n, monkeypatch):
    images = list(np.random.default_rng(4).integers(0, 256, (n, 3, 3, 3), dtype=np.uint8))
    scores = np.random.default_rng(5).random((n, 2), dtype=np.float32)
    cache.put_many(images[:1], "d", scores[:1])
    statements = []
    connect = sqlite3.connect

    def connect_and_listen(*args, **options):
        connection = connect(*args, **options)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(module.sqlite3, "connect", connect_and_listen)
    cache.put_many(images, "d", scores)
    assert sum(statement.startswith("BEGIN") for statement in statements) == 1
    statements.clear()
    assert_known(cache, images, scores)
    assert sum("FROM scores" in statement for statement in statements) == 1
    assert len(statements) < 8


def test_more_pictures_than_a_query_takes_are_found(cache):
    images = list(np.random.default_rng(6).integers(0, 256, (1203, 2, 2, 3), dtype=np.uint8))
    scores = np.random.default_rng(7).random((1203, 1), dtype=np.float32)
    cache.put_many(images, "d", scores)
    assert_known(cache, images, scores)


def test_no_pictures_are_no_work(cache):
    found, missing = cache.get_many([], "d", n_aus=3)
    assert found.shape == (0, 3)
    assert missing.shape == (0,)
    cache.put_many([], "d", np.empty((0, 3)))
    assert not cache.path.exists()


def test_wrong_pictures_and_scores_are_refused(cache, images):
    for wrong in (images[0] / 255, images[0][..., 0], images[0][..., :2]):
        with pytest.raises(ValueError, match=r"RGB picture of uint8 of shape .*; got .*read_faces"):
            cache.get_many([wrong], "d", n_aus=1)
    for wrong in ([[0.5]], [0.5, 0.5]):
        with pytest.raises(ValueError, match=r"one row per picture, shape \(2, n_aus\); got shape"):
            cache.put_many(images[:2], "d", wrong)


# What can happen to the file


def damage_head(path):
    path.write_bytes(b"no database at all, " * 500)


def damage_middle(path):
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 2000] = b"\xff" * 2000
    path.write_bytes(content)


def cut_short(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 100])


@pytest.mark.parametrize("damage", [damage_head, damage_middle, cut_short])
@pytest.mark.parametrize("first", ["get", "put"])
def test_a_damaged_file_is_set_aside_and_begun_anew(cache, images, scores, damage, first):
    for i in range(20):  # several pages
        cache.put_many(images, f"d{i}", scores)
    damage(cache.path)
    content = cache.path.read_bytes()
    use = {
        "get": lambda: cache.get_many(images, "d3", n_aus=4),
        "put": lambda: cache.put_many(images, "d3", scores),
    }[first]
    with pytest.warns(UserWarning, match=r"is damaged .* renamed to 'scores\.sqlite\.damaged-1'"):
        use()
    assert (cache.path.parent / "scores.sqlite.damaged-1").read_bytes() == content
    cache.put_many(images, "d3", scores)
    assert_known(cache, images, scores, "d3")


def test_each_damaged_file_keeps_a_name_of_its_own(cache, images, scores):
    for count in (1, 2, 3):
        damage_head(cache.path) if count > 1 else cache.put_many(images, "d", scores)
        if count > 1:
            with pytest.warns(UserWarning, match=f"damaged-{count - 1}"):
                cache.put_many(images, "d", scores)
    names = sorted(file.name for file in cache.path.parent.iterdir())
    assert names == ["scores.sqlite", "scores.sqlite.damaged-1", "scores.sqlite.damaged-2"]


def test_a_file_that_another_process_replaced_is_not_set_aside(tmp_path):
    path = tmp_path / "scores.sqlite"
    path.write_bytes(b"new")
    number = module.file_number(path)
    module._set_aside(path, (number[0], number[1] + 1), "damaged before")
    assert path.read_bytes() == b"new"


def test_a_process_that_comes_second_leaves_the_new_table_alone(cache, images, scores):
    cache.put_many(images, "d", scores)
    connection = sqlite3.connect(cache.path, isolation_level=None)
    module._prepare(connection, cache.path)  # it saw the file before the table was made
    connection.close()
    assert_known(cache, images, scores)


def test_an_empty_file_is_a_new_cache(cache, images, scores):
    cache.path.parent.mkdir()
    cache.path.touch()
    cache.put_many(images, "d", scores)
    assert_known(cache, images, scores)


@pytest.mark.parametrize(
    "change",
    ["PRAGMA user_version = 2", "ALTER TABLE scores ADD COLUMN more", 'CREATE TABLE "odd""name"(a)',
     "DROP TABLE scores"],
)  # fmt: skip
def test_another_versions_file_is_emptied_with_a_warning(cache, images, scores, change, recwarn):
    cache.put_many(images, "d", scores)
    connection = sqlite3.connect(cache.path)
    connection.execute(change)
    connection.commit()
    connection.close()
    assert len(cache.get_many(images, "d", n_aus=4)[1]) == 30
    words = [str(warning.message) for warning in recwarn]
    assert len(words) == (not change.startswith("DROP"))
    assert all("written by another version" in word for word in words)
    cache.put_many(images, "d", scores)
    assert_known(cache, images, scores)
    assert [file.name for file in cache.path.parent.iterdir()] == ["scores.sqlite"]


def test_databases_of_other_programs_are_left_alone(tmp_path, images, scores):
    path = tmp_path / "diary.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE diary (day)")
    connection.close()
    with pytest.raises(ValueError, match="database of another program, with the table 'diary'"):
        AUScoreCache(path).put_many(images, "d", scores)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM diary").fetchone() == (0,)
    connection.close()


def test_places_that_take_no_file_are_named(tmp_path, images):
    with pytest.raises(IsADirectoryError, match="is a folder; expected the name of a file"):
        AUScoreCache(tmp_path).get_many(images, "d", n_aus=4)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        AUScoreCache(tmp_path / "file" / "scores.sqlite").get_many(images, "d", n_aus=4)


def test_a_file_locked_for_long_is_an_error(cache, images, scores, monkeypatch):
    cache.put_many(images, "d", scores)
    monkeypatch.setattr(module, "_SECONDS_TO_WAIT", 0.05)
    other = sqlite3.connect(cache.path)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(OSError, match=r"cannot be used: database is locked\. Expected"):
            cache.put_many(images, "d", scores)
        assert_known(cache, images, scores)  # readers do not wait for writers
    finally:
        other.close()


WRITER = """
import sys
import numpy as np
from adafer.aus.cache import AUScoreCache

cache, start = AUScoreCache(sys.argv[1]), int(sys.argv[2])
for i in range(start, start + 20):
    rng = np.random.default_rng(i)
    images = list(rng.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8))
    cache.put_many(images, "d", rng.random((8, 3), dtype=np.float32))
    assert len(cache.get_many(images, "d", n_aus=3)[1]) == 0
"""


def test_processes_that_write_at_once_lose_nothing(cache):
    arguments = [sys.executable, "-W", "error::UserWarning", "-c", WRITER, str(cache.path)]
    processes = [
        subprocess.Popen([*arguments, start], stderr=subprocess.PIPE, text=True)
        for start in ("0", "10", "20")  # what they write overlaps
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    for i in range(40):
        rng = np.random.default_rng(i)
        images = list(rng.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8))
        assert_known(cache, images, rng.random((8, 3), dtype=np.float32))
    connection = sqlite3.connect(cache.path)
    assert connection.execute("SELECT count(*) FROM scores").fetchone() == (40 * 8,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


# Disks that take nothing more, or nothing at all


@pytest.fixture
def small_disk():
    """Let no file become longer than some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_what_is_known_is_found_and_the_rest_is_an_error(
    cache, images, scores, small_disk
):
    cache.put_many(images, "d", scores)
    small_disk(0)
    assert_known(cache, images, scores)
    assert cache.get_many(images, "other", n_aus=4)[1].tolist() == list(range(30))
    with pytest.raises(OSError, match=r"cannot be used: .* check its folder.*free space"):
        cache.put_many(images, "other", scores)
    small_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert_known(cache, images, scores)
    cache.put_many(images, "other", scores)
    assert_known(cache, images, scores, "other")


def test_a_full_disk_is_told_where_there_is_no_file_yet(cache, images, small_disk):
    small_disk(0)
    with pytest.raises(OSError, match=r"cannot be used: .* check its folder.*free space"):
        cache.get_many(images, "d", n_aus=4)


class Detector:
    """Scores by the mean of a picture; counts what it saw."""

    au_names = ["AU01", "AU02"]
    identity = "by mean"
    seen = 0

    def detect(self, images):
        self.seen += len(images)
        return np.array([[image.mean() / 255, 0.5] for image in images], dtype=np.float32)


def test_scores_are_not_lost_when_the_disk_gets_full(tmp_path, images, small_disk):
    detector = Detector()
    extractor = AUExtractor(detector, cache=tmp_path / "scores.sqlite")
    first = extractor.score_faces(images[:10])
    small_disk(0)
    with pytest.warns(UserWarning, match=r"are not kept, the work goes on without\. The AU score"):
        found = extractor.score_faces(images)
    assert found[:10].tobytes() == first.tobytes()
    assert detector.seen == 30
    small_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    np.testing.assert_array_equal(extractor.score_faces(images), found)
    assert detector.seen == 50  # the first ten were kept


def test_a_damaged_file_that_cannot_be_renamed_is_an_error(cache, images, scores, monkeypatch):
    cache.put_many(images, "d", scores)
    damage_head(cache.path)

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module.os, "replace", refuse)
    with pytest.raises(OSError, match=r"not a database, and it cannot be renamed .*Read-only"):
        cache.get_many(images, "d", n_aus=4)


def test_a_file_is_not_set_aside_while_another_has_it_open(cache, images, scores, monkeypatch):
    # that one would go on with its log under the name of the new file's log
    cache.put_many(images, "d", scores)
    damage_head(cache.path)
    monkeypatch.setattr(module, "_SECONDS_TO_WAIT", 0.05)
    with (
        locked(cache.path.parent, 0, shared=True),
        pytest.raises(OSError, match="other processes do not let go of it"),
    ):
        cache.get_many(images, "d", n_aus=4)
    assert [file.name for file in cache.path.parent.iterdir()] == ["scores.sqlite"]


DAMAGED = """
import sys
import numpy as np
from adafer.aus.cache import AUScoreCache

cache, start = AUScoreCache(sys.argv[1]), int(sys.argv[2])
for i in range(start, start + 15):
    rng = np.random.default_rng(i)
    images = list(rng.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8))
    cache.put_many(images, "d", rng.random((8, 3), dtype=np.float32))
"""


def test_of_many_that_find_a_damaged_file_one_sets_it_aside(tmp_path):
    path = tmp_path / "scores.sqlite"
    path.write_bytes(b"no database at all, " * 500)
    arguments = [sys.executable, "-W", "ignore", "-c", DAMAGED, str(path)]
    processes = [
        subprocess.Popen([*arguments, str(100 * i)], stderr=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["scores.sqlite", "scores.sqlite.damaged-1"]
    for i in (100 * part + j for part in range(4) for j in range(15)):
        rng = np.random.default_rng(i)
        images = list(rng.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8))
        assert_known(AUScoreCache(path), images, rng.random((8, 3), dtype=np.float32))
