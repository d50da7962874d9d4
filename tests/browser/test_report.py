"""The report in a real browser, from the disk: nothing breaks, tables sort, pictures load."""

import shutil

import pytest
import write_report
from conftest import require
from report_inputs import make_inputs

BROWSER = "/usr/bin/chromium"
# The tests' machine may be root in a container, where Chromium's own sandbox can't start.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
DESKTOP = {"width": 1360, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on 30 phantoms: more than the page shows at first."""
    folder = tmp_path_factory.mktemp("browser")
    flags = make_inputs(folder / "inputs", 30)
    page = folder / "report" / "index.html"
    write_report.main([
        *flags, "--out-page", str(page), "--out-assets", str(page.parent / "assets"),
    ])  # fmt: skip
    return page


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium through Playwright."""
    require(shutil.which(BROWSER) is not None, f"{BROWSER} is missing (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield chromium
        chromium.close()


def opened(browser, report, **choices):
    """Return the page, opened from the disk without a network, and its list of complaints."""
    context = browser.new_context(**{"viewport": DESKTOP, "offline": True, **choices})
    page, complaints = context.new_page(), []
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.goto(report.as_uri())
    return page, complaints


@pytest.fixture
def page(browser, report):
    """The page on a desktop; a complaint of the browser fails the test."""
    page, complaints = opened(browser, report)
    yield page
    page.context.close()
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_opens_in_every_shape(browser, report, scheme, viewport):
    page, complaints = opened(browser, report, viewport=viewport, color_scheme=scheme)
    # Nothing is wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = [int(part) for part in paper.strip("rgb()").split(",")]
    assert (max(brightness) < 80) == (scheme == "dark")
    page.context.close()
    assert complaints == []


def test_every_picture_loads(page):
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    page.wait_for_function("[...document.images].every(i => i.complete)")
    widths = page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(widths) == 12
    assert min(widths) > 100


def test_every_link_leads_somewhere(page, report):
    links = page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    anchors = [link[1:] for link in links if link.startswith("#")]
    files = [link for link in links if not link.startswith(("#", "https://"))]
    assert anchors
    assert files
    assert [a for a in anchors if page.locator(f"[id='{a}']").count() != 1] == []
    assert [f for f in files if not (report.parent / f).is_file()] == []


def test_ids_are_unique(page):
    page.locator("[data-nodule]").first.click()
    page.wait_for_selector("#dialog-card .card")
    twice = page.evaluate(
        "(ids => ids.filter((id, k) => ids.indexOf(id) !== k))"
        "([...document.querySelectorAll('[id]')].map(e => e.id))"
    )
    assert twice == []


def test_tables_sort_both_ways_and_keep_missing_last(page):
    column = "#table-nodules tbody tr td:nth-child(7)"
    heading = page.locator("#table-nodules th:nth-child(7) button")
    for direction in ("ascending", "descending"):
        heading.click()
        assert heading.locator("xpath=..").get_attribute("aria-sort") == direction
        keys = page.eval_on_selector_all(column, "cells => cells.map(c => c.dataset.key)")
        numbers = [float(key) for key in keys if key]
        assert len(numbers) == 28
        assert numbers == sorted(numbers, reverse=direction == "descending")
        assert keys[-2:] == ["", ""]


def test_tables_sort_by_keyboard(page):
    heading = page.locator("#table-nodules th:nth-child(4) button")
    heading.focus()
    page.keyboard.press("Enter")
    keys = page.eval_on_selector_all(
        "#table-nodules tbody tr td:nth-child(4)", "cells => cells.map(c => +c.dataset.key)"
    )
    assert keys == sorted(keys)


def test_search_hides_rows_and_counts(page):
    box = page.locator("input[data-search='table-nodules']")
    box.fill("TEST-0003")
    rows = page.locator("#table-nodules tbody tr:visible")
    assert rows.count() == 2
    assert page.locator("input[data-search='table-nodules'] + output").text_content() == "2 of 30"
    box.fill("")
    assert rows.count() == 30


def test_layers_switch_outlines_on_and_off(page):
    outline = page.locator(".picture path.reader2").first
    before = outline.evaluate("e => getComputedStyle(e).display")
    page.locator("input[data-layer='reader2']").uncheck()
    after = outline.evaluate("e => getComputedStyle(e).display")
    assert (before, after) == ("inline", "none")
    # The phantom's true surface and the other experiments are off until somebody asks.
    latent = page.locator(".picture path.latent").first
    assert latent.evaluate("e => getComputedStyle(e).display") == "none"
    page.locator("input[data-layer='latent']").check()
    assert latent.evaluate("e => getComputedStyle(e).display") == "inline"


def test_gallery_shows_all_and_reorders(page):
    cards = page.locator("#gallery-cards .card")
    assert cards.count() == 12
    for expected in (24, 30):
        page.locator("#gallery-more").click()
        page.wait_for_function(
            f"document.querySelectorAll('#gallery-cards .card').length === {expected}"
        )
    assert not page.locator("#gallery-more").is_visible()
    page.select_option("#gallery-order", "2 -1")
    page.wait_for_function("document.querySelectorAll('#gallery-cards .card').length === 12")
    words = cards.locator("p:first-of-type").all_text_contents()
    diameters = [float(word.split("·")[1].split()[0]) for word in words]
    assert diameters == sorted(diameters, reverse=True)
    ids = page.eval_on_selector_all("#gallery-cards .card", "cards => cards.map(c => c.id)")
    assert len(set(ids)) == 12


def test_a_nodule_opens_by_keyboard_and_closes(page):
    button = page.locator("#table-nodules button.open").nth(20)
    nodule = button.text_content()
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] .card")
    assert page.locator("dialog .card code").text_content() == nodule
    page.wait_for_function("document.querySelector('dialog img').naturalWidth > 100")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_layers_of_the_dialog_and_the_page_are_one(page):
    page.locator("#table-nodules button.open").first.click()
    page.wait_for_selector("dialog[open] .card")
    box = page.locator("dialog input[data-layer='reader1']")
    assert box.is_checked()
    box.uncheck()
    outline = page.locator("dialog path.reader1").first
    assert outline.evaluate("e => getComputedStyle(e).display") == "none"
    assert not page.locator("fieldset input[data-layer='reader1']").is_checked()


def test_theme_button_turns_the_page_dark(page):
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_works_without_script(browser, report):
    page, complaints = opened(browser, report, java_script_enabled=False)
    assert page.locator("#gallery-cards .card").count() == 12
    assert page.locator("#table-nodules tbody tr").count() == 30
    page.context.close()
    assert complaints == []
