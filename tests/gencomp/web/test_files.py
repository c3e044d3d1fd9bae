"""Many files at once: a queue, a zip with the tree of what came in, and what is kept or named of each."""

import base64
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import gencomp
from gencomp.alpha import read_with_alpha
from gencomp.bitstream import SECTION_KINDS, inspect

from .conftest import TESTS, downloaded, give, settled

Open = Callable[..., Any]
DROP = """async (files) => {
  const transfer = new DataTransfer();
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  for (const [name, text] of files) transfer.items.add(new File([bytes(text)], name));
  dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
}"""
PASTE = DROP.replace('DragEvent("drop", { dataTransfer', 'ClipboardEvent("paste", { clipboardData')
SPACES = "all => all.map((canvas) => canvas.getContext('2d').getContextAttributes().colorSpace)"
ALL = "body[data-queue=done][data-state=ready], body[data-queue=done][data-state=error]"


@pytest.fixture
def page(opened: Open, tiny_url: str) -> Any:
    return opened(tiny_url)


def scene(seed: int, size: tuple[int, int] = (72, 56)) -> Image.Image:
    row, column = np.mgrid[: size[1], : size[0]] / 9
    waves = [128 + 60 * np.sin(row + seed) + 50 * np.cos(column * (1 + c / 4) + seed * c) for c in range(3)]
    return Image.fromarray(np.stack(waves, -1).clip(0, 255).astype(np.uint8))


def profile(primaries: list[tuple[float, float, float]]) -> bytes:
    """An ICC profile of RGB colours with these colorants and a gamma of 2.2."""

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * v) for v in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    contents = {b"desc": name, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz((0.9642, 1, 0.8249))}
    contents |= dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, primaries), strict=True))
    contents |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, at = b"", b"", 132 + 12 * len(contents)
    for tag, content in contents.items():
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"test", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12)
    head += b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return head[:128] + struct.pack(">I", len(contents)) + table + body


P3 = profile([(0.5151, 0.2412, -0.0011), (0.292, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)])


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def over_grey(image: Image.Image) -> np.ndarray:
    """What is seen of an image on grey; browsers keep no colours of what is hardly seen."""
    pixels = np.asarray(image.convert("RGBA"), float)
    return pixels[..., :3] * pixels[..., 3:] / 255 + 128 * (1 - pixels[..., 3:] / 255)


def mixed() -> dict[str, bytes]:
    """40 files of all kinds; those whose names begin with `bad` are no images that a browser reads."""
    files = {f"photo{i}.jpg": saved(scene(i, (40 + 9 * i, 90 - 3 * i)), "JPEG") for i in range(14)}
    files |= {f"photo{i}.png": saved(scene(i), "PNG") for i in range(3)}  # names that photographs have, too
    files |= {f"web{i}.webp": saved(scene(i), "WEBP", quality=60) for i in range(3)}
    for i in range(3):
        alpha = scene(i).convert("RGBA")
        alpha.putalpha(Image.linear_gradient("L").resize(alpha.size))
        files[f"alpha{i}.png"] = saved(alpha, "PNG")
    files |= {f"wide{i}.jpg": saved(scene(i), "JPEG", icc_profile=P3) for i in range(2)}
    frames = [scene(i) for i in range(4)]
    for kind in ("GIF", "PNG", "WEBP"):
        files[f"moving.{kind.lower()}"] = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    files["large.jpg"] = saved(scene(1, (1700, 1300)), "JPEG")
    files["grey.png"] = saved(scene(2).convert("L"), "PNG")
    files |= {f"{name}.gnc": (TESTS / "golden" / f"{name}.gnc").read_bytes() for name in ("odd", "wide", "dot")}
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)
    files |= {"bad phone.heic": heic, "bad cut.jpg": files["photo3.jpg"][:200]}
    files["bad.png"] = b"\x89PNG\r\n\x1a\n" + bytes(30)
    files |= {"bad notes.txt": b"no image", "bad empty.jpg": b"", "bad odd.gnc": files["odd.gnc"][:-5]}
    files["bad.webp"] = b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\x7f"
    assert len(files) == 40
    return files


def test_forty_mixed_files_end_as_done_or_with_an_error(page: Any, codec: gencomp.Codec, tmp_path: Path) -> None:
    files = mixed()
    page.evaluate(DROP, [[name, base64.b64encode(data).decode()] for name, data in files.items()])
    page.locator("#list li").nth(39).wait_for()
    page.locator(ALL).wait_for()
    states = page.locator("#list li").evaluate_all(
        "rows => rows.map(r => [...r.querySelectorAll('span, small')].map(e => e.textContent).concat(r.dataset.state))"
    )
    assert {name for name, _, state in states if state == "error"} == {name for name in files if name.startswith("bad")}
    assert {state for *_, state in states} == {"done", "error"}
    said = {name: text for name, text, _ in states}
    assert "HEIC" in said["bad phone.heic"]
    assert said["bad odd.gnc"].startswith("damaged:")
    assert page.locator("#said").inner_text() == page.locator("#count").inner_text() == "33 of 40 done, 7 with an error"
    zipped = zipfile.ZipFile(downloaded(page, "#save-zip", tmp_path / "all.zip"))
    assert zipped.testzip() is None
    names = set(zipped.namelist())
    assert len(names) == 33
    assert {"photo0.jpg.gnc", "photo0.png.gnc", "photo3.gnc", "odd.png", "moving.gif.gnc"} <= names
    for name in names:
        if name.endswith(".gnc"):
            assert codec.verify(zipped.read(name)).latents_ok, name
    shown = np.asarray(Image.open(io.BytesIO(zipped.read("wide.png"))).convert("RGB"), int)
    assert np.abs(shown - np.asarray(codec.decompress(files["wide.gnc"]), int)).max() <= 2
    for name in ("photo5.jpg", "alpha1.png", "large.jpg"):
        page.locator("#list .name").filter(has_text=name).click()
        settled(page)
        png = Image.open(downloaded(page, "#save-png", tmp_path / "one.png"))
        coded = codec.decompress(zipped.read(f"{Path(name).stem}.gnc"))
        assert np.abs(over_grey(png) - over_grey(coded)).max() <= 3, name
    page.locator("#list .name").filter(has_text="moving.webp").click()
    page.locator("#notes").filter(has_text="only the first of 4 frames is used").wait_for()


def test_a_folder_keeps_its_tree_and_files_are_closed(page: Any, tmp_path: Path) -> None:
    for at in ("a/x.png", "a/b/x.png", "a/b/y.jpg", "a/notes.txt"):
        (tmp_path / "trip" / at).parent.mkdir(parents=True, exist_ok=True)
        scene(1).save(tmp_path / "trip" / at, "PNG")
    page.set_input_files("#folder", str(tmp_path / "trip"))
    page.locator("#list li").nth(2).wait_for()
    page.locator(ALL).wait_for()
    assert page.locator("#left-out").inner_text().startswith("1 other")
    names = zipfile.ZipFile(downloaded(page, "#save-zip", tmp_path / "all.zip")).namelist()
    assert sorted(names) == ["trip/a/b/x.gnc", "trip/a/b/y.gnc", "trip/a/x.gnc"]
    page.get_by_label("Close y.jpg").click()
    assert page.locator("#list li").count() == 2
    assert page.evaluate("document.activeElement.className") == "name"  # the focus is not lost
    page.locator("#close-all").click()
    page.locator("#choose").wait_for()
    assert page.evaluate("document.activeElement.id") == "choose"
    page.evaluate(PASTE, [["pasted.png", base64.b64encode(saved(scene(2), "PNG")).decode()]])
    page.locator("#list [data-state=done] .name").filter(has_text="pasted.png").wait_for()


def test_settings_hold_for_all_files_and_over_a_reload(page: Any, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        scene(i, (300, 200 + 100 * i)).save(path)
    page.set_input_files("#files", [str(path) for path in paths])
    page.get_by_label("per megapixel").check()
    page.locator("#density").fill("200")
    page.wait_for_timeout(250)
    page.locator(ALL).wait_for()
    coded = zipfile.ZipFile(downloaded(page, "#save-zip", tmp_path / "all.zip"))
    for i in range(3):
        limit = 200_000 * 300 * (200 + 100 * i) / 1e6
        assert 0.9 * limit < len(coded.read(f"{i}.gnc")) <= limit
    page.locator("summary").filter(has_text="What to keep").click()
    page.get_by_label("EXIF").check()
    page.click("#copy-command")
    line = page.locator("#command-line").inner_text()
    assert line == "gencomp compress 0.png 1.png 2.png -o coded/ --bpp 1.6 --keep exif"
    page.locator("#density").fill("300")
    page.wait_for_timeout(250)
    page.locator(ALL).wait_for()
    with page.expect_event("dialog"):  # what is not downloaded yet would be lost
        page.reload()
    assert page.locator("#density").input_value() == "300"
    assert page.get_by_label("per megapixel").is_checked()
    assert page.get_by_label("EXIF").is_checked()


def described(kind: str) -> bytes:
    exif = Image.Exif()
    exif.update({0x010F: "Camera & Sons", 0x0112: 6, 0x8298: "© me"})
    exif.get_ifd(0x8769).update({0x9003: "2024:01:02 03:04:05", 0x927C: b"secret note", 0xA002: 99, 0xA431: "serial"})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    xmp += b'<rdf:Description rdf:about="" xmlns:e="http://ns.adobe.com/exif/1.0/" e:GPSLatitude="1" '
    xmp += b'e:ISOSpeedRatings="2" e:Owner="me">'
    xmp += (
        b'<d:title xmlns:d="http://purl.org/dc/elements/1.1/"><rdf:Alt><rdf:li xml:lang="x-default">a &amp; b</rdf:li>'
    )
    xmp += b"</rdf:Alt></d:title></rdf:Description>"
    options: dict[str, Any] = {"exif": exif, "icc_profile": P3, "dpi": (300, 300)}
    xmp += b"</rdf:RDF></x:xmpmeta>"
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
        options["pnginfo"].add_text("Comment", "grüße")
    else:
        options |= {"xmp": xmp} | ({"comment": "grüße".encode()} if kind == "JPEG" else {})
    return saved(scene(3), kind, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_is_kept_is_what_the_command_keeps(page: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind.lower()}"
    path.write_bytes(described(kind))
    page.locator("aside").evaluate(
        "() => document.querySelectorAll('.keep input').forEach(box => (box.checked = true))"
    )
    for gps in (True, False):
        page.locator("aside").evaluate(f"() => (document.querySelector('#keep-gps').checked = {str(gps).lower()})")
        give(page, path)
        assert page.locator("#layers canvas").evaluate_all(SPACES) == ["display-p3", "display-p3"]
        extras = inspect(downloaded(page, "#save-gnc", tmp_path / "x.gnc").read_bytes()).extras
        _, wanted = read_with_alpha(path, {"all", "gps"} if gps else {"all"})
        assert set(extras) == set(wanted)
        for name in ("icc", "dpi", "comment"):
            code = SECTION_KINDS[name]
            if code in wanted:
                assert extras[code] == wanted[code] or name == "dpi"
        seen, ours = Image.Exif(), Image.Exif()
        seen.load(b"Exif\0\0" + extras[SECTION_KINDS["exif"]])
        ours.load(b"Exif\0\0" + wanted[SECTION_KINDS["exif"]])
        for ifd in (0x8769, 0x8825):
            assert dict(seen.get_ifd(ifd)) == dict(ours.get_ifd(ifd))
        assert {t: v for t, v in seen.items() if t < 0x8700} == {t: v for t, v in ours.items() if t < 0x8700}
        assert extras[SECTION_KINDS["xmp"]] == wanted[SECTION_KINDS["xmp"]]
        assert (b"GPS" in extras[SECTION_KINDS["xmp"]]) == gps
        page.locator("#list .close").first.click()


def planes() -> dict[str, np.ndarray]:
    rng, (row, column) = np.random.default_rng(0), np.mgrid[:45, :67]
    hard = np.where((row - 20) ** 2 + (column - 30) ** 2 < 300, 255, 0)
    box = np.where((row > 9) & (row < 31) & (column < 50), 255, 0)
    return {
        "ramp": row * 255 // 44,
        "hard": hard,
        "box": box,
        "one": np.full((45, 67), 77),
        "none": np.zeros((45, 67), int),
        "noise": rng.integers(0, 256, (45, 67)),
        "soft": np.where(hard > 0, 255 - row, 0),
    }


@pytest.mark.parametrize("name", list(planes()))
def test_alpha_comes_back_exactly(page: Any, codec: gencomp.Codec, tmp_path: Path, name: str) -> None:
    image = scene(4, (67, 45)).convert("RGBA")
    image.putalpha(Image.fromarray(planes()[name].astype(np.uint8)))
    image.save(tmp_path / "x.png")
    (tmp_path / "y.gnc").write_bytes(codec.compress(image))
    give(page, tmp_path / "x.png")
    data = downloaded(page, "#save-gnc", tmp_path / "x.gnc").read_bytes()
    shown = Image.open(downloaded(page, "#save-png", tmp_path / "shown.png"))
    give(page, tmp_path / "y.gnc")
    page.locator("#list .name").last.click()
    settled(page)
    other = Image.open(downloaded(page, "#save-png", tmp_path / "other.png"))
    for seen in (codec.decompress(data), shown, other):
        assert (np.asarray(seen.getchannel("A")) == planes()[name]).all()
    assert len(inspect(data).extras[SECTION_KINDS["alpha"]]) < (10 if name in {"box", "one", "none"} else 4000)
    page.locator("summary").filter(has_text="What to keep").click()
    page.locator("#list .name").first.click()
    page.get_by_label("transparency").uncheck()
    settled(page)
    assert "stand on white" in page.locator("#notes").inner_text()
    assert SECTION_KINDS["alpha"] not in inspect(downloaded(page, "#save-gnc", tmp_path / "x.gnc").read_bytes()).extras


PIXELS = """async ([file, raw]) => {
  const { pixelsOf } = await import("./images.js");
  const blob = new Blob([Uint8Array.from(atob(file), (c) => c.charCodeAt(0))]);
  return Array.from((await pixelsOf(blob, { maxPixels: 1e6, raw })).data);
}"""


def test_colours_are_converted_unless_their_profile_is_kept(page: Any) -> None:
    file = saved(scene(5), "PNG", icc_profile=P3)
    kept, converted = (
        np.reshape(page.evaluate(PIXELS, [base64.b64encode(file).decode(), raw]), (56, 72, 4))[..., :3]
        for raw in (True, False)
    )
    assert (kept == np.asarray(scene(5))).all()
    ours = np.asarray(gencomp.image.read_image(io.BytesIO(file)), int)
    assert np.abs(converted - ours).max() <= 4
    assert np.abs(converted - kept).max() > 8
