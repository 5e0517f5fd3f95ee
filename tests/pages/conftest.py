"""Models and faces that the tests of the pages share."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adafer import AdaFERClassifier, AUExtractor
from adafer.datasets import load_facs_faces

EVIL = '<script>alert("x")</script>&<b>'
VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """A page's elements; fails where they are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.attributes if name == tag]


@pytest.fixture(scope="session")
def rendered():
    """A few faces of each class: of the source, of the target, and unseen ones."""

    def some(domain, split, n):
        faces = load_facs_faces(domain=domain, split=split)
        rows = np.concatenate(
            [np.flatnonzero(faces.clean_target == name)[:n] for name in ("happiness", "surprise")]
        )
        return faces.images[rows], faces.clean_target[rows]

    return some("studio", "train", 8), some("wild", "train", 6), some("wild", "test", 5)


@pytest.fixture(scope="session")
def model(rendered, tmp_path_factory):
    """A saved model of two classes, one of which has a hostile name."""
    (X, y), (X_tgt, _), _ = rendered
    y = np.where(y == "surprise", EVIL, y)
    classifier = AdaFERClassifier(
        "convnet",
        image_size=32,
        source_epochs=1,
        epochs=2,
        batch_size=8,
        au_extractor=AUExtractor(),
        random_state=0,
        device="cpu",
    )
    folder = tmp_path_factory.mktemp("models") / "mo<b>del"
    classifier.fit(X, y, X_tgt).save(folder)
    return folder


@pytest.fixture(scope="session")
def faces(rendered, tmp_path_factory):
    """A folder per class, one of them with a hostile name, and a broken picture."""
    folder = tmp_path_factory.mktemp("faces")
    for number, (image, name) in enumerate(zip(*rendered[2], strict=True)):
        place = folder / ("Happy" if name == "happiness" else name)
        place.mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"<i>{number}.png")
    Path(folder / "Happy" / "broken<u>.png").write_bytes(b"no picture")
    return folder
