"""The page in headless Firefox, driven by Marionette, the protocol that it speaks without a driver of its own.

https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html: `length:[0, id, command, parameters]` each
way on a socket.
"""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gencomp
from gencomp.bitstream import inspect

from .conftest import DONE, Photo

EXAMPLE = Path(gencomp.__file__).parent / "web" / "static" / "example.gnc"
SECONDS = 300  # for one thing on a busy machine


class Firefox:
    """A browser with a fresh profile; what it downloads lies in `downloads`."""

    def __init__(self, program: str, folder: Path) -> None:
        self.downloads, profile = folder / "downloads", folder / "profile"
        self.downloads.mkdir()
        profile.mkdir()
        wanted = {"marionette.port": 0, "browser.download.folderList": 2, "browser.download.dir": str(self.downloads)}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in wanted.items()]
        (profile / "user.js").write_text("\n".join(lines))
        command = [program, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = profile / "MarionetteActivePort"
        until(lambda: port.is_file() and port.read_text())
        self._socket = socket.create_connection(("127.0.0.1", int(port.read_text())), SECONDS)
        self._hear()
        self.call("WebDriver:NewSession", capabilities={})

    def call(self, command: str, **parameters: Any) -> Any:
        text = json.dumps([0, 1, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self._hear()
        assert error is None, error
        return result

    def _hear(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._socket.recv(1)
        text = b""
        while len(text) < int(length[:-1]):
            text += self._socket.recv(int(length[:-1]) - len(text))
        return json.loads(text)

    def run(self, script: str) -> Any:
        return self.call("WebDriver:ExecuteScript", script=script, args=[])["value"]

    def element(self, selector: str) -> str:
        found = self.call("WebDriver:FindElement", using="css selector", value=selector)["value"]
        return str(next(iter(found.values())))

    def click(self, selector: str) -> None:
        self.call("WebDriver:ElementClick", id=self.element(selector))

    def done(self) -> None:
        until(lambda: self.run(f"return !!document.querySelector({json.dumps(DONE)})"))

    def downloaded(self, button: str, name: str) -> Path:
        self.click(button)
        file = self.downloads / name
        until(lambda: file.is_file() and file.stat().st_size and not file.with_name(f"{name}.part").exists())
        return file

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(SECONDS)


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "Firefox did not come to an end"
        time.sleep(0.2)


@pytest.fixture
def browser(firefox: str, tmp_path: Path) -> Iterator[Firefox]:
    running = Firefox(firefox, tmp_path)
    yield running
    running.close()


def levels_apart(png: Path, image: Image.Image) -> int:
    return int(np.abs(np.asarray(Image.open(png).convert("RGB"), int) - np.asarray(image, int)).max())


def test_firefox_decodes_and_codes_as_commands_do(browser: Firefox, url: str, photo: Photo, tmp_path: Path) -> None:
    codec, example = gencomp.load(device="cpu"), EXAMPLE.read_bytes()
    browser.call("WebDriver:Navigate", url=url)
    browser.click("#example")
    browser.done()
    crc = browser.run("return document.querySelector('dd[data-fact=latents]').textContent")
    assert crc == f"CRC {inspect(example).header.latents_crc:08x}, as in the file"
    assert browser.downloaded("#save-gnc", "example.gnc").read_bytes() == example
    assert levels_apart(browser.downloaded("#save-png", "example.png"), codec.decompress(example)) <= 2
    image = shutil.copy(photo.png, tmp_path / "kitten.png")
    browser.call("WebDriver:ElementSendKeys", id=browser.element("#files"), text=str(image))
    until(lambda: browser.run("return document.querySelectorAll('#list li').length === 2"))
    browser.done()
    coded = browser.downloaded("#save-gnc", "kitten.gnc").read_bytes()
    assert codec.verify(coded).latents_ok
    assert abs(len(coded) - photo.gnc.stat().st_size) <= 3  # rounding ties alone may differ
    assert levels_apart(browser.downloaded("#save-png", "kitten.png"), codec.decompress(coded)) <= 2
