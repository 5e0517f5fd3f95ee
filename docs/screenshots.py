"""Make the screenshots of docs/pages.md, of rendered faces alone.

    python docs/screenshots.py [--model FOLDER]

Needs playwright (``pip install playwright``) and a Chromium (``apt-get install chromium``). Without
``--model`` a small network is trained first, which takes some minutes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from adafer import AdaFERClassifier
from adafer.datasets import load_facs_faces
from adafer.pages import write_report

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Write report.jpg, serve.jpg and serve_narrow.jpg."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a saved model of the seven rendered classes")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("no chromium is installed: apt-get install chromium")
    given = parser.parse_args().model
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        place = Path(folder)
        model = place / "wild_model"
        if given is None:
            train(model)
        else:
            shutil.copytree(given, model)
        unseen = load_facs_faces(domain="wild", split="test")
        browser = running.chromium.launch(executable_path=chromium)
        show_report(browser, model, unseen, place)
        show_serve(browser, model, unseen, place)
        browser.close()


def train(model: Path) -> None:
    """Adapt a small network from studio to wild."""
    source = load_facs_faces(domain="studio", split="train")
    target = load_facs_faces(domain="wild", split="train")
    AdaFERClassifier(
        "convnet",
        image_size=48,
        source_epochs=6,
        epochs=3,
        batch_size=64,
        learning_rate=2e-3,
        random_state=0,
        verbose=1,
    ).fit(source.images, source.target, target.images).save(model)


def show_report(browser: Browser, model: Path, unseen: object, place: Path) -> None:
    """Take the scores, and the map with one face pointed at."""
    for row in range(0, len(unseen.images), 3):  # type: ignore[attr-defined]
        folder = place / "unseen_faces" / str(unseen.clean_target[row])  # type: ignore[attr-defined]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(unseen.images[row]).save(folder / f"{row:03}.png")  # type: ignore[attr-defined]
    page = browser.new_page(viewport={"width": 1000, "height": 1150})
    page.goto(write_report(model, place / "r.html", faces=place / "unseen_faces").as_uri())
    figure = page.locator("svg[aria-label^='Map of the faces']")
    page.locator("h3", has_text="Labels on faces").evaluate("node => node.scrollIntoView()")
    figure.locator("[data-tip]").nth(20).hover()
    page.screenshot(path=IMAGES / "report.jpg", quality=80)


def show_serve(browser: Browser, model: Path, unseen: object, place: Path) -> None:
    """Drop a picture of two faces, on a wide light and a narrow dark screen."""
    picture = np.full((300, 620, 3), (104, 118, 128), dtype=np.uint8)
    for number, row in enumerate((1, 21)):
        face = Image.fromarray(unseen.images[row]).resize((220, 220))  # type: ignore[attr-defined]
        left = 50 + 300 * number
        picture[40:260, left : left + 220] = np.asarray(face)
    Image.fromarray(picture).save(place / "two_faces.png")
    command = [sys.executable, "-m", "adafer", "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address is not None
            for name, width, height, scheme in (
                ("serve", 1000, 1250, "light"),
                ("serve_narrow", 390, 1250, "dark"),
            ):
                size = {"width": width, "height": height}
                page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
                page.goto(address[0])
                page.set_input_files("#files", place / "two_faces.png")
                page.locator("#status", has_text="looked at").wait_for()
                page.screenshot(path=IMAGES / f"{name}.jpg", quality=80)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
