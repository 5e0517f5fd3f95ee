"""Outputs get their names when they are complete, and a killed process' leftovers go."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from adafer import _files
from adafer._files import new_file, new_folder

KILLED = """
import os, signal
from pathlib import Path
from adafer._files import new_file, new_folder
for make in (new_file, new_folder):
    if os.fork() == 0:
        with make(Path({place!r}) / make.__name__) as path:
            (path if make is new_file else path / "part").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
"""


def write(make, path, text):
    with make(path) as temporary:
        (temporary if make is new_file else temporary / "part").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_an_exception_leaves_what_was_there_and_nothing_else(make, tmp_path):
    write(make, tmp_path / "output", "first")
    with pytest.raises(ZeroDivisionError), make(tmp_path / "output"):
        _ = 1 / 0
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_what_a_killed_process_left_goes_with_the_next_output_of_that_name(tmp_path):
    program = KILLED.format(place=str(tmp_path))
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program], check=True)
    assert sorted(os.listdir(tmp_path)) == [".new_file-0.part", ".new_folder-0.part"]
    for make in (new_file, new_folder):
        write(make, tmp_path / make.__name__, "whole")
    assert sorted(os.listdir(tmp_path)) == ["new_file", "new_folder"]
    assert (tmp_path / "new_file").read_text(encoding="utf-8") == "whole"
    assert os.listdir(tmp_path / "new_folder") == ["part"]


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_what_is_being_written_is_left_alone(make, tmp_path):
    with make(tmp_path / "output") as first, make(tmp_path / "output") as second:
        assert first != second
        for n, path in enumerate((first, second)):
            (path if make is new_file else path / "part").write_text(str(n), encoding="utf-8")
    assert os.listdir(tmp_path) == ["output"]


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_without_locks_nothing_is_taken_over(make, tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "fcntl", None)
    (tmp_path / ".output-0.part").mkdir()
    (tmp_path / ".output-0.part" / "half").write_text("of somebody", encoding="utf-8")
    write(make, tmp_path / "output", "whole")
    assert sorted(os.listdir(tmp_path)) == [".output-0.part", "output"]


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path):
    def many(text):
        for _ in range(50):
            write(new_file, tmp_path / "output", text)

    threads = [threading.Thread(target=many, args=(letter * 1000,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.listdir(tmp_path) == ["output"]
    assert len(set((tmp_path / "output").read_text(encoding="utf-8"))) == 1


def test_long_names_have_room(tmp_path):
    for name in ("x" * 255, "\N{GREEK SMALL LETTER PHI}" * 127):
        write(new_file, tmp_path / name, "whole")
        assert (tmp_path / name).read_text(encoding="utf-8") == "whole"


def test_a_checkpoint_folder_is_free_once_its_process_is_killed(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from adafer._checkpoints import Checkpoints
Checkpoints(Path({str(tmp_path)!r}), {{}}, 0, "auto")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    handle, is_free = _files.lock_folder(tmp_path)
    assert is_free
    os.close(handle)
