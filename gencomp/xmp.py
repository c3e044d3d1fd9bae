"""What of an XMP packet (ISO 16684-1) may go on with an image: properties that are named here, and nothing else.

Rights and authorship, title, rating, dates, and how the camera was set. Not: places (unless they are asked for),
captions and keywords, which name places and people, faces and their names, owners and serial numbers of cameras,
identifiers and the history of a document, thumbnails and other images, settings of editors, and whatever nobody has
thought of here.
"""

from collections.abc import Iterator
from xml.dom import minidom
from xml.sax.saxutils import escape, quoteattr

_RDF, _XML = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.w3.org/XML/1998/namespace"
_HARMLESS = {  # by namespace: its usual prefix, and local names
    "http://purl.org/dc/elements/1.1/": ("dc", "creator rights title format type"),
    "http://ns.adobe.com/xap/1.0/": ("xmp", "CreateDate CreatorTool Label MetadataDate ModifyDate Rating"),
    "http://ns.adobe.com/xap/1.0/rights/": ("xmpRights", "Marked UsageTerms WebStatement"),
    "http://ns.adobe.com/photoshop/1.0/": ("photoshop", "Credit DateCreated ColorMode"),
    "http://creativecommons.org/ns#": ("cc", "license attributionName attributionURL morePermissions"),
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": ("Iptc4xmpExt", "DigitalSourceType"),
    "http://ns.adobe.com/tiff/1.0/": ("tiff", "Artist Copyright Make Model"),
    "http://ns.adobe.com/exif/1.0/": (
        "exif",
        "ApertureValue BrightnessValue Contrast CustomRendered DateTimeDigitized DateTimeOriginal DigitalZoomRatio "
        "ExifVersion ExposureBiasValue ExposureIndex ExposureMode ExposureProgram ExposureTime FNumber FileSource "
        "FocalLength FocalLengthIn35mmFilm GainControl Gamma ISOSpeedRatings LightSource MaxApertureValue MeteringMode "
        "Saturation SceneCaptureType SceneType SensingMethod Sharpness ShutterSpeedValue SubjectDistance WhiteBalance",
    ),
    "http://cipa.jp/exif/1.0/": ("exifEX", "LensMake LensModel PhotographicSensitivity RecommendedExposureIndex"),
    "http://ns.adobe.com/exif/1.0/aux/": ("aux", "Lens LensInfo"),
    "http://ns.google.com/photos/1.0/panorama/": (
        "GPano",
        "ProjectionType UsePanoramaViewer CroppedAreaImageHeightPixels CroppedAreaImageWidthPixels "
        "CroppedAreaLeftPixels CroppedAreaTopPixels FullPanoHeightPixels FullPanoWidthPixels",
    ),
}
_PLACES = {
    "http://ns.adobe.com/photoshop/1.0/": "City Country State",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "CountryCode Location",
    "http://ns.adobe.com/exif/1.0/": (
        "GPSAltitude GPSAltitudeRef GPSDateStamp GPSDestLatitude GPSDestLongitude GPSImgDirection GPSImgDirectionRef "
        "GPSLatitude GPSLongitude GPSMapDatum GPSTimeStamp GPSVersionID"
    ),
}
_PREFIXES = {space: prefix for space, (prefix, _) in _HARMLESS.items()}
_PREFIXES |= {"http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore"}
_STRUCTURE = {"Alt", "Bag", "Seq", "li"}


def names() -> dict[str, tuple[str, str, str]]:
    """By namespace: its prefix, the properties that may be kept, and those that are places; for the page."""
    none = ("", "")
    return {s: (prefix, _HARMLESS.get(s, none)[1], _PLACES.get(s, "")) for s, prefix in _PREFIXES.items()}


def harmless(packet: bytes, places: bool) -> bytes | None:
    """The packet written anew with the properties that are named above, those of places only if asked for; None where
    there are none. ValueError, or whatever a parser raises, for what is no XMP."""
    if b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        raise ValueError("it defines entities")
    kept = list(dict.fromkeys(_properties(minidom.parseString(packet), places)))
    if not kept:
        return None
    used = {space: prefix for space, prefix in _PREFIXES.items() if f"<{prefix}:" in "".join(kept)}
    spaces = "".join(f' xmlns:{prefix}="{space}"' for space, prefix in used.items())
    inner = f'<rdf:Description rdf:about=""{spaces}>{"".join(kept)}</rdf:Description>'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">{inner}</rdf:RDF></x:xmpmeta>'.encode()


def _properties(document: minidom.Document, places: bool) -> Iterator[str]:
    """Properties of the document itself: children and attributes of the descriptions right below rdf:RDF."""
    for description in document.getElementsByTagNameNS(_RDF, "Description"):
        if description.parentNode is None or description.parentNode.localName != "RDF":
            continue
        for attribute in description.attributes.values():
            if name := _known(attribute, places):
                yield f"<{name}>{escape(attribute.value)}</{name}>"
        for child in description.childNodes:
            if not isinstance(child, minidom.Element):
                continue
            name, content = _known(child, places), _content(child)
            if name and content is not None:
                resource = child.getAttributeNS(_RDF, "resource")
                yield f"<{name}{f' rdf:resource={quoteattr(resource)}' if resource else ''}>{content}</{name}>"


def _known(node: minidom.Node, places: bool) -> str | None:
    """A property's name with its usual prefix, if it may be kept."""
    space, local = node.namespaceURI or "", node.localName
    named = f"{_HARMLESS.get(space, ('', ''))[1]} {_PLACES.get(space, '') if places else ''}".split()
    return f"{_PREFIXES[space]}:{local}" if local in named else None


def _content(element: minidom.Element) -> str | None:
    """Text and lists of texts within a property; None where anything else lies in it."""
    parts = []
    for child in element.childNodes:
        if isinstance(child, minidom.Text):
            parts.append(escape(child.data.strip()))
        elif isinstance(child, minidom.Element):
            content = _content(child)
            if child.namespaceURI != _RDF or child.localName not in _STRUCTURE or content is None:
                return None
            language = child.getAttributeNS(_XML, "lang")
            named = f"rdf:{child.localName}"
            parts.append(f"<{named}{f' xml:lang={quoteattr(language)}' if language else ''}>{content}</{named}>")
    return "".join(parts)
