"""Maps of features by t-SNE."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adafer.display import FeaturesDisplay, new_figure
from adafer.display._panels import distinct_colours

CLASSES = ["anger", "fear", "joy"]


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    y_src, y_tgt = np.repeat(CLASSES, 12), np.repeat(CLASSES, 10)
    place = {name: 12 * np.eye(3)[number] for number, name in enumerate(CLASSES)}
    source = np.array([place[name] for name in y_src]) + rng.normal(size=(36, 3))
    target = np.array([place[name] for name in y_tgt]) + rng.normal(size=(30, 3))
    return {"before": (source, target + 40), "after": (source, target)}, y_src, y_tgt


def spread(points):
    return np.linalg.norm(points - points.mean(axis=0), axis=1).mean()


def test_source_and_target_are_embedded_together(features):
    pairs, y_src, y_tgt = features
    display = FeaturesDisplay.from_features(pairs, y_src, y_tgt)
    gaps = {}
    for name, (source, target) in display.embeddings.items():
        assert source.shape == (36, 2)
        assert target.shape == (30, 2)
        joy = source[y_src == "joy"], target[y_tgt == "joy"]
        gap = np.linalg.norm(joy[0].mean(axis=0) - joy[1].mean(axis=0))
        gaps[name] = gap / spread(np.concatenate([source, target]))
    assert gaps["after"] < 0.5 < 0.7 < gaps["before"]


def test_points_stand_where_they_were_embedded_in_the_colour_of_their_class(features):
    pairs, y_src, y_tgt = features
    display = FeaturesDisplay.from_features(pairs, y_src, y_tgt)
    colour = dict(zip(CLASSES, distinct_colours(3), strict=True))
    assert [panel.get_title() for panel in display.axes_] == ["before", "after"]
    for panel, places in zip(display.axes_, display.embeddings.values(), strict=True):
        assert len(panel.collections) == 2
        for points, at, y in zip(panel.collections, places, (y_src, y_tgt), strict=True):
            np.testing.assert_allclose(points.get_offsets(), at, rtol=1e-6)
            drawn = [to_hex(face) for face in points.get_facecolors()]
            assert drawn == [colour[label] for label in y]
        circle, triangle = (points.get_paths()[0] for points in panel.collections)
        assert len(circle) > len(triangle)
    legend = [text.get_text() for text in display.axes_[-1].get_legend().get_texts()]
    assert legend == [*CLASSES, "source", "target"]


def test_a_target_without_labels_has_no_colour(features):
    pairs, y_src, _ = features
    display = FeaturesDisplay.from_features(pairs, y_src)
    assert display.y_tgt is None
    for panel in display.axes_:
        assert len(panel.collections[0].get_facecolors()) == 36
        assert len(panel.collections[1].get_facecolors()) == 0
    legend = [text.get_text() for text in display.axes_[-1].get_legend().get_texts()]
    assert legend[-1] == "target, not labelled"


def test_a_class_of_the_target_alone_gets_a_colour_of_its_own(features):
    pairs, y_src, y_tgt = features
    y_tgt = np.where(y_tgt == "fear", "contempt", y_tgt)
    display = FeaturesDisplay.from_features(pairs, y_src, y_tgt)
    legend = [text.get_text() for text in display.axes_[-1].get_legend().get_texts()]
    assert legend[:4] == ["anger", "contempt", "fear", "joy"]


def test_few_are_drawn_and_the_same_in_each_panel(features):
    pairs, y_src, y_tgt = features
    one = {"a": pairs["before"], "b": pairs["before"]}
    display = FeaturesDisplay.from_features(one, y_src, y_tgt, subsample=8, random_state=3)
    again = FeaturesDisplay.from_features(one, y_src, y_tgt, subsample=8, random_state=3)
    other = FeaturesDisplay.from_features(one, y_src, y_tgt, subsample=8, random_state=4)
    for part in (0, 1):
        assert display.embeddings["a"][part].shape == (8, 2)
        for same in (display.embeddings["b"], again.embeddings["a"]):
            np.testing.assert_array_equal(display.embeddings["a"][part], same[part])
    assert display.y_src.shape == display.y_tgt.shape == (8,)
    assert (display.y_src != other.y_src).any()


def test_estimators_give_features_of_the_drawn_rows_only(feature_problem, adapted):
    problem = feature_problem
    seen = []

    class Watched:
        def transform(self, X):
            seen.append(X)
            return adapted.transform(X)

    arguments = [problem[name] for name in ("X", "y", "X_tgt", "y_tgt")]
    display = FeaturesDisplay.from_estimators({"adapted": Watched()}, *arguments, subsample=20)
    assert [len(X) for X in seen] == [20, 20]
    for X, y, name in ((seen[0], display.y_src, ""), (seen[1], display.y_tgt, "_tgt")):
        whole = problem[f"X{name}"]
        rows = [np.flatnonzero((whole == row).all(axis=1))[0] for row in X]
        np.testing.assert_array_equal(problem[f"y{name}"][rows], y)
    from_features = FeaturesDisplay.from_features(
        {"adapted": (adapted.transform(seen[0]), adapted.transform(seen[1]))},
        display.y_src, display.y_tgt,
    )  # fmt: skip
    for place, expected in zip(
        display.embeddings["adapted"], from_features.embeddings["adapted"], strict=True
    ):
        np.testing.assert_array_equal(place, expected)


def test_pipelines_lists_and_wrapped_targets_serve(feature_problem):
    problem = feature_problem
    pipeline = make_pipeline(StandardScaler()).fit(problem["X"])
    display = FeaturesDisplay.from_estimators(
        {"scaled": pipeline}, problem["X"].tolist(), problem["y"], (problem["X_tgt"],),
        subsample=10,
    )  # fmt: skip
    assert display.embeddings["scaled"][1].shape == (10, 2)


def test_more_than_eight_classes_still_differ_in_colour():
    for n in (7, 8, 9, 20):
        assert len(set(distinct_colours(n))) == n


def test_given_axes_are_drawn_into(features):
    pairs, y_src, y_tgt = features
    display = FeaturesDisplay.from_features(pairs, y_src, y_tgt, subsample=6)
    figure = Figure()
    pair = figure.subplots(1, 2)
    assert display.plot(ax=pair) is display
    assert list(display.axes_) == list(pair)
    assert display.figure_ is figure
    whole, beside = new_figure(9, 4).subplots(1, 2)
    display.plot(ax=whole)
    assert len(display.axes_) == 2
    assert not whole.axison
    display.figure_.draw_without_rendering()
    assert max(panel.bbox.x1 for panel in display.axes_) <= beside.bbox.x0
    with pytest.raises(ValueError, match="one per panel; got 3 for 2"):
        display.plot(ax=Figure().subplots(1, 3))
    with pytest.raises(ValueError, match="not made by subplots"):
        display.plot(ax=Figure().add_axes((0, 0, 1, 1)))


def test_texts_stay_in_the_figure(features, check_texts):
    pairs, y_src, y_tgt = features
    several = {f"method {n}": pairs["after"] for n in range(4)}
    check_texts(FeaturesDisplay.from_features(several, y_src, y_tgt, subsample=5).figure_)


def test_what_cannot_be_embedded_is_named(features):
    pairs, y_src, y_tgt = features
    source, target = pairs["after"]
    refused = [
        (({}, y_src), "features is empty"),
        (({"a": (source, target)}, y_src[:-1]), "inconsistent numbers of samples"),
        (({"a": (source, target)}, y_src, y_tgt[:-1]), "inconsistent numbers of samples"),
        (({"a": (source, target), "b": (source, target[1:])}, y_src), "'b' has 36 source and 29"),
        (({"a": (source, target[:, :2])}, y_src), "'a' have 3 and 2 features"),
        (({"a": (source[:, :1], target[:, :1])}, y_src), r"'a' cannot be drawn: got shape \(66, 1"),
        (({"a": (source * 0, target * 0)}, y_src), "not all equal"),
        (({"a": (source, target * np.nan)}, y_src), "target of 'a' contains NaN"),
    ]
    for arguments, words in refused:
        with pytest.raises(ValueError, match=words):
            FeaturesDisplay.from_features(*arguments)
    with pytest.raises(ValueError, match="subsample must be at least 1"):
        FeaturesDisplay.from_features(pairs, y_src, subsample=0)
    with pytest.raises(ValueError, match="estimators is empty"):
        FeaturesDisplay.from_estimators({}, source, y_src, target)
    with pytest.raises(ValueError, match="'a', a str, has no transform"):
        FeaturesDisplay.from_estimators({"a": "x"}, source, y_src, target)
