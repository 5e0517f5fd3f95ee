"""Right calls and wrong values: readers of data sets, splits, crops."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
from _probes import IMAGES, NOTHING, Call, choices, functions, public, read_paths, write_paths
from sklearn.utils import Bunch

_OF_OTHER_FOLDERS = {
    "load_affectnet", "load_ck_plus", "load_expw", "load_fer2013", "load_ferplus", "load_jaffe",
    "load_raf_db", "load_split_folders", "load_image_paths", "read_split",
}  # fmt: skip


def reading_calls() -> dict[str, Call]:
    # words are judged before the folder is looked at
    words = {
        "split": ["no such", 7, None, ["train"]],
        "on_missing": choices(),
        "on_error": choices(),
        "images": ["/no/such/folder", 7.5],
        "size": [0, -1, 1.5, "a", 10**9],
        "margin": [-0.5, float("nan"), float("inf"), "a", None, 10**9],
        "classes": [7, [], "anger", [7, 8], ["anger", "anger"]],
        **{name: ["yes", 7, None] for name in ("return_X_y", "contempt", "neutral", "aligned")},
        "label_names": ["no such", 7, None],
        "label_rule": ["no such", 7, None],
        "fer2013": ["/no/such/file.csv", 7.5],
        "n_peak": [-1, 1.5, "a", None],
        "min_confidence": [-1.0, float("nan"), "a"],
        "domain": choices(),
        "root": ["/no/such/folder", 7.5],
    }
    Path("folder/anger").mkdir(parents=True, exist_ok=True)
    Path("folder/fear").mkdir(parents=True, exist_ok=True)
    from PIL import Image

    for i, place in enumerate(("anger", "fear")):
        Image.fromarray(IMAGES[i]).save(f"folder/{place}/{i}.png")
    paths = ["folder/anger/0.png", "folder/fear/1.png"]
    found = {}
    for name in importlib.import_module("adafer.datasets").__all__:
        if name.startswith("load_") or name == "read_split":
            right = {} if name == "load_facs_faces" else {"path": "folder"}
            wrong = {**words, "path": read_paths()}
            if name == "read_split":
                wrong["root"] = [7.5]
            if name == "load_facs_faces":
                wrong["split"] = ["no such", 7, None, "val"]
            found[name] = (right, wrong)
    votes = np.array([[10, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 9, 1, 0, 0, 0, 0, 0, 0, 0]])
    counted = {
        "votes": [
            7,
            None,
            "text",
            votes[0],
            votes - 1,
            votes[:, :-1],
            votes + 0.5,
            votes[None],
            votes.astype(str),
        ]
    }
    boxes = np.array([[0, 0, 16, 16], [4, 4, 20, 20]])
    found |= {
        "canonical_label": ({"name": "anger"}, {"name": [7, None, "no such"], "unknown": choices()}),
        "crop_faces": (
            {"paths": paths, "boxes": boxes, "size": 16},
            {"paths": [7, None, [], ["/no/such.png"] * 2, paths[:1], "folder"], "boxes": [7, None, "a", boxes[:1], boxes[:, :3], boxes * np.nan, boxes[:, ::-1], boxes * 10**6], "size": [0, -1, 1.5, "a", None, 10**9], "margin": words["margin"]},
        ),
        "majority_label": ({"votes": votes}, counted),
        "plurality_label": ({"votes": votes}, counted),
        "vote_probabilities": ({"votes": votes}, counted),
        "make_split": (
            {"y": np.repeat(["a", "b"], 20)},
            {"y": [7, None, [], [["a"]], NOTHING], "groups": [7, [], ["a"], [["a"]]], "test_size": [0, 1, -0.5, 1.5, float("nan"), "a", None], "val_size": [1, -0.5, 1.5, float("nan"), "a", None], "random_state": [-1, "a", 1.5, NOTHING]},
        ),
        "write_split": (
            {"path": "split.csv", "paths": paths, "target": ["anger", "fear"], "split": ["train", "test"]},
            {"path": write_paths(), "paths": [7, None, [], ["a.png"], [7, 8], "ab"], "target": [7, None, [], ["anger"], [["a"], ["b"]]], "split": [7, None, ["train"], ["train", "no such"], "ab"], "subject": [7, ["KA"], [["a"], ["b"]]], "root": ["/no/such/folder", 7.5]},
        ),
    }  # fmt: skip
    made = functions("adafer.datasets", found)
    for name, call in made.items():
        # the folder is none of theirs; what else is wrong is told before that
        call.works = name not in _OF_OTHER_FOLDERS
    load = public("adafer.datasets", "load_image_folder")
    made["save_crops"] = Call(
        public("adafer.datasets", "save_crops"),
        lambda: {"faces": Bunch(**load("folder"), boxes=boxes), "folder": "crops", "size": 16},
        {
            "faces": [7, None, {}, NOTHING],
            "folder": write_paths(),
            **{k: words[k] for k in ("size", "margin", "on_error")},
        },
    )
    return made
