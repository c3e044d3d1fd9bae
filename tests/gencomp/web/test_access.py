"""The page at every width and zoom, dark and light, for touch, keys and screen readers; and where it cannot run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gencomp.web.site import STATIC

from .conftest import TESTS, give

Open = Callable[..., Any]
WIDE = TESTS / "golden" / "wide.png"
SIZES = [(390, 844), (820, 1180), (1400, 900), (700, 450), (350, 225)]  # the last two: 1400x900 at 200 and 400 %
CONTROLS = "button, select, input:not([type=file]), summary, [role=slider]"
UNREACHED = """controls => controls.filter((control) => {
  if (!control.checkVisibility() || control.disabled) return false;
  control.scrollIntoView({ block: "center", inline: "center" });
  const { left, top, width, height } = control.getBoundingClientRect();
  const found = document.elementFromPoint(left + width / 2, top + height / 2);
  const touched = /radio|checkbox/.test(control.type) ? control.labels[0] : control;
  const { width: w, height: h } = touched.getBoundingClientRect();
  return !(control === found || control.contains(found) || found?.contains(control)) || Math.min(w, h) < 24;
}).map((control) => control.outerHTML)"""
FAINT = """texts => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if ((colour[3] ?? 1) > 0.9) return colour;
    }
    return [255, 255, 255];
  };
  const says = (e) => [...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return texts.filter((e) => e.checkVisibility() && !e.disabled && says(e))
    .filter((e) => {
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map((e) => e.outerHTML.slice(0, 200));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_everything_is_reached_and_readable_at_every_size(
    opened: Open, tiny_url: str, size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    page = opened(tiny_url, viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, has_touch=True)
    (tmp_path / "broken photograph with a long name that goes on and on.png").write_bytes(b"no image")
    for files in ([], [*tmp_path.iterdir(), WIDE]):
        if files:
            give(page, *files[1:])
            page.set_input_files("#files", [str(path) for path in files])
            page.locator("#error:visible").wait_for()
            page.locator("#error button").click()
            page.locator("#list .name").first.click()
            page.locator("body[data-state=ready]").wait_for()
            page.locator("#side-left").select_option("other")
            page.locator("body[data-state=ready]").wait_for()
            page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
        assert page.locator(CONTROLS).evaluate_all(UNREACHED) == []
        assert page.locator("body *").evaluate_all(FAINT) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_screen_reader_is_told_names_states_and_what_happens(opened: Open, tiny_url: str) -> None:
    page = opened(tiny_url)
    give(page, WIDE, TESTS / "golden" / "odd.gnc")
    page.locator("body[data-queue=done]").wait_for()
    tree = page.locator("body").aria_snapshot()
    lines = ['slider "Wipe between the two images"', 'combobox "Left image"', 'combobox "Right image"']
    lines += ['group "Zoom"', 'region "Files"', 'button "Close odd.gnc"', 'group "Code"', 'slider "Quality"']
    for line in (*lines, 'button "Download zip"', "status: 2 of 2 done"):
        assert line in tree, tree
    assert page.get_by_role("button", name="wide.png", exact=False).first.get_attribute("aria-current") == "true"
    page.keyboard.press("n")  # the next file, with the focus on it
    assert page.evaluate("document.activeElement.textContent").startswith("odd.gnc")
    page.locator("#said").filter(has_text="odd.gnc: decoded").wait_for(state="attached")


@pytest.mark.parametrize(
    ("lack", "says"),
    [
        ("delete globalThis.WebAssembly", "This browser has no WebAssembly"),
        ("WebAssembly.validate = () => false", "has no SIMD"),
        ("WebAssembly.Module = function () { throw new Error('policy') }", "needs 'wasm-unsafe-eval'"),
    ],
)
def test_what_keeps_the_page_from_working_is_said(opened: Open, tiny_url: str, lack: str, says: str) -> None:
    page = opened("about:blank")
    page.add_init_script(lack)
    page.goto(tiny_url)
    page.locator("#obstacle").filter(has_text=says).wait_for()
    assert page.locator("#choose").is_disabled()


def test_a_page_opened_from_a_file_says_how_to_serve_it(browser: Any) -> None:
    page = browser.new_page()
    page.goto((STATIC / "index.html").as_uri())
    page.locator("#obstacle").filter(has_text="gencomp web").wait_for()
    page.close()
