"""All methods on pictures that nobody made for this package: FER2013 to DiffusionFER.

    python tests/benchmarks/development_pair.py --data PATH --output DIR

PATH holds ``fer2013.npz`` (arrays images, labels, ferplus_labels, split) and
``diffusionfer/`` (one folder per class). The sources are 2,000 training pictures
each, drawn in the shares of their classes, by the labels of FER2013 and by those of
FERPlus. What is compared is in ``development_pair*.toml``; the report comes out of
``adafer study``, which goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from adafer._files import new_file
from adafer.cli import app

EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
LABELS = {"fer2013": "labels", "ferplus": "ferplus_labels"}


def main() -> None:
    """Draw the sources, then run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="PATH")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--n-source", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    places = {"DIFFUSIONFER": options.data / "diffusionfer"}
    with np.load(options.data / "fer2013.npz") as archive:
        for name, column in LABELS.items():
            labels = archive[column]
            usable = (archive["split"] == "train") & np.isin(labels, EXPRESSIONS)
            rows, _ = train_test_split(
                np.flatnonzero(usable),
                train_size=options.n_source,
                stratify=labels[usable],
                random_state=0,
            )
            rows = np.sort(rows)
            places[name.upper()] = options.output / f"{name}.npz"
            with new_file(places[name.upper()]) as part:
                np.savez(part, images=archive["images"][rows], labels=labels[rows])
    given = [text for name, path in places.items() for text in ("--data", f"{name}={path}")]
    here = Path(__file__)
    plans = [str(here.with_suffix(".toml")), str(here.with_name(f"{here.stem}_ferplus.toml"))]
    settings = ["--output", str(options.output), "--jobs", str(options.jobs)]
    app(["study", *plans, *settings, *given], prog_name="adafer")


if __name__ == "__main__":
    main()
