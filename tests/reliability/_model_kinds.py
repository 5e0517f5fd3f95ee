"""Kinds of mutated input that hold tensors: models, AU networks, AU heads, weights, arrays."""

from __future__ import annotations

import io
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
from _kinds import Kind, Unequal, same
from _mutators import damage, damage_json, damage_tensors

__all__ = ["model_kinds"]

_SMALL = {"epochs": 1, "batch_size": 32, "random_state": 0, "device": "cpu"}


def _models(place: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fit and save: a model of features with a target, one of faces, an AUQueryClassifier."""
    from adafer import AdaFERClassifier, AUGuidedAnnotator, SourceOnlyClassifier
    from adafer.baselines import AUQueryClassifier

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), np.repeat(["joy", "sad"], 10)
    au_src, au_tgt = rng.uniform(size=(20, 4)), rng.uniform(size=(12, 4))
    faces = rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    features = AdaFERClassifier(annotator=AUGuidedAnnotator(threshold=0.5), **_SMALL)
    features.fit(X, y, rng.normal(size=(12, 3)), au_src=au_src, au_tgt=au_tgt)
    of_faces = SourceOnlyClassifier(backbone="convnet", image_size=16, **_SMALL)
    of_faces.fit(faces, y[6:14])
    query = AUQueryClassifier(threshold=0.5, backoff="near").fit(X, y, au_src=au_src)
    for name, clf in (("features", features), ("faces", of_faces), ("query", query)):
        clf.save(place / name)
    inputs = {"features": X, "faces": faces, "query": X}
    return {"query": au_src}, inputs


def model_kinds(place: Path) -> dict[str, Kind]:
    """Make the kinds; good models lie at `place`."""
    import torch
    from safetensors.torch import save_file

    from adafer.aus import AUNetwork
    from adafer.aus.heads import TrainedHeads, load_heads
    from adafer.deep.backbones import build_network
    from adafer.deep.weights import load_weights
    from adafer.persistence import load_model
    from adafer.study._arrays import read_arrays

    scores, inputs = _models(place)
    answers = {}

    def predict(clf: Any, name: str) -> np.ndarray:
        if name in scores:
            return clf.predict_proba(inputs[name], au=scores[name])
        return clf.predict_proba(inputs[name])

    for name in inputs:
        clf = load_model(place / name)
        answers[name] = (clf.classes_.tolist(), predict(clf, name))

    def loader(name: str, part: str) -> Any:
        def read(path: Path, folder: Path) -> Any:
            target = folder / "model"
            shutil.copytree(place / name, target, dirs_exist_ok=True)
            path.replace(target / part)
            clf = load_model(target)
            return (
                name,
                clf.classes_.tolist(),
                predict(clf, name),
                clf.history_ if hasattr(clf, "history_") else None,
            )

        return read

    def check(found: Any, content: bytes, good: bytes) -> bool:
        name, classes, probabilities, history = found
        if content[:1] == b"{" and b"description_sha256" not in content:
            return False  # whoever takes the seal away may change the rest
        same(classes, answers[name][0], "classes")
        if history is not None and content[:1] == b"{":
            same(json.dumps(history), json.dumps(json.loads(good)["history"]), "history")
        return same(probabilities, answers[name][1], "probabilities")

    kinds: dict[str, Kind] = {}
    for name in inputs:
        texts = [(place / name / "model.json").read_bytes()]
        tensors = [(place / name / "model.safetensors").read_bytes()]
        allowed = (ValueError, OSError)
        kinds[f"{name}.json"] = Kind(
            texts, damage_json, loader(name, "model.json"), allowed, check, 450
        )
        kinds[f"{name}.tensors"] = Kind(
            tensors, damage_tensors, loader(name, "model.safetensors"), allowed, check, 250
        )

    faces = np.random.default_rng(2).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    units = (np.arange(30).reshape(10, 3) % 2).astype(np.float64)
    network = AUNetwork(
        ["AU01", "AU04", "AU12"],
        backbones=("convnet", "convnet"),
        image_size=32,
        epochs=1,
        device="cpu",
        random_state=0,
    )
    network.fit(faces, units).save(place / "network")
    detected = AUNetwork.load(place / "network").detect(list(faces))

    def load_network(part: str) -> Any:
        def read(path: Path, folder: Path) -> Any:
            target = folder / "network"
            shutil.copytree(place / "network", target, dirs_exist_ok=True)
            path.replace(target / part)
            return AUNetwork.load(target).detect(list(faces))

        return read

    def check_network(found: Any, content: bytes, good: bytes) -> bool:
        sealed = content[:1] != b"{" or b"description_sha256" in content
        return sealed and same(found, detected, "scores")

    for part, change in (("model.json", damage_json), ("model.safetensors", damage_tensors)):
        kinds[f"network.{part[6:10]}"] = Kind(
            [(place / "network" / part).read_bytes()],
            change,
            load_network(part),
            (ValueError, OSError),
            check_network,
            150,
        )

    load_heads("trained").save(place / "heads.safetensors")
    identity = load_heads("trained").identity
    kinds["heads"] = Kind(
        [(place / "heads.safetensors").read_bytes()],
        damage_tensors,
        lambda path, _: TrainedHeads.load(path),
        (ValueError, FileNotFoundError),
        lambda found, content, good: same(found.identity, identity, "heads"),
        200,
        "input.safetensors",
    )

    state = build_network("convnet", 3, image_size=32).backbone.state_dict()
    save_file(state, place / "weights.safetensors")
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(state, new)
    torch.save({"state_dict": state}, old, _use_new_zipfile_serialization=False)

    def weights(path: Path, _: Path) -> Any:
        fresh = build_network("convnet", 3, image_size=32)
        report = load_weights(fresh, path, "convnet")
        held = fresh.backbone.state_dict()
        return {name: held[name].numpy() for name in report.loaded}

    def check_zip(found: Any, content: bytes, good: bytes) -> bool:
        return content[:2] == b"PK" and all(same(found[n], state[n].numpy(), n) for n in found)

    def check_plain(found: Any, content: bytes, good: bytes) -> bool:
        (length,) = struct.unpack("<Q", content[:8])
        header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
        for name, array in found.items():
            # prefixes are left out by the reader
            entry = next(
                e
                for key, e in header.items()
                if key.split("backbone.")[-1].split("module.")[-1] == name
            )
            kinds = {
                "F32": "<f4",
                "I64": "<i8",
                "F64": "<f8",
                "I32": "<i4",
                "F16": "<f2",
                "U8": "u1",
                "I8": "i1",
                "BOOL": "?",
            }
            if entry["dtype"] not in kinds:
                raise Unequal(f"{name} of {entry['dtype']} was taken")
            first, last = entry["data_offsets"]
            plain = np.frombuffer(data[first:last], kinds[entry["dtype"]]).reshape(entry["shape"])
            same(array, plain.astype(array.dtype), name)
        return True

    allowed = (ValueError, FileNotFoundError)
    kinds["weights.pth"] = Kind(
        [new.getvalue()], damage, weights, allowed, check_zip, 350, "input.pth"
    )
    kinds["weights.old"] = Kind(
        [old.getvalue()], damage, weights, allowed, lambda *_: False, 150, "input.pth"
    )
    kinds["weights.safetensors"] = Kind(
        [(place / "weights.safetensors").read_bytes()],
        damage_tensors,
        weights,
        allowed,
        check_plain,
        250,
        "input.safetensors",
    )

    arrays = {"X": np.arange(60.0).reshape(20, 3), "y": np.array(["a", "b"] * 10)}
    packed, plain = io.BytesIO(), io.BytesIO()
    np.savez_compressed(packed, **arrays)
    np.savez(plain, **arrays)

    def check_arrays(found: Any, content: bytes, good: bytes) -> bool:
        return all(name not in arrays or same(found[name], arrays[name], name) for name in found)

    kinds["npz"] = Kind(
        [packed.getvalue(), plain.getvalue()],
        damage,
        lambda path, _: read_arrays(path),
        (ValueError, FileNotFoundError),
        check_arrays,
        250,
        "input.npz",
    )
    return kinds
