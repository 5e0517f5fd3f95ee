"""The commands that look at folders of pictures: ``adafer predict`` and ``adafer aus``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from .._output import Json, finish, say
from .options import (
    CacheOption,
    DetectorOption,
    DeviceOption,
    HeadsOption,
    JobsOption,
    OnError,
    OnErrorOption,
    make_extractor,
    some,
)

__all__ = ["aus", "predict"]


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `adafer fit` wrote.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pictures.")],
    output: Annotated[Path, typer.Option(help="Table to write.")] = Path("predictions.csv"),
    on_error: OnErrorOption = OnError.fail,
    device: DeviceOption = "auto",
    as_json: Json = False,
) -> None:
    """Write the expression of each picture in a folder."""
    from .._files import check_output_file
    from .._folders import each_chunk, unlabelled_pictures, write_table
    from ..persistence import load_model

    check_output_file(output)
    classifier = load_model(model)
    if hasattr(classifier, "n_features_in_"):
        raise ValueError(
            f"The model {str(model)!r} was fitted on features, not on pictures. Use "
            "AdaFERClassifier.load in Python."
        )
    classifier.set_params(device=device)
    paths = unlabelled_pictures(folder)
    classes = [str(name) for name in classifier.classes_]
    cells: dict[int, list[str]] = {}
    counts: Counter[str] = Counter()
    for rows, images in each_chunk(paths, on_error.value, "predicting"):
        probabilities = classifier.predict_proba(images)
        for row, shares in zip(rows.tolist(), probabilities, strict=True):
            label = classes[shares.argmax()]
            counts[label] += 1
            cells[row] = [label, f"{shares.max():.6f}", *(f"{p:.6f}" for p in shares)]
    header = ["label", "probability", *(f"probability_{name}" for name in classes)]
    if not cells:
        raise ValueError(f"None of the {len(paths)} pictures in {str(folder)!r} can be read.")
    write_table(output, folder, paths, header, cells)
    for name in classes:
        say(f"{counts[name]:>7} {name}")
    unread = sorted(set(range(len(paths))) - set(cells))
    _report_rows(paths, unread, "could not be read")
    say(f"wrote {output}")
    finish(
        "predict",
        output=output,
        pictures=len(paths),
        predicted={name: counts[name] for name in classes},
        unreadable=[paths[row] for row in unread],
    )


def aus(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pictures.")],
    output: Annotated[Path, typer.Option(help="Table to write.")] = Path("aus.csv"),
    detector: DetectorOption = "landmarks",
    heads: HeadsOption = "trained",
    cache: CacheOption = None,
    on_error: OnErrorOption = OnError.fail,
    jobs: JobsOption = None,
    as_json: Json = False,
) -> None:
    """Write the action units of each picture in a folder."""
    import numpy as np

    from .._files import check_output_file
    from .._folders import each_chunk, unlabelled_pictures, write_table

    check_output_file(output)
    extractor = make_extractor(detector, heads, cache, jobs)
    paths = unlabelled_pictures(folder)
    cells: dict[int, list[str]] = {}
    no_face: list[int] = []
    for rows, images in each_chunk(paths, on_error.value, "scoring"):
        for row, scores in zip(rows.tolist(), extractor.score_faces(images), strict=True):
            if np.isnan(scores).any():
                no_face.append(row)
            else:
                cells[row] = [f"{score:.6f}" for score in scores]
    if not cells and not no_face:
        raise ValueError(f"None of the {len(paths)} pictures in {str(folder)!r} can be read.")
    write_table(output, folder, paths, list(extractor.detector_.au_names), cells)
    say(f"{len(cells):>7} of {len(paths)} pictures have action unit scores")
    unread = sorted(set(range(len(paths))) - set(cells) - set(no_face))
    _report_rows(paths, no_face, "show no face")
    _report_rows(paths, unread, "could not be read")
    say(f"wrote {output}")
    finish(
        "aus",
        output=output,
        pictures=len(paths),
        scored=len(cells),
        aus=list(extractor.detector_.au_names),
        no_face=[paths[row] for row in no_face],
        unreadable=[paths[row] for row in unread],
    )


def _report_rows(paths: list[str], rows: list[int], what: str) -> None:
    if rows:
        say(f"{len(rows):>7} {what}: {some(paths[row] for row in rows)}")
