"""What tests of several rooms need."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium. Where there is none the test is skipped, but fails in CI, which must not pass unseen."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell"):
        if path := shutil.which(name):
            return path
    missing = "no Chromium here (Debian: apt install chromium)"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)
