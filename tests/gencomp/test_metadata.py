"""Metadata by rule: only what is asked for, never the place unasked, nothing without a bound."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any
from xml.dom import minidom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base

from gencomp.bitstream import MAX_SECTION_BYTES, SECTION_KINDS
from gencomp.bulk.transform import thumbnail
from gencomp.image import read_image, write_image
from gencomp.metadata import LIMITS, ImageWarning, checked, collect, to_info

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" exif:GPSLatitude="48,51N" dc:format="image/jpeg">
<exif:GPSLongitude>2,21E</exif:GPSLongitude><dc:title>Tour</dc:title>{}</rdf:Description></rdf:RDF></x:xmpmeta>"""
UNTRUSTED: list[Any] = [("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "entities"), ("<a>" * 3000, "no element found")]
UNTRUSTED += [("<a>" * 6000 + "</a>" * 6000, "recursion"), ("x" * 65_001, "over 65,000")]
DAMAGED: list[Any] = [("exif", b"no tiff"), ("exif", bytes(65_001)), ("xmp", b"\xff"), ("icc", b"no profile")]
DAMAGED += [("dpi", b"abc"), ("dpi", struct.pack("<ff", float("nan"), 1)), ("comment", b"\xff")]
DAMAGED += [("comment", b"x" * 65_001)]


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif.update({Base.Make: "Maker", Base.Orientation: 6, Base.XResolution: 72.0, Base.Artist: "Someone"})
    exif.get_ifd(IFD.Exif).update({Base.ISOSpeedRatings: 200, Base.MakerNote: b"secret", Base.LensModel: "50 mm"})
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 0.0)})
    return exif


def _opened(kind: str = "JPEG", **options: Any) -> Image.Image:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


@pytest.fixture
def image() -> Image.Image:
    return _opened(exif=_exif(), xmp=XMP.format("").encode(), icc_profile=SRGB, dpi=(300, 300), comment=b"hi")


def _ifd(exif: bytes, tag: int) -> dict[int, Any]:
    loaded = Image.Exif()
    loaded.load(exif)
    return dict(loaded.get_ifd(tag))


def test_nothing_is_kept_unasked(image: Image.Image) -> None:
    assert (collect(image, ()), collect(image, ["dpi"]).keys()) == ({}, {SECTION_KINDS["dpi"]})


def test_all_that_is_asked_for_comes_back(image: Image.Image) -> None:
    info = to_info(collect(image, ["all"]))
    assert info.keys() == {"exif", "xmp", "icc_profile", "dpi", "comment"}
    assert (info["icc_profile"], info["dpi"], info["comment"]) == (SRGB, (300.0, 300.0), "hi")


def test_exif_keeps_what_was_said_and_not_what_is_used_up_or_points_into_the_old_file(image: Image.Image) -> None:
    exif = to_info(collect(image, ["exif"]))["exif"]
    loaded = Image.Exif()
    loaded.load(exif)
    kept = {tag: value for tag, value in loaded.items() if tag not in list(IFD)}
    assert kept == {Base.Make: "Maker", Base.Artist: "Someone"}
    assert _ifd(exif, IFD.Exif) == {Base.ISOSpeedRatings: 200, Base.LensModel: "50 mm"}


@pytest.mark.parametrize("keep", [["exif"], ["exif", "xmp"], ["all"]])
def test_the_place_is_never_kept_unasked(image: Image.Image, keep: list[str]) -> None:
    kept = collect(image, keep)
    assert _ifd(b"Exif\0\0" + kept[SECTION_KINDS["exif"]], IFD.GPSInfo) == {}
    assert not any(word in content for content in kept.values() for word in (b"GPS", b"48,51", b"2,21", b"secret"))


def test_the_place_is_kept_when_it_is_asked_for(image: Image.Image) -> None:
    kept = collect(image, ["exif", "xmp", "gps"])
    assert _ifd(b"Exif\0\0" + kept[SECTION_KINDS["exif"]], IFD.GPSInfo)[1] == "N"
    assert b"48,51N" in kept[SECTION_KINDS["xmp"]]


DECLARED = " ".join(
    f'xmlns:{prefix}="{space}"'
    for prefix, space in {
        "photoshop": "http://ns.adobe.com/photoshop/1.0/", "xmp": "http://ns.adobe.com/xap/1.0/",
        "core": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "mwg": "http://www.metadataworkinggroup.com/schemas/regions/", "mm": "http://ns.adobe.com/xap/1.0/mm/",
        "aux": "http://ns.adobe.com/exif/1.0/aux/", "lr": "http://ns.adobe.com/lightroom/1.0/",
        "img": "http://ns.adobe.com/xap/1.0/g/img/", "cc": "http://creativecommons.org/ns#",
        "rights": "http://ns.adobe.com/xap/1.0/rights/", "gp": "http://ns.google.com/photos/1.0/image/",
        "evil": "http://example.org/", "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    }.items()
)  # fmt: skip
LI = "<rdf:li rdf:parseType='Resource'>"
PRIVATE = (
    "<photoshop:City>Secretville</photoshop:City>", "<core:Location>Secret Street 7</core:Location>",
    f"<ext:LocationCreated><rdf:Bag>{LI}<ext:City>Secret</ext:City></rdf:li></rdf:Bag></ext:LocationCreated>",
    f"<xmp:Thumbnails><rdf:Alt>{LI}<img:image>Secret</img:image></rdf:li></rdf:Alt></xmp:Thumbnails>",
    f"<mm:History><rdf:Seq>{LI}<evil:x>Secret</evil:x></rdf:li></rdf:Seq></mm:History>",
    "<photoshop:Headline>Secret</photoshop:Headline>", "<gp:Data>Secret</gp:Data>",
    "<aux:OwnerName>Secret Owner</aux:OwnerName>", "<aux:SerialNumber>Secret1</aux:SerialNumber>",
    "<mwg:Regions rdf:parseType='Resource'><mwg:RegionList><rdf:Bag><rdf:li><rdf:Description mwg:Name='Secret'/>"
    "</rdf:li></rdf:Bag></mwg:RegionList></mwg:Regions>", "<mm:DocumentID>xmp.did:Secret</mm:DocumentID>",
    "<lr:hierarchicalSubject><rdf:Bag><rdf:li>People|Secret</rdf:li></rdf:Bag></lr:hierarchicalSubject>",
    "<dc:subject><rdf:Bag><rdf:li>Secret</rdf:li></rdf:Bag></dc:subject>", "<dc:description>Secret</dc:description>",
    "<ext:PersonInImage>Secret</ext:PersonInImage>", "<exif:GPSAltitude>Secret</exif:GPSAltitude>",
    "<evil:rights>Secret</evil:rights>", "<!-- Secret -->", "<dc:rights><evil:x>Secret</evil:x></dc:rights>",
    "<crs:RawFileName>Secret.NEF</crs:RawFileName>",
    "<dc:creator><rdf:Seq><rdf:li evil:x='Secret'>Ann</rdf:li></rdf:Seq></dc:creator>",
)  # fmt: skip
PUBLIC = (
    "<dc:title>Tour</dc:title>", "<xmp:Rating>4</xmp:Rating>", "<rights:UsageTerms>Ask &amp; pay</rights:UsageTerms>",
    '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">mine</rdf:li></rdf:Alt></dc:rights>',
    '<cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"></cc:license>',
)  # fmt: skip


def _of_xmp(properties: str, *keep: str) -> str:
    image = Image.new("RGB", (4, 4))
    image.info["xmp"] = XMP.format(properties).replace("<x:xmpmeta", f"<x:xmpmeta {DECLARED}").encode()
    return collect(image, ("xmp", *keep)).get(SECTION_KINDS["xmp"], b"").decode()


@pytest.mark.parametrize("private", PRIVATE)
def test_xmp_keeps_what_is_named_as_harmless_and_nothing_else(private: str) -> None:
    kept = _of_xmp(private + "".join(PUBLIC))
    assert not any(word in kept for word in ("Secret", "Orientation", "GPS", "48,51", "xpacket"))
    for public in PUBLIC:
        assert public.replace("<rights:", "<xmpRights:").replace("/rights:", "/xmpRights:") in kept
    assert "<dc:format>image/jpeg</dc:format>" in kept  # an attribute
    minidom.parseString(kept)


def test_places_in_words_stay_when_the_place_is_asked_for() -> None:
    kept = _of_xmp(PRIVATE[0] + PRIVATE[1] + PRIVATE[7], "gps")
    assert all(word in kept for word in ("Secretville", "Secret Street 7", "48,51N", "2,21E"))
    assert "Secret Owner" not in kept


def test_exif_loses_owners_numbers_and_what_is_not_known() -> None:
    exif = _exif()
    exif[Base.HostComputer] = "Secret"
    names = (Base.CameraOwnerName, Base.BodySerialNumber, Base.LensSerialNumber, Base.ImageUniqueID, 0xABCD, 0xEA1C)
    exif.get_ifd(IFD.Exif).update(dict.fromkeys(names, "Secret"))
    assert b"Secret" not in collect(_opened(exif=exif), ["exif"])[SECTION_KINDS["exif"]]


@pytest.mark.parametrize("form", ["JPEG", "GIF", "PNG", "WEBP", "TIFF"])
def test_by_products_hold_nothing_but_pixels(form: str) -> None:
    options: dict[str, Any] = {"exif": _exif()} if form != "GIF" else {}
    options |= {"comment": b"secret words"} if form in {"JPEG", "GIF"} else {}
    file = io.BytesIO()
    _opened().save(file, form, **options)
    assert b"secret" in file.getvalue() or b"Someone" in file.getvalue()
    small = thumbnail(file.getvalue())
    assert small is not None
    assert not any(word in small for word in (b"secret", b"Someone", b"Maker", b"Exif"))
    assert read_image(io.BytesIO(file.getvalue())).info == {}  # what reports and samples are written from


@pytest.mark.parametrize(("packet", "text"), UNTRUSTED)
def test_xmp_that_cannot_be_trusted_is_left_out_and_that_is_said(packet: str, text: str) -> None:
    image = Image.new("RGB", (4, 4))
    image.info["xmp"] = packet.encode()
    with pytest.warns(ImageWarning, match=f"its xmp cannot be kept .*{text}"):
        assert collect(image, ["xmp"]) == {}


@pytest.mark.parametrize("dpi", [(0, 0), (float("nan"), 72), (float("inf"), 1), (1e9, 1), ("x", 1), 5])
def test_resolutions_that_are_none_are_left_out(dpi: Any) -> None:
    image = Image.new("RGB", (4, 4))
    image.info["dpi"] = dpi
    with pytest.warns(ImageWarning, match="its dpi cannot be kept"):
        assert collect(image, ["dpi"]) == {}


def test_unknown_names_are_errors() -> None:
    with pytest.raises(ValueError, match="called 'fame'; known: exif xmp icc dpi comment gps all"):
        checked(["exif", "fame"])
    with pytest.raises(ValueError, match=r"called '\\x1b'"):
        checked(["\x1b"])
    assert "gps" not in checked(["all"])


def test_all_kinds_together_fit_into_a_file() -> None:
    assert sum(LIMITS.values()) <= MAX_SECTION_BYTES


@pytest.mark.parametrize(("name", "content"), DAMAGED)
def test_damaged_sections_are_left_out_and_that_is_said(name: str, content: bytes) -> None:
    with pytest.warns(ImageWarning, match=f"the file's {name} is damaged"):
        assert to_info({SECTION_KINDS[name]: content}) == {}


def test_exif_that_promises_more_than_it_holds_is_passed_on_unread() -> None:
    """Thousands of entries that all point at the same bytes: Pillow takes a quarter of a second over them."""
    entries = b"".join(struct.pack("<HHII", 1000 + index, 7, 34_000, 8) for index in range(5400))
    content = b"II*\0" + struct.pack("<IH", 8, 5400) + entries + bytes(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_info({SECTION_KINDS["exif"]: content}) == {"exif": b"Exif\0\0" + content}


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([*SECTION_KINDS.values(), 99]), st.binary(max_size=200)))
def test_sections_of_any_content_never_raise(sections: dict[int, bytes]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        to_info(sections)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_every_format_gets_what_it_can_hold(tmp_path: Path, image: Image.Image, suffix: str) -> None:
    info = to_info(collect(image, ["all"]))
    path = tmp_path / f"a.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_image(Image.new("RGB", (16, 16)), path, info=info)
    with Image.open(path) as seen:
        seen.load()
        assert seen.getexif()[Base.Make] == "Maker"
        assert seen.getexif().get_ifd(IFD.Exif)[Base.LensModel] == "50 mm"
        assert seen.info["icc_profile"] == SRGB
        assert b"Tour" in bytes(seen.info["xmp"])
        if suffix != "webp":
            assert seen.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            comment = seen.info.get("comment") or seen.info.get("Comment") or seen.getexif()[Base.ImageDescription]
            assert comment in ("hi", b"hi")
