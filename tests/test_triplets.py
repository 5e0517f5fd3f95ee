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
    with pytest.raises(ValueError, match="au_tgt has 2 AUs but au_src has 3"):
        TripletMiner().fit(np.eye(3), np.eye(2))
