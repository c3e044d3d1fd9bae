"""What stands on either side of the wipe is what its label says, and other codecs are at their best."""

import base64
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import TESTS, downloaded, give, settled

Open = Callable[..., Any]
RIVAL = """async ([png, type, bytes]) => {
  const { encoderOf } = await import("./encoders.js");
  const { bestRival } = await import("./rivals.js");
  const bitmap = await createImageBitmap(await (await fetch(png)).blob());
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const found = await bestRival({ data, width, height }, await encoderOf(type), bytes, async () => {});
  return { bytes: found.blob.size, psnr: found.psnr, scale: found.scale, quality: found.quality };
}"""


def photographs() -> list[Image.Image]:
    data = pytest.importorskip("skimage.data")
    cat, woman, cup = (Image.fromarray(image()) for image in (data.chelsea, data.astronaut, data.coffee))
    boxes = [(cat, (60, 20, 420, 290)), (woman, (100, 0, 400, 260)), (woman, (200, 180, 512, 512))]
    boxes += [(cup, (0, 0, 300, 200)), (cup, (150, 60, 600, 360)), (cat, (0, 0, 250, 160))]
    return [image.convert("RGB").crop(box) for image, box in boxes]


def best_of_all(image: Image.Image, name: str, limit: int) -> float:
    """PSNR of the best of all scales, a twentieth apart, and all qualities whose file has at most `limit` bytes."""
    best, original = 0.0, np.asarray(image, np.float64)
    for scale in np.arange(0.1, 1.01, 0.05):
        small = image.resize([max(1, round(length * scale)) for length in image.size], Image.Resampling.LANCZOS)
        for quality in range(0, 100, 1 if name == "JPEG" else 2):
            file = io.BytesIO()
            small.save(file, name, quality=quality, **({"optimize": True} if name == "JPEG" else {"method": 4}))
            if file.tell() > limit:
                break
        file = io.BytesIO()
        small.save(file, name, quality=max(0, quality - 1), **({"optimize": True} if name == "JPEG" else {"method": 4}))
        if file.tell() <= limit:
            seen = Image.open(file).convert("RGB").resize(image.size, Image.Resampling.LANCZOS)
            error = np.mean((np.asarray(seen, np.float64) - original) ** 2)
            best = max(best, 10 * np.log10(255**2 / error))
    return best


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_rivals_come_near_a_full_search_over_scale_and_quality(browser: Any, tiny_url: str, kind: str) -> None:
    context = browser.new_context(bypass_csp=True)  # for the data: URLs of this test
    page = context.new_page()
    page.goto(tiny_url)
    for image, bpp in zip(photographs(), itertools.cycle((0.1, 0.2, 0.4)), strict=False):
        limit = int(bpp * image.width * image.height / 8) + (600 if kind == "JPEG" else 0)
        file = io.BytesIO()
        image.save(file, "PNG")
        url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        found = page.evaluate(RIVAL, [url, f"image/{kind.lower()}", limit])
        best = best_of_all(image, kind, limit)
        assert found["bytes"] <= limit
        assert found["psnr"] > best - 0.2
    context.close()


def large_photograph(to: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    Image.fromarray(noise).resize((2000, 2000)).save(to)
    return to


def test_nothing_is_labelled_as_decoded_that_is_not(opened: Open, url: str, tmp_path: Path) -> None:
    """While it is coded, after cancelling and after an error a side is empty and says why."""
    page = opened(url)
    said, label, canvas = page.locator("#pane-right"), page.locator("#facts-right"), page.locator("#right canvas")
    page.set_input_files("#files", str(large_photograph(tmp_path / "large.png")))
    page.locator("#doing").filter(has_text="Coding").wait_for()
    assert (said.inner_text(), label.inner_text(), canvas.count()) == ("Not ready yet", "", 0)
    assert page.locator("#side-left").input_value() == "original"
    assert page.locator("#left canvas").count() == 1
    page.locator("#cancel").click()
    assert (said.inner_text(), label.inner_text(), canvas.count()) == ("Not coded: cancelled", "", 0)
    several = page.locator("#close-all")
    several.click(force=True) if several.is_visible() else page.locator("#list .close").click()
    give(page, TESTS / "golden" / "wide.png")
    assert "quality 45" in label.inner_text()
    page.get_by_label("at a size").check()
    page.locator("#size").fill("0.03")
    page.locator("body[data-state=error]").wait_for()
    assert (said.inner_text(), label.inner_text(), canvas.count()) == ("Not decoded: an error", "", 0)
    assert page.locator("#save-gnc").is_disabled()
    page.locator("#size").fill("5")  # and the error goes when it no longer holds
    settled(page)
    assert not page.locator("#error").is_visible()
    assert "kB" in label.inner_text() or "bytes" in label.inner_text()


def test_a_new_file_starts_against_its_original(opened: Open, tiny_url: str) -> None:
    page = opened(tiny_url)
    give(page, TESTS / "golden" / "wide.png")
    page.locator("#side-left").select_option("webp")
    settled(page)
    give(page, TESTS / "golden" / "odd.png")
    assert [page.locator(f"#side-{side}").input_value() for side in ("left", "right")] == ["original", "gencomp"]


def test_any_two_settings_stand_side_by_side(opened: Open, tiny_url: str, tmp_path: Path) -> None:
    page = opened(tiny_url)
    give(page, TESTS / "golden" / "loud.png")
    page.locator("#side-left").select_option("other")
    page.locator("#other-quality").fill("90")
    settled(page)
    assert "quality 90" in page.locator("#facts-left").inner_text()
    assert "quality 45" in page.locator("#facts-right").inner_text()
    page.locator("#side-right").select_option("jpeg")
    page.locator("#side-left").select_option("avif")
    settled(page)
    for side in ("left", "right"):
        assert "its best for these bytes" in page.locator(f"#facts-{side}").inner_text()
    assert downloaded(page, "#save-gnc", tmp_path / "loud.gnc").stat().st_size
