"""The AU table, names, thresholds and codes."""

import re

import numpy as np
import pytest

from adafer.aus import ACTION_UNITS, EXPRESSION_PROTOTYPES, au_name, parse_au_name
from adafer.aus.facs import au_number, binarize, fit_thresholds
from adafer.datasets.labels import EXPRESSIONS


def test_the_table_is_sorted_and_complete_for_the_prototypes():
    numbers = [unit.number for unit in ACTION_UNITS]
    assert numbers == sorted(set(numbers))
    assert tuple(EXPRESSION_PROTOTYPES) == EXPRESSIONS
    for names in EXPRESSION_PROTOTYPES.values():
        assert {au_number(name) for name in names} <= set(numbers)


@pytest.mark.parametrize("text", ["AU1", "au_1", "AU01", " AU01_r", "AU01_c", "au_1_intensity"])
def test_names_of_other_tools_are_understood(text):
    assert parse_au_name(text) == au_name(1) == "AU01"
    assert parse_au_name(text.replace("1", "12").replace("012", "12")) == "AU12"


@pytest.mark.parametrize("text", ["AU", "AU0", "AU123", "1", "confidence", "AU12x", None])
def test_other_columns_are_no_aus(text):
    with pytest.raises(ValueError, match=re.escape(f"{text!r} is no AU's name")):
        parse_au_name(text)


@pytest.mark.parametrize("number", [0, 100, -1, 1.0, True, "1"])
def test_au_numbers_are_small_integers(number):
    with pytest.raises(ValueError, match="1 to 99"):
        au_name(number)


def test_quantile_thresholds_leave_out_rows_without_a_face():
    rng = np.random.default_rng(0)
    scores = rng.random((50, 4))
    broken = scores.copy()
    broken[::5, rng.integers(4)] = np.nan
    expected = np.quantile(np.delete(scores, np.s_[::5], axis=0), 0.7, axis=0)
    np.testing.assert_array_equal(fit_thresholds(broken), expected)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_quantile_sets_the_share_of_faces_that_show_an_au(quantile):
    scores = np.random.default_rng(1).random((1000, 3))
    codes = binarize(scores, fit_thresholds(scores, quantile=quantile))
    np.testing.assert_allclose(codes.mean(axis=0), 1 - quantile, atol=0.002)


def test_columns_of_zeros_and_ones_are_cut_in_the_middle():
    scores = np.array([[0, 0.2], [0, 0.3], [0, 0.4], [1, 0.6]])
    thresholds = fit_thresholds(scores, quantile=0.9)
    assert thresholds[0] == 0.5
    np.testing.assert_array_equal(binarize(scores, thresholds)[:, 0], [0, 0, 0, 1])


@pytest.mark.parametrize("column", [[0.1, 0.9, 0.9, 0.9], [0.0, 0.0, 0.0, 0.4]])
def test_crowded_columns_still_have_both_codes(column):
    scores = np.array([column, [0.1, 0.2, 0.3, 0.4]]).T
    codes = binarize(scores, fit_thresholds(scores, quantile=0.7))
    assert set(codes[:, 0]) == {0, 1}


def test_a_fixed_threshold_is_taken_for_all():
    scores = np.array([[0.1, 0.2], [0.3, 0.4]])
    np.testing.assert_array_equal(fit_thresholds(scores, threshold=0.25), [0.25, 0.25])
    np.testing.assert_array_equal(
        fit_thresholds(scores[:1], threshold=1), [1, 1]
    )  # one row will do


def test_no_face_at_all_is_an_error():
    scores = np.full((3, 2), np.nan)
    scores[0, 0] = 0.5  # half a row is no row
    for threshold in ("quantile", 0.5):
        with pytest.raises(ValueError, match="No face was found in any of the 3 pictures"):
            fit_thresholds(scores, threshold=threshold)


def test_equal_scores_everywhere_are_an_error():
    with pytest.raises(ValueError, match="All 2 AUs are constant over the 3 pictures"):
        fit_thresholds(np.tile([0.2, 0.4], (3, 1)))


def test_constant_columns_are_named():
    scores = np.array([[0.1, 0.5, 0.0], [0.2, 0.5, 0.0], [0.3, 0.5, 0.0]])
    with pytest.warns(UserWarning, match="2 of 3 AUs are constant .*: AU02, AU43"):
        thresholds = fit_thresholds(scores, au_names=["AU01", "AU02", "AU43"])
    assert not binarize(scores, thresholds)[:, 1:].any()
    with pytest.warns(UserWarning, match="column 1, column 2"):
        fit_thresholds(scores)


@pytest.mark.parametrize(
    "setting", [{"threshold": "mean"}, {"threshold": 1.5}, {"quantile": 0}, {"quantile": 1}]
)
def test_bad_settings_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        fit_thresholds(np.array([[0.1], [0.2]]), **setting)


@pytest.mark.parametrize("shape", [(3,), (0, 2), (2, 0), (2, 2, 2)])
def test_scores_are_tables(shape):
    with pytest.raises(ValueError, match="n_samples, n_aus"):
        fit_thresholds(np.zeros(shape))


def test_codes_equal_those_of_a_slow_version():
    rng = np.random.default_rng(2)
    scores, thresholds = rng.random((40, 5)).round(1), rng.random(5).round(1)
    scores[rng.random((40, 5)) < 0.1] = np.nan
    slow = [
        [0] * 5 if np.isnan(row).any() else [int(row[i] > thresholds[i]) for i in range(5)]
        for row in scores
    ]
    codes = binarize(scores, thresholds)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, slow)


def test_codes_need_one_threshold_per_au():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2,\)"):
        binarize(np.zeros((2, 3)), np.zeros(2))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_codes_of_narrow_scores_are_those_of_the_same_scores_in_float64(dtype):
    rng = np.random.default_rng(3)
    scores = rng.random((500, 4))
    scores = (scores > 0.5).astype(dtype) if dtype == np.uint8 else scores.astype(dtype)
    # a threshold at a score, and others just around it, which float32 cannot tell apart
    exact = scores[0].astype(np.float64)
    for threshold in (exact, np.nextafter(exact, 2), np.nextafter(exact, -1).clip(0)):
        np.testing.assert_array_equal(
            binarize(scores, threshold), binarize(scores.astype(np.float64), threshold)
        )
    between = (scores[0].astype(np.float64) + scores[1]) / 2 + 1e-12
    np.testing.assert_array_equal(
        binarize(scores, between), binarize(scores.astype(np.float64), between)
    )


def test_thresholds_of_float32_scores_are_those_of_the_same_scores_in_float64():
    scores = np.random.default_rng(4).random((501, 3)).astype(np.float32)
    scores[7] = np.nan
    np.testing.assert_array_equal(fit_thresholds(scores), fit_thresholds(scores.astype(float)))
