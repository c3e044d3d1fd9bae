"""The page in headless Chromium: what a rater sees, and that no vote is lost or counted twice."""

import io
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gencomp.eval.study.analysis.analyse import analyse
from gencomp.eval.study.analysis.raters import screen
from gencomp.eval.study.plan import OWN, Design, Study
from gencomp.eval.study.questions import DEFAULT
from gencomp.eval.study.votes import Vote
from gencomp.eval.study.web.store import Store

SERVE = (sys.executable, "-c", "from gencomp.eval.study.cli import study; study()", "serve")
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
RANK = {"original": 4, "hidden": 4, "good": 3, "middling": 2, "bad": 1, "mild": 0, "obvious": 0, "degraded": 0}


class Server:
    """`gencomp study serve` in a process of its own, on one port however often it is started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*SERVE, self.folder.name, "--port", str(self.port)],
            cwd=self.folder.parent,  # a relative path, as people type it
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", self.process.stdout.readline())
        assert found
        self.port = int(found[1])
        self.url = found[0]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Server]]:
    servers: list[Server] = []

    def start(folder: Path) -> Server:
        servers.append(Server(folder))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def opened(browser: Any, url: str, **how: Any) -> Any:
    """A page whose every error fails the test that looks at page.errors."""
    page = browser.new_context(**({"viewport": {"width": 1000, "height": 700}} | how)).new_page()
    page.set_default_timeout(15_000)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(url)
    return page


def begin(page: Any, first: str = "Practice 1 of 2") -> None:
    """Consent and introduction, by keyboard."""
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.locator("#intro").wait_for()
    page.keyboard.press("Enter")
    page.locator("#trial").wait_for()
    wait_for(page, first)


def begin_by_touch(page: Any, first: str) -> None:
    for part in ("input[name=agree]", "#consent button.main", "#intro button"):
        page.locator(part).tap()
    wait_for(page, first)


def names_of(study: Study) -> dict[tuple[str, ...], int]:
    """Rank of an image by its id within the three ids of a trial."""
    ranks: dict[tuple[str, ...], int] = {}
    for scene in study.scenes:
        for name in (*OWN, *scene.renderings):
            ranks[scene.original, scene.image_id(name)] = RANK[name]
    return ranks


def shown(page: Any) -> dict[str, str]:
    """Ids of the images on the page by what they are called there; by the files' bytes, as addresses tell nothing."""
    read = """all => Promise.all(all.map(async (i) => {
        const bytes = await (await fetch(i.src, { cache: "force-cache" })).arrayBuffer();
        const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        return [i.dataset.name, Array.from(hash, (b) => b.toString(16).padStart(2, "0")).join("").slice(0, 32)];
    }))"""
    return dict(page.eval_on_selector_all("#views img", read))


def answer_by_keyboard(page: Any, study: Study, before: Callable[[], None] = lambda: None) -> str:
    """Flip, look, and choose the image that ranks higher; returns the choice. before: done ahead of the keys."""
    ranks, here = names_of(study), shown(page)
    before()
    page.keyboard.press("Space")
    page.locator("[data-choice=a]:enabled").wait_for()
    better = ranks[here["original"], here["a"]] > ranks[here["original"], here["b"]]
    page.keyboard.press("ArrowLeft" if better else "ArrowRight")
    return "a" if better else "b"


def count(page: Any) -> str:
    return str(page.locator("#count").text_content())


def wait_for(page: Any, text: str) -> None:
    page.locator("#count").filter(has_text=re.compile(f"^{text}$")).wait_for()


def stored(folder: Path, study: Study) -> list[Vote]:
    store = Store(folder, study.id)
    try:
        return store.votes()
    finally:
        store.close()


def test_a_study_by_keyboard_through_kill_9_counts_every_vote_once(
    browser: Any, serve: Any, codings: Any, make_study: Any, tmp_path: Path
) -> None:
    """Three practice trials and 20 that count."""
    folder, study = make_study(codings(tmp_path / "i", images=6), design=Design("random", 18, 2, 0, 3, 8))
    server = serve(folder)
    page = opened(browser, server.url)
    begin(page, "Practice 1 of 3")
    sent = []
    for n in range(3):
        wait_for(page, f"Practice {n + 1} of 3")
        sent.append(answer_by_keyboard(page, study))
        page.locator("#feedback").wait_for()
        assert re.search("Right: [AB] was the original|Here nobody can say", str(page.locator("#told").text_content()))
        page.keyboard.press("Enter")
    page.locator("#ready").wait_for()
    page.keyboard.press("Enter")
    for n in range(20):
        wait_for(page, f"{n + 1} of 20")
        if n == 5:
            page.reload()
            wait_for(page, "6 of 20")
        if n == 11:  # the server dies with the rater's answer on its way; the page is loaded again before it is back
            sent.append(answer_by_keyboard(page, study, server.kill))
            page.locator("#banner").wait_for()
            server.start()
            page.reload()
        elif n == 14:  # it dies, and comes back while the page waits
            sent.append(answer_by_keyboard(page, study, server.kill))
            page.locator("#banner").wait_for()
            server.start()
        else:
            sent.append(answer_by_keyboard(page, study))
        if n + 1 in (8, 16):
            page.locator("#rest").wait_for()
            page.keyboard.press("Enter")
    page.locator("#done").wait_for()
    server.kill()
    votes = stored(folder, study)
    assert ([v.n for v in votes], [v.choice for v in votes]) == (list(range(23)), sent)
    assert len({v.rater for v in votes}) == 1
    assert all(v.flips >= 1 and 300 <= v.ms < 60_000 and v.dpr == 1 for v in votes)
    assert page.errors == []
    assert [r.reasons for r in screen(study, votes)] == ["20 of 20 answers in less than 1.5 s"]  # no person does this
    found = analyse(study, [v._replace(ms=4000, server_ms=4000) for v in votes], resamples=100)
    ranked = sorted(found["scores"], key=lambda s: -s["elo"])
    assert [s["condition"] for s in ranked] == ["good", "middling", "bad"]
    assert all(r["kept"] and r["passed"] == 2 for r in found["rater_table"]), found["rater_table"]


@pytest.mark.parametrize(("ratio", "layout"), [(1, "side"), (1.1, "flip"), (2, "inplace"), (3, "inplace")])
def test_images_are_on_the_screen_pixel_by_pixel(
    launch: Any, serve: Any, make_study: Any, ratio: float, layout: str
) -> None:
    """A browser whose screen has this many pixels a point, as a zoomed page or a dense display has (the emulation of
    such a screen that playwright offers snaps images otherwise than a real one)."""
    folder, _ = make_study(layout=layout, crop=(63, 47), design=Design("full", 12, 0, 0, 0, 0))
    browser = launch(f"--force-device-scale-factor={ratio}", "--window-size=901,757")
    page = opened(browser, serve(folder).url, viewport=None, no_viewport=True)
    begin(page, "1 of 12")
    assert page.evaluate("devicePixelRatio") == pytest.approx(ratio)
    for _ in range(2):
        page.wait_for_timeout(100)
        screen = np.asarray(Image.open(io.BytesIO(page.screenshot(scale="device"))).convert("RGB"))
        images = page.locator("#views img.on").all()
        assert len(images) == {"flip": 2, "side": 3, "inplace": 1}[layout]
        for image in images:
            stem = shown(page)[image.get_attribute("data-name")]
            pixels = np.asarray(Image.open(folder / "images" / f"{stem}.png").convert("RGB"))
            if ratio > 2.5:  # an image pixel is a square of four
                pixels = pixels.repeat(2, 0).repeat(2, 1)
            box = image.bounding_box()
            assert stands_at(screen, pixels, round(box["x"] * ratio), round(box["y"] * ratio))
        page.keyboard.press("Space")
    browser.close()


def stands_at(screen: Any, image: Any, x: int, y: int) -> bool:
    """Whether the image is on the screen within a pixel of this place, with neutral grey around it."""
    height, width = image.shape[:2]
    framed = np.full((height + 2, width + 2, 3), 119, np.uint8)
    framed[1:-1, 1:-1] = image
    around = [(y + dy, x + dx) for dy in (-2, -1, 0) for dx in (-2, -1, 0)]
    return any((screen[top : top + height + 2, left : left + width + 2] == framed).all() for top, left in around)


def test_a_window_too_small_for_the_crop_is_refused_until_it_grows(browser: Any, serve: Any, folder: Path) -> None:
    page = opened(browser, serve(folder).url, viewport={"width": 1000, "height": 700})
    begin(page)
    page.set_viewport_size({"width": 170, "height": 600})
    page.locator("#small").wait_for()
    assert not page.locator("#trial").is_visible()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")
    page.set_viewport_size({"width": 1000, "height": 700})
    page.locator("#trial").wait_for()
    assert count(page) == "Practice 1 of 2"
    assert page.locator("[data-tab=a].on").count() == 1  # what was pressed meanwhile did nothing


def test_a_double_click_counts_once(browser: Any, serve: Any, folder: Path, study: Study) -> None:
    page = opened(browser, serve(folder).url)
    begin(page)
    for _ in range(2):
        answer_by_keyboard(page, study)
        page.locator("#feedback").wait_for()
        page.keyboard.press("Enter")
    page.locator("#ready").wait_for()
    page.keyboard.press("Enter")
    for n in range(3):
        wait_for(page, f"{n + 1} of 15")
        page.locator(".frame").last.click()
        page.locator("[data-choice=a]:enabled").wait_for()
        page.locator("[data-choice=a]").dblclick()
    wait_for(page, "4 of 15")
    time.sleep(0.5)
    assert (count(page), len(stored(folder, study))) == ("4 of 15", 5)


def test_choosing_needs_a_look_at_both(browser: Any, serve: Any, folder: Path, study: Study) -> None:
    page = opened(browser, serve(folder).url)
    begin(page)
    page.wait_for_timeout(600)
    assert page.locator("[data-choice=a]").is_disabled()
    page.keyboard.press("ArrowLeft")
    assert stored(folder, study) == []
    page.keyboard.down("o")
    assert page.locator("#views img.on").last.get_attribute("data-name") == "original"
    page.keyboard.up("o")
    assert page.locator("#views img.on").last.get_attribute("data-name") == "a"
    assert page.locator("[data-choice=a]").is_disabled()  # the original is not B


def test_a_pause_stops_the_clock_and_its_link_leads_back(browser: Any, serve: Any, folder: Path, study: Study) -> None:
    page = opened(browser, serve(folder).url)
    begin(page)
    page.keyboard.press("p")
    page.locator("#pause").wait_for()
    link = page.locator("#link").input_value()
    page.wait_for_timeout(1500)
    assert page.locator("#views").is_hidden()
    page.keyboard.press("Enter")
    page.locator("#trial").wait_for()
    answer_by_keyboard(page, study)
    page.locator("#feedback").wait_for()
    assert stored(folder, study)[0].ms < 1500
    wait_for(opened(browser, link), "Practice 2 of 2")


def test_two_windows_of_one_rater_count_a_trial_once(browser: Any, serve: Any, folder: Path, study: Study) -> None:
    page = opened(browser, serve(folder).url)
    begin(page)
    other = opened(browser, page.url)
    other.locator("#intro").wait_for()
    other.keyboard.press("Enter")
    wait_for(other, "Practice 1 of 2")
    answer_by_keyboard(page, study)
    page.locator("#feedback").wait_for()
    answer_by_keyboard(other, study)
    other.locator("#feedback").wait_for()
    assert [v.n for v in stored(folder, study)] == [0]


def test_touch_is_enough(browser: Any, serve: Any, make_study: Any) -> None:
    folder, study = make_study(layout="inplace", ties=True, max_density=4.0)
    page = opened(browser, serve(folder).url, device_scale_factor=3, **PHONE)
    page.locator("input[name=agree]").tap()
    page.locator("#consent button.main").tap()
    assert "Tap the image" in page.locator("#intro").inner_text()
    assert not page.locator("#intro kbd").first.is_visible()
    page.locator("#intro button").tap()
    wait_for(page, "Practice 1 of 2")
    page.locator("[data-tab=original]").tap()
    assert page.locator("#views img.on").get_attribute("data-name") == "original"
    page.locator(".frame").tap()
    page.locator("[data-choice=tie]:enabled").wait_for()
    for button in page.locator("#choices button").all():
        assert button.evaluate("b => b.scrollWidth <= b.clientWidth"), "a button's words run out of it"
    page.locator("[data-choice=tie]").tap()
    page.locator("#feedback").wait_for()
    assert [(v.choice, v.dpr) for v in stored(folder, study)] == [("tie", 3.0)]


def test_an_answer_that_is_barred_on_its_way_is_kept(browser: Any, serve: Any, folder: Path, study: Study) -> None:
    """A proxy that is set up wrongly, say: the rater is told, and nothing is lost once it is mended."""
    page = opened(browser, serve(folder).url)
    begin(page)
    page.route("**/vote", lambda route: route.fulfill(status=403, body="403 Forbidden"))
    sent = answer_by_keyboard(page, study)
    page.locator("#lost").wait_for()
    assert "(403)" in page.locator("#why").inner_text()
    page.unroute("**/vote")
    page.keyboard.press("Enter")
    wait_for(page, "Practice 2 of 2")
    assert [v.choice for v in stored(folder, study)] == [sent]


@pytest.mark.parametrize(("ratio", "fits"), [(2.6, False), (3, True)])
def test_a_crop_of_512_fits_390_points_or_that_is_said_before_consent(
    browser: Any, serve: Any, codings: Any, make_study: Any, tmp_path: Path, ratio: float, fits: bool
) -> None:
    parts = "original", "reconstruction"
    coded = [c._replace(**{p: _large(getattr(c, p)) for p in parts}) for c in codings(tmp_path / "i", 2)]
    folder, _ = make_study(coded, layout="inplace", crop=(512, 512), design=Design("full", 6, 0, 0, 0, 0))
    page = opened(browser, serve(folder).url, device_scale_factor=ratio, **PHONE)
    assert page.locator("#consent").is_visible() == fits
    if not fits:
        assert "This window is too small" in page.locator("#small").inner_text()
        assert f"390 × 844 points ({390 * ratio:.0f} × {844 * ratio:.0f} pixels)" in page.locator("#have").inner_text()
        page.set_viewport_size({"width": 1200, "height": 900})
        page.locator("#consent").wait_for()
        return
    begin_by_touch(page, "1 of 6")
    box = page.locator(".frame").bounding_box()
    assert box["width"] == pytest.approx(2 * 512 / ratio, abs=0.1)
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def _large(path: Path) -> Path:
    """The image at six times its size, beside it."""
    image = Image.open(path)
    large = path.with_name(f"large-{path.name}")
    image.resize((6 * image.width, 6 * image.height)).save(large)
    return large


def test_after_a_tap_no_answer_of_the_next_trial_looks_chosen(browser: Any, serve: Any, make_study: Any) -> None:
    folder, _ = make_study(layout="inplace", design=Design("full", 12, 0, 0, 0, 0))
    page = opened(browser, serve(folder).url, device_scale_factor=2, **PHONE)
    begin_by_touch(page, "1 of 12")
    looks = []
    for n in range(2):
        page.locator(".frame").tap()
        page.locator("[data-choice=a]:enabled").wait_for()
        page.wait_for_timeout(100)
        looks.append(page.locator("#choices").screenshot())
        page.locator("[data-choice=a]").tap()
        wait_for(page, f"{n + 2} of 12")
    assert looks[0] == looks[1]
    assert page.evaluate("document.activeElement === document.body")


def test_questions_are_answered_by_keyboard_and_back_leads_into_the_study(
    browser: Any, serve: Any, make_study: Any
) -> None:
    folder, study = make_study(design=Design("random", 1, 0, 0, 0, 0), questions=DEFAULT)
    page = opened(browser, serve(folder).url)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.locator("#questions").wait_for()
    page.go_back()
    page.locator("#questions").wait_for()  # no second consent, no second rater
    for _ in range(4):
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#intro").wait_for()
    page.keyboard.press("Enter")
    wait_for(page, "1 of 1")
    answer_by_keyboard(page, study)
    page.locator("#questions").wait_for()
    page.locator("textarea").fill("edges")
    page.locator("button.main").click()
    page.locator("#done").wait_for()
    store = Store(folder, study.id)
    assert store.raters() == 1
    (told,) = store.told().values()
    assert [told[q.id] for q in DEFAULT] == [*(q.options[0] for q in DEFAULT[:4]), "edges"]
    assert (told["displays"][0]["dpr"], told["displays"][0]["window_width"]) == (1, 1000)
    assert page.errors == []


@pytest.mark.parametrize(("task", "layout"), [("dsis", "side"), ("dsis", "inplace"), ("acr", "side")])
def test_images_are_graded_by_key_and_by_tap(browser: Any, serve: Any, make_study: Any, task: str, layout: str) -> None:
    folder, study = make_study(task=task, layout=layout, design=Design("random", 6, 2, 1, 2, 0), max_density=4.0)
    page = opened(browser, serve(folder).url, device_scale_factor=3, **PHONE)
    begin(page)
    for n in range(2):
        wait_for(page, f"Practice {n + 1} of 2")
        assert set(shown(page)) == ({"image"} if task == "acr" else {"original", "image"})
        assert page.locator("[data-choice]").count() == 5
        if layout == "inplace":
            page.wait_for_timeout(400)
            assert page.locator("[data-choice='3']").is_disabled()
            page.locator(".frame").tap()
        page.locator("[data-choice='3']:enabled").wait_for()
        page.keyboard.press("5" if n else "1")
        page.locator("#feedback").wait_for()
        assert re.match("(Right|Look again): this was", page.locator("#told").inner_text())
        page.keyboard.press("Enter")
    page.locator("#ready").wait_for()
    page.keyboard.press("Enter")
    wait_for(page, "1 of 9")
    if layout == "inplace":
        page.keyboard.press("Space")
    page.locator("[data-choice='4']:enabled").tap()
    wait_for(page, "2 of 9")
    assert ([v.choice for v in stored(folder, study)], page.errors) == (["1", "5", "4"], [])
