import json

import numpy as np
import pytest

from adafer import AdaFERClassifier, AUExtractor, AUQueryClassifier, SourceOnlyClassifier
from adafer.model_card import make_card
from adafer.persistence import load_model, read_description

SMALL = {"epochs": 2, "batch_size": 32, "device": "cpu", "random_state": 0}


class Bright:
    """A detector whose scores are brightness."""

    au_names = ("AU06", "AU12")
    identity = "bright-1:/home/ann/heads.npz"

    def detect(self, images):
        means = np.array([image.mean() / 255 for image in images])
        return np.column_stack([means, 1 - means])


@pytest.fixture
def card_of(tmp_path):
    def save(classifier):
        classifier.save(tmp_path / "model")
        return (tmp_path / "model" / "README.md").read_text(encoding="utf-8")

    return save


def test_the_card_tells_data_units_training_and_limits(feature_problem, card_of):
    p = feature_problem
    classifier = AdaFERClassifier(**SMALL).fit(
        p["X"], p["y"], p["X_tgt"], au_src=p["au_src"], au_tgt=p["au_tgt"]
    )
    card = card_of(classifier)
    assert card.startswith("# AdaFERClassifier: 3 facial expressions\n")
    for name in ("anger", "fear", "joy"):
        assert f"| {name} | {(p['y'] == name).sum()} |\n" in card
    assert "150 source samples in all, 120 unlabelled target samples." in card
    assert "- source: given by the user" in card
    assert f"- coverage: {classifier.coverage_:.1%} of the target" in card
    for share in classifier.opinion_accuracies_.values():
        assert f"names rightly: {share:.1%} (found without labels)" in card
    for number, value in enumerate(classifier.annotator_.thresholds_):
        assert f"| column {number} | {value:.3f} |" in card
    losses = [row["loss"] for row in classifier.history_ if row["stage"] == "source"]
    assert f"| source | 2 | loss | {losses[0]:.4g} | {losses[-1]:.4g} |" in card
    assert "| `batch_size` | 32 |" in card
    assert "torch 2." in card
    assert "## Limits and responsible use" in card
    assert "Nothing above was measured on labelled faces of the target." in card


def test_the_detector_is_named_and_unreadable_pictures_are_counted(tmp_path, card_of):
    from PIL import Image

    paths = []
    for n in range(12):
        paths.append(str(tmp_path / f"ann_{n}.png"))
        Image.new("RGB", (20, 20), (20 * n + 10,) * 3).save(paths[-1])
    paths.append(str(tmp_path / "ann_broken.png"))
    (tmp_path / "ann_broken.png").write_bytes(b"no picture")
    (tmp_path / "weights").mkdir()
    labels = np.arange(13) // 6 % 2
    classifier = AdaFERClassifier(
        "convnet",
        image_size=16,
        au_extractor=AUExtractor(Bright(), cache=tmp_path / "aus.sqlite"),
        on_error="skip",
        **SMALL,
    ).fit(paths, labels, paths[:11])
    card = card_of(classifier)
    assert "- source: scored by `bright-1:heads.npz`" in card
    assert "- target: scored by `bright-1:heads.npz`" in card
    assert "| AU06 | " in card
    assert "Left out because they could not be read: 1 of the source." in card
    assert "resized to 16 x 16 pixels" in card
    # neither names of pictures nor places
    for private in ("ann_", str(tmp_path), "/home", "sqlite"):
        assert private not in card


def test_paths_in_parameters_lose_their_folders(feature_problem, card_of):
    classifier = SourceOnlyClassifier(**SMALL).fit(feature_problem["X"], feature_problem["y"])
    classifier.weights = "/home/ann/nets/faces.pth"
    card = card_of(classifier)
    assert "| `weights` | faces.pth |" in card
    assert "ann" not in card


def test_a_classifier_without_target_units_and_history(feature_problem, card_of):
    classifier = SourceOnlyClassifier(**SMALL | {"epochs": 0})
    card = card_of(classifier.fit(feature_problem["X"], feature_problem["y"]))
    assert "150 source samples in all; no target." in card
    assert "## Action units\n\nNone were used.\n" in card
    assert "## Training" not in card


def test_a_classifier_without_a_network(feature_problem, card_of):
    p = feature_problem
    card = card_of(AUQueryClassifier().fit(p["X"], p["y"], au_src=p["au_src"]))
    assert "150 source samples" in card
    assert "score above thresholds" in card


def test_the_same_model_has_the_same_card_also_when_saved_again(feature_problem, tmp_path):
    p = feature_problem
    data = {"X_tgt": p["X_tgt"], "au_src": p["au_src"], "au_tgt": p["au_tgt"]}
    for name in ("first", "second"):
        AdaFERClassifier(**SMALL).fit(p["X"], p["y"], **data).save(tmp_path / name)
    load_model(tmp_path / "first").save(tmp_path / "third")
    cards = [(tmp_path / n / "README.md").read_bytes() for n in ("first", "second", "third")]
    assert cards[0] == cards[1] == cards[2]


def test_models_of_before_the_cards_are_read_and_told_of(feature_problem, tmp_path):
    classifier = SourceOnlyClassifier(**SMALL).fit(feature_problem["X"], feature_problem["y"])
    classifier.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    description = json.loads(path.read_text())
    del description["card_sha256"], description["results"]["fit_summary_"]
    del description["description_sha256"]
    path.write_text(json.dumps(description))
    (tmp_path / "model" / "README.md").unlink()
    load_model(tmp_path / "model")
    assert "## Data" not in make_card(read_description(tmp_path / "model"))
    classifier.save(tmp_path / "model")


def test_a_card_that_was_changed_by_hand_is_not_replaced(feature_problem, tmp_path):
    classifier = SourceOnlyClassifier(**SMALL).fit(feature_problem["X"], feature_problem["y"])
    classifier.save(tmp_path / "model")
    classifier.save(tmp_path / "model")
    card = tmp_path / "model" / "README.md"
    card.write_text(card.read_text() + "\nTried on our own faces.\n")
    with pytest.raises(FileExistsError, match=r"its README.md was changed"):
        classifier.save(tmp_path / "model")
    assert "our own faces" in card.read_text()
    load_model(tmp_path / "model")
