"""The viewer of a cube in a real browser, from the disk: what it draws, and what its boxes do."""

import io
import json
import shutil

import numpy as np
import pytest
import write_report
from needs import require
from PIL import Image
from report_inputs import make_inputs, save

from quorum.explanation_files import write_explanations
from quorum.report.niivue import installed_bundle
from quorum.shards import open_shards

BROWSER = "/usr/bin/chromium"
# Drawn by the processor: a tests' machine has no graphics card.
ARGUMENTS = [
    "--no-sandbox", "--disable-dev-shm-usage", "--ignore-gpu-blocklist",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
SCREEN = {"width": 1100, "height": 640}
PATIENCE_MS = 120_000
COLOURED = 35  # between the largest and the smallest channel; the image itself is grey


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on 4 phantoms, of which the viewer opens 3; the first one is explained."""
    require(bool(installed_bundle()), "NiiVue is not installed (make viewer)")
    folder = tmp_path_factory.mktemp("viewer")
    flags = make_inputs(folder / "inputs", 4)
    cubes = open_shards(flags[flags.index("--shards") + 1 : flags.index("--findings")])
    # A map that is 1 in the readers' union and nowhere else, and one that is 0 everywhere.
    values = np.stack([np.stack([cubes.readers(k) > 0]) for k in range(4)]).astype(float)
    run = {"experiment": "unet3d", "fold": 0, "seed": 0, "data_kind": "phantom"}
    maps = folder / "maps.h5"
    write_explanations(
        maps, run | {"methods": ["grad_cam"], "made_by": {}},
        nodule_id=list(cubes.nodule_id), found={"map": values, "random": values * 0},
    )  # fmt: skip
    rows = [
        run | {"nodule_id": name, "method": "grad_cam", "randomised_share": 1.0, "spearman": 0.1}
        for name in cubes.nodule_id
    ]
    sanity = save(folder, "sanity", rows, "explanation_sanity")
    page = folder / "report" / "index.html"
    write_report.main([
        *flags, "--viewer", installed_bundle(), "--max-viewer-nodules", "3",
        "--explanations", str(maps), "--tables", sanity,
        "--out-page", str(page), "--out-assets", str(page.parent / "assets"),
    ])  # fmt: skip
    return page


@pytest.fixture(scope="module")
def page(report):
    """The page of cubes with the first one's viewer open; a complaint fails the last test."""
    require(shutil.which(BROWSER) is not None, f"{BROWSER} is missing (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        page = chromium.new_context(viewport=SCREEN, offline=True).new_page()
        page.set_default_timeout(PATIENCE_MS)
        complaints = page.complaints = []
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto((report.parent / "cubes.html").as_uri())
        page.locator("#gallery-cards [data-cube]").first.click()
        page.wait_for_selector("dialog.viewer[data-shown]")
        yield page
        chromium.close()


def drawn(page) -> np.ndarray:
    """Return the canvas as it is on the screen: int (rows, columns, 3)."""
    picture = page.locator("dialog.viewer canvas").screenshot(timeout=PATIENCE_MS)
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def num_coloured(pixels) -> int:
    """Return how many pixels are not grey."""
    return int((np.ptp(pixels, axis=2) > COLOURED).sum())


def switch(page, label: str, is_on: bool):
    """Set a box of the viewer."""
    box = page.locator("dialog.viewer").get_by_label(label, exact=True)
    box.set_checked(is_on)


def outlines_off(page):
    """Switch every outline off."""
    for box in page.locator("dialog.viewer fieldset:has-text('outlines') input").all():
        box.set_checked(False)


def test_three_planes_and_the_volume_are_drawn(page):
    pixels = drawn(page)
    rows, columns = pixels.shape[0] // 2, pixels.shape[1] // 2
    for part in (
        pixels[:rows, :columns], pixels[:rows, columns:],
        pixels[rows:, :columns], pixels[rows:, columns:],
    ):  # fmt: skip
        # Each quarter shows lung, the brighter nodule in it, and colour of the outlines.
        assert np.ptp(part.mean(axis=2)) > 60
        assert num_coloured(part) > 20


def test_outlines_switch_off_and_on(page):
    # One plane from here on: the volume takes a processor a second each time.
    page.locator("dialog.viewer").get_by_label("show").select_option(label="axial")
    outlines_off(page)
    assert num_coloured(drawn(page)) == 0
    switch(page, "reader 1", True)
    one = drawn(page)
    assert num_coloured(one) > 50
    # Reader 1 is drawn in #4cc2ff: blue above red.
    coloured = one[np.ptp(one, axis=2) > COLOURED]
    assert (coloured[:, 2] > coloured[:, 0]).mean() > 0.95
    switch(page, "reader 1", False)
    assert num_coloured(drawn(page)) == 0


def test_consensus_and_prediction_are_layers_of_their_own(page):
    outlines_off(page)
    plain = drawn(page)
    switch(page, "consensus", True)
    white = drawn(page)
    assert num_coloured(white) == 0
    assert (white - plain).max() > 100
    switch(page, "consensus", False)
    switch(page, "unet3d", True)
    coloured = drawn(page)
    coloured = coloured[np.ptp(coloured, axis=2) > COLOURED]
    # #ffe83d: red above blue.
    assert len(coloured) > 50
    assert (coloured[:, 0] > coloured[:, 2]).mean() > 0.95
    switch(page, "unet3d", False)


def test_maps_switch_on_and_off(page):
    outlines_off(page)
    for label in ("probability, unet3d", "uncertainty (entropy, bits), unet3d", "Grad-CAM, unet3d"):
        switch(page, label, True)
        assert num_coloured(drawn(page)) > 50, label
        switch(page, label, False)
        assert num_coloured(drawn(page)) == 0, label
    # Of drawn weights the map is 0 everywhere.
    switch(page, "Grad-CAM, unet3d, drawn weights", True)
    assert num_coloured(drawn(page)) == 0
    switch(page, "Grad-CAM, unet3d, drawn weights", False)


def test_windows_change_the_brightness_and_sliders_the_plane(page):
    outlines_off(page)
    viewer = page.locator("dialog.viewer")
    before = drawn(page).mean()
    viewer.get_by_label("window").select_option(label="mediastinum (−160 to 240 HU)")
    assert drawn(page).mean() < before - 5
    viewer.get_by_label("window").select_option(index=0)
    first = drawn(page)
    slider = viewer.locator("input[type=range]").first
    text = viewer.locator(".stage output").text_content()
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert viewer.locator(".stage output").text_content() != text
    assert np.abs(drawn(page) - first).max() > 40


def test_the_planes_meet_in_the_nodule_at_its_own_brightness(page):
    # The factory's nodules are balls of about -100 HU in lung of -800 HU around the middle.
    page.locator("dialog.viewer").get_by_label("whole cube").check()
    page.wait_for_selector("dialog.viewer[data-shown]")
    words = page.locator("dialog.viewer .stage output").text_content()
    value = int(words.split(":")[1].removesuffix(" HU"))
    assert -250 < value < 50
    places = [int(part.split()[1]) for part in words.split(":")[0].split(", ")]
    assert [abs(a - b) <= 3 for a, b in zip(places, (20, 40, 40), strict=True)] == [True] * 3


def test_only_the_first_cubes_can_be_opened_and_the_page_says_so(page, report):
    assert page.locator("#gallery-cards [data-cube]").count() == 3
    assert "3 of 4 cubes can be opened" in page.locator("#nodules").text_content()
    names = {path.stem for path in (report.parent / "assets" / "viewer").glob("*-*.js")}
    assert len(names) == 3
    assert (
        "BSD 2-Clause" in (report.parent / "assets" / "viewer" / "LICENSE.niivue.txt").read_text()
    )


def test_a_cube_that_is_missing_is_one_sentence_and_escape_closes(page, report):
    page.keyboard.press("Escape")
    assert not page.locator("dialog.viewer").is_visible()
    page.evaluate(
        "document.querySelector('[data-cube]').dataset.cube = " + json.dumps("no-such-cube")
    )
    page.locator("#gallery-cards [data-cube]").first.click()
    words = page.locator("dialog.viewer .stage output")
    words.wait_for()
    page.wait_for_function(
        "document.querySelector('dialog.viewer .stage output').textContent.includes('not in this')"
    )
    page.keyboard.press("Escape")
    # The browser complains of the file that this test asked for, and of nothing else.
    assert [text for text in page.complaints if "no-such-cube" not in text
            and "ERR_FILE_NOT_FOUND" not in text] == []  # fmt: skip


def test_the_page_of_explanations_shows_maps_and_their_check(page, report):
    page.goto((report.parent / "explanations.html").as_uri())
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    page.wait_for_function("[...document.images].every(i => i.complete)")
    widths = page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(widths) == 8
    assert min(widths) > 100
    assert page.locator("#table-explanation-sanity tbody tr").count() == 1
