import numpy as np
import pytest
from scipy import stats

from adafer.study.statistics import agreement, gap_closed, paired_difference, score, summarise


def test_scores_equal_slow_ones():
    rng = np.random.default_rng(0)
    names = np.array(["anger", "fear", "joy", "sad"])
    # "sad" never is the truth, "fear" never is predicted
    truth, predicted = names[rng.integers(0, 3, 90)], names[rng.choice([0, 2, 3], 90)]
    found = score(truth, predicted)
    recalls, f1s = {}, []
    for name in ("anger", "fear", "joy"):
        hits = sum(t == p == name for t, p in zip(truth, predicted, strict=True))
        recalls[name] = hits / sum(truth == name)
        f1s.append(2 * hits / (sum(truth == name) + sum(predicted == name)))
    assert found["recall"] == pytest.approx(recalls)
    assert found["balanced_accuracy"] == pytest.approx(np.mean(list(recalls.values())))
    assert found["macro_f1"] == pytest.approx(np.mean(f1s))
    assert found["accuracy"] == np.mean([t == p for t, p in zip(truth, predicted, strict=True)])


def test_intervals_are_students():
    values = [0.61, 0.55, 0.7, 0.64]
    found = summarise(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert found.mean - found.half_width == pytest.approx(low)
    assert found.mean + found.half_width == pytest.approx(high)
    assert found.n_seeds == 4
    assert np.isnan(summarise([0.5]).half_width)
    assert summarise([]).n_seeds == 0


def test_differences_are_paired_by_seed():
    ours = {0: 0.7, 1: 0.5, 2: 0.9, 5: 0.1}
    reference = {2: 0.8, 1: 0.45, 0: 0.55, 7: 0.0}
    found = paired_difference(ours, reference)
    test = stats.ttest_rel([0.7, 0.5, 0.9], [0.55, 0.45, 0.8])
    low, high = test.confidence_interval(0.95)
    assert found.n_seeds == 3
    assert found.mean == pytest.approx((low + high) / 2)
    assert found.half_width == pytest.approx((high - low) / 2)


def test_the_share_of_the_gap_is_gain_over_gap():
    assert gap_closed({0: 0.6, 1: 0.7}, {0: 0.5, 1: 0.5}, {0: 0.9, 1: 0.9}) == pytest.approx(0.375)
    assert gap_closed({0: 0.6}, {0: 0.5}, {0: 0.5}) is None
    assert gap_closed({0: 0.6}, {1: 0.5}, {0: 0.5}) is None


def test_agreement_counts_equal_labels():
    assert agreement(["a", "b", "c", "d"], ["a", "c", "c", "d"]) == 0.75
