"""Weights files from strangers."""

import os
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from adafer.deep._state_files import read_state

STATE = {"conv.weight": torch.arange(400.0).reshape(20, 20), "n": torch.tensor(3)}


@pytest.fixture
def path(tmp_path):
    torch.save(STATE, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def again(path, change, compression=zipfile.ZIP_STORED):
    """Write an archive again with its parts changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def assert_same(found):
    assert sorted(found) == sorted(STATE)
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "weights", "weights.txt"])
def test_the_content_tells_the_format_and_not_the_name(tmp_path, name):
    torch.save(STATE, tmp_path / name)
    if name != "weights.safetensors":  # safetensors' own ending is believed
        assert_same(read_state(tmp_path / name))
    save_file(STATE, tmp_path / name)
    assert_same(read_state(tmp_path / name))
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(read_state(tmp_path / "old.pth"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(path):
    def fill(parts):
        parts["weights/data/0"] = bytes(200 * 2**20)

    again(path, fill, zipfile.ZIP_DEFLATED)
    assert os.path.getsize(path) < 2**20
    with pytest.raises(ValueError, match=r"unpacks to 2097\d+ bytes but has .* zip bomb"):
        read_state(path)


def test_a_changed_byte_of_a_tensor_is_noticed(path):
    content = bytearray(path.read_bytes())
    content[content.index(STATE["conv.weight"].numpy().tobytes()[:64]) + 50] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"its part 'weights/data/0' is damaged"):
        read_state(path)


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("old", [True, False])
def test_code_is_never_run(tmp_path, monkeypatch, old):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, "evil.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_state(tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_state(tmp_path / "plain.pth")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.full((3,), float("nan")), "NaN or infinity"),
        (torch.full((3,), float("inf")), "NaN or infinity"),
        (torch.zeros(1).expand(2**40), "of which the file holds a part"),
        (torch.zeros(3, dtype=torch.complex64), "holds torch.complex64"),
        (torch.eye(3).to_sparse(), "is sparse|cannot be read"),
        (torch.zeros(2**40, device="meta"), "is on the device meta|cannot be read"),
    ],
    ids=["nan", "inf", "expanded", "complex", "sparse", "meta"],
)
def test_tensors_that_are_no_weights_are_refused(tmp_path, tensor, words):
    torch.save({"a.weight": tensor}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=words):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"PK\x03\x04", b"PK\x03\x04" + bytes(100), struct.pack("<Q", 2**50) + b"{}"],
)
def test_files_that_are_none_are_refused(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_state(tmp_path / "w.pth")


def test_what_is_no_dict_of_tensors_is_refused(tmp_path):
    for content in ([1, 2], {"a": 1}, {}, torch.zeros(3)):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(ValueError, match=r"holds no (state dict|tensors)"):
            read_state(tmp_path / "w.pth")
