import mmap
import warnings

import numpy as np
import pytest
import torch

from adafer.deep import _ahead, batches
from adafer.deep.batches import Feed, augment, mirror, shuffled_batches

CPU = torch.device("cpu")


def two_domains(n_source=9, n_target=5):
    rng = np.random.default_rng(0)
    shape = (n_source + n_target, 6, 6, 3)
    both = rng.integers(0, 256, shape, dtype=np.uint8)
    return both, [both[:n_source], both[n_source:]]


def mapped(parts, folder):
    found = []
    for i, part in enumerate(parts):
        part.tofile(folder / f"{i}.bin")
        found.append(np.memmap(folder / f"{i}.bin", np.uint8, mode="r", shape=part.shape))
    return found


def test_feed_gathers_faces_of_both_domains_as_fractions():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    target = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    feed = Feed([source, target], torch.device("cpu"))
    batch = feed.batch(torch.tensor([6, 0]))
    assert len(feed) == 9
    np.testing.assert_allclose(batch[0].permute(1, 2, 0), target[1] / 255, rtol=1e-6)
    np.testing.assert_allclose(batch[1].permute(1, 2, 0), source[0] / 255, rtol=1e-6)


def test_rows_of_both_domains_come_in_the_order_asked_for():
    both, parts = two_domains()
    rows = torch.tensor([3, 13, 0, 9, 8, 3, 13])
    picked = Feed(parts, CPU).gather(rows)
    assert picked.dtype == torch.uint8
    np.testing.assert_array_equal(picked, both[rows])
    np.testing.assert_array_equal(Feed([both], CPU).gather(rows), both[rows])


def test_arrays_are_not_copied_and_not_changed():
    both, _ = two_domains()
    both.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        feed = Feed([both], CPU)
    feed.batch(torch.tensor([0, 1])).zero_()
    assert feed.parts[0].data_ptr() == both.ctypes.data
    assert both[:2].any()


def test_a_batch_that_was_expected_is_there_and_others_are_gathered(tmp_path, monkeypatch):
    _, parts = two_domains()
    feed = Feed(mapped(parts, tmp_path), CPU)
    plain = Feed(parts, CPU)
    gathered = []
    monkeypatch.setattr(
        feed._ahead, "_collect", lambda rows: gathered.append(rows.tolist()) or plain._collect(rows)
    )
    order = [torch.tensor(rows) for rows in ([1, 9], [2, 10], [3, 11], [4, 12])]
    feed.expect(order)
    asked = [order[0], torch.tensor([7]), order[1], order[2], order[2], torch.tensor([0]), order[3]]
    for rows in asked:
        torch.testing.assert_close(feed.batch(rows), plain.batch(rows), rtol=0, atol=0)
    assert gathered == [rows.tolist() for rows in order]  # each ahead once
    feed.expect(order[2:])  # a new epoch
    assert torch.equal(feed.batch(order[2]), plain.batch(order[2]))


def test_an_error_while_ahead_comes_where_the_batch_is_asked_for(tmp_path):
    _, parts = two_domains()
    feed = Feed(mapped(parts, tmp_path), CPU)
    beyond = torch.tensor([99])
    feed._ahead._collect = lambda rows: (parts[0][rows], None)
    feed.expect([beyond])
    with pytest.raises(IndexError):
        feed.batch(beyond)


def test_inputs_that_fit_the_device_are_gathered_there(monkeypatch):
    both, parts = two_domains()
    rows = torch.tensor([13, 0, 9])
    expected = Feed(parts, CPU).batch(rows)
    monkeypatch.setattr(batches, "fits_device", lambda n_bytes, device: n_bytes <= both.nbytes)
    feed = Feed(parts, CPU)
    monkeypatch.setattr(feed, "_collect", None)
    feed.expect([rows])
    assert torch.equal(feed.batch(rows), expected)


def test_mapped_pages_are_given_back_but_never_what_was_written(tmp_path, monkeypatch):
    both, parts = two_domains()
    files = mapped(parts, tmp_path)
    monkeypatch.setattr(_ahead, "_MAPPED_BYTES", 250)
    monkeypatch.setattr(_ahead, "_PAGE_BYTES", 20)
    advised = []
    pages = _ahead.Pages(files)
    monkeypatch.setattr(
        pages, "_mappings", [type("M", (), {"madvise": lambda self, how: advised.append(how)})()]
    )
    for _ in range(5):
        pages.use(2, 60)  # 100 with their pages
    assert advised == [mmap.MADV_DONTNEED] * 2
    private = np.memmap(tmp_path / "0.bin", np.uint8, mode="c", shape=parts[0].shape)
    private[:] = 7
    feed = Feed([private, files[1]], CPU)
    rows = torch.arange(14)
    for _ in range(3):
        assert (feed.gather(rows)[:9] == 7).all()
    np.testing.assert_array_equal(Feed(files, CPU).gather(rows), both)


def test_points_of_mirrored_faces_change_sides():
    points = torch.rand(4, 5, 2, generator=torch.Generator().manual_seed(0))
    found = mirror(points)
    for old, new in zip(points, found, strict=True):
        for i, j in enumerate([1, 0, 2, 4, 3]):
            assert torch.equal(new[i], torch.stack([1 - old[j, 0], old[j, 1]]))
    torch.testing.assert_close(mirror(found), points)


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
