"""What the README and the docstrings show is run."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import adafer
from adafer import datasets

ROOT = Path(__file__).parent.parent
# rendering needs an extra and asset files; __main__ runs the command
MODULES = [
    module.name
    for module in pkgutil.walk_packages(adafer.__path__, "adafer.")
    if ".render" not in module.name and not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


@pytest.mark.parametrize("name", sorted(set(adafer.__all__) - {"__version__"}))
def test_each_public_name_can_be_the_first_import(name):
    """In a process of its own: modules that import each other work in one order only."""
    code = f"from adafer import {name}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_public_classes_have_examples():
    finder = doctest.DocTestFinder()
    for name in adafer.__all__:
        if name != "__version__":
            assert any(test.examples for test in finder.find(getattr(adafer, name))), name


def test_readme_code_runs(tmp_path, monkeypatch):
    """On few faces and for one epoch: the code must be right, it need not be good."""
    monkeypatch.chdir(tmp_path)
    load = datasets.load_facs_faces

    def load_some(**options):
        faces = load(**options)
        some = np.concatenate(
            [np.flatnonzero(faces.target == name)[:4] for name in faces.target_names]
        )
        return type(faces)(images=faces.images[some], target=faces.target[some])

    monkeypatch.setattr(datasets, "load_facs_faces", load_some, raising=False)
    rng = np.random.default_rng(0)
    names = {
        "X_src": load_some(domain="studio").images,
        "y_src": load_some(domain="studio").target,
        "X_tgt": load_some(domain="wild").images,
        "au_src": rng.random((28, 3)),
        "au_tgt": rng.random((28, 3)),
    }
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        block = block.replace("epochs=5", "epochs=1").replace("cv=3", "cv=2")
        exec(compile(block, "README.md", "exec"), names)
    assert names["clf"].predict_proba(names["X_tgt"]).shape == (28, 7)
    assert (tmp_path / "model").is_dir()
    assert names["search"].best_params_["recipe"] in ("fused", "paper")


def test_example_of_two_folders_runs(tmp_path):
    from PIL import Image

    faces = datasets.load_facs_faces(domain="studio", split="test")
    for name in ("happiness", "surprise"):
        (tmp_path / "source" / name).mkdir(parents=True)
        for i in np.flatnonzero(faces.target == name)[:12]:
            Image.fromarray(faces.images[i]).save(tmp_path / "source" / name / f"{i}.png")
    (tmp_path / "target").mkdir()
    for i, face in enumerate(datasets.load_facs_faces(domain="wild").images[:12]):
        Image.fromarray(face).save(tmp_path / "target" / f"{i}.png")
    (tmp_path / "target" / "broken.png").write_bytes(b"no picture")
    code = (ROOT / "examples" / "two_folders.py").read_text()
    quick = code.replace('"resnet18"', '"convnet"').replace("epochs=10", "epochs=1")
    assert quick != code
    names = {"__name__": "example", "__doc__": ""}
    exec(compile(quick, "two_folders.py", "exec"), names)
    names["main"](str(tmp_path / "source"), str(tmp_path / "target"), str(tmp_path / "model"))
    assert adafer.AdaFERClassifier.load(tmp_path / "model").classes_.tolist() == [
        "happiness",
        "surprise",
    ]
