"""All methods on pictures that nobody made for this package: FER2013 to DiffusionFER.

    python tests/benchmarks/development_pair.py --data PATH --output DIR

PATH holds ``fer2013.npz`` (arrays images, labels, ferplus_labels, split) and
``diffusionfer/`` (one folder per class). Two sources are compared, the training
pictures by the labels of FER2013 and by those of FERPlus. What is compared is in
``development_pair*.toml`` and ``rivals_development.toml``; the reports come out of
``adafer study``, which goes on where it was stopped.

``--prepare`` stops before the study: the folder then holds all pictures with their AU
scores, and the same command goes on from it without PATH, on a machine with a GPU for
instance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from adafer import AUExtractor
from adafer._files import new_file
from adafer.cli import app
from adafer.datasets.image_folder import load_image_folder
from adafer.faces import check_faces, resize_faces

PLANS = ("development_pair", "development_pair_ferplus", "rivals_development")
IMAGE_SIZE = 48


def prepare_source(data: Path, place: Path, extractor: AUExtractor, n_source: int) -> None:
    """Write the training pictures of FER2013 with both labels and AU scores."""
    with np.load(data / "fer2013.npz") as archive:
        labels, train = archive["labels"], np.flatnonzero(archive["split"] == "train")
        rows = np.random.default_rng(0).permutation(train)[: n_source or None]
        images = archive["images"][rows]
        ferplus = archive["ferplus_labels"][rows]
    scores = np.concatenate(
        [extractor.score_faces(part) for _, part in check_faces(images).chunks()]
    )
    write(place, extractor, scores, images=images, labels=labels[rows], ferplus_labels=ferplus)


def prepare_target(data: Path, place: Path, extractor: AUExtractor) -> None:
    """Write DiffusionFER in the size that networks see; AUs are scored in full size."""
    folder = load_image_folder(data / "diffusionfer")
    images, scores = [], []
    for _, part in check_faces(folder.paths).chunks():
        images.append(resize_faces(part, IMAGE_SIZE))
        scores.append(extractor.score_faces(part))
    write(
        place,
        extractor,
        np.concatenate(scores),
        images=np.concatenate(images),
        labels=folder.target,
    )


def write(place: Path, extractor: AUExtractor, scores: np.ndarray, **arrays: np.ndarray) -> None:
    """Write a data set as ``adafer study`` reads it."""
    names = np.array(extractor.detector_.au_names)
    with new_file(place) as part:
        np.savez(part, au=scores, au_names=names, **arrays)


def main() -> None:
    """Prepare the data, then run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="PATH")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--n-source", type=int, default=0, help="0 takes all training pictures")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prepare", action="store_true", help="stop before the study")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    places = {name: options.output / f"{name.lower()}.npz" for name in ("FER2013", "DIFFUSIONFER")}
    if not all(place.exists() for place in places.values()):
        if options.data is None:
            parser.error(f"{options.output} holds no prepared data: give --data PATH")
        extractor = AUExtractor(cache=options.output / "aus.sqlite", n_jobs=options.jobs)
        prepare_source(options.data, places["FER2013"], extractor, options.n_source)
        prepare_target(options.data, places["DIFFUSIONFER"], extractor)
    if options.prepare:
        return
    given = [text for name, place in places.items() for text in ("--data", f"{name}={place}")]
    plans = [str(Path(__file__).with_name(f"{name}.toml")) for name in PLANS]
    settings = ["--output", str(options.output), "--jobs", str(options.jobs)]
    app(["study", *plans, *settings, "--device", options.device, *given], prog_name="adafer")


if __name__ == "__main__":
    main()
