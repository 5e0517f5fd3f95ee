"""Bars of AUs by expression and domain."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from adafer import AUExtractor
from adafer.aus import au_frequencies, au_similarity
from adafer.display import AUDistributionDisplay

NAMES = ["AU01", "AU04", "AU12"]
CLASSES = ["anger", "fear", "joy"]


@pytest.fixture
def domains():
    rng = np.random.default_rng(1)
    made = {}
    for number, name in enumerate(("lab", "street", "film")):
        scores, y = rng.random((40 + number, 3)), rng.choice(CLASSES, 40 + number)
        scores[: 2 * number] = np.nan
        made[name] = (scores, y)
    return made


def heights(display):
    """Heights of the bars as shares, domain x class x AU."""
    bars = [[bar.get_height() for bar in group] for group in display.ax_.containers]
    return np.reshape(bars, (-1, len(CLASSES), len(NAMES))) / 0.8


@pytest.mark.parametrize("n", [1, 2, 3])
def test_bars_are_the_frequencies(domains, n):
    domains = dict(list(domains.items())[:n])
    display = AUDistributionDisplay.from_domains(domains, au_names=NAMES, threshold=0.7)
    assert list(display.frequencies) == list(domains)
    for drawn, (scores, y) in zip(heights(display), domains.values(), strict=True):
        np.testing.assert_allclose(drawn, au_frequencies(scores, y, threshold=0.7).frequencies)


def test_bars_stand_side_by_side_in_the_row_of_their_expression(domains):
    display = AUDistributionDisplay.from_domains(domains, au_names=NAMES, threshold=0.5)
    ticks = zip(display.ax_.get_yticklabels(), display.ax_.get_yticks(), strict=True)
    ticks = zip(display.ax_.get_yticklabels(), display.ax_.get_yticks(), strict=True)
    labels = {text.get_text(): y for text, y in ticks}
    assert list(labels) == CLASSES
    assert labels["anger"] > labels["fear"] > labels["joy"]
    boxes = [bar for group in display.ax_.containers for bar in group]
    spans = sorted((round(bar.get_y(), 6), bar.get_x(), bar.get_x() + bar.get_width())
                   for bar in boxes)  # fmt: skip
    for (row, _, end), (next_row, start, _) in itertools.pairwise(spans):
        assert row != next_row or start >= end - 1e-9
    for number, label in enumerate(CLASSES):
        floor = display.ax_.containers[0][3 * number].get_y()
        assert floor < labels[label] < floor + 0.8


def test_numbers_at_the_right_compare_with_the_first_domain(domains):
    (scores, y), (scores_tgt, y_tgt), _ = domains.values()
    display = AUDistributionDisplay.from_predictions(
        scores, y, scores_tgt, y_tgt, au_names=NAMES, domain_names=("lab", "street"), threshold=0.5
    )
    expected = au_similarity(
        *(au_frequencies(*domains[name], threshold=0.5).frequencies for name in ("lab", "street"))
    )
    np.testing.assert_allclose(display.similarity["street"], expected)
    texts = [text.get_text() for text in display.ax_.texts]
    for row in range(3):
        others = np.delete(expected[row], row).mean()
        assert f"same {expected[row, row]:.2f}\nothers {others:.2f}" in texts
    several = AUDistributionDisplay.from_domains(domains, au_names=NAMES, threshold=0.5)
    assert list(several.similarity) == ["street", "film"]
    texts = [text.get_text() for text in several.ax_.texts]
    assert f"street {expected[0, 0]:.2f}" in texts


def test_pictures_without_a_face_are_counted_in_the_legend(domains):
    display = AUDistributionDisplay.from_domains(domains, au_names=NAMES)
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["lab (40 faces)", "street (39 faces, 2 without a face)",
                      "film (38 faces, 4 without a face)"]  # fmt: skip


def test_quantiles_are_those_of_the_first_domain(domains):
    (scores, y), (_, y_tgt), _ = domains.values()
    display = AUDistributionDisplay.from_predictions(
        scores, y, np.ones((len(y_tgt), 3)), y_tgt, au_names=NAMES, quantile=0.8
    )
    assert (display.frequencies["target"].frequencies == 1).all()
    source = display.frequencies["source"]
    assert np.average(source.frequencies, axis=0, weights=source.counts).max() <= 0.21


def test_classes_of_all_domains_are_drawn_and_missing_ones_stay_empty():
    display = AUDistributionDisplay.from_predictions(
        [[1, 0], [0, 1]], ["joy", "fear"], [[1, 0], [1, 1]], ["joy", "anger"],
        au_names=["AU12", "AU20"],
    )  # fmt: skip
    assert display.frequencies["source"].labels.tolist() == ["anger", "fear", "joy"]
    assert np.isnan(display.similarity["target"][0]).all()
    texts = [text.get_text() for text in display.ax_.texts]
    assert len([text for text in texts if text.startswith("same")]) == 1
    display = AUDistributionDisplay.from_predictions(
        [[1, 0], [0, 1]], ["joy", "fear"], au_names=["AU12", "AU20"], labels=["joy", "fear"]
    )
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["joy", "fear"]
    assert not display.ax_.texts


def test_data_frames_are_joined_by_name(domains):
    (scores, y), (scores_tgt, y_tgt), _ = domains.values()
    plain = AUDistributionDisplay.from_predictions(scores, y, scores_tgt, y_tgt, au_names=NAMES)
    frames = [pd.DataFrame(values, columns=NAMES) for values in (scores, scores_tgt)]
    joined = AUDistributionDisplay.from_predictions(frames[0], y, frames[1][NAMES[::-1]], y_tgt)
    np.testing.assert_array_equal(heights(joined), heights(plain))
    assert [t.get_text() for t in joined.ax_.get_xticklabels()] == ["01", "04", "12"]


@pytest.mark.parametrize("output", ["scores", "codes"])
def test_an_extractor_gives_scores_and_thresholds(output):
    class Means:
        au_names = ("AU01", "AU12", "AU25")

        def detect(self, images):
            return np.array([image.mean(axis=(0, 1)) / 255 for image in images])

    rng = np.random.default_rng(0)
    X = np.broadcast_to(rng.integers(0, 256, (30, 1, 1, 3), dtype=np.uint8), (30, 4, 4, 3))
    y = np.array(["joy", "fear"] * 15)
    extractor = AUExtractor(Means(), output=output, quantile=0.6).fit(X)
    display = AUDistributionDisplay.from_estimator(
        extractor, X[:20], y[:20], X[20:], y[20:], domain_names=("lab", "street")
    )
    codes = X[:, 0, 0] / 255 > extractor.thresholds_
    for name, rows in (("lab", slice(20)), ("street", slice(20, None))):
        expected = [codes[rows][y[rows] == label].mean(axis=0) for label in ("fear", "joy")]
        np.testing.assert_allclose(display.frequencies[name].frequencies, expected)


def test_texts_neither_overlap_nor_leave_the_figure():
    rng = np.random.default_rng(0)
    names = [f"AU{number:02d}" for number in range(1, 23)]
    classes = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]
    for n in (1, 2, 3):
        domains = {f"domain {k}": (rng.random((70, 22)), classes * 10) for k in range(n)}
        display = AUDistributionDisplay.from_domains(domains, au_names=names)
        display.figure_.draw_without_rendering()
        texts = [*display.ax_.texts, *display.ax_.get_xticklabels(), *display.ax_.get_yticklabels(),
                 display.ax_.xaxis.label, *display.ax_.get_legend().get_texts()]  # fmt: skip
        boxes = [text.get_window_extent() for text in texts]
        whole = display.figure_.bbox
        for number, box in enumerate(boxes):
            assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, texts[number]
            assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, texts[number]
            assert not any(box.overlaps(other) for other in boxes[number + 1 :]), texts[number]


def test_a_given_axes_is_drawn_into(domains):
    ax = Figure().subplots()
    display = AUDistributionDisplay.from_domains(domains, au_names=NAMES, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    again = display.plot()
    assert again is display
    assert display.ax_ is not ax


def test_wrong_input_is_named(domains):
    (scores, y), *_ = domains.values()
    refused = [
        ({"domains": {}}, "domains is empty"),
        ({"domains": {"lab": (scores, y)}}, "au_names is missing"),
        (
            {"domains": {"lab": (scores, y)}, "au_names": ["AU01"]},
            "'lab' has 3 AUs but au_names",
        ),
        ({"domains": {"lab": (5 * scores, y)}, "au_names": NAMES}, r"'lab' must lie in \[0, 1\]"),
    ]
    for arguments, words in refused:
        with pytest.raises(ValueError, match=words):
            AUDistributionDisplay.from_domains(**arguments)
    with pytest.raises(ValueError, match="au_tgt is given but y_tgt is not"):
        AUDistributionDisplay.from_predictions(scores, y, scores, au_names=NAMES)
    with pytest.raises(ValueError, match="got 'a' twice"):
        AUDistributionDisplay.from_predictions(
            scores, y, scores, y, au_names=NAMES, domain_names=("a", "a")
        )
