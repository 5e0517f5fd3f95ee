"""Right calls and wrong values: annotators, miners, AUs, aligning."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from _probes import (
    AU,
    AUS,
    IMAGES,
    NOTHING,
    ROWS,
    Call,
    NDArray,
    Y,
    choices,
    construct_and_fit,
    functions,
    labels,
    matrices,
    methods,
    numbers,
    pictures,
    public,
    read_paths,
    scores,
    write_paths,
)


def annotating_calls() -> dict[str, Call]:
    from adafer import AUGuidedAnnotator, TripletMiner

    annotator = AUGuidedAnnotator(engine="numpy").fit(AU, Y)
    given = {"X": AU, "y": Y}
    fit_wrong = {
        "X": scores(AU),
        "y": labels(Y),
        "sample_weight": numbers(np.ones(ROWS), none=False),
        "classes": [7, NOTHING, ["anger"], [["a", "b"]], []],
    }
    asked = {"X": [*scores(AU, fewer=False), AU[:, :-1]], "name": [7, NOTHING, None]}
    return {
        "AUGuidedAnnotator": Call(
            functools.partial(construct_and_fit, AUGuidedAnnotator, given),
            dict,
            {"schemes": [("no such",), "t-soft", 7, ("t-soft", "t-soft")]},
            AUGuidedAnnotator._parameter_constraints,
        ),
        **methods(
            "AUGuidedAnnotator",
            lambda: AUGuidedAnnotator(engine="numpy"),
            {
                "fit": (given, fit_wrong),
                "partial_fit": ({**given, "classes": np.unique(Y)}, fit_wrong),
            },
        ),
        **methods(
            "AUGuidedAnnotator",
            lambda: annotator,
            {
                "annotate": ({"X": AU}, asked),
                "codes": ({"X": AU}, asked),
                "predict": ({"X": AU}, asked),
                "predict_proba": ({"X": AU}, asked),
                "score": (
                    {"X": AU, "y": Y},
                    {
                        **asked,
                        "X": [*scores(AU), AU[:, :-1]],
                        **{k: fit_wrong[k] for k in ("y", "sample_weight")},
                    },
                ),
                "merge": (
                    {"later": annotator},
                    {"later": [NOTHING, 7, None, AUGuidedAnnotator(), TripletMiner()]},
                ),
            },
        ),
        "TripletMiner": Call(
            functools.partial(construct_and_fit, TripletMiner, {"X": AU, "X_tgt": AU}),
            dict,
            {
                "thresholds": [
                    "no such",
                    NOTHING,
                    [0.5],
                    [[0.5] * AUS],
                    [2.0] * AUS,
                    [np.nan] * AUS,
                    -0.1,
                    1.5,
                ]
            },
            TripletMiner._parameter_constraints,
        ),
        **methods(
            "TripletMiner",
            TripletMiner,
            {
                "fit": (
                    {"X": AU, "X_tgt": AU},
                    {"X": scores(AU, fewer=False), "X_tgt": [*scores(AU, fewer=False), AU[:, :-1]]},
                )
            },
        ),
        **methods(
            "TripletMiner",
            lambda: TripletMiner().fit(AU, AU),
            {"draw": ({}, {"random_state": [NOTHING, "no such", -1, 1.5, np.ones((2, 2))]})},
        ),
    }


def au_calls() -> dict[str, Call]:
    import pandas as pd

    from adafer import AUExtractor
    from adafer.aus import AUNetwork, AUScoreCache

    class Brightness:
        au_names = ("AU01", "AU02")
        identity = "brightness"

        def detect(self, images: list) -> NDArray:
            return np.array([[i.mean() / 255, 0.5] for i in images], dtype=np.float32)

    def extractor() -> Any:
        return AUExtractor(Brightness())

    faces = public("adafer.datasets", "load_facs_faces")(domain="studio").images[:6]
    codes = np.array([[1, 0], [0, 1]] * 3, dtype=float)
    network = functools.cache(
        lambda: AUNetwork(
            aus=("AU01", "AU02"),
            backbones=("convnet", "convnet"),
            image_size=16,
            epochs=1,
            batch_size=2,
            random_state=0,
        ).fit(faces, codes)
    )

    def saved_network() -> str:
        network().save("network")
        return "network"

    frame = pd.DataFrame({"AU01": [0.1, 0.9], "AU02": [0.2, 0.3]}, index=["a.jpg", "b.jpg"])
    shown = {"X": pictures()}
    seen = {
        "images": [
            7,
            NOTHING,
            None,
            "text",
            ["/no/such.jpg"],
            IMAGES.astype(float),
            IMAGES[..., :2],
            [None],
        ]
    }
    made = {
        "AUExtractor": Call(
            lambda **given: AUExtractor(**given).fit(faces),
            dict,
            {
                "model_path": ["/no/such/model.task", NOTHING, 7],
                "heads": ["/no/such/heads.safetensors", NOTHING, 7],
                "cache": [str(Path(__file__) / "below"), NOTHING, 7],
                "n_jobs": [0, 1.5, "all", NOTHING],
            },
            AUExtractor._parameter_constraints,
        ),
        **methods(
            "AUExtractor",
            extractor,
            {
                "fit": ({"X": faces}, shown),
                "fit_transform": ({"X": faces}, shown),
                "fit_scores": ({"scores": codes}, {"scores": scores(codes, fewer=False)}),
                "score_faces": ({"images": faces}, seen),
            },
        ),
        **methods(
            "AUExtractor", lambda: extractor().fit(faces), {"transform": ({"X": faces}, shown)}
        ),
        "AUNetwork": Call(
            functools.partial(construct_and_fit, AUNetwork, {"X": faces, "Y_au": codes}),
            lambda: {
                "aus": ("AU01", "AU02"),
                "backbones": ("convnet", "convnet"),
                "image_size": 16,
                "epochs": 1,
                "batch_size": 2,
            },
            {
                "aus": ["AU01", ["AU01"], [7, 8], ["AU01", "AU01"], ["AU01", "no such"], NOTHING],
                "backbones": ["convnet", (), ("no such",), NOTHING],
                "weights": [
                    "/no/such/weights.pth",
                    NOTHING,
                    7,
                    ["/no/such/weights.pth"],
                ],
                "device": ["no such", "cuda:99", NOTHING, 7],
                "image_size": [15, 10**9, 24.5, "24", NOTHING],
                "checkpoint_dir": [str(Path(__file__) / "below"), NOTHING, 7],
            },
            AUNetwork._parameter_constraints,
        ),
        **methods(
            "AUNetwork",
            lambda: AUNetwork(
                aus=("AU01", "AU02"),
                backbones=("convnet", "convnet"),
                image_size=16,
                epochs=1,
                batch_size=2,
            ),
            {
                "fit": (
                    {"X": faces, "Y_au": codes},
                    {
                        "X": pictures(),
                        "Y_au": [*matrices(codes, nan=False), codes * 7, -codes],
                        "X_unlabelled": pictures(),
                    },
                ),
            },
        ),
        **methods(
            "AUNetwork",
            lambda: network(),
            {
                "detect": ({"images": faces}, seen),
                "predict": ({"X": faces}, shown),
                "predict_proba": ({"X": faces}, shown),
                "score": (
                    {"X": faces, "Y_au": codes},
                    {
                        "X": pictures(),
                        "Y_au": [*matrices(codes, nan=False), codes * 7, codes[:, :1]],
                    },
                ),
                "save": ({"path": "network"}, {"path": write_paths()}),
            },
        ),
        "AUNetwork.load": Call(
            AUNetwork.load, lambda: {"path": saved_network()}, {"path": read_paths()}
        ),
        "AUScoreCache": Call(
            lambda path: AUScoreCache(path).get_many(faces, "me", n_aus=2),
            lambda: {"path": "cache.sqlite"},
            {"path": [NOTHING, 7.5, "\0", str(Path(__file__) / "below"), "/"]},
        ),
        **methods(
            "AUScoreCache",
            lambda: AUScoreCache("cache.sqlite"),
            {
                "get_many": (
                    {"images": faces, "identity": "me", "n_aus": 2},
                    {
                        **seen,
                        "identity": [7, None, NOTHING],
                        "n_aus": [0, -1, 1.5, "two", None, 10**12],
                    },
                ),
                "put_many": (
                    {"images": faces, "identity": "me", "scores": codes},
                    {
                        **seen,
                        "identity": [7, None, NOTHING],
                        "scores": [*matrices(codes, nan=False), codes[:, 0]],
                    },
                ),
            },
        ),
        **functions(
            "adafer.aus",
            {
                "LandmarkDetector": (
                    {},
                    {
                        "model_path": ["/no/such/model.task", NOTHING, 7],
                        "heads": ["/no/such/heads", NOTHING, 7],
                        "sha256": ["00", 7, NOTHING],
                        "min_presence": [-0.1, 1.1, "a", None, float("nan")],
                        "n_jobs": [0, 1.5, "all"],
                    },
                ),
                "PyFeatDetector": (
                    {},
                    {
                        "au_model": choices(),
                        "face_model": [7, None, NOTHING],
                        "landmark_model": [7, None, NOTHING],
                        "min_confidence": [-0.1, 1.1, "a", None, float("nan")],
                        "max_side": [0, -1, 1.5, "a", None],
                        "batch_size": [0, -1, 1.5, "a", None],
                        "device": [7, None, NOTHING],  # its words are torch's
                    },
                ),
                "au_frequencies": (
                    {"scores": AU, "y": Y},
                    {
                        "scores": scores(AU),
                        "y": labels(Y),
                        "threshold": ["no such", -1.0, 2.0, float("nan"), [0.5], None],
                        "quantile": [0.0, 1.0, "a", float("nan"), None],
                        "labels": [7, [], ["anger", "anger"]],
                    },
                ),
                "au_name": ({"number": 1}, {"number": [-1, 0, 1.5, "AU01", None, 10**9]}),
                "parse_au_name": ({"text": "AU01"}, {"text": ["", "no such", 7, None, "AU999999"]}),
                "au_similarity": (
                    {"a": AU, "b": AU},
                    {
                        "a": [*matrices(AU, fewer=False, nan=False), AU[:, :-1]],
                        "b": [*matrices(AU, fewer=False, nan=False), AU[:, :-1]],
                    },
                ),
                "au_scores_from_frame": (
                    {"frame": frame},
                    {
                        "frame": [
                            7,
                            None,
                            AU,
                            frame.iloc[:, :0],
                            frame * 7,
                            frame.assign(AU01="a"),
                        ],
                        "scale": choices(),
                        "file_column": ["no such", 7, NOTHING],
                    },
                ),
                "join_scores": (
                    {"table": frame, "paths": ["a.jpg", "b.jpg"]},
                    {
                        "table": [7, None, AU, frame.iloc[:0]],
                        "paths": [7, None, [], "a.jpg", [7, 8]],
                    },
                ),
            },
        ),
        **_table_calls(),
        **methods(
            "LandmarkDetector",
            functools.cache(lambda: public("adafer.aus", "LandmarkDetector")()),
            {"detect": ({"images": faces}, seen), "measure": ({"images": faces}, seen)},
        ),
    }
    made["PyFeatDetector"].works = False  # where py-feat is not installed
    return made


def aligner_calls() -> dict[str, Call]:
    from adafer import FaceAligner
    from adafer.alignment import FIVE_POINTS, FaceDetection

    face = FaceDetection(np.array([2.0, 2, 20, 20]), FIVE_POINTS * 20, 0.9)
    shown = {"X": pictures()}
    return {
        "FaceAligner": Call(
            lambda **given: FaceAligner(**given).fit(IMAGES[:2]),
            dict,
            {
                "n_jobs": [0, 1.5, "all", NOTHING],
                "size": [7, 10**9, 24.5, "24", NOTHING],
                "detection_size": [63, 10**9, "a", NOTHING],
            },
            FaceAligner._parameter_constraints,
        ),
        **methods(
            "FaceAligner",
            lambda: FaceAligner(size=32).fit(IMAGES[:2]),
            {
                "fit": ({"X": IMAGES[:2]}, shown),
                "transform": ({"X": IMAGES[:2]}, shown),
                "fit_transform": ({"X": IMAGES[:2]}, shown),
                "detect": ({"X": IMAGES[:2]}, shown),
                "cut_out": (
                    {"image": IMAGES[0], "face": face},
                    {
                        "image": [7, None, NOTHING, IMAGES, IMAGES[0].astype(float), IMAGES[0, :0]],
                        "face": [7, None, NOTHING, (1, 2, 3)],
                    },
                ),
            },
        ),
    }


def _table_calls() -> dict[str, Call]:
    words = {
        "path": read_paths(),
        "kind": choices(),
        "min_confidence": [-0.1, 1.1, "a", None, float("nan")],
    }
    names = ("read_libreface", "read_openface", "read_pyfeat")
    made = functions("adafer.aus", {name: ({"path": "no table.csv"}, words) for name in names})
    for call in made.values():
        call.works = False  # there is no such table; what else is wrong is told before that
    return made
