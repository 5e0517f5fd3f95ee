import numpy as np
import pytest
import torch

from adafer.deep.batches import Feed, augment, shuffled_batches


def test_feed_gathers_faces_of_both_domains_as_fractions():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    target = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    feed = Feed([source, target], torch.device("cpu"))
    batch = feed.batch(torch.tensor([6, 0]))
    assert len(feed) == 9
    np.testing.assert_allclose(batch[0].permute(1, 2, 0), target[1] / 255, rtol=1e-6)
    np.testing.assert_allclose(batch[1].permute(1, 2, 0), source[0] / 255, rtol=1e-6)


def test_features_are_passed_on_as_they_are():
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    batch = Feed([features], torch.device("cpu")).batch(torch.tensor([2]))
    assert batch.tolist() == [[4.0, 5.0]]


def test_flips_are_drawn_per_picture():
    batch = torch.arange(200 * 3 * 4 * 4, dtype=torch.float32).reshape(200, 3, 4, 4)
    out = augment(batch, torch.Generator().manual_seed(0), erase=0.0)
    flipped = torch.tensor([torch.equal(o, b.flip(2)) for o, b in zip(out, batch, strict=True)])
    kept = torch.tensor([torch.equal(o, b) for o, b in zip(out, batch, strict=True)])
    assert (flipped | kept).all()
    assert 70 < int(flipped.sum()) < 130


def test_erased_parts_are_rectangles_of_the_promised_area():
    batch = torch.ones(300, 3, 40, 40)
    out = augment(batch, torch.Generator().manual_seed(0), flip=0.0, erase=1.0)
    for picture in out:
        hole = picture[0] == 0
        assert torch.equal(picture[1] == 0, hole)
        rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert int(hole.sum()) == height * width
        assert 0.01 < height * width / 1600 < 0.25
    half = augment(batch, torch.Generator().manual_seed(1), flip=0.0, erase=0.5)
    share = (half == 0).flatten(1).any(1).float().mean().item()
    assert 0.4 < share < 0.6


def test_one_generator_seed_gives_one_augmentation():
    batch = torch.randn(20, 3, 12, 12)
    first, second = (augment(batch, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("n_rows", [1, 2, 127, 128, 129, 257])
def test_batches_hold_each_row_once_and_none_is_tiny(n_rows):
    batches = list(shuffled_batches(n_rows, 128, np.random.default_rng(0)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(n_rows))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= 128
    assert max(sizes) - min(sizes) <= 1
