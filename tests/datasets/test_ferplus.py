"""The votes of FERPlus and how they become labels."""

import numpy as np
import pytest

from adafer.datasets import load_ferplus, majority_label, plurality_label, vote_probabilities

NAMES = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
)  # fmt: skip


def random_votes(n=4000):
    """Ten votes each, from faces all agree on to faces nobody can read."""
    rng = np.random.default_rng(0)
    shares = np.concatenate([rng.dirichlet(np.full(10, a), n // 4) for a in (0.05, 0.2, 0.5, 2)])
    return rng.multinomial(10, shares)


def slow_majority(row):
    counts = [0 if count <= 1 else count for count in row]
    peak = max(counts)
    if peak * 2 <= sum(counts):
        return ""
    return [*NAMES, "", ""][counts.index(peak)]


def slow_plurality(row):
    winners = [column for column in range(10) if row[column] == max(row)]
    return NAMES[winners[0]] if len(winners) == 1 and winners[0] < 8 else ""


def slow_probabilities(row):
    """Take columns one by one, as the rule says; None where the picture is left out."""
    left = [0 if count <= 1 else count for count in row]
    total, held, taken, met_no_expression = sum(left), 0, {}, False
    count = 0
    while held < 0.75 * total and count < 3 and not met_no_expression:
        peak = max(left)
        for column in range(10):
            if left[column] == peak:
                left[column] = 0
                held += peak
                if column >= 8:
                    met_no_expression = True
                    if not taken:
                        return None
                    break
                taken[column] = peak
                count += 1
    if count > 3 or sum(taken.values()) <= 0.5 * total:
        return None
    return [taken.get(column, 0) / sum(taken.values()) for column in range(8)]


def test_majority_agrees_with_a_slow_version():
    votes = random_votes()
    labels = majority_label(votes)
    assert labels.tolist() == [slow_majority(row) for row in votes.tolist()]
    assert 0.2 < np.mean(labels == "") < 0.8


def test_plurality_agrees_with_a_slow_version():
    votes = random_votes()
    labels = plurality_label(votes)
    assert labels.tolist() == [slow_plurality(row) for row in votes.tolist()]
    assert 0.1 < np.mean(labels == "") < 0.8


def test_probabilities_agree_with_a_slow_version():
    votes = random_votes()
    expected = [slow_probabilities(row) for row in votes.tolist()]
    kept = [row is not None for row in expected]
    assert 0.2 < np.mean(kept) < 0.9
    given = vote_probabilities(votes)
    np.testing.assert_allclose(given, [row or [0] * 8 for row in expected], atol=1e-12)
    np.testing.assert_allclose(given.sum(axis=1), np.array(kept), atol=1e-12)


@pytest.mark.parametrize(
    ("votes", "majority", "plurality"),
    [
        ([5, 4, 1, 0, 0, 0, 0, 0, 0, 0], "neutral", "neutral"),  # 5 of 9, one is a slip
        ([5, 5, 0, 0, 0, 0, 0, 0, 0, 0], "", ""),  # half is not more than half
        ([4, 3, 3, 0, 0, 0, 0, 0, 0, 0], "", "neutral"),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], "", ""),  # only slips
        ([0, 0, 0, 0, 0, 0, 0, 0, 8, 2], "", ""),  # unknown
        ([4, 0, 0, 0, 0, 0, 0, 0, 0, 6], "", ""),  # no face
        ([3, 0, 0, 0, 0, 0, 0, 0, 3, 4], "", ""),  # these two columns count too
    ],
)
def test_rules_at_their_edges(votes, majority, plurality):
    assert majority_label(np.array([votes])).tolist() == [majority]
    assert plurality_label(np.array([votes])).tolist() == [plurality]


@pytest.fixture
def root(layouts, tmp_path):
    return layouts.ferplus(
        tmp_path,
        [
            [8, 2, 0, 0, 0, 0, 0, 0, 0, 0],
            [4, 3, 3, 0, 0, 0, 0, 0, 0, 0],
            [0, 9, 0, 0, 0, 0, 0, 0, 1, 0],  # no image name
            [0, 0, 0, 0, 0, 0, 3, 7, 0, 0],
            [0, 0, 0, 0, 0, 0, 6, 4, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],
        ],
        nameless=(2,),
    )


def test_pictures_labels_and_votes_stay_together(root):
    faces = load_ferplus(root)
    assert faces.row.tolist() == faces.images[:, 0, 0].tolist() == [0, 4]
    assert faces.target.tolist() == ["neutral", "fear"]
    assert faces.name.tolist() == ["fer0000000.png", "fer0000004.png"]
    assert faces.split.tolist() == ["train", "val"]
    assert faces.votes.tolist() == [
        [8, 2, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 6, 4, 0, 0],
    ]
    assert faces.vote_names == [*NAMES, "unknown", "NF"]


def test_rules_and_contempt_decide_what_is_kept(root):
    assert load_ferplus(root, contempt=True).row.tolist() == [0, 3, 4]
    assert load_ferplus(root, label_rule="plurality").row.tolist() == [0, 1, 4]
    assert load_ferplus(root, label_rule="plurality", split="train").row.tolist() == [0]


def test_probabilities_come_with_the_rule_of_that_name(root):
    faces = load_ferplus(root, label_rule="probability", contempt=True)
    assert faces.row.tolist() == [0, 1, 3, 4]
    assert faces.target.tolist() == ["neutral", "neutral", "contempt", "fear"]
    # eight of ten are three quarters: the second column is not reached
    np.testing.assert_allclose(faces.probabilities[0], [1, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(faces.probabilities[3], [0, 0, 0, 0, 0, 0, 0.6, 0.4])
    assert faces.probability_names == list(NAMES)
    seven = load_ferplus(root, label_rule="probability")
    assert seven.row.tolist() == [0, 1, 4]
    np.testing.assert_allclose(seven.probabilities[2], [0, 0, 0, 0, 0, 0, 1])
    assert seven.probability_names == list(NAMES[:7])
    assert "probabilities" not in load_ferplus(root)


def test_a_rule_of_ones_own_gives_names_or_probabilities(root):
    def sure(votes):
        return [NAMES[row.argmax()] if row[:8].max() >= 7 else None for row in votes]

    assert load_ferplus(root, label_rule=sure, contempt=True).row.tolist() == [0, 3]

    def shares(votes):
        return votes[:, :8]

    faces = load_ferplus(root, label_rule=shares)
    assert faces.row.tolist() == [0, 1, 4]
    np.testing.assert_allclose(faces.probabilities[1], [0.4, 0.3, 0.3, 0, 0, 0, 0])
    for wrong in (lambda votes: votes, lambda votes: votes[:, 0]):
        with pytest.raises(ValueError, match=r"label_rule gave an array of shape .*expected names"):
            load_ferplus(root, label_rule=wrong)
    assert load_ferplus(root, label_rule=lambda votes: ["Happy"] * len(votes)).target_names == [
        "happiness"
    ]
    with pytest.raises(ValueError, match="'bored' is no expression"):
        load_ferplus(root, label_rule=lambda votes: ["bored"] * len(votes))
    with pytest.raises(ValueError, match="negative probabilities"):
        load_ferplus(root, label_rule=lambda votes: -votes[:, :8])
    with pytest.raises(ValueError, match=r"label_rule must be one of \['majority'"):
        load_ferplus(root, label_rule="most")


def test_the_pictures_may_lie_elsewhere(root, tmp_path):
    (tmp_path / "old").mkdir()
    (root / "fer2013.csv").rename(tmp_path / "old" / "fer2013.csv")
    with pytest.raises(FileNotFoundError, match=r"holds none of \['fer2013.csv'"):
        load_ferplus(root)
    for place in (tmp_path / "old", tmp_path / "old" / "fer2013.csv"):
        assert len(load_ferplus(root / "fer2013new.csv", fer2013=place).target) == 2


@pytest.mark.parametrize("change", ["shorter", "reordered"])
def test_tables_that_do_not_belong_together_are_refused(root, change):
    lines = (root / "fer2013.csv").read_text().splitlines(keepends=True)
    lines = lines[:-1] if change == "shorter" else [lines[0], *lines[:0:-1]]
    (root / "fer2013.csv").write_text("".join(lines))
    with pytest.raises(ValueError, match=r"rows of .*fer2013new.csv' are not those"):
        load_ferplus(root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [(",NF", "", r"lacks the columns \['nf'\]"), (",8,2,", ",many,2,", "damaged row")],
)
def test_damaged_tables_of_votes_are_refused(root, old, new, message):
    table = root / "fer2013new.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        load_ferplus(root)
