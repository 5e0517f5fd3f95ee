"""The pages on scikit-learn and on choosing a model run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest
import sklearn

from adafer import datasets, model_selection

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)


# rare units are absent from so few faces
@pytest.mark.filterwarnings("ignore:.*carry no information")
@pytest.mark.parametrize("page", ["scikit_learn.md", "model_selection.md"])
def test_page_runs(page, tmp_path, monkeypatch):
    """On few faces and for one epoch: the code must be right, it need not be good."""
    monkeypatch.chdir(tmp_path)
    load = datasets.load_facs_faces

    def load_some(**options):
        faces = load(**options)
        some = np.concatenate(
            [np.flatnonzero(faces.target == name)[:6] for name in faces.target_names[:3]]
        )
        names = ("images", "target", "clean_target", "identity")
        return type(faces)(**{name: faces[name][some] for name in names})

    monkeypatch.setattr(datasets, "load_facs_faces", load_some, raising=False)
    names = {}
    with sklearn.config_context():
        for block in blocks(page):
            quick = re.sub(r"epochs=\d+", "epochs=1", block).replace(
                "image_size=48", "image_size=16"
            )
            quick = quick.replace('"convnet"', '"convnet", device="cpu"')
            exec(compile(quick, page, "exec"), names)
    assert "enable_metadata_routing" in "".join(blocks(page))
    assert names["search"].best_params_


def test_page_lists_every_scorer():
    page = (DOCS / "model_selection.md").read_text("utf-8")
    for name in model_selection.__all__:
        assert f"| `{name}`" in page, name
