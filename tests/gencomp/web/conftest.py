"""The page, served and opened in headless Chromium."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from gencomp.codec import model_path
from gencomp.web.cli import address, bind
from gencomp.web.site import site_of

TESTS = Path(__file__).parent.parent.parent
TINY = TESTS / "golden" / "tiny.safetensors"
DONE = "body[data-state=ready]:has(#save-png:enabled)"


class Photo(NamedTuple):
    """A photograph as PNG, and as .gnc coded in Python at the default quality."""

    png: Path
    gnc: Path


@contextmanager
def served(model: Path) -> Iterator[str]:
    """The page with a model; its URL."""
    with bind(site_of(model), 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield address(server)
        finally:  # or the tests would not end
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The page with the embedded model."""
    with served(model_path(None)) as at:
        yield at


@pytest.fixture(scope="session")
def tiny_url() -> Iterator[str]:
    """The page with the small random model of the golden files."""
    with served(TINY) as at:
        yield at


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a browser that remembers nothing; whatever it logs as an error fails the test at its end."""
    contexts, errors = [], []

    def open_page(at: str, **how: Any) -> Any:
        contexts.append(browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | how)))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: dialog.accept())  # of work that is not saved
        page.goto(at)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Photo:
    """scikit-image's cat, 451x300."""
    data = pytest.importorskip("skimage.data")
    import gencomp

    folder = tmp_path_factory.mktemp("photo")
    made = Photo(folder / "cat.png", folder / "coded.gnc")
    image = Image.fromarray(data.chelsea())
    image.save(made.png)
    made.gnc.write_bytes(gencomp.load(device="cpu").compress(image))
    return made


def give(page: Any, *paths: Path) -> None:
    """Choose files and wait until all is done."""
    page.set_input_files("#files", [str(path) for path in paths])
    page.locator(DONE).wait_for()


def settled(page: Any) -> None:
    """Wait until what was just asked for is done; settings act a sixth of a second after the last change."""
    page.wait_for_timeout(250)
    page.locator(DONE).wait_for()


def fact(page: Any, name: str) -> str:
    """A row of the file's facts."""
    return str(page.locator(f'dd[data-fact="{name}"]').text_content())


def downloaded(page: Any, button: str, to: Path) -> Path:
    """What a button downloads."""
    with page.expect_download() as download:
        page.click(button)
    download.value.save_as(to)
    return to
