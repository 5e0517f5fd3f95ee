import tracemalloc

import numpy as np
import pytest

from adafer import TripletMiner


def cosine(a, b):
    return a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12)


def check_triplets(triplets, near, far, tau_n, threshold=0.5):
    """Every triplet is valid, and every skipped anchor had to be."""
    near_codes, far_codes = near > threshold, far > threshold
    faces = np.flatnonzero(~np.isnan(far).any(axis=1))
    taken = set(triplets.anchor.tolist())
    for a, p, n in zip(triplets.anchor, triplets.positive, triplets.negative, strict=True):
        assert np.array_equal(near_codes[a], far_codes[p])
        assert not np.array_equal(near_codes[a], far_codes[n])
        assert p in faces
        assert n in faces
        if tau_n > 0:
            others = [j for j in faces if not np.array_equal(near_codes[a], far_codes[j])]
            best = max(cosine(near[a], far[j]) for j in others)
            found = cosine(near[a], far[n])
            assert found > min(tau_n, best) - 1e-5
    for a in range(len(near)):
        if a in taken or np.isnan(near[a]).any():
            continue
        same = [np.array_equal(near_codes[a], far_codes[j]) for j in faces]
        assert not any(same) or all(same)


@pytest.mark.parametrize("block", range(10))
def test_triplets_are_valid_on_a_thousand_random_problems(block):
    for seed in range(block * 100, block * 100 + 100):
        rng = np.random.default_rng(seed)
        n_source, n_target, n_aus = rng.integers(2, 25), rng.integers(2, 25), rng.integers(1, 6)
        au_src, au_tgt = rng.random((n_source, n_aus)), rng.random((n_target, n_aus))
        if seed % 3 == 0 and n_source > 3:
            au_src[1] = np.nan
        tau_n = [0.0, 0.5, 0.9][seed % 3]
        miner = TripletMiner(tau_n=tau_n).fit(au_src, au_tgt)
        from_source, from_target = miner.draw(seed)
        check_triplets(from_source, au_src, au_tgt, tau_n)
        check_triplets(from_target, au_tgt, au_src, tau_n)
        n_faces = int((~np.isnan(au_src).any(axis=1)).sum())
        assert len(from_source) + from_source.n_skipped == n_faces
        assert len(from_target) + from_target.n_skipped == n_target


def test_positives_and_hard_negatives_are_drawn_uniformly():
    au_src = np.array([[0.9, 0.6, 0.1]])
    au_tgt = np.array(
        [
            [0.8, 0.7, 0.2],
            [0.7, 0.9, 0.0],  # the anchor's code
            [0.9, 0.4, 0.2],
            [0.6, 0.1, 0.1],
            [0.9, 0.9, 0.9],  # similar, another code
            [0.0, 0.0, 1.0],  # unlike
        ]
    )
    hard = [j for j in (2, 3, 4, 5) if cosine(au_src[0], au_tgt[j]) > 0.5]
    assert hard == [2, 3, 4]
    miner = TripletMiner(anchors="source").fit(au_src, au_tgt)
    rng = np.random.default_rng(0)
    drawn = [miner.draw(rng)[0] for _ in range(6000)]
    positives = np.bincount([int(t.positive[0]) for t in drawn], minlength=6) / 6000
    negatives = np.bincount([int(t.negative[0]) for t in drawn], minlength=6) / 6000
    np.testing.assert_allclose(positives, [0.5, 0.5, 0, 0, 0, 0], atol=0.03)
    np.testing.assert_allclose(negatives, [0, 0, 1 / 3, 1 / 3, 1 / 3, 0], atol=0.03)


def test_rare_hard_negatives_are_found_behind_many_easy_ones():
    rng = np.random.default_rng(0)
    au_src = np.array([[0.9, 0.9, 0.0, 0.0]])
    easy = np.zeros((5000, 4))
    easy[:, 2:] = rng.uniform(0.6, 0.9, (5000, 2))
    au_tgt = np.concatenate([easy, [[0.9, 0.9, 0.1, 0.1], [0.9, 0.9, 0.6, 0.0]]])
    (triplets,) = TripletMiner(anchors="source").fit(au_src, au_tgt).draw(0)
    assert triplets.positive.tolist() == [5000]
    assert triplets.negative.tolist() == [5001]


def test_the_most_similar_other_code_serves_where_none_is_hard():
    au_src = np.array([[0.9, 0.0, 0.0]])
    au_tgt = np.array([[0.8, 0.0, 0.0], [0.1, 0.9, 0.0], [0.3, 0.9, 0.0], [0.0, 0.0, 0.9]])
    (triplets,) = TripletMiner(anchors="source", tau_n=0.5).fit(au_src, au_tgt).draw(0)
    assert triplets.negative.tolist() == [2]


def test_tau_zero_takes_any_other_code():
    au_src = np.array([[0.9, 0.0]])
    au_tgt = np.array([[0.8, 0.0], [0.0, 0.9], [0.6, 0.6]])
    miner = TripletMiner(anchors="source", tau_n=0).fit(au_src, au_tgt)
    assert {int(miner.draw(seed)[0].negative[0]) for seed in range(40)} == {1, 2}


def test_near_positives_keep_anchors_that_nobody_matches():
    au_src = np.array([[0.9, 0.9], [0.9, 0.1]])
    au_tgt = np.array([[0.9, 0.4], [0.1, 0.9], [0.1, 0.1]])
    (exact,) = TripletMiner(anchors="source").fit(au_src, au_tgt).draw(0)
    assert exact.anchor.tolist() == [1]
    assert exact.n_skipped == 1
    (near,) = TripletMiner(anchors="source", near_positives=1).fit(au_src, au_tgt).draw(0)
    assert near.anchor.tolist() == [0, 1]
    assert near.positive.tolist() == [0, 0]
    assert (near.negative != near.positive).all()


@pytest.mark.parametrize("anchors", ["source", "target", "both"])
def test_anchors_say_which_domains_are_drawn(anchors):
    rng = np.random.default_rng(0)
    miner = TripletMiner(anchors=anchors).fit(rng.random((40, 3)), rng.random((60, 3)))
    drawn = miner.draw(0)
    assert len(drawn) == (2 if anchors == "both" else 1)
    if anchors == "target":
        assert drawn[0].anchor.max() >= 40


def test_one_seed_gives_one_draw_and_another_another():
    rng = np.random.default_rng(0)
    miner = TripletMiner().fit(rng.random((80, 4)), rng.random((80, 4)))
    first, same, other = miner.draw(1)[0], miner.draw(1)[0], miner.draw(2)[0]
    np.testing.assert_array_equal(first.negative, same.negative)
    assert (first.negative != other.negative).any()


def test_one_code_only_has_no_negative():
    miner = TripletMiner().fit(np.full((4, 2), 0.9), np.full((5, 2), 0.9))
    for triplets in miner.draw(0):
        assert len(triplets) == 0
    assert sum(t.n_skipped for t in miner.draw(0)) == 9


def test_domains_with_other_aus_are_refused():
    with pytest.raises(ValueError, match="X_tgt has 2 AUs but X has 3"):
        TripletMiner().fit(np.eye(3), np.eye(2))


@pytest.fixture(params=["drawn", "similar", "crowded"])
def as_if_many(request, monkeypatch):
    """Settle few anchors in the ways that are for many."""
    monkeypatch.setattr("adafer.hard_negatives._ROUNDS", 1)
    monkeypatch.setattr("adafer.hard_negatives.DRAWN_PAIRS", 1)
    monkeypatch.setattr("adafer.hard_negatives.EXACT_PAIRS", 1)
    monkeypatch.setattr("adafer.hard_negatives._LEAST_DRAWN", 3)
    monkeypatch.setattr("adafer.hard_negatives._CROWDED_DRAWN", 3000)
    monkeypatch.setattr("adafer.hard_negatives._BLOCK", 8 if request.param == "drawn" else 4096)
    monkeypatch.setattr("adafer.hard_negatives._ROWS", 4)
    if request.param != "drawn":
        monkeypatch.setattr("adafer.hard_negatives._PAIRS_PER_FACE", 0)
        monkeypatch.setattr("adafer.neighbors.EXACT_UP_TO", 0)
    if request.param == "crowded":
        monkeypatch.setattr("adafer.hard_negatives.CANDIDATES", 1)
    return request.param


def random_problem(seed):
    rng = np.random.default_rng(seed)
    n_source, n_target, n_aus = rng.integers(2, 25), rng.integers(2, 25), rng.integers(1, 6)
    au_src, au_tgt = rng.random((n_source, n_aus)) ** 2, rng.random((n_target, n_aus)) ** 2
    if seed % 3 == 0 and n_source > 3:
        au_src[1] = np.nan
    return au_src, au_tgt, [0.0, 0.5, 0.9][seed % 3]


def test_triplets_of_many_are_valid_on_random_problems(as_if_many):
    for seed in range(60):
        au_src, au_tgt, tau_n = random_problem(seed)
        miner = TripletMiner(tau_n=tau_n).fit(au_src, au_tgt)
        from_source, from_target = miner.draw(seed)
        check_triplets(from_source, au_src, au_tgt, tau_n)
        check_triplets(from_target, au_tgt, au_src, tau_n)


def test_hard_negatives_of_many_are_drawn_uniformly(as_if_many):
    """With one candidate asked for only the most similar is known; else all are."""
    au_src = np.array([[0.9, 0.6, 0.1]])
    au_tgt = np.tile([[0.0, 0.0, 1.0], [0.0, 0.1, 0.9]], (17, 1))
    au_tgt[0] = [0.8, 0.7, 0.2]  # the anchor's code
    hard = [1, 12, 30]  # compared at different times
    au_tgt[hard] = [[0.9, 0.4, 0.2], [0.6, 0.1, 0.1], [0.9, 0.9, 0.9]]
    miner = TripletMiner(anchors="source").fit(au_src, au_tgt)
    rng = np.random.default_rng(0)
    drawn = np.array([miner.draw(rng)[0].negative[0] for _ in range(2000)])
    shares = np.bincount(drawn, minlength=34) / 2000
    assert set(np.flatnonzero(shares)) <= set(hard)
    if as_if_many != "crowded":
        np.testing.assert_allclose(shares[hard], 1 / 3, atol=0.04)


def test_similar_faces_of_the_own_code_do_not_hide_others(as_if_many):
    """All that is similar has the anchor's code: what is asked for must leave it out."""
    rng = np.random.default_rng(0)
    au_src = np.column_stack([rng.uniform(0.8, 1, 20), np.zeros(20), np.zeros(20)])
    alike = np.column_stack([rng.uniform(0.8, 1, 300), rng.random((300, 2)) * 0.01])
    others = np.array([[0.2, 0.9, 0.0], [0.3, 0.9, 0.0], [0.0, 0.9, 0.9]])
    (triplets,) = (
        TripletMiner(anchors="source").fit(au_src, np.concatenate([alike, others])).draw(0)
    )
    assert len(triplets) == 20
    assert (triplets.negative == 301).all()


def test_what_is_remembered_of_earlier_epochs_changes_no_draw(as_if_many):
    au_src, au_tgt, _ = random_problem(7)
    fresh, used = (TripletMiner(tau_n=0.95).fit(au_src, au_tgt) for _ in range(2))
    for seed in (3, 4):
        used.draw(seed)
    assert any((negatives._soft >= 0).any() for negatives in used._negatives.values())
    for first, second in zip(fresh.draw(5), used.draw(5), strict=True):
        for name in ("anchor", "positive", "negative"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_near_positives_are_drawn_among_the_nearest(as_if_many):
    rng = np.random.default_rng(1)
    au_src, au_tgt = rng.random((30, 5)), rng.random((40, 5))
    (triplets,) = TripletMiner(anchors="source", near_positives=3).fit(au_src, au_tgt).draw(0)
    assert triplets.n_skipped == 0
    for a, p, n in zip(triplets.anchor, triplets.positive, triplets.negative, strict=True):
        assert p != n
        same = ((au_src[a] > 0.5) == (au_tgt > 0.5)).all(axis=1)
        nearest = np.argsort(np.linalg.norm(au_tgt - au_src[a], axis=1))[:3]
        assert p in (np.flatnonzero(same) if same.any() else nearest)
        assert not same[n]


def test_float32_scores_give_the_triplets_of_the_same_scores_in_float64():
    rng = np.random.default_rng(2)
    au_src, au_tgt = (rng.random((90, 4)).astype(np.float32) for _ in range(2))
    narrow = TripletMiner(near_positives=2).fit(au_src, au_tgt).draw(0)
    wide = TripletMiner(near_positives=2).fit(au_src.astype(float), au_tgt.astype(float)).draw(0)
    for first, second in zip(narrow, wide, strict=True):
        for name in ("anchor", "positive", "negative"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_no_matrix_of_all_similarities_is_made_where_nothing_is_hard():
    """Each face shows one AU alone, so that rejection settles no anchor at all."""
    rng = np.random.default_rng(0)
    n = 4000
    both = [rng.random((n, 8), dtype=np.float32) * 0.1 for _ in range(2)]
    for scores in both:
        scores[np.arange(n), rng.integers(8, size=n)] = 0.9
    miner = TripletMiner(anchors="source").fit(*both)
    tracemalloc.start()
    try:
        (triplets,) = miner.draw(0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(triplets) == n
    assert peak < 60e6  # the matrix is 64 MB, and its mask and random numbers as much again
