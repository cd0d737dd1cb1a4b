"""Reports in a real browser, opened from disk: they load, sort, filter, draw, obey the keyboard."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
import report_lake
from PIL import Image
from report_lake import report

from maplake.reports import Wanted

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
SESSION = "sessions/101_1/index.html"
PROBE = "sessions/101_1/probe1/index.html"
UNIT = "sessions/101_1/probe1/unit50.html"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The report with all pictures of one probe and its session; others have pages only."""
    folder = tmp_path_factory.mktemp("a report & its spaces")
    root = report_lake.build(folder)
    out = folder / "the report #1"
    assert not report(root, out, Wanted(None, 101, 1, 1), workers=2).failed
    with pytest.MonkeyPatch.context() as patch:
        report_lake.cheap(patch)
        report(root, out, Wanted("session"))
    return out


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install '.[test]'"
    )
    if CHROMIUM is None:
        pytest.skip("needs the system's chromium or chrome")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, out):
    """Opens a page of the report; whatever the browser complains of fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))

    def open_page(name, width=1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto((out / name).as_uri())
        return page

    yield open_page
    hacked = page.evaluate("window.hacked")
    page.close()
    assert not complaints
    assert hacked is None
    assert all(url.startswith(("file:", "data:")) for url in requests)


def column(page, name, table="sessions"):
    place = page.locator(f"#{table} th").all_inner_texts().index(name)
    rows = page.locator(f"#{table} tbody tr:visible")
    return [row.locator("td").nth(place).inner_text() for row in rows.all()]


def spread(page, selector):
    """How much the pixels of an element differ."""
    element = page.locator(selector).first
    element.scroll_into_view_if_needed()
    pixels = np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("L"))
    return float(pixels.std())


@pytest.mark.parametrize("name", ["index.html", SESSION, PROBE, UNIT])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_load_and_fit(visit, name, width):
    page = visit(name, width)
    assert report_lake.HOSTILE in page.inner_text("body")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete", arg=image.element_handle())
        assert image.evaluate("image => image.naturalWidth") > 0
        assert image.get_attribute("alt")


def test_pictures_are_not_blank(out):
    files = [*(out / "sessions/101_1").rglob("*.png"), *(out / "project").glob("*.png")]
    assert len(files) > 20
    for file in files:
        with Image.open(file) as picture:
            assert min(picture.size) > 100
            assert np.asarray(picture.convert("L")).std() > 3, file


def test_sessions_are_sorted_by_a_heading(visit):
    page = visit("index.html")
    dates = column(page, "date")
    assert dates == sorted(dates, reverse=True)
    for name, key in (("date", str), ("animal", int), ("units", int), ("session", int)):
        heading = page.locator("#sessions th", has_text=name).first
        heading.locator("button").click()
        values = [key(value) for value in column(page, name)]
        assert values == sorted(values)
        assert heading.get_attribute("aria-sort") == "ascending"
        heading.locator("button").press("Enter")
        assert [key(value) for value in column(page, name)] == sorted(values, reverse=True)
        assert heading.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize(
    ("label", "value", "name", "test"),
    [
        ("session", "2", "session", lambda v: v == "2"),
        ("session", "1-2", "session", lambda v: v in "12"),
        ("probes", ">1", "probes", lambda v: int(v) > 1),
        ("animal", "103", "animal", lambda v: v == "103"),
        ("water restriction", "XX102", "water restriction", lambda v: v == "xx102"),
        ("water restriction", "<script>", "water restriction", lambda v: "script" in v),
        ("task", "forag", "task", lambda v: v == "foraging"),
        ("user", "x", "user", lambda v: "x" in v),
        ("from", "2024-02-01", "date", lambda v: v >= "2024-02-01"),
        ("to", "2024-01-31", "date", lambda v: v < "2024-02-01"),
        ("insertion location", "AP", "insertion location", lambda v: "AP" in v),
    ],
)
def test_sessions_are_filtered(visit, label, value, name, test):
    page = visit("index.html")
    everything = column(page, name)
    page.get_by_label(label, exact=True).fill(value)
    kept = column(page, name)
    assert kept == [have for have in everything if test(have)]
    assert kept
    assert page.locator("output").inner_text() == f"{len(kept)} of {len(everything)}"
    page.locator("button[type=reset]").click()
    page.wait_for_function(
        f"document.querySelector('output').value.startsWith('{len(everything)} ')"
    )
    assert column(page, name) == everything


def test_a_click_on_a_unit_draws_it(visit):
    page = visit(PROBE)
    assert page.locator("#map circle").count() == 6
    assert spread(page, "#map") > 3
    page.locator('#map circle[data-unit="50"]').click()
    page.wait_for_selector("canvas")
    assert "unit 50" in page.locator("#about").inner_text()
    assert page.locator("canvas").count() == 2
    for place in range(2):
        assert spread(page, f"canvas >> nth={place}") > 3
    assert page.locator('tr[data-unit="50"]').get_attribute("class") == "chosen"
    first = page.locator("canvas").first.screenshot()
    page.locator('button[data-show="40"]').click()
    page.wait_for_function("document.getElementById('about').textContent.includes('unit 40')")
    assert page.locator("canvas").first.screenshot() != first
    page.locator("#link").click()
    assert "unit 40" in page.locator("h1").inner_text()


def test_units_are_chosen_by_keyboard(visit):
    page = visit(PROBE)
    for _ in range(10):  # the map is one stop
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "circle":
            break
    seen = set()
    for _ in range(6):
        seen.add(page.evaluate("document.activeElement.dataset.unit"))
        page.keyboard.press("ArrowDown")
    assert len(seen) == 6
    page.keyboard.press("ArrowUp")
    unit = page.evaluate("document.activeElement.dataset.unit")
    page.keyboard.press("Enter")
    page.wait_for_selector("canvas")
    assert f"unit {unit}:" in page.locator("#about").inner_text()


def test_one_goes_from_page_to_page(visit):
    page = visit("index.html")
    page.locator("#sessions tr", has_text="script").locator("a").last.click()
    page.locator("a", has_text="probe 1").click()
    page.locator("a", has_text="50").first.click()
    page.locator("a", has_text="previous unit").click()
    assert "unit 40" in page.locator("h1").inner_text()
    page.locator("a", has_text="all sessions").click()
    assert page.locator("h1").inner_text() == "Sessions"


def test_a_file_that_is_missing_is_told(browser, out, tmp_path):
    copied = shutil.copytree(out / "sessions/101_1/probe1", tmp_path / "probe")
    (copied / "unit50.js").unlink()
    page = browser.new_page()
    page.goto((copied / "index.html").as_uri())
    page.locator('#map circle[data-unit="50"]').click()
    page.wait_for_function("document.getElementById('about').textContent.includes('missing')")
    page.close()
