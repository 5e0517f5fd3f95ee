"""What the page on many faces shows is run, on few."""

import re
from pathlib import Path

import numpy as np

from adafer import AUGuidedAnnotator

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"


def test_page_runs_and_pieces_give_the_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    scores = rng.random((300, 4), dtype=np.float32)
    y = np.array(["fear", "joy", "sad"])[rng.integers(3, size=300)]
    target = rng.random((250, 4), dtype=np.float32)
    np.save("au_tgt.npy", target)
    pieces = []
    for start in (0, 100, 200):
        np.save(f"{start}.npy", scores[start : start + 100])
        pieces.append((f"{start}.npy", y[start : start + 100]))
    names = {"y_src": y, "source_pieces": pieces}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    blocks = [block.replace("n_jobs=2", "n_jobs=1").replace("100_000", "100") for block in blocks]
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    expected = AUGuidedAnnotator(threshold=0.5).fit(scores, y).annotate(target).labels
    saved = np.concatenate([np.load(f"labels_{start}.npy") for start in (0, 100, 200)])
    np.testing.assert_array_equal(saved, expected.astype(np.float32))
    np.testing.assert_array_equal(names["whole"].annotate(target).labels, expected)
