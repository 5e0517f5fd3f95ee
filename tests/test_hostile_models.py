"""Model files from strangers: what they claim is judged before it costs memory."""

import json
import os
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from adafer import AdaFERClassifier, AUGuidedAnnotator, SourceOnlyClassifier
from adafer._json_files import SEAL, parse_json, read_json, seal
from adafer.aus import AUNetwork
from adafer.aus.heads import TrainedHeads, load_heads
from adafer.cli import app
from adafer.persistence import load_model, read_description

SMALL = {"epochs": 1, "batch_size": 32, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Saved models of features, with a target, and of faces."""
    root = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), np.repeat(["joy", "sad"], 10)
    au_src, au_tgt = rng.uniform(size=(20, 4)), rng.uniform(size=(12, 4))
    clf = AdaFERClassifier(annotator=AUGuidedAnnotator(threshold=0.5), **SMALL)
    clf.fit(X, y, rng.normal(size=(12, 3)), au_src=au_src, au_tgt=au_tgt).save(root / "features")
    faces = rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    clf = SourceOnlyClassifier(backbone="convnet", image_size=16, **SMALL)
    clf.fit(faces, y[6:14]).save(root / "faces")
    return root


@pytest.fixture(params=["features", "faces"])
def folder(request, models, tmp_path):
    return copied(models / request.param, tmp_path / "model")


def copied(source, target):
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def edit(folder, change, *, sealed=False):
    path = folder / "model.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    if not sealed:
        found.pop(SEAL)
    path.write_text(json.dumps(found), encoding="utf-8")


# ------------------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ('{"b": {"a": 1, "a": 1}}', "'a' is there twice"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": ' + "9" * 100 + "}", "has 100 digits"),
        ('{"a": ' + "9" * 10_000 + "}", "has 10000 digits"),
        ("[" * 33 + "]" * 33, "more than 32 levels"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply|Expecting value"),
        ("{", "Expecting"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_odd_is_refused(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_json(tmp_path / "a.json")


def test_json_files_are_regular_and_of_bounded_size(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        read_json(tmp_path / "none.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(OSError, match="is a pipe, socket or device"):
        read_json(tmp_path / "pipe.json")
    with (tmp_path / "huge.json").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(ValueError, match="has 1099511627776 bytes"):
        read_json(tmp_path / "huge.json")
    (tmp_path / "bytes.json").write_bytes(b'"\xff"')
    with pytest.raises(ValueError, match="not UTF-8"):
        read_json(tmp_path / "bytes.json")
    value = [1, -2.5, None, True, "é", {"a": [{}]}, 2**63]
    (tmp_path / "good.json").write_text(json.dumps(value))
    assert read_json(tmp_path / "good.json") == value


@pytest.mark.parametrize("text", ["[]", '"text"', "3", "null", '{"format": {}}', '{"format": []}'])
def test_a_description_that_is_no_object_of_ours_is_told(folder, text):
    (folder / "model.json").write_text(text)
    for read in (load_model, read_description, AUNetwork.load):
        with pytest.raises(ValueError, match=r"describes no (adafer model|AUNetwork): got"):
            read(folder)


# --------------------------------------------------------------- changed by hand


def test_a_changed_entry_is_noticed_by_the_seal(folder):
    def spell(found):
        found["classes"]["values"][0] = "joi"

    edit(folder, spell, sealed=True)
    for read in (load_model, read_description):
        with pytest.raises(ValueError, match="is damaged or was changed since it was saved"):
            read(folder)
    edit(folder, lambda found: None)  # on purpose: without the seal
    assert load_model(folder).classes_[0] == "joi"


def test_the_seal_does_not_mind_order_and_blanks(folder):
    path = folder / "model.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found[SEAL] == seal(found)
    text = json.dumps(dict(reversed(found.items())), indent=7)
    path.write_text(text, encoding="utf-8")
    load_model(folder)


def at(found, place):
    *parts, last = place.split(".")
    for part in parts:
        found = found[part]
    return found, last


WRONG = {
    "versions": [None, [], "1", {"adafer": 3}, {"adafer": "9" * 5000}],
    "sha256": [None, 3, [], "0" * 64],
    "history": [None, "x", 3, [1], ["a"], [{"loss": {}}]],
    "results": [None, [], "x"],
    "results.n_iter_": [None, -1, 1.5, "3", True, [], {}],
    "results.fit_summary_": [None, 3, "x", [], {}, {"source": None}, {"source": {}}],
    "results.fit_summary_.source": [None, [], 3, {}],
    "results.fit_summary_.source.n": [None, -1, "20", 1.5, []],
    "results.fit_summary_.source.per_class": [3, [1], [1, "a"], [1, -1], "ab", {}, [[1], [2]]],
    "results.fit_summary_.source.scored_by": [3, [], {}, True],
    "results.fit_summary_.matches": [3, [], "x", {}],
    "classes": [None, [], "x", {}, {"dtype": "<U3"}],
    "classes.dtype": [None, 3, "x", "<U99999999", "V8", "f8,f8", {"names": ["a"]}, []],
    "classes.values": [None, [], "ab", ["a"], ["a", "a"], ["a", None], [[], []], {}],
    "network": [None, [], "x", {}],
    "network.inputs": [None, "pixels", 3, []],
    "network.n_features_in": ["3", -1, 10**15, True, 2.0, []],
    "network.channels_last": ["yes", 3],
    "network.image_size": [10**6, -1, 1e3, "16", []],
    "network.backbone": [3, [], "no such network", "os.system", "a" * 5000],
    "network.n_aus": [10**15, -1, "4", 1.5],
    "action_units": [None, [], {}],
    "action_units.names": [3, "AU01", [1], {}],
    "action_units.thresholds": [3, "x", ["a"], [[1]], {}],
    "action_units.used": ["no", 3],
    "parameters": [None, [], "x"],
    "class": [None, 3, [], {}, "AUNetwork", "SVC", "__class__"],
    "format_version": [None, 0, 2, "1", True, 1.5, [], {}],
}


@pytest.mark.parametrize("kind", ["features", "faces"])
@pytest.mark.parametrize("place", WRONG)
def test_every_entry_of_another_form_is_a_clear_error(models, tmp_path, kind, place):
    """A traceback far from the file, in a report or a card, told nobody what was wrong."""
    for n, value in enumerate(WRONG[place]):
        folder = copied(models / kind, tmp_path / str(n))

        def change(found, value=value):
            parts, last = at(found, place)
            if isinstance(parts, dict):
                parts[last] = value

        if kind == "faces" and place.endswith(("fit_summary_.matches", "n_aus")):
            continue
        if kind == "features" and place in ("network.image_size", "network.backbone"):
            continue
        edit(folder, change)
        with pytest.raises(ValueError, match=r"model\.json|describes a|safetensors") as caught:
            load_model(folder)
        assert len(str(caught.value)) < 1500


def test_entries_of_another_form_are_told_in_the_terminal(models, tmp_path):
    from typer.testing import CliRunner

    folder = copied(models / "faces", tmp_path / "model")
    edit(folder, lambda found: found["results"]["fit_summary_"].update(source="x"))
    for command in (["info", folder], ["report", folder, "--output", tmp_path / "r.html"]):
        result = CliRunner().invoke(app, [str(part) for part in command])
        assert result.exit_code == 2
        assert "has results.fit_summary_.source: 'x'; expected an object" in result.output


# ----------------------------------------------------------------------- tensors


def with_header(path, change):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = change(content[8 : 8 + length])
    path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length :])


def enlarged(header):
    found = json.loads(header)
    name = next(name for name in found if name != "__metadata__")
    found[name]["shape"] = [2**50]
    found[name]["data_offsets"][1] = 2**52
    return json.dumps(found).encode()


CLAIMS = {
    "a header of 2^50 bytes": lambda path: path.write_bytes(
        struct.pack("<Q", 2**50) + path.read_bytes()[8:]
    ),
    "a tensor of 2^50 numbers": lambda path: with_header(path, enlarged),
    "a header that is no JSON": lambda path: with_header(path, lambda header: header[1:]),
    "a nested header": lambda path: with_header(path, lambda header: b"[" * 100_000),
    "nothing": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(1000)),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_headers_of_tensors_that_claim_too_much_are_refused(folder, claim):
    CLAIMS[claim](folder / "model.safetensors")
    with pytest.raises(ValueError, match="no complete safetensors file"):
        load_model(folder)


def peak_of_loading(folder):
    """Load in a process of its own; give what it said and how much memory it took, in MiB."""
    code = (
        "import sys, resource\n"
        "import torch, adafer.deep.backbones, torch.fx, torch._dynamo\n"
        "from adafer.persistence import load_model\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load_model(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, check=True, text=True
    )
    *words, grown = done.stdout.splitlines()
    return " ".join(words), int(grown)


@pytest.mark.parametrize(
    ("backbone", "size"), [("vit_h_14", 224), ("vgg19", 4096), ("resnet18", 4096)]
)
def test_a_large_network_costs_no_memory_before_its_tensors_were_found(
    models, tmp_path, backbone, size
):
    folder = copied(models / "faces", tmp_path / "model")
    edit(folder, lambda found: found["network"].update(backbone=backbone, image_size=size))
    words, grown = peak_of_loading(folder)
    assert "does not fit the network" in words
    assert grown < 300  # vit_h_14 alone takes 2,400


def test_many_classes_are_not_believed(models, tmp_path):
    folder = copied(models / "faces", tmp_path / "model")
    names = [str(n) for n in range(1_000_000)]
    edit(folder, lambda found: found["classes"].update(dtype="<U7", values=names))
    with pytest.raises(ValueError, match=r"'classifier\.bias': got shape \(2,\)"):
        load_model(folder)


def test_links_to_files_are_followed_and_pipes_are_not_waited_for(folder, tmp_path):
    (folder / "model.json").rename(tmp_path / "elsewhere.json")
    (folder / "model.json").symlink_to(tmp_path / "elsewhere.json")
    load_model(folder)
    (folder / "model.json").unlink()
    os.mkfifo(folder / "model.json")
    with pytest.raises(ValueError, match=r"model\.json is missing"):
        load_model(folder)


@pytest.mark.parametrize("backbone", ["convnet", "resnet18", "regnet_y_400mf"])
def test_networks_that_were_made_without_memory_predict_the_same_to_the_bit(tmp_path, backbone):
    faces = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    clf = SourceOnlyClassifier(backbone=backbone, image_size=32, **SMALL)
    clf.fit(faces, ["joy", "sad"] * 3).save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(faces), clf.predict_proba(faces))
    assert {str(tensor.device) for tensor in loaded.network_.state_dict().values()} == {"cpu"}
    assert all(tensor.requires_grad for tensor in loaded.network_.parameters())


def test_what_a_network_computes_and_does_not_save_is_there_after_loading(tmp_path):
    from adafer.rivals import AGRAClassifier

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), np.repeat(["joy", "sad"], 10)
    clf = AGRAClassifier(**SMALL).fit(X, y, rng.normal(size=(12, 3)))
    clf.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    for (name, first), (_, second) in zip(
        clf.network_.named_buffers(), loaded.network_.named_buffers(), strict=True
    ):
        assert torch.equal(first, second), name
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))


# ------------------------------------------------------------------ AU networks, heads


@pytest.fixture(scope="module")
def heads_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("heads") / "heads.safetensors"
    load_heads("trained").save(path)
    return path


def test_a_changed_number_of_heads_is_noticed(heads_file, tmp_path):
    content = bytearray(heads_file.read_bytes())
    content[-3000] ^= 1
    (tmp_path / "heads.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="its SHA-256 is not the one that it names"):
        TrainedHeads.load(tmp_path / "heads.safetensors")


def test_heads_of_before_the_digest_are_read(heads_file, tmp_path):
    from safetensors import safe_open

    tensors = load_file(heads_file)
    with safe_open(heads_file, framework="pt") as stored:
        metadata = {key: text for key, text in stored.metadata().items() if key != "sha256"}
    save_file(tensors, tmp_path / "old.safetensors", metadata=metadata)
    found = TrainedHeads.load(tmp_path / "old.safetensors")
    assert found.identity == load_heads("trained").identity


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, m: t.update(named=t["named"].to(torch.int32)), "named holds int32"),
        (lambda t, m: t.update(named=t["named"].double()), "named holds float64"),
        (lambda t, m: t.update(more=t["named"] + 1), "more"),
        (lambda t, m: t.pop("named"), "named"),
        (lambda t, m: t["named"].fill_(float("nan")), "NaN or infinity"),
        (lambda t, m: m.update(au_names='["AU01", "AU01"]'), "AU01"),
        (lambda t, m: m.update(au_names='{"a": 1}'), "au_names"),
        (lambda t, m: m.update(au_names="[1, 2]"), "au_names"),
        (lambda t, m: m.update(au_names="[" * 100_000), "nested too deeply"),
        (lambda t, m: m.update(format="2"), "its format is '2'"),
        (lambda t, m: m.clear(), "its format is None"),
    ],
)
def test_heads_of_another_form_are_refused(heads_file, tmp_path, change, words):
    from safetensors import safe_open

    tensors = load_file(heads_file)
    with safe_open(heads_file, framework="pt") as stored:
        metadata = {key: text for key, text in stored.metadata().items() if key != "sha256"}
    change(tensors, metadata)
    save_file(tensors, tmp_path / "heads.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match=re.compile(f"holds no AU heads.*{words}", re.DOTALL)):
        TrainedHeads.load(tmp_path / "heads.safetensors")


def test_a_pipe_and_a_headless_file_are_no_heads(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="There are no AU heads"):
        TrainedHeads.load(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="holds no AU heads"):
        TrainedHeads.load(tmp_path / "empty")
