"""What the page on data sets shows is run, on tiny copies of the data sets."""

import re
from pathlib import Path

import pytest

from adafer import datasets

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:The part .* has no faces of")  # there are few faces
def test_code_of_the_page_runs(layouts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layouts.fer2013(Path("FER2013"))
    layouts.ferplus(Path("FERPlus"), [[9 * (c == r) for c in range(10)] for r in range(10)])
    layouts.raf_db(Path("RAF-DB"))
    layouts.ck_plus(Path("CK+"))
    layouts.jaffe(Path("JAFFE"))
    layouts.expw(Path("ExpW"))
    layouts.affectnet(Path("AffectNet"))
    layouts.affectnet_newer(Path("AffectNet8"))
    layouts.sfew(Path("SFEW"))
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "datasets.md", "exec"), names)
    assert names["in_memory"].images.shape == (7, 32, 32, 3)
    assert names["sure"].target_names == [
        "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
    ]  # fmt: skip
    assert set(names["test"].subject) < set(names["faces"].subject)
    assert len(names["test"].unlisted) == 16  # what was not loaded of eight sequences


@pytest.mark.parametrize("name", [name for name in datasets.__all__ if name.startswith("load_")])
def test_every_reader_is_on_the_page(name):
    if name != "load_image_paths":
        assert name in PAGE
