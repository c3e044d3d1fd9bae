"""The command: exit statuses, one line for what went wrong, JSON lines, whole outputs or none."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from gencomp import machine
from gencomp.bitstream import DEFAULT_QUALITY, Header, pack, unpack
from gencomp.cli import group
from gencomp.cli.main import main

Run = Callable[..., Result]
BAD: list[Any] = [(b"", "empty file"), (b"hello", "not a gencomp file"), (b"GNC\x07aaaa", "newer version")]
BAD += [(b"GNC\x01fake\x05\x05", "ends inside the header")]
BAD += [(pack(Header(b"fake", 5, 5, 0, 0), b"x")[:-1] + b"y", "checksum does not match")]
BAD += [(pack(Header(b"else", 5, 5, 0, 0), b"x"), "another model")]
BAD += [(pack(Header(b"fake", 2_000_000, 2_000_000, 0, 0), b"x"), "larger than the limit")]
BAD += [(pack(Header(b"fake", 5, 5, 0, 0), bytes(70_000)), "longer than an image of 5x5")]
WRONG = ["compress", "compress {in}/a.png --quality 0.5", "compress {in}/a.png --quality nan", "nonsense"]
WRONG += ["compress {in}/a.png --bpp 0", "compress {in}/a.png --bytes 0", "compress {in}/a.png --quality 3 --bpp 1"]
WRONG += ["compress {in}/a.png --bytes 3 --bpp 1", "compress {in}/a.png -o {in}/b.jpg"]
WRONG += ["compress {in}/a.png {in}/sub/b.png -o {in}/a.png", "compress {in}/a.png --device tpu"]
WRONG += ["decompress {in}/a.gnc -o {in}/a.xyz", "decompress {in}/a.gnc --realism 1.5"]


@pytest.fixture
def run(fake_codec: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in this process, which alone knows the stand-in; nothing may escape but SystemExit."""
    monkeypatch.setattr(machine, "cores", lambda: 1)

    def invoke(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="gencomp")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def images(tmp_path: Path, photo: Image.Image) -> Path:
    """A folder with a.png and sub/b.png."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    photo.save(tmp_path / "in" / "a.png")
    photo.rotate(180).save(tmp_path / "in" / "sub" / "b.png")
    return tmp_path / "in"


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def _shell(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gencomp", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_folder_is_coded_into_a_folder_and_back(run: Run, images: Path, tmp_path: Path) -> None:
    assert run("compress", images, "-o", tmp_path / "new" / "coded").exit_code == 0
    assert _tree(tmp_path / "new" / "coded") == ["a.gnc", "sub/b.gnc"]
    assert run("decompress", tmp_path / "new" / "coded", "-o", tmp_path / "seen").exit_code == 0
    assert _tree(tmp_path / "seen") == ["a.png", "sub/b.png"]
    assert run("compress", images / "a.png", "-o", f"{tmp_path}/one/").exit_code == 0
    assert _names(tmp_path / "one") == ["a.gnc"]


def test_quality_bpp_and_bytes_choose_the_size(run: Run, images: Path) -> None:
    def size(*options: str) -> int:
        record = _records(run("compress", images / "a.png", "--json", "--overwrite", *options))[0]
        assert record["bytes"] == (images / "a.gnc").stat().st_size
        return int(record["bytes"])

    small, default, large = size("--quality", "12.5"), size(), size("--quality", "99")
    assert small < default < large
    assert size("--bytes", str(default)) <= default
    assert size("--bpp", str(8 * default / 1200)) <= default


def test_compress_json_has_every_promised_field(run: Run, images: Path) -> None:
    record = _records(run("compress", images / "a.png", "--json"))[0]
    assert record["sections"].keys() == {"header", "checksums", "payload"}
    assert sum(record["sections"].values()) == record["bytes"] == (images / "a.gnc").stat().st_size
    assert record["entropy_bits"] == 8 * record["bytes"]  # what the stand-in says
    assert record["quality"] == pytest.approx(DEFAULT_QUALITY, abs=0.05)
    expected: dict[str, Any] = {"path": str(images / "a.gnc"), "source": str(images / "a.png")}
    expected |= {"width": 40, "height": 30, "bpp": 8 * record["bytes"] / 1200, "format_version": 1, "checksum_ok": True}
    expected |= {"model": b"fake".hex(), "model_name": "fake", "runtime": "none"}
    assert expected.items() <= record.items()


def test_info_says_what_compress_said(run: Run, images: Path) -> None:
    said = _records(run("compress", images / "a.png", "--json"))[0]
    told = _records(run("info", images / "a.gnc", "--json"))[0]
    of_the_codec = {"source", "model_name", "runtime", "entropy_bits"}
    assert told == {name: value for name, value in said.items() if name not in of_the_codec}
    verified = _records(run("info", images / "a.gnc", "--json", "--verify"))[0]
    assert verified["latents_ok"] is True
    assert verified["entropy_bits"] > 0
    text = run("info", images / "a.gnc", "--verify").stdout
    for part in ("40x30", f"{said['bytes']:,} bytes", said["model"], "checksum  ok", "latents   ok, "):
        assert part in text


def test_info_of_a_damaged_file_reports_and_fails(run: Run, images: Path) -> None:
    run("compress", images / "a.png")
    damaged = images / "damaged.gnc"
    damaged.write_bytes((images / "a.gnc").read_bytes()[:-3])
    result = run("info", damaged, "--json", "--verify")
    assert result.exit_code == 1
    assert {"checksum_ok": False, "latents_ok": False, "entropy_bits": None}.items() <= _records(result)[0].items()
    text = run("info", damaged)
    assert (text.exit_code, "checksum  WRONG" in text.stdout) == (1, True)
    assert text.stderr == result.stderr == f"Error: {damaged}: damaged file: its checksum does not match\n"


def test_latents_that_decode_otherwise_fail_verification(run: Run, images: Path) -> None:
    run("compress", images / "a.png")
    header, payload = unpack((images / "a.gnc").read_bytes())
    other = Header(header.model_id, header.width, header.height, header.quality_step, header.latents_crc ^ 1)
    (images / "a.gnc").write_bytes(pack(other, payload))
    result = run("info", images / "a.gnc", "--verify", "--json")
    assert result.exit_code == 1
    assert _records(result)[0]["checksum_ok"]
    assert not _records(result)[0]["latents_ok"]
    assert "latents do not decode" in result.stderr


def test_one_bad_file_does_not_stop_the_rest(run: Run, images: Path, tmp_path: Path) -> None:
    (images / "bad.png").write_bytes(b"no image")
    result = run("compress", images, images / "missing.png", "-o", tmp_path / "out", "--json")
    assert (result.exit_code, _tree(tmp_path / "out")) == (1, ["in/a.gnc", "in/sub/b.gnc"])
    assert result.stderr.splitlines() == [
        f"Error: {images}/bad.png: not an image that can be read",
        f"Error: {images}/missing.png: No such file or directory",
    ]
    records = _records(result)
    assert [("error" in record) for record in records] == [False, True, False, True]
    assert records[1]["path"] == f"{images}/bad.png"


@pytest.mark.parametrize(("content", "text"), BAD)
def test_bad_input_is_one_line_and_no_output(run: Run, tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "x.gnc").write_bytes(content)
    result = run("decompress", tmp_path / "x.gnc")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"Error: {tmp_path}/x.gnc: ")
    assert text in result.stderr
    assert _names(tmp_path) == ["x.gnc"]


def test_limit_on_pixels_can_be_lowered_and_raised(run: Run, images: Path) -> None:
    low = run("compress", images / "a.png", "--max-pixels", "1199")
    assert (low.exit_code, "40x30 pixels are more than the limit of 1199" in low.stderr) == (1, True)
    assert run("compress", images / "a.png", "--max-pixels", "1200").exit_code == 0
    assert run("decompress", images / "a.gnc", "-o", images / "b.png", "--max-pixels", "1199").exit_code == 1
    assert run("decompress", images / "a.gnc", "-o", images / "b.png", "--max-pixels", "1200").exit_code == 0


def test_lack_of_place_is_one_line(run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = run("compress", images / "a.png", "-o", tmp_path / "no" / "a.gnc")
    expected = f"Error: {images}/a.png: there is no folder {tmp_path}/no: make it first\n"
    assert (missing.exit_code, missing.stderr) == (1, expected)
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))
    full = run("compress", images / "a.png")
    assert (full.exit_code, full.stderr.endswith("a.gnc: No space left on device\n")) == (1, True)
    assert _names(images) == ["a.png", "sub"]


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_is_status_2_before_any_work(run: Run, images: Path, line: str) -> None:
    before = _names(images)
    result = run(*(word.format(**{"in": images}) for word in line.split()))
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert _names(images) == before


def test_output_that_exists_is_replaced_only_when_told(run: Run, images: Path) -> None:
    original = (images / "a.png").read_bytes()
    assert run("compress", images / "a.png", "--quality", "3").exit_code == 0
    for arguments in (["compress", "a.png"], ["decompress", "a.gnc"], ["decompress", "a.gnc", "-o", "a.png"]):
        kept = run(*(images / word if "." in word else word for word in arguments))
        assert (kept.exit_code, "exists and is kept: name another output with -o" in kept.stderr) == (1, True)
    assert run("compress", images / "a.png", "-o", images / "a.gnc").exit_code == 0  # a coded file that is named
    assert (images / "a.png").read_bytes() == original
    for option in ("--force", "--overwrite"):
        assert run("decompress", images / "a.gnc", option).exit_code == 0
    assert (images / "a.png").read_bytes() != original


def test_unknown_model_is_one_line(run: Run, images: Path) -> None:
    for verb, *rest in (("compress", images / "a.png"), ("info", images / "a.png", "--verify")):
        result = run(verb, *rest, "--model", "nope")
        assert (result.exit_code, result.stderr) == (1, "Error: nope: no such model\n")


def test_realism_without_effect_is_said_only_if_asked_for(run: Run, images: Path) -> None:
    run("compress", images / "a.png")
    silent = run("decompress", images / "a.gnc", "-o", images / "b.png")
    said = run("decompress", images / "a.gnc", "-o", images / "c.png", "--realism", "0.5")
    assert (silent.stderr, said.exit_code) == ("", 0)
    assert "--realism has no effect" in said.stderr


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate\n memory"), "not enough memory"),
        (KeyError("x"), "KeyError: 'x' (unexpected; GENCOMP_DEBUG=1 shows where)"),
        (
            ModuleNotFoundError("No module named 'flask'", name="flask"),
            "flask is not installed: pip install 'gencomp[study]'",
        ),
        (ModuleNotFoundError("", name="skimage.data"), "scikit-image is not installed: pip install 'gencomp[demo]'"),
    ],
)
def test_unforeseen_errors_are_one_line(
    run: Run, fake_codec: Any, images: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    monkeypatch.setattr(fake_codec, "encode", Mock(side_effect=error))
    result = run("compress", images / "a.png")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert f"a.png: {text}" in result.stderr
    monkeypatch.setenv("GENCOMP_DEBUG", "1")
    assert CliRunner().invoke(main, ["compress", str(images / "a.png")]).exception is error


def test_embedded_model_codes_and_decodes(tmp_path: Path, photo: Image.Image) -> None:
    """The verbs, the plugin and the codec itself, with nothing stood in for."""
    photo.resize((96, 70)).save(tmp_path / "a.png")
    done = CliRunner().invoke(main, ["compress", str(tmp_path), "--json", "--quality", "80"])
    said = _records(done)[0]
    assert (done.exit_code, said["width"], said["height"]) == (0, 96, 70)
    verified = CliRunner().invoke(main, ["info", str(tmp_path / "a.gnc"), "--verify", "--json"])
    del said["source"], said["runtime"]
    assert _records(verified)[0] == {**said, "latents_ok": True}
    again = CliRunner().invoke(main, ["decompress", str(tmp_path / "a.gnc"), "-o", str(tmp_path / "b.png")])
    assert again.exit_code == 0
    with Image.open(tmp_path / "a.gnc") as plugged, Image.open(tmp_path / "b.png") as decoded:
        assert plugged.tobytes() == decoded.tobytes()


def _entry_points(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    found = [EntryPoint(name, target, "gencomp.commands") for name, target in targets.items()]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found)


def test_verbs_join_by_entry_point(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def hello() -> None:
        """Greets."""
        click.echo("hello")

    monkeypatch.setattr(group, "hello", hello, raising=False)
    _entry_points(monkeypatch, hello="gencomp.cli.group:hello", compress="gencomp.cli.group:hello")
    assert run("hello").stdout == "hello\n"
    assert "Greets." in run("--help").stdout
    assert "Code photographs" in run("compress", "--help").stdout


def test_verb_that_cannot_be_loaded_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    verbs = {"absent": "gencomp.absent:verb", "odd": "gencomp.cli.group:debugging", "lost": "gencomp.cli.group:lost"}
    _entry_points(monkeypatch, **verbs)
    listed = run("--help")
    assert listed.exit_code == 0
    assert "(not available: this installation lacks gencomp.absent)" in listed.stdout
    result = run("absent", "--any", "thing", "--help")
    expected = "Error: absent is not available: this installation lacks gencomp.absent\n"
    assert (result.exit_code, result.stderr) == (1, expected)
    for verb in ("odd", "lost"):
        assert (run(verb).exit_code, len(run(verb).stderr.splitlines())) == (1, 1)


def test_what_needs_no_network_does_not_import_torch(tmp_path: Path) -> None:
    (tmp_path / "a.gnc").write_bytes(pack(Header(b"fake", 4, 4, 0, 0), b"payload"))
    code = (
        "import sys\nfrom gencomp.cli.main import main\n"
        "for arguments in (['--help'], ['--version'], ['compress', '--help'], ['info', 'a.gnc']):\n"
        "    main(arguments, prog_name='gencomp', standalone_mode=False)\n"
        "    heavy = {'torch', 'timm', 'lpips', 'datasets', 'kornia'}\n"
        "    print(bool(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr.split()) == (0, ["False"] * 4)
    assert "4x4" in result.stdout


def test_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "a.gnc").write_bytes(pack(Header(b"fake", 4, 4, 0, 0), b"payload"))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "gencomp", "info", str(tmp_path / "a.gnc")]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


def test_several_files_on_a_terminal_have_a_progress_bar(tmp_path: Path) -> None:
    for name in ("a.gnc", "b.gnc"):
        (tmp_path / name).write_bytes(pack(Header(b"fake", 4, 4, 0, 0), b"payload"))
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("4H", 40, 100, 0, 0))
    command = [sys.executable, "-m", "gencomp", "info", str(tmp_path), "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=other_end, text=True)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    os.close(other_end)
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 2
    assert "2/2" in shown


@pytest.mark.parametrize(
    "arguments",
    [["compress", ""], ["compress", "{in}/a.png", "-o", ""], ["info", ""], ["compress", "{in}", "--model", ""]],
)
def test_empty_names_are_wrong_usage(run: Run, images: Path, arguments: list[str]) -> None:
    result = run(*(argument.format(**{"in": images}) for argument in arguments))
    assert (result.exit_code, "an empty name" in result.stderr) == (2, True)


def test_pipes_are_skipped_in_a_folder_and_refused_by_name(run: Run, images: Path) -> None:
    os.mkfifo(images / "pipe.png")
    result = run("compress", images)
    assert (result.exit_code, result.stderr) == (0, f"Left out: pipes: 1 ({images}/pipe.png)\n")
    os.mkfifo(images / "pipe.gnc")
    for verb, name in (("compress", "pipe.png"), ("info", "pipe.gnc"), ("decompress", "pipe.gnc")):
        result = run(verb, images / name)
        assert (result.exit_code, "a pipe, not a file" in result.stderr) == (1, True)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_cannot_be_printed_are_escaped_and_stop_nothing(tmp_path: Path, encoding: str) -> None:
    file = pack(Header(b"fake", 4, 4, 0, 0), b"payload")
    for name in (b"caf\xe9.gnc", "\x1b[31mé\n.gnc".encode(), b"z.gnc"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(file)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "gencomp", "info", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, env=environment, check=True)
    text = result.stdout.decode(encoding)
    assert (result.stderr, text.count("4x4")) == (b"", 3)
    assert "\x1b" not in text
    assert "caf\\xe9.gnc" in text
    assert ("\\x1b[31m\\xe9\\n.gnc" if encoding == "ascii" else "\\x1b[31mé\\n.gnc") in text


def test_private_image_gives_a_private_file(run: Run, images: Path) -> None:
    (images / "a.png").chmod(0o600)
    run("compress", images / "a.png")
    assert (images / "a.gnc").stat().st_mode & 0o777 == 0o600
    run("decompress", images / "a.gnc", "-o", images / "b.png")
    assert (images / "b.png").stat().st_mode & 0o777 == 0o600


def test_metadata_are_kept_when_asked_for_and_written_back(run: Run, images: Path, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8825)[1] = "N"
    photo.save(images / "a.jpg", exif=exif, dpi=(300, 300), comment=b"hello")
    run("compress", images / "a.jpg", "-o", images / "bare.gnc")
    assert _records(run("info", images / "bare.gnc", "--json"))[0]["format_version"] == 1
    keep = ("-o", images / "kept.gnc", "--keep", "exif, comment")
    (kept,) = _records(run("compress", images / "a.jpg", *keep, "--json"))
    assert (kept["format_version"], kept["sections"]["comment"]) == (2, 5)
    assert "exif" in kept["sections"]
    assert "dpi" not in kept["sections"]
    assert sum(kept["sections"].values()) == kept["bytes"] == (images / "kept.gnc").stat().st_size
    for suffix in ("png", "jpg"):
        assert run("decompress", images / "kept.gnc", "-o", images / f"seen.{suffix}").exit_code == 0
        with Image.open(images / f"seen.{suffix}") as seen:
            assert dict(seen.getexif()) == {0x010F: "Maker"}
            assert (seen.info.get("comment") or seen.info["Comment"].encode()) == b"hello"
            assert seen.size == (30, 40)
    assert "comment 5" in run("info", images / "kept.gnc").stdout
    assert run("compress", images / "a.jpg", "--keep", "exif,fame").exit_code == 2


def test_rate_that_cannot_be_reached_from_below_is_said(run: Run, images: Path) -> None:
    source = images / "a.png"
    large = run("compress", source, "--bytes", "1000000")
    assert (large.exit_code, large.stderr) == (0, f"Note: {source}: even quality 100 takes less than was asked for\n")
    record = json.loads(run("compress", source, "--bytes", "1000000", "--json", "--overwrite").stdout)
    assert record["notes"] == ["even quality 100 takes less than was asked for"]
    assert run("compress", source, "--quality", "100", "--overwrite").stderr == ""
