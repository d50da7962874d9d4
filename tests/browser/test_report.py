"""The report in a real browser, from the disk: every page opens, tables sort, pictures load."""

import csv
import itertools
import shutil

import pytest
import write_report
from needs import require
from report_inputs import make_inputs

from quorum.report.look import PAGES

BROWSER = "/usr/bin/chromium"
# The tests' machine may be root in a container, where Chromium's own sandbox can't start.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
DESKTOP = {"width": 1360, "height": 900}
PHONE = {"width": 390, "height": 844}
NAMES = [name for name, _, _ in PAGES]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a report on 30 phantoms: more than the gallery shows at first."""
    folder = tmp_path_factory.mktemp("browser")
    flags = make_inputs(folder / "inputs", 30)
    page = folder / "report" / "index.html"
    write_report.main([
        *flags, "--out-page", str(page), "--out-assets", str(page.parent / "assets"),
    ])  # fmt: skip
    return page.parent


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium through Playwright."""
    require(shutil.which(BROWSER) is not None, f"{BROWSER} is missing (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield chromium
        chromium.close()


def opened(browser, report, name="index", **choices):
    """Return a page, opened from the disk without a network, and its list of complaints."""
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
    page.goto((report / f"{name}.html").as_uri())
    return page, complaints


@pytest.fixture
def cubes(browser, report):
    """The page of cubes on a desktop; a complaint of the browser fails the test."""
    page, complaints = opened(browser, report, "cubes")
    yield page
    page.context.close()
    assert complaints == []


@pytest.mark.parametrize("name", NAMES)
def test_every_page_opens_in_every_shape(browser, report, name):
    for viewport in (DESKTOP, PHONE):
        for scheme in ("light", "dark"):
            page, complaints = opened(browser, report, name, viewport=viewport, color_scheme=scheme)
            # Nothing is wider than the screen, and the page has its heading.
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
            assert page.locator("h1").count() == 1
            assert page.locator("[aria-current=page]").count() == 1
            paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
            brightness = [int(part) for part in paper.strip("rgb()").split(",")]
            assert (max(brightness) < 80) == (scheme == "dark")
            page.context.close()
            assert complaints == []


def test_every_table_sorts_and_searches(browser, report):
    num_tables = 0
    for name in NAMES:
        page, complaints = opened(browser, report, name)
        for table in page.locator("table").all():
            rows = table.locator("tbody tr")
            num_rows = rows.count()
            heading = table.locator("thead th").first
            heading.locator("button").click()
            assert heading.get_attribute("aria-sort") == "ascending"
            words = [text.strip() for text in rows.locator("td:first-child").all_inner_texts()]
            heading.locator("button").click()
            back = [text.strip() for text in rows.locator("td:first-child").all_inner_texts()]
            assert back == sorted(back, key=words.index, reverse=True) or len(set(words)) < num_rows
            if num_rows > 1:
                box = page.locator(f"input[data-search='{table.get_attribute('id')}']").last
                box.fill("no row holds this")
                assert table.locator("tbody tr:visible").count() == 0
                box.fill("")
                assert table.locator("tbody tr:visible").count() == num_rows
            num_tables += 1
        page.context.close()
        assert complaints == []
    assert num_tables > 15


def test_every_link_leads_somewhere(browser, report):
    context = browser.new_context(offline=True)
    page, ids, links = context.new_page(), {}, {}
    for name in NAMES:
        page.goto((report / f"{name}.html").as_uri())
        ids[name] = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        links[name] = page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    context.close()
    for name, targets in links.items():
        inside = [target for target in targets if not target.startswith("https://")]
        assert len(inside) > len(NAMES)
        for target in inside:
            path, _, anchor = target.partition("#")
            assert not path or (report / path).is_file(), (name, target)
            where = path.removesuffix(".html") or name
            assert not anchor or anchor in ids[where], (name, target)


def test_every_picture_loads(cubes):
    cubes.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    cubes.wait_for_function("[...document.images].every(i => i.complete)")
    widths = cubes.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(widths) == 12
    assert min(widths) > 100


def test_ids_are_unique(cubes):
    cubes.locator("table [data-nodule]").first.click()
    cubes.wait_for_selector("#dialog-card .card")
    twice = cubes.evaluate(
        "(ids => ids.filter((id, k) => ids.indexOf(id) !== k))"
        "([...document.querySelectorAll('[id]')].map(e => e.id))"
    )
    assert twice == []


def column_keys(page, name):
    """Return the sorting keys of a column of the nodules' table, in the shown order."""
    return page.evaluate(
        """name => {
          const table = document.querySelector("#table-nodules");
          const heads = [...table.tHead.rows[0].cells];
          const column = heads.findIndex(head => head.dataset.name === name);
          return [...table.tBodies[0].rows].map(row => row.cells[column].dataset.key);
        }""",
        name,
    )


def test_tables_sort_both_ways_and_keep_missing_last(cubes):
    heading = cubes.locator("#table-nodules th[data-name='dice_unet3d']")
    for direction in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == direction
        keys = column_keys(cubes, "dice_unet3d")
        numbers = [float(key) for key in keys if key]
        assert len(numbers) == 28
        assert numbers == sorted(numbers, reverse=direction == "descending")
        assert keys[-2:] == ["", ""]


def test_tables_sort_by_keyboard(cubes):
    cubes.locator("#table-nodules th[data-name='diameter_mm'] button").focus()
    cubes.keyboard.press("Enter")
    numbers = [float(key) for key in column_keys(cubes, "diameter_mm")]
    assert numbers == sorted(numbers)


def test_search_takes_words_and_comparisons(cubes):
    box = cubes.locator("input[data-search='table-nodules']").last
    rows = cubes.locator("#table-nodules tbody tr:visible")
    box.fill("TEST-0003")
    assert rows.count() == 2
    assert cubes.locator("input[data-search='table-nodules'] + output").text_content() == "2 of 30"
    diameters = sorted(float(key) for key in column_keys(cubes, "diameter_mm"))
    limit = diameters[20]
    box.fill(f"diameter>{limit}")
    assert rows.count() == sum(value > limit for value in diameters) > 0
    box.fill("part=test")
    assert rows.count() == 2
    box.fill("")
    assert rows.count() == 30


def test_what_a_search_left_can_be_saved(cubes):
    button = cubes.locator("[data-save='table-nodules']")
    assert not button.is_visible()
    cubes.locator("input[data-search='table-nodules']").last.fill("TEST-0003")
    with cubes.expect_download() as download:
        button.click()
    with open(download.value.path(), newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["patient_id"] for row in rows] == ["TEST-0003", "TEST-0003"]
    assert float(rows[0]["diameter_mm"]) > 1


def test_layers_switch_outlines_on_and_off(cubes):
    outline = cubes.locator(".picture path.reader2").first
    before = outline.evaluate("e => getComputedStyle(e).display")
    cubes.locator("fieldset input[data-layer='reader2']").uncheck()
    after = outline.evaluate("e => getComputedStyle(e).display")
    assert (before, after) == ("inline", "none")
    # The phantom's true surface and the other experiments are off until somebody asks.
    latent = cubes.locator(".picture path.latent").first
    assert latent.evaluate("e => getComputedStyle(e).display") == "none"
    cubes.locator("fieldset input[data-layer='latent']").check()
    assert latent.evaluate("e => getComputedStyle(e).display") == "inline"


def shown_ids(page):
    """Return the nodules of the gallery's cards."""
    return page.locator("#gallery-cards .card code").all_text_contents()


def table_ids(page):
    """Return the nodules of the table's visible rows."""
    return page.locator("#table-nodules tbody tr:visible [data-nodule]").all_text_contents()


def test_the_gallery_shows_all_and_follows_any_column(cubes):
    for expected in (24, 30):
        cubes.locator("#gallery-more").click()
        cubes.wait_for_function(
            f"document.querySelectorAll('#gallery-cards .card').length === {expected}"
        )
    assert not cubes.locator("#gallery-more").is_visible()
    choices = cubes.locator("#gallery-order option").count()
    assert choices == cubes.locator("#table-nodules th").count() > 10
    for column in range(choices):
        cubes.select_option("#gallery-order", str(column))
        cubes.wait_for_function("document.querySelectorAll('#gallery-cards .card').length === 12")
        heading = cubes.locator("#table-nodules th").nth(column)
        assert heading.get_attribute("aria-sort") == "ascending"
        assert shown_ids(cubes) == table_ids(cubes)[:12]
    cubes.locator("#gallery-turn").click()
    cubes.wait_for_function("document.querySelectorAll('#gallery-cards .card').length === 12")
    assert shown_ids(cubes) == table_ids(cubes)[:12]


def test_the_gallery_follows_the_search(cubes):
    cubes.locator("#gallery-search").fill("TEST-0003")
    cubes.wait_for_function("document.querySelectorAll('#gallery-cards .card').length === 2")
    assert shown_ids(cubes) == table_ids(cubes)


def test_a_nodule_opens_by_keyboard_turns_and_closes(cubes):
    links = cubes.locator("#table-nodules [data-nodule]")
    names = links.all_text_contents()
    links.nth(20).focus()
    cubes.keyboard.press("Enter")
    cubes.wait_for_selector("dialog[open] .card")
    name = cubes.locator("#dialog-card .card code")
    assert name.text_content() == names[20]
    cubes.wait_for_function("document.querySelector('dialog img').naturalWidth > 100")
    cubes.keyboard.press("ArrowRight")
    cubes.wait_for_function(
        "id => document.querySelector('#dialog-card code').textContent === id", arg=names[21]
    )
    cubes.keyboard.press("Escape")
    assert not cubes.locator("dialog").is_visible()


def test_a_nodule_opens_from_the_models_page_and_by_its_address(browser, report):
    page, complaints = opened(browser, report, "models")
    link = page.locator("#table-worst-nodules [data-nodule]").first
    nodule = link.text_content()
    link.click()
    page.wait_for_selector("dialog[open] .card")
    assert page.locator("#dialog-card .card code").text_content() == nodule
    page.goto((report / "cubes.html").as_uri() + f"#nodule-{nodule}")
    page.wait_for_selector("dialog[open] .card")
    assert page.locator("#dialog-card .card code").text_content() == nodule
    page.context.close()
    assert complaints == []


def test_layers_of_the_dialog_and_the_page_are_one(cubes):
    cubes.locator("#table-nodules [data-nodule]").first.click()
    cubes.wait_for_selector("dialog[open] .card")
    box = cubes.locator("dialog input[data-layer='reader1']")
    assert box.is_checked()
    box.uncheck()
    outline = cubes.locator("dialog path.reader1").first
    assert outline.evaluate("e => getComputedStyle(e).display") == "none"
    assert not cubes.locator("fieldset input[data-layer='reader1']").is_checked()


def test_the_theme_is_kept_from_page_to_page(browser, report):
    page, complaints = opened(browser, report)
    paper = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(paper)
    page.locator("#theme").click()
    after = page.evaluate(paper)
    assert after != before
    page.locator("nav a", has_text="Readers").click()
    page.wait_for_selector("#readers")
    assert page.evaluate(paper) == after
    page.context.close()
    assert complaints == []


def test_the_first_stop_of_the_keyboard_skips_the_list_of_pages(cubes):
    cubes.keyboard.press("Tab")
    assert cubes.evaluate("document.activeElement.textContent") == "Skip to the report"
    cubes.keyboard.press("Enter")
    assert cubes.evaluate("document.activeElement.id") == "main"


def test_everything_that_is_seen_has_a_name(browser, report):
    for name in NAMES:
        page, _ = opened(browser, report, name)
        unnamed = page.evaluate(
            """[...document.querySelectorAll("a, button, input, select, svg[role=img], img")]
              .filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") || e.alt
                || e.getAttribute("aria-labelledby") || e.labels?.length))
              .map(e => e.outerHTML.slice(0, 100))"""
        )
        assert unnamed == [], name
        levels = page.evaluate(
            "[...document.querySelectorAll('main h1, main h2, main h3')].map(e => +e.tagName[1])"
        )
        assert levels[0] == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), name
        page.context.close()


def test_works_without_script(browser, report):
    page, complaints = opened(browser, report, "cubes", java_script_enabled=False)
    assert page.locator("#gallery-cards .card").count() == 12
    assert page.locator("#table-nodules tbody tr").count() == 30
    page.context.close()
    assert complaints == []
