"""Both pages in a browser, where one is installed: ``apt-get install chromium``, playwright."""

import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from adafer.pages import write_report
from adafer.pages.analysis import PictureAnalyst, installed_aligner
from adafer.pages.server import PageServer
from adafer.persistence import load_model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


class Watched:
    """A page, what it asked for, and what its console said."""

    def __init__(self, browser, url, width, scheme):
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.asked, self.said = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(url)

    def fits(self):
        """Whether the page is not wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    def contrast(self, selector):
        """Contrast of a text against its background, by WCAG 2."""
        ink, paper = self.page.evaluate(
            """selector => {
                 let at = document.querySelector(selector);
                 const ink = getComputedStyle(at).color;
                 const seen = node => getComputedStyle(node).backgroundColor;
                 while (at.parentElement && seen(at) === "rgba(0, 0, 0, 0)") at = at.parentElement;
                 return [ink, seen(at)];
               }""",
            selector,
        )
        light = [_luminance(colour) for colour in (ink, paper)]
        return (max(light) + 0.05) / (min(light) + 0.05)


def _luminance(colour):
    parts = np.array([float(part) for part in colour[4:-1].split(",")]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


SCREENS = [(1200, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def report(model, faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return write_report(model, folder / "report.html", faces=faces, on_error="skip").as_uri()


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_report_is_legible_and_asks_for_nothing(browser, report, width, scheme):
    shown = Watched(browser, report, width, scheme)
    assert shown.fits()
    assert {url for url in shown.asked if not url.startswith("data:")} == {report}
    assert shown.said == []
    for selector in ("p", "td", "figcaption", "h2"):
        assert shown.contrast(selector) >= 4.5, selector


def test_report_tells_what_a_point_is_by_mouse_and_by_keys(browser, report):
    page = Watched(browser, report, 1200, "light").page
    tip = page.locator("#tip")
    assert tip.is_hidden()
    figure = page.locator("svg[aria-label^='Map of the faces']")
    figure.scroll_into_view_if_needed()
    figure.locator("[data-tip]").first.hover()
    assert tip.is_visible()
    assert "model: " in tip.inner_text()
    assert " %" in tip.inner_text()
    assert tip.locator("img").evaluate("image => image.naturalWidth") > 0
    page.mouse.move(1, 1)
    assert tip.is_hidden()
    figure.focus()
    seen = []
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        seen.append(tip.inner_text())
    assert len(set(seen)) == 3
    page.keyboard.press("Escape")
    assert tip.is_hidden()


@pytest.fixture(scope="module")
def served(model):
    server = PageServer(PictureAnalyst(load_model(model), installed_aligner()), port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.url
    server.shutdown()
    thread.join()
    server.close_gently()


@pytest.fixture
def pictures(rendered, tmp_path):
    Image.fromarray(rendered[2][0][0]).save(tmp_path / "<img src=x onerror=alert(1)>.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    return sorted(str(path) for path in tmp_path.iterdir())


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_dropped_pictures_are_answered_on_the_page(browser, served, pictures, width, scheme):
    shown = Watched(browser, served, width, scheme)
    page = shown.page
    page.set_input_files("#files", pictures)
    page.locator("#status", has_text="2 pictures looked at.").wait_for()
    face, broken = page.locator("article").all()
    assert face.locator("h2").inner_text() == "<img src=x onerror=alert(1)>.png"
    assert face.locator(".box").count() == 1
    box, image = face.locator(".box").bounding_box(), face.locator("img").first.bounding_box()
    assert box["width"] > 0.5 * image["width"]
    assert box["x"] >= image["x"] - 3
    tables = face.locator("table").all()
    assert [len(table.locator("tr").all()) for table in tables] == [2, 18]
    assert "AU12" in tables[1].inner_text()
    assert "Lip corner puller" in tables[1].inner_text()
    shares = [int(cell.split()[0]) for cell in tables[0].locator(".number").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    assert 99 <= sum(shares) <= 101
    bar = tables[0].locator(".bar div div").first.bounding_box()
    frame = tables[0].locator(".bar > div").first.bounding_box()
    assert bar["width"] == pytest.approx(
        frame["width"] * shares[0] / 100, abs=0.01 * frame["width"]
    )
    assert "no picture in a format" in broken.inner_text()
    assert shown.fits()
    assert all(url.startswith((served, "data:")) for url in shown.asked)
    # the browser itself tells of the answer 422 and of nothing else
    assert len(shown.said) == 1
    assert "422" in shown.said[0]
    for selector in ("p", ".quiet", ".wrong", "th", "th small", "figcaption"):
        assert shown.contrast(selector) >= 4.5, selector


def test_the_page_can_be_used_by_keys_alone(browser, served, pictures):
    page = Watched(browser, served, 1200, "light").page
    reached = []
    for _ in range(3):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert reached == ["SUMMARY", "files", "mode"]
    page.set_input_files("#files", pictures[:1])
    page.locator("#status", has_text="1 picture looked at.").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("article").count() == 0
    assert page.evaluate("document.activeElement.id") == "files"
