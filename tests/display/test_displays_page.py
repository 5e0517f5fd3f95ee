"""The page on displays, and what the package of displays needs."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adafer import datasets, display

PAGE = Path(__file__).parents[2] / "docs" / "displays.md"


# rare units are absent from so few faces
@pytest.mark.filterwarnings("ignore:.*carry no information")
def test_page_runs(tmp_path, monkeypatch):
    """On few faces and for one epoch: the code must be right, it need not be good."""
    monkeypatch.chdir(tmp_path)
    load = datasets.load_facs_faces

    def load_some(**options):
        faces = load(**options)
        rows = np.concatenate(
            [np.flatnonzero(faces.target == name)[:4] for name in faces.target_names]
        )
        some = {name: faces[name][rows] for name in ("images", "target", "clean_target", "au")}
        return type(faces)(**some)

    monkeypatch.setattr(datasets, "load_facs_faces", load_some, raising=False)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    for block in blocks:
        quick = block.replace('"epochs": 5', '"epochs": 1, "device": "cpu"')
        exec(compile(quick.replace("48", "16"), PAGE.name, "exec"), names)
    pictures = {path.name for path in tmp_path.iterdir()}
    assert pictures == {
        f"{name}.png"
        for name in (
            "features",
            "pseudo_labels",
            "coverage",
            "confusion",
            "ablation",
            "curve",
            "recalls",
            "predictions",
            "action_units",
            "history",
        )
    }
    for name in pictures:
        with Image.open(tmp_path / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def test_page_lists_every_display():
    page = PAGE.read_text(encoding="utf-8")
    for name in display.__all__:
        if name.endswith("Display"):
            assert f"| `{name}`" in page or f", `{name}`" in page, name


def test_displays_are_imported_without_matplotlib():
    code = "import sys; sys.modules['matplotlib'] = None; import adafer.display"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
