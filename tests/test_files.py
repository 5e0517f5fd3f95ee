"""Files and folders written whole, or not at all, whoever is killed and whatever is full."""

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest
import torch

from adafer import _files, _parts
from adafer._files import new_file, new_folder, write_tensors

WRITER = """
import os, sys, time
from pathlib import Path
from adafer._files import new_file, new_folder

how = {"file": new_file, "folder": new_folder}[sys.argv[1]]
with how(sys.argv[2]) as place:
    (place if sys.argv[1] == "file" else place / "a").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def small_disk():
    """Let no file become longer than some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def start():
    """Start processes that are in the midst of writing."""
    started = []

    def begin(kind, path):
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", WRITER, kind, str(path)], stdout=subprocess.PIPE, text=True
            )
        )
        assert started[-1].stdout.readline() == "writing\n"
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def parts(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


def write(path, text="new"):
    with new_file(path) as temporary:
        temporary.write_text(text)


def fresh(monkeypatch):
    """Forget what was cleaned, as another process would not know it."""
    monkeypatch.setattr(_parts, "_cleaned", set())


# ----------------------------------------------------------------------- killed writers


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_is_removed_by_the_next(start, tmp_path, monkeypatch, kind):
    fresh(monkeypatch)
    process = start(kind, tmp_path / "output")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(parts(tmp_path)) == 1
    write(tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == ["other"]


def test_what_a_living_writer_writes_stays(start, tmp_path, monkeypatch):
    fresh(monkeypatch)
    start("folder", tmp_path / "output")
    before = parts(tmp_path)
    write(tmp_path / "other")
    assert parts(tmp_path) == before != []
    # of this very process, too
    with new_folder(tmp_path / "mine"):
        n = len(parts(tmp_path))
        fresh(monkeypatch)
        write(tmp_path / "other")
        assert len(parts(tmp_path)) == n


def test_what_other_machines_left_stays_for_a_day(tmp_path, monkeypatch):
    for name in (".abcdefg1.00000000.part", ".abcdefg2.12345678.part"):
        fresh(monkeypatch)
        part = tmp_path / name
        part.mkdir()
        (part / "a").touch()
        write(tmp_path / "other")
        assert part.exists()
        fresh(monkeypatch)
        for path in (part / "a", part):
            os.utime(path, (time.time() - 25 * 3600,) * 2)
        write(tmp_path / "other")
        assert not part.exists()


@pytest.mark.parametrize("name", [".part", "a.part", ".abc.part", ".abcdefgh.part", ".git"])
def test_folders_of_other_names_are_left_alone(tmp_path, monkeypatch, name):
    fresh(monkeypatch)
    (tmp_path / name).mkdir()
    os.utime(tmp_path / name, (0, 0))
    write(tmp_path / "other")
    assert (tmp_path / name).is_dir()


def test_links_that_look_like_leftovers_are_not_followed(tmp_path, monkeypatch):
    fresh(monkeypatch)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "a").touch()
    (tmp_path / f".abcdefgh.{_parts._boot()}.part").symlink_to(kept)
    write(tmp_path / "other")
    assert (kept / "a").exists()


def test_a_folder_that_was_taken_away_before_a_kill_gets_its_name_back(tmp_path, monkeypatch):
    fresh(monkeypatch)
    former = tmp_path / f".abcdefgh.{_parts._boot()}.part" / "former" / "model"
    former.mkdir(parents=True)
    (former / "a").write_text("before")
    write(tmp_path / "other")
    assert (tmp_path / "model" / "a").read_text() == "before"
    assert parts(tmp_path) == []


def test_a_part_that_is_taken_for_abandoned_before_its_lock_is_made_anew(tmp_path, monkeypatch):
    plain = _parts.tempfile.mkdtemp
    made = []

    def unlucky(**options):
        made.append(plain(**options))
        if len(made) == 1:
            shutil.rmtree(made[0])
        return made[-1]

    monkeypatch.setattr(_parts.tempfile, "mkdtemp", unlucky)
    write(tmp_path / "a")
    assert len(made) == 2
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_is_listed_once_and_not_for_each_file(tmp_path, monkeypatch):
    fresh(monkeypatch)
    seen = []
    monkeypatch.setattr(_parts, "remove_abandoned", seen.append)
    for name in "abc":
        write(tmp_path / name)
    assert seen == [tmp_path]


# --------------------------------------------------------------------- replacing folders


@pytest.mark.parametrize("in_one_step", [True, False])
def test_folders_are_replaced_whole(tmp_path, monkeypatch, in_one_step):
    if not in_one_step:
        monkeypatch.setattr(_parts, "exchange", lambda first, second: False)
    for text in ("first", "second"):
        with new_folder(tmp_path / "output") as folder:
            (folder / text).write_text(text)
            (folder / "deeper").mkdir()
            (folder / "deeper" / "a").touch()
        assert sorted(os.listdir(tmp_path / "output")) == ["deeper", text]
        assert os.listdir(tmp_path) == ["output"]


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux exchanges two names.")
def test_at_no_time_the_name_is_missing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "was a").touch()
    if not _parts.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("This file system cannot.")
    assert os.listdir(tmp_path / "b") == ["was a"]
    assert os.listdir(tmp_path / "a") == []


def test_what_is_there_stays_where_it_is_wanted(tmp_path):
    for text, unless in (("first", None), ("second", lambda: True), ("third", lambda: False)):
        with new_folder(tmp_path / "output", unless=unless) as folder:
            (folder / "a").write_text(text)
        expected = "first" if text == "second" else text
        assert (tmp_path / "output" / "a").read_text() == expected
    assert os.listdir(tmp_path) == ["output"]


def test_one_at_a_time_is_let_in_alone_and_many_together(tmp_path):
    with _parts.locked(tmp_path, 0, shared=True) as first:
        with _parts.locked(tmp_path, 0, shared=True) as second:
            assert first is second is True
        with _parts.locked(tmp_path, 0.01) as alone:
            assert alone is False
    with _parts.locked(tmp_path, 0) as alone:
        assert alone is True


# ------------------------------------------------------------------- disks without room


def test_a_full_disk_is_told_with_the_name_and_leaves_what_was_there(tmp_path, small_disk):
    write(tmp_path / "table.csv", "before")
    with new_folder(tmp_path / "model") as folder:
        (folder / "a").write_text("before")
    small_disk(1000)
    with pytest.raises(OSError, match=r"output '.*table\.csv' cannot be written: File too large"):
        write(tmp_path / "table.csv", "x" * 2000)
    with (
        pytest.raises(OSError, match=r"output '.*model' cannot be written: .* Make room"),
        new_folder(tmp_path / "model") as folder,
    ):
        (folder / "a").write_text("x" * 2000)
    assert (tmp_path / "table.csv").read_text() == "before"
    assert (tmp_path / "model" / "a").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["model", "table.csv"]


def test_errors_of_other_places_are_not_the_outputs(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"), new_file(tmp_path / "a"):
        (tmp_path / "missing").read_text()


def test_tensors_without_room_are_an_error_of_the_disk(tmp_path, small_disk):
    small_disk(1000)
    with (
        pytest.raises(OSError, match=r"output '.*model' cannot be written: File too large"),
        new_folder(tmp_path / "model") as folder,
    ):
        write_tensors({"a": torch.zeros(1000)}, folder / "a.safetensors", {})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_tensors_get_the_permissions_of_any_other_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_tensors({"a": torch.zeros(3)}, tmp_path / "a.safetensors", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o666 & ~mask


def test_the_folder_is_brought_to_the_disk_after_the_file(tmp_path, monkeypatch):
    events = []
    plain = os.fsync

    def watched(number):
        events.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        plain(number)

    monkeypatch.setattr(_files.os, "fsync", watched)
    write(tmp_path / "a")
    assert events == ["file", "folder"]
