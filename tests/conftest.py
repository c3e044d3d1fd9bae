"""What tests of several rooms need."""

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def chromium() -> str:
    return _browser("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")


@pytest.fixture(scope="module")  # playwright runs once at a time, and several rooms have browser tests
def launch(chromium: str) -> Iterator[Callable[..., Any]]:
    """Starts the browser with these switches."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield lambda *switches: playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *switches])


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Any]) -> Iterator[Any]:
    running = launch()
    yield running
    running.close()


@pytest.fixture(scope="session")
def firefox() -> str:
    return _browser("firefox-esr", "firefox")


def _browser(*names: str) -> str:
    """Where there is none the test is skipped, but fails in CI, which must not pass unseen."""
    for name in names:
        if path := shutil.which(name):
            return path
    missing = f"no {names[0]} here (Debian: apt install {names[0]})"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder of real feature networks, or the test is skipped: `make weights` fetches them."""
    folder = Path(__file__).parents[1] / ".weights"
    if not folder.is_dir():
        pytest.skip("no feature networks here (make weights fetches them)")
    return folder


@pytest.fixture(autouse=True)
def gradients_stay_on() -> Iterator[None]:
    """One test cannot switch off the gradients of all that train after it."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and not torch.is_grad_enabled():
        torch.set_grad_enabled(True)
        warnings.warn("the test left gradients off", stacklevel=1)
