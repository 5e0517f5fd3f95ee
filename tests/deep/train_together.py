"""What tests/deep/test_distributed.py runs, in one process and in several.

``torchrun train_together.py FOLDER`` leaves one file per process in the folder.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

torch.set_num_threads(1)


def features(seed=0):
    """Two shifted clouds with AUs that tell the class; sizes that no batch divides."""
    rng = np.random.default_rng(seed)
    y_src, y_tgt = rng.integers(0, 3, 71), rng.integers(0, 3, 58)
    codes = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0]])

    def score(labels):
        return np.clip(0.25 + 0.5 * codes[labels] + rng.normal(0, 0.12, (len(labels), 4)), 0, 1)

    centres = 2.5 * np.eye(3)
    return {
        "X": (centres[y_src] + rng.normal(0, 0.5, (71, 3))).astype(np.float32),
        "y": y_src,
        "X_tgt": (centres[y_tgt] + rng.normal(1.0, 0.5, (58, 3))).astype(np.float32),
        "au_src": score(y_src),
        "au_tgt": score(y_tgt),
    }


def faces():
    """Bright bars above or below; AUs are to be scored."""
    rng = np.random.default_rng(1)
    y_src, y_tgt = rng.integers(0, 2, 21), rng.integers(0, 2, 18)

    def draw(labels):
        found = rng.integers(40, 90, (len(labels), 24, 24, 3))
        for face, label in zip(found, labels, strict=True):
            face[(slice(3, 9) if label else slice(15, 21))] += 140
        return found.astype(np.uint8)

    return {"X": draw(y_src), "y": y_src, "X_tgt": 255 - draw(y_tgt)}


class Brightness:
    """An AU detector that counts the pictures it saw."""

    au_names = ("AU01", "AU02", "AU04")
    n_seen = 0

    def detect(self, images):
        type(self).n_seen += len(images)
        return np.array([[i[:12].mean(), i[12:].mean(), i[:, :12].mean()] for i in images]) / 255


def weights_of(classifier):
    state = classifier.network_.state_dict()
    return np.concatenate([state[name].double().numpy().ravel() for name in sorted(state)])


def fit_all(folder):
    """Fit what is compared; give the numbers to compare."""
    from adafer import AdaFERClassifier, AUExtractor
    from adafer._ranks import this_rank
    from adafer.rivals import DANNClassifier, SelfTrainingClassifier, SWDClassifier

    rank = this_rank()
    shared = {"epochs": 2, "batch_size": 16, "random_state": 0, "device": "cpu"}
    problem = features()
    without_aus = {name: problem[name] for name in ("X", "y", "X_tgt")}
    found = {}
    for recipe in ("fused", "paper"):
        fitted = AdaFERClassifier(recipe=recipe, margin="learnable", verbose=1, **shared)
        fitted.fit(**problem)
        found[recipe] = weights_of(fitted)
        found[f"{recipe}_losses"] = np.array([row["loss"] for row in fitted.history_])
        found[f"{recipe}_margin"] = np.array([fitted.margin_])
    for method in (DANNClassifier, SelfTrainingClassifier, SWDClassifier):
        found[method.__name__] = weights_of(method(**shared).fit(**without_aus))
    counts = np.arange(len(problem["y"])) % 4  # sources without a weight among them
    weighted = SWDClassifier(**shared).fit(**without_aus, sample_weight=counts)
    found["weighted"] = weights_of(weighted)
    fitted.save(folder / f"model-{rank.index}")

    extractor = AUExtractor(detector=Brightness(), threshold=0.5)
    pictures = AdaFERClassifier(
        "convnet", image_size=24, au_extractor=extractor, **{**shared, "epochs": 1, "batch_size": 7}
    )
    given = faces()
    pictures.fit(**given)
    found["n_scored"] = np.array([Brightness.n_seen])
    found["pictures"] = pictures.predict_proba(given["X_tgt"])
    found["pictures_losses"] = np.array([row["loss"] for row in pictures.history_])

    unseeded = AdaFERClassifier(**{**shared, "random_state": None}).fit(**problem)
    found["unseeded"] = weights_of(unseeded)
    found |= resume_one(folder / "checkpoints", shared, problem)
    return found


def resume_one(folder, shared, problem):
    """Interrupt a fit in its last epoch and go on; and refuse another one in its folder."""
    from adafer import AdaFERClassifier
    from adafer.deep.loop import Trainer

    clf = AdaFERClassifier(margin="learnable", checkpoint_dir=folder, **shared)
    run_epoch = Trainer._epoch
    run = []

    def until_the_last(self, stage, number, *rest):
        if (stage, number) == ("joint", 1):
            raise InterruptedError
        run_epoch(self, stage, number, *rest)

    def noted(self, stage, number, *rest):
        run.append(number)
        run_epoch(self, stage, number, *rest)

    try:
        Trainer._epoch = until_the_last
        clf.fit(**problem)
    except InterruptedError:
        Trainer._epoch = noted
    clf.fit(**problem)
    Trainer._epoch = run_epoch
    found = {"resumed": weights_of(clf), "epochs_run": np.array(run)}
    try:
        clf.set_params(epsilon=0.5).fit(**problem)
    except ValueError as error:
        found["refused"] = np.array("epsilon: 1.0 saved, 0.5 now" in str(error))
    return found


def fail_in_one(folder):
    """Train for ever, with a process that fails in the second epoch."""
    from adafer import SourceOnlyClassifier
    from adafer._ranks import this_rank
    from adafer.deep.loop import Trainer

    rank, run_epoch = this_rank(), Trainer._epoch

    def epoch(self, stage, number, *rest):
        if number == 1 and rank.index == 1:
            raise OSError("the disk of this process is full")
        return run_epoch(self, stage, number, *rest)

    Trainer._epoch = epoch
    (folder / f"pid-{rank.index}").write_text(str(os.getpid()))
    given = features()
    SourceOnlyClassifier(epochs=10**6, random_state=0, device="cpu").fit(given["X"], given["y"])
    time.sleep(3600)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if sys.argv[2:] == ["fail"]:
        fail_in_one(place)
    else:
        np.savez(place / f"found-{os.environ['RANK']}.npz", **fit_all(place))
