"""Adapt to your own pictures.

Labelled faces in one folder per class, unlabelled faces of another camera in a
second folder: train, look at what happened, predict, save.

    python examples/two_folders.py SOURCE TARGET MODEL
"""

import sys

import numpy as np

from adafer import AdaFERClassifier, AUGuidedAnnotator
from adafer.datasets import load_image_folder, load_image_paths


def main(source: str, target: str, model: str) -> None:
    """Train on `source`, adapt to `target`, write `model`."""
    labelled = load_image_folder(source)
    unlabelled = load_image_paths(target)

    clf = AdaFERClassifier(
        backbone="resnet18",
        image_size=64,
        annotator=AUGuidedAnnotator(matching="near"),
        epochs=10,
        on_error="skip",
        random_state=0,
        verbose=1,
    )
    clf.fit(labelled.paths, labelled.target, unlabelled)

    print(f"{clf.coverage_:.0%} of the target faces share their AUs with a source face.")
    print(f"{len(clf.skipped_['X_tgt'])} target pictures could not be read.")
    skipped = {path for _, path, _ in clf.skipped_["X_tgt"]}
    names, counts = np.unique(
        clf.predict([path for path in unlabelled if str(path) not in skipped]), return_counts=True
    )
    print("Predicted:", dict(zip(names.tolist(), counts.tolist(), strict=True)))
    clf.save(model)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
