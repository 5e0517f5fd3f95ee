"""Ablation bars and parameter curves."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from adafer.display import AblationDisplay, ParameterCurveDisplay

NAMES = ["source only", "AGA", "AGA + AGT"]
VALUES = np.array([[0.50, 0.52, 0.54], [0.58, 0.60, np.nan], [0.66, np.nan, np.nan]])


def interval(row):
    row = row[~np.isnan(row)]
    return stats.t.interval(0.95, len(row) - 1, loc=row.mean(), scale=stats.sem(row))


def whiskers(ax):
    """Ends of the intervals, by the height of their bar."""
    lines = ax.containers[-1].lines[2][0].get_segments()
    return {round(y): (x0, x1) for (x0, y), (x1, _) in lines}


def test_bars_are_means_with_students_intervals():
    display = AblationDisplay.from_results(NAMES, VALUES, reference="source only")
    bars = display.ax_.containers[0]
    np.testing.assert_allclose([bar.get_width() for bar in bars], [52, 59, 66])
    found = whiskers(display.ax_)
    assert set(found) == {0, 1}  # one run alone has no interval
    for row, ends in found.items():
        np.testing.assert_allclose(ends, 100 * np.array(interval(VALUES[row])))
    texts = [text.get_text() for text in display.ax_.texts]
    assert texts == ["52.0 ± 5.0", "59.0 ± 12.7", "66.0"]
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == NAMES
    np.testing.assert_allclose(display.means_, [0.52, 0.59, 0.66])
    assert np.isnan(display.half_widths_).tolist() == [False, False, True]


def test_a_wider_confidence_gives_wider_intervals():
    display = AblationDisplay.from_results(NAMES, VALUES)
    at_95 = display.half_widths_
    assert (display.plot(confidence=0.99).half_widths_[:2] > 1.5 * at_95[:2]).all()


@pytest.mark.parametrize(("reference", "at", "words"), [("AGA", 59, "AGA, 59.0"),
                                                        (0.75, 75, "reference, 75.0")])  # fmt: skip
def test_the_reference_line_stands_at_a_variant_or_a_number(reference, at, words):
    display = AblationDisplay.from_results(NAMES, VALUES, reference=reference)
    (line,) = [line for line in display.ax_.lines if line.get_label() == words]
    np.testing.assert_allclose(line.get_xdata(), at)
    assert display.ax_.get_xlim()[1] > at
    colours = [bar.get_facecolor() for bar in display.ax_.containers[0]]
    assert len(set(colours)) == (2 if reference == "AGA" else 1)


def test_without_reference_there_is_no_legend():
    assert AblationDisplay.from_results(NAMES, VALUES).ax_.get_legend() is None


def test_losses_may_be_negative_and_beyond_one():
    display = AblationDisplay.from_results(
        NAMES, [[-3.0, -2.0], [1.0, 1.5], [5.0, 5.0]], percent=False, score_name="gain"
    )
    low, high = display.ax_.get_xlim()
    ends = np.ravel(list(whiskers(display.ax_).values()))
    assert low < ends.min()
    assert high > ends.max()
    assert display.ax_.get_xlabel().startswith("gain;")


def test_no_share_beyond_all_is_written_at_the_axis():
    display = AblationDisplay.from_results(["a", "b"], [[0.95, 0.99], [0.97, 0.98]])
    low, high = display.ax_.get_xlim()
    assert low == 0
    assert high > 110  # room for the numbers
    assert max(display.ax_.get_xticks()) == 100


def test_what_cannot_be_drawn_as_bars_is_named():
    refused = [
        (([], []), "names is empty"),
        ((["a", "b", "a"], VALUES), r"got \['a'\] more than once"),
        ((NAMES, VALUES[:2]), r"must have shape \(3, n_seeds\)"),
        ((NAMES, VALUES[:, 0]), r"must have shape \(3, n_seeds\)"),
        ((NAMES, [[0.1], [0.2, 0.3], [0.1]]), "Fill missing runs with NaN"),
        ((NAMES, VALUES * 100), "pass percent=False"),
        ((NAMES, np.where([[False], [True], [False]], np.nan, VALUES)), "no number in row 1"),
        ((NAMES, VALUES * np.inf), "infinite"),
    ]
    for arguments, words in refused:
        with pytest.raises(ValueError, match=words):
            AblationDisplay.from_results(*arguments)
    with pytest.raises(ValueError, match="'AGT' is none of the variants"):
        AblationDisplay.from_results(NAMES, VALUES, reference="AGT")
    with pytest.raises(ValueError, match=r"confidence must lie in \(0, 1\)"):
        AblationDisplay.from_results(NAMES, VALUES, confidence=95)


def test_curves_pass_through_means_in_the_order_of_the_values():
    scores = {"CK+": VALUES, "JAFFE": VALUES - 0.2}
    display = ParameterCurveDisplay.from_results([1.0, 0.0, 0.5], scores, parameter_name="margin")
    for line, (name, rows) in zip(display.ax_.lines, scores.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_allclose(line.get_xdata(), [0, 0.5, 1])
        np.testing.assert_allclose(line.get_ydata(), 100 * np.nanmean(rows, axis=1)[[1, 2, 0]])
        np.testing.assert_allclose(display.means_[name], np.nanmean(rows, axis=1))
    assert len({line.get_marker() for line in display.ax_.lines}) == 2
    assert display.ax_.get_xlabel() == "margin"
    assert display.ax_.get_xscale() == "linear"


def test_bands_are_the_intervals():
    display = ParameterCurveDisplay.from_results([0, 1], {"CK+": VALUES[:2]})
    (band,) = display.ax_.collections
    corners = band.get_paths()[0].vertices
    for x, row in enumerate(VALUES[:2]):
        heights = corners[corners[:, 0] == x][:, 1]
        np.testing.assert_allclose(
            [heights.min(), heights.max()], 100 * np.array(interval(row)), rtol=1e-6
        )
    assert "95 % intervals" in display.ax_.get_ylabel()
    single = ParameterCurveDisplay.from_results([0, 1], {"CK+": VALUES[:2, :1]})
    assert "interval" not in single.ax_.get_ylabel()


def test_scale_is_logarithmic_when_asked():
    display = ParameterCurveDisplay.from_results([0.1, 1, 10], {"CK+": VALUES}, log_scale=True)
    assert display.ax_.get_xscale() == "log"
    for values in ([0.0, 1, 10], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="log_scale=True needs positive numbers"):
            ParameterCurveDisplay.from_results(values, {"CK+": VALUES}, log_scale=True)


def test_named_values_stand_side_by_side():
    display = ParameterCurveDisplay.from_results(["0.5", "0.1", "learnable"], {"CK+": VALUES})
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["0.5", "0.1", "learnable"]
    np.testing.assert_allclose(display.ax_.lines[0].get_ydata(), [52, 59, 66])


def test_what_cannot_be_drawn_as_curves_is_named():
    refused = [
        (([0, 1, 2], {}), "of one line or more; got dict of length 0"),
        (([0, 1, 2], VALUES), "got ndarray of length 3"),
        (([0, 1, 1], {"CK+": VALUES}), r"all different; got \[0, 1, 1\]"),
        (([0, 1], {"CK+": VALUES}), r"scores of 'CK\+' must have shape \(2, n_seeds\)"),
        (([0, 1, 2], {"CK+": 100 * VALUES}), "pass percent=False"),
    ]
    for arguments, words in refused:
        with pytest.raises(ValueError, match=words):
            ParameterCurveDisplay.from_results(*arguments)


def test_texts_neither_overlap_nor_leave_the_figure(check_texts):
    rng = np.random.default_rng(0)
    names = [f"variant with a longer name {number}" for number in range(7)]
    values = rng.uniform(0.4, 0.9, (7, 3))
    check_texts(AblationDisplay.from_results(names, values, reference=names[0]).figure_)
    check_texts(AblationDisplay.from_results(names[:1], values[:1]).figure_)
    scores = {f"source to target {number}": values for number in range(4)}
    check_texts(ParameterCurveDisplay.from_results(np.arange(7) / 10, scores).figure_)
    check_texts(
        ParameterCurveDisplay.from_results(10.0 ** np.arange(7), scores, log_scale=True).figure_
    )


def test_given_axes_are_drawn_into():
    left, right = Figure().subplots(1, 2)
    bars = AblationDisplay.from_results(NAMES, VALUES, ax=left)
    lines = ParameterCurveDisplay.from_results([0, 1, 2], {"CK+": VALUES}, ax=right)
    assert (bars.ax_, lines.ax_) == (left, right)
    assert bars.figure_ is lines.figure_ is left.figure
    for display in (bars, lines):
        assert display.plot() is display
        assert display.figure_ is not left.figure
