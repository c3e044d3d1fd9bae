"""The page: whole in itself; in a browser usable by keyboard, on a narrow screen, from disk, without network."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gencomp.eval.cli import evaluate
from gencomp.eval.report import page as report


@pytest.fixture(scope="module")
def out(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "out"
    options = ["--codec", "jpeg", "--codec", "webp", "--bpp", "0.6", "--bpp", "1.2"]
    options += ["--metric", "psnr", "--anchor", "jpeg", "--jobs", "0"]
    done = CliRunner().invoke(evaluate, [str(photos), "--out", str(folder), *options])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def page(browser: Any, out: Path) -> Iterator[Any]:
    """The report in a window; whatever it asks for beyond the folder, or says in error, fails the test."""
    opened = browser.new_page(viewport={"width": 1100, "height": 800})
    opened.set_default_timeout(60_000)
    wrong: list[str] = []
    opened.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else wrong.append(r.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.goto((out / "index.html").as_uri())
    wait_for_image(opened)
    yield opened
    opened.close()
    assert wrong == []


def wait_for_image(page: Any) -> None:
    page.wait_for_function("[...loaded.values()].length && [...loaded.values()].every(p => p.complete)")
    page.evaluate("draw()")


def pixels(page: Any) -> np.ndarray:
    """What the stage shows, as an array; the page itself may not read it. Its label stands in the first 30 rows."""
    import io

    shot = page.locator("#canvas").screenshot()
    whole = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
    return whole[: page.evaluate("Math.floor(canvas.clientHeight)"), : page.evaluate("canvas.clientWidth")]


def data_of(out: Path) -> Any:
    text = (out / "index.html").read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found is not None
    return json.loads(found[1])


def test_the_page_is_whole_in_itself(out: Path) -> None:
    text = (out / "index.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"", text)
    assert "{{" not in text.replace("{{}}", "")
    assert {r["reconstruction"] for r in data_of(out)["rows"]} <= {str(p.relative_to(out)) for p in out.rglob("*.webp")}


def test_every_table_and_plot_is_linked_and_says_the_same_in_every_format(out: Path) -> None:
    linked = {path for paths in data_of(out)["files"].values() for path in paths}
    assert all((out / path).stat().st_size > 0 for path in linked)
    for name in ("means", "deltas"):
        assert {f"tables/{name}.{kind}" for kind in ("csv", "md", "tex", "json")} <= linked
    assert {f"plots/psnr.{kind}" for kind in ("svg", "pdf", "png")} <= linked
    assert {str(p.relative_to(out)) for folder in ("tables", "plots") for p in (out / folder).iterdir()} <= linked
    (one,) = [d for d in json.loads((out / "tables" / "deltas.json").read_text()) if d["metric"] == "psnr"]
    value = f"{one['rate']['value']:+.1f} "
    assert value in (out / "tables" / "deltas.md").read_text()
    assert value.replace(" ", " \\%") in (out / "tables" / "deltas.tex").read_text()
    with (out / "tables" / "deltas.csv").open(newline="") as lines:
        row = next(csv.DictReader(lines))
    assert (float(row["rate_value"]), float(row["per_image_mean"])) == (one["rate"]["value"], one["per_image"]["mean"])


def test_names_cannot_become_markup(out: Path, tmp_path: Path) -> None:
    results = json.loads((out / "results.json").read_text())
    results["problems"] = [{"codec": "</script><script>alert(1)</script>", "image": "", "what": "<img src=x>"}]
    assert "</script><script>alert" not in report.page(results)


def test_keyboard_alone_reaches_every_view(page: Any) -> None:
    page.focus("#canvas")
    for key, mode in (("f", "flip"), ("s", "pair"), ("a", "all"), ("d", "difference"), ("w", "wipe")):
        page.keyboard.press(key)
        assert page.evaluate("view.mode") == mode
        assert page.locator("#modes [aria-pressed=true]").get_attribute("value") == mode
    for key, zoom in (("1", 1), ("2", 2), ("4", 4), ("8", 8), ("-", 4), ("+", 8), ("0", 0)):
        page.keyboard.press(key)
        assert page.evaluate("view.zoom") == zoom
    before = page.evaluate("[view.image, view.rate, view.left]")
    for key in ("n", "r", "]"):
        page.keyboard.press(key)
    assert all(a != b for a, b in zip(before, page.evaluate("[view.image, view.rate, view.left]")))
    page.keyboard.press("2")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("view.x") > 0.5


def test_space_flips_in_place(page: Any) -> None:
    page.focus("#canvas")
    page.keyboard.press("f")
    first = pixels(page)
    page.keyboard.press(" ")
    wait_for_image(page)
    second = pixels(page)
    page.keyboard.press(" ")
    assert np.abs(first - second)[30:-4, 4:-4].max() > 8
    assert np.array_equal(pixels(page), first)


def test_zoomed_pixels_are_the_file_s(page: Any, out: Path) -> None:
    """At 4:1 the stage shows the reconstruction's own pixels, four times four, around the shared centre."""
    page.focus("#canvas")
    for key in ("f", "4"):
        page.keyboard.press(key)
    wait_for_image(page)
    row = page.evaluate("(({reconstruction}) => reconstruction)(rowOf(view.image, view.left, view.rate))")
    image = np.asarray(Image.open(out / row)).astype(int)
    shown = pixels(page)
    height, width = shown.shape[:2]
    top, left = (round(shown.shape[k] / 2 - 0.5 * 4 * image.shape[k]) for k in (0, 1))
    rows, columns = (np.arange(height) - top) // 4, (np.arange(width) - left) // 4
    middle = np.s_[height // 2 - 40 : height // 2 + 40, width // 2 - 60 : width // 2 + 60]
    expected = image[rows.clip(0, image.shape[0] - 1)][:, columns.clip(0, image.shape[1] - 1)]
    assert np.abs(shown - expected)[middle].max() <= 2


def test_the_difference_of_equal_images_is_black(page: Any) -> None:
    page.focus("#canvas")
    page.keyboard.press("d")

    def brightest() -> int:
        seen = pixels(page)[30:-4, 4:-4]
        inside = np.abs(seen - 0x77).max(2) > 0  # the image, without the grey around it
        assert inside.mean() > 0.3
        return int(seen[inside].max())

    assert brightest() > 20
    page.select_option("#left", "original")
    assert brightest() == 0


def test_a_link_leads_to_the_same_crop(page: Any, browser: Any) -> None:
    page.focus("#canvas")
    for key in ("n", "s", "8", "ArrowRight", "ArrowDown", "c"):
        page.keyboard.press(key)
    link, state = page.url, page.evaluate("JSON.stringify(view)")
    other = browser.new_page(viewport={"width": 1100, "height": 800})
    other.goto(link)
    restored, expected = json.loads(other.evaluate("JSON.stringify(view)")), json.loads(state)
    other.close()
    for key in ("x", "y"):
        assert restored.pop(key) == pytest.approx(expected.pop(key), abs=1e-4)
    assert restored == expected


def test_the_wipe_follows_the_pointer(page: Any) -> None:
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 100)
    page.mouse.up()
    assert page.evaluate("view.wipe") == pytest.approx(0.25, abs=0.02)


def test_only_files_of_the_asked_size_are_compared(page: Any) -> None:
    """In the table of single images the best is found among files at equal bytes; others are marked."""
    page.evaluate("DATA.rows.filter(row => row.codec === 'webp').forEach(row => (row.bpp *= 1.2))")
    page.evaluate("drawEach()")
    assert page.locator("#each td.best").count() == 3
    marked = page.locator("#each td.far").all_inner_texts()
    assert len(marked) == 3
    assert all(text.endswith("*") for text in marked)
    page.evaluate("update()")
    assert "not at 0.6 bpp" in page.locator("#captions").inner_text()


def test_a_rate_that_is_reached_is_not_said_to_be_missed(page: Any) -> None:
    """The smallest file of a codec stands for two rates: it misses the lower and reaches the higher."""
    same = "row.codec === view.left.split('|')[0] && row.image === view.image"
    page.evaluate(f"DATA.rows.filter(row => {same}).forEach(row => Object.assign(row, row.setting === '0.6 bpp' ?"
                  "{bpp: 1.2, note: '0.6 bpp is not reached'} : {bpp: 1.2, note: ''}))")  # fmt: skip
    for rate, said in (("0.6", True), ("1.2", False)):
        page.select_option("#rate", rate)
        assert ("is not reached" in page.locator("#captions").inner_text()) is said


def test_the_page_says_in_a_sentence_what_each_rival_needs(page: Any, out: Path) -> None:
    text = "jpeg against webp at equal PSNR: too few to say (3 images, 2 rates)."
    assert page.locator("#answers li").all_inner_texts() == [text]
    assert "%, no interval" in page.locator("#deltas td.far").first.inner_text()
    assert page.locator("#deltas td.sure").count() == 0


@pytest.mark.parametrize("width", [360, 390, 820])
def test_a_narrow_screen_needs_no_sideways_scrolling(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    page.evaluate("window.dispatchEvent(new Event('resize'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    inside = "[...document.querySelectorAll('.scroll')].every(box => box.scrollWidth <= box.clientWidth)"
    assert width > 640 or page.evaluate(inside)


def test_curves_show_published_figures_only_when_asked(page: Any) -> None:
    assert page.locator("#chart polyline").count() == 2
    page.select_option("#dataset", "kodak")
    assert page.locator("#chart polyline[stroke-dasharray='6 4']").count() >= 3
    assert "(published)" in page.locator("#legend").inner_text()
    page.locator("#legend input").first.uncheck()
    assert page.locator("#legend input").first.is_checked() is False


@pytest.fixture
def phone(browser: Any, out: Path) -> Iterator[Any]:
    """The report on a telephone in the dark."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme="dark"
    )
    opened = context.new_page()
    opened.goto((out / "index.html").as_uri())
    wait_for_image(opened)
    yield opened
    context.close()


def test_a_finger_flips_scrolls_and_reaches_every_control(phone: Any) -> None:
    phone.tap("#modes button[value=flip]")
    before = phone.locator("#captions").inner_text()
    phone.locator("#canvas").tap(position={"x": 90, "y": 120})
    assert phone.evaluate("view.flipped") is True
    after = phone.locator("#captions").inner_text()
    shown, behind = (re.search(rf"{word}: (\w+)", before)[1] for word in ("Shown", "Behind it"))  # type: ignore[index]
    assert f"Shown: {behind}" in after
    assert f"Behind it: {shown}" in after
    assert phone.evaluate("getComputedStyle(canvas).touchAction") == "pan-y"  # the page scrolls under the finger
    phone.tap("#zooms button[value='2']")
    assert phone.evaluate("getComputedStyle(canvas).touchAction") == "none"  # the image moves
    state = phone.evaluate("[view.image, view.rate, view.original]")
    for button in ("next", "higher", "original"):
        phone.tap(f"#{button}")
    assert all(a != b for a, b in zip(state, phone.evaluate("[view.image, view.rate, view.original]")))
    phone.tap("#modes button[value=difference]")
    phone.tap("#gain")
    assert phone.evaluate("view.gain") == 8
    small = (
        "[...document.querySelectorAll('#viewer button, select')].filter(e => e.offsetHeight && e.offsetHeight < 40)"
    )
    assert phone.evaluate(f"{small}.length") == 0
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_dark_is_dark_and_paper_is_white(phone: Any) -> None:
    def brightness(of: str) -> float:
        colour = phone.evaluate(f"getComputedStyle(document.querySelector('{of}')).backgroundColor")
        return float(np.mean([int(n) for n in re.findall(r"\d+", colour)[:3]]))

    assert max(brightness(of) for of in ("body", "table", "#link", "#chart svg", "th")) < 70
    phone.emulate_media(media="print")
    assert brightness("body") == 255
    assert not phone.locator(".bar").first.is_visible()
    ratio = phone.evaluate("[canvas.clientWidth / canvas.clientHeight, canvas.width / canvas.height]")
    assert ratio[0] == pytest.approx(ratio[1], rel=0.02)  # not squeezed


def test_it_opens_at_the_codec_s_default_realism(browser: Any, out: Path, tmp_path: Path) -> None:
    results = json.loads((out / "results.json").read_text())
    for key in ("rows", "summary"):  # jpeg becomes a codec of two realisms, 0 first
        jpeg, others = ([row for row in results[key] if (row["codec"] == "jpeg") is mine] for mine in (True, False))
        results[key] = [row | {"codec": "gencomp", "realism": r} for r in (0.0, 1.0) for row in jpeg] + others
    results["codecs"]["gencomp"] = results["codecs"]["jpeg"] | {"default_realism": 1.0}
    results["rows"][0]["bytes"] *= 2
    path = tmp_path / "index.html"
    path.write_text(report.page(results))
    opened = browser.new_page()
    opened.goto(path.as_uri())
    assert opened.evaluate("[view.left, view.right]") == ["gencomp|1|bpp", "webp||bpp"]
    opened.evaluate("(view.left = 'gencomp|0|bpp', update())")
    assert "not equal bytes: -" in opened.locator("#captions").inner_text()
    opened.close()
