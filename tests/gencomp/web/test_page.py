"""The page as a visitor uses it, in headless Chromium."""

import base64
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gencomp
from gencomp.bitstream import SECTION_KINDS, Header, inspect, pack, unpack

from .conftest import DONE, TESTS, TINY, Photo, downloaded, fact, give, settled

Open = Callable[..., Any]
ODD = TESTS / "golden" / "odd.gnc"
CANVAS = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.width, btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), ""))];
}"""
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def codec() -> gencomp.Codec:
    return gencomp.load(device="cpu")


@pytest.fixture
def small(opened: Open, tiny_url: str) -> Any:
    """The page with the tiny model, for what does not depend on the model."""
    return opened(tiny_url)


@pytest.fixture
def page(opened: Open, url: str) -> Any:
    return opened(url)


def levels_apart(path: Path, image: Image.Image) -> int:
    seen, wanted = Image.open(path), np.asarray(image, np.int16)
    assert seen.size == image.size
    return int(np.abs(np.asarray(seen.convert("RGB"), np.int16) - wanted).max())


def test_what_python_coded_decodes_in_the_page(page: Any, photo: Photo, codec: gencomp.Codec, tmp_path: Path) -> None:
    data = photo.gnc.read_bytes()
    give(page, photo.gnc)
    assert fact(page, "latents") == f"CRC {inspect(data).header.latents_crc:08x}, as in the file"
    for realism in (1.0, 0.0, 0.5):
        page.locator("#realism").fill(str(realism))
        settled(page)
        png = downloaded(page, "#save-png", tmp_path / "seen.png")
        assert levels_apart(png, codec.decompress(data, realism=realism)) <= 2
    assert downloaded(page, "#save-gnc", tmp_path / "same.gnc").read_bytes() == data


def test_what_the_page_coded_decodes_in_python(page: Any, photo: Photo, codec: gencomp.Codec, tmp_path: Path) -> None:
    give(page, photo.png)
    data = downloaded(page, "#save-gnc", tmp_path / "cat.gnc").read_bytes()
    assert codec.verify(data).latents_ok
    assert abs(len(data) - photo.gnc.stat().st_size) <= 3  # rounding ties alone may differ
    png = downloaded(page, "#save-png", tmp_path / "cat.png")
    assert levels_apart(png, codec.decompress(data)) <= 2


def test_a_photograph_is_coded_at_a_size(page: Any, photo: Photo, codec: gencomp.Codec, tmp_path: Path) -> None:
    give(page, photo.png)
    page.get_by_label("at a size").check()
    page.locator("#size").fill("1.5")
    settled(page)
    data = downloaded(page, "#save-gnc", tmp_path / "cat.gnc").read_bytes()
    assert 1400 <= len(data) <= 1500
    assert codec.verify(data).latents_ok
    page.locator("#size").fill("0.03")
    page.locator("#error").filter(has_text="smallest file of this image has").wait_for()


def test_768x512_decodes_within_ten_seconds(page: Any, codec: gencomp.Codec, tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data")
    image = Image.fromarray(data.astronaut()).resize((768, 512))
    path = tmp_path / "large.gnc"
    path.write_bytes(codec.compress(image))
    give(page, path)
    seconds = sum(float(fact(page, name).removesuffix(" s")) for name in ("latents in", "pixels in"))
    print(f"768x512: {seconds:.2f} s")
    assert seconds <= 10


def test_realism_changes_the_image_and_not_the_file(page: Any, photo: Photo, tmp_path: Path) -> None:
    give(page, photo.gnc)
    real = downloaded(page, "#save-png", tmp_path / "1.png").read_bytes()
    for _ in range(5):
        page.keyboard.press("[")
    settled(page)
    assert "realism 0.75" in page.locator("#facts-right").inner_text()
    assert downloaded(page, "#save-png", tmp_path / "0.png").read_bytes() != real
    assert downloaded(page, "#save-gnc", tmp_path / "f.gnc").read_bytes() == photo.gnc.read_bytes()


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("cut", lambda data: data[:-7], "cut.gnc: damaged: its checksum does not match"),
        ("alone", lambda data: data[:9], "alone.gnc: damaged: it ends inside the header"),
        ("other", lambda data: data[:4] + b"abcd" + data[8:], "other.gnc: damaged: its checksum"),
        ("foreign", lambda data: b"nothing of ours", "foreign.gnc: not a gencomp file"),
        ("newer", lambda data: data[:3] + b"\x03" + data[4:], "newer.gnc: written by a newer version of gencomp"),
        ("forged", lambda data: forged(data), "forged.gnc: the decoded latents are not those that were encoded"),
    ],
)  # fmt: skip
def test_a_damaged_file_shows_its_error(small: Any, tmp_path: Path, name: str, change: Any, says: str) -> None:
    page, bad = small, tmp_path / f"{name}.gnc"
    bad.write_bytes(change(ODD.read_bytes()))
    page.set_input_files("#files", str(bad))
    page.locator("#error").filter(has_text=says).wait_for()
    assert page.locator("#save-png").is_disabled()
    give(page, ODD)  # and the page goes on
    assert not page.locator("#error").is_visible()


def forged(data: bytes) -> bytes:
    header, payload = unpack(data)
    return pack(Header(header.model_id, header.width, header.height, header.quality_step, 1), payload)


def test_work_is_cancelled_and_goes_on(page: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    large = tmp_path / "large.png"
    Image.fromarray(rng.integers(0, 256, (1200, 1200, 3), np.uint8)).resize((2400, 2400)).save(large)
    page.set_input_files("#files", str(large))
    page.locator("#doing").filter(has_text="Coding").wait_for()
    page.wait_for_timeout(300)
    page.locator("#cancel").click()
    page.locator("body[data-state=cancelled]").wait_for()
    assert page.locator("#cancel").inner_text() == "Go on"
    page.set_input_files("#files", str(TESTS / "golden" / "odd.png"))  # the worker is free at once
    page.locator(DONE).wait_for(timeout=15_000)
    page.locator("#list .name").first.click()
    page.locator("#doing").filter(has_text="Coding").wait_for()
    page.keyboard.press("Escape")
    page.locator("body[data-state=cancelled]").wait_for()


def test_nothing_leaves_the_machine_and_the_page_works_offline(opened: Open, url: str, photo: Photo) -> None:
    page = opened(url)
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    give(page, photo.gnc)
    assert page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.context.set_offline(True)
    page.goto(url)
    give(page, photo.png)
    page.locator("#side-left").select_option("webp")
    settled(page)
    assert fact(page, "latents").endswith("as in the file")
    outside = [at for at in asked if not at.startswith((url, "blob:", "data:"))]
    assert outside == []


def test_the_policy_of_the_page_itself_forbids_sending_anything_elsewhere(browser: Any, tiny_url: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(tiny_url)
    send = "fetch('http://127.0.0.1:9/', {method: 'POST', mode: 'no-cors', body: 'x'}).catch(e => 0)"
    page.evaluate("addEventListener('securitypolicyviolation', e => (document.title = e.violatedDirective))")
    page.evaluate(send)
    assert page.title() == "connect-src"
    context.close()


def test_keys_move_wipe_zoom_and_sides(small: Any) -> None:
    page = small
    give(page, TESTS / "golden" / "wide.png")
    wipe = page.locator("#divider")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert wipe.get_attribute("aria-valuenow") == "39"
    page.keyboard.down(" ")
    assert wipe.get_attribute("aria-valuenow") == "100"
    page.keyboard.up(" ")
    assert wipe.get_attribute("aria-valuenow") == "39"
    page.keyboard.press("1")
    assert page.locator("#scale").inner_text() == "100 %"
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert page.locator("#scale").inner_text() == "200 %"
    page.keyboard.press("b")
    settled(page)
    assert page.locator("#side-left").input_value() == "gencomp"
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("body[data-state=ready]").count() == 1


def test_the_image_is_on_the_screen_pixel_by_pixel(small: Any, tmp_path: Path) -> None:
    """At one to one, what the left side shows is the original itself."""
    page = small
    give(page, TESTS / "golden" / "wide.png")
    page.keyboard.press("1")
    page.keyboard.press("End")
    page.locator("#divider").evaluate("line => (line.style.visibility = 'hidden')")
    shot = tmp_path / "stage.png"
    page.locator("#stage").screenshot(path=str(shot))
    stage = np.asarray(Image.open(shot).convert("RGB"))
    wide = np.asarray(Image.open(TESTS / "golden" / "wide.png").convert("RGB"))
    top, left = (stage.shape[0] - 50) // 2, (stage.shape[1] - 131) // 2
    around = [(top + dy, left + dx) for dy in range(-2, 3) for dx in range(-2, 3)]
    assert any((stage[y : y + 50, x : x + 131] == wide).all() for y, x in around)


def test_touch_drags_the_wipe_and_pinches(opened: Open, tiny_url: str) -> None:
    page = opened(tiny_url, **PHONE)
    give(page, TESTS / "golden" / "wide.gnc")
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    box = page.locator("#stage").bounding_box()
    middle, row = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers("touchStart", (middle, row))
    fingers("touchMove", (middle - 97, row))
    fingers("touchEnd")
    assert page.locator("#divider").get_attribute("aria-valuenow") == "25"
    before = int(page.locator("#scale").inner_text().split()[0])
    fingers("touchStart", (300, row - 20), (340, row - 20))
    fingers("touchMove", (280, row - 20), (360, row - 20))
    fingers("touchEnd")
    assert int(page.locator("#scale").inner_text().split()[0]) == pytest.approx(2 * before, abs=4)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_dark_and_light_follow_the_system_until_chosen(opened: Open, tiny_url: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    dark, light = opened(tiny_url, color_scheme="dark"), opened(tiny_url, color_scheme="light")
    seen = dark.evaluate(ground), light.evaluate(ground)
    assert seen[0] != seen[1]
    dark.click("#theme")
    assert dark.evaluate(ground) == seen[1]
    dark.reload()
    assert dark.evaluate(ground) == seen[1]


def test_every_control_has_a_name_and_the_keyboard_reaches_it(page: Any) -> None:
    give(page, TESTS / "golden" / "odd.png")
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input:not([hidden]), select, [role=slider]')].filter(e => "
        "!e.textContent.trim() && !e.ariaLabel && !e.title && !(e.labels && e.labels.length)).map(e => e.outerHTML)"
    )
    assert nameless == []
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    wanted = {"open", "theme", "side-left", "side-right", "divider", "mode", "quality", "realism", "fit"}
    assert wanted | {"save-gnc", "save-png"} <= reached


def test_an_example_is_at_hand(page: Any) -> None:
    page.click("#example")
    page.locator(DONE).wait_for()
    assert fact(page, "latents").endswith("as in the file")
    assert page.locator("#side-left").input_value() == "original"
    assert page.locator("#compared").inner_text().endswith("of example.jpg (93.86 kB)")
    assert "coded in" not in page.locator("#facts dt").all_text_contents()  # by the model that the page has


def test_a_file_with_a_colour_profile_keeps_it_in_its_png_and_a_comment_is_shown(small: Any, tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    header, payload = unpack(ODD.read_bytes())
    newer = Header(header.model_id, header.width, header.height, header.quality_step, 0, 2)
    path = tmp_path / "profiled.gnc"
    extras = {SECTION_KINDS["icc"]: profile, SECTION_KINDS["comment"]: "grüße <b>".encode()}
    path.write_bytes(pack(newer.sealed(header.latents_crc), payload, extras))
    give(small, path)
    assert fact(small, "says") == "grüße <b>"
    png = downloaded(small, "#save-png", tmp_path / "seen.png")
    image = Image.open(png)
    image.load()
    assert image.info["icc_profile"] == profile
    assert sound(png.read_bytes())


def sound(png: bytes) -> bool:
    """Whether every chunk's checksum holds."""
    at = 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        (crc,) = struct.unpack_from(">I", png, at + 8 + length)
        if zlib.crc32(png[at + 4 : at + 8 + length]) != crc:
            return False
        at += 12 + length
    return True


def test_a_large_image_is_coded_in_tiles_by_several_workers(small: Any, tmp_path: Path) -> None:
    """As without tiles: its latents are Python's, and its pixels within two levels."""
    codec = gencomp.load(TINY, device="cpu")
    row, column = np.mgrid[:1300, :1700]
    waves = 128 + 60 * np.sin(row / 31)[..., None] + 50 * np.cos(column[..., None] / (17 + 5 * np.arange(3)))
    image, path = Image.fromarray(waves.astype(np.uint8)), tmp_path / "large.png"
    image.save(path)
    give(small, path)
    data = downloaded(small, "#save-gnc", tmp_path / "large.gnc").read_bytes()
    assert codec.verify(data).latents_ok
    assert abs(len(data) - len(codec.compress(image))) <= 8  # rounding ties alone may differ
    png = downloaded(small, "#save-png", tmp_path / "seen.png")
    assert levels_apart(png, codec.decompress(data)) <= 2
    decoded = Image.open(png).convert("RGB")
    for viewport, far in (((2400, 1600), 0), ((700, 700), 6)):  # one to one, and much smaller: no tile shows
        small.set_viewport_size({"width": viewport[0], "height": viewport[1]})
        small.wait_for_timeout(200)
        width, seen = small.locator("#right canvas").evaluate(CANVAS)
        rgb = np.reshape(np.frombuffer(base64.b64decode(seen), np.uint8), (-1, width, 4))[..., :3].astype(int)
        assert rgb.shape[0] * width < viewport[0] * viewport[1]  # no canvas is larger than the stage
        wanted = np.asarray(decoded.resize((width, rgb.shape[0]), Image.Resampling.BOX), int)
        assert np.abs(rgb - wanted).mean() <= far
