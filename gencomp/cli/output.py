"""What the verbs say of a .gnc file: a record for --json, lines for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gencomp.bitstream import Inspection, step_to_quality
from gencomp.files import shown


def describe(path: Path, inspection: Inspection) -> dict[str, Any]:
    """What a file says of itself, without the model."""
    header, sections = inspection.header, inspection.sections
    size = sum(sections.values())
    return {
        "path": str(path),
        "width": header.width,
        "height": header.height,
        "bytes": size,
        "bpp": 8 * size / (header.width * header.height),
        "quality": step_to_quality(header.quality_step),
        "model": header.model_id.hex(),
        "format_version": header.version,
        "checksum_ok": inspection.checksum_ok,
        "sections": sections,
    }


def size_text(record: dict[str, Any]) -> str:
    return f"{record['bytes']:,} bytes, {record['bpp']:.4g} bpp"


def info_text(record: dict[str, Any]) -> str:
    sections = ", ".join(f"{name} {size:,}" for name, size in record["sections"].items())
    lines = [
        shown(record["path"]),
        f"  image     {record['width']}x{record['height']}",
        f"  size      {size_text(record)} ({sections})",
        f"  quality   {record['quality']:.1f}",
        f"  model     {record['model']}" + (f" ({record['model_name']})" if "model_name" in record else ""),
        f"  format    {record['format_version']}",
        f"  checksum  {'ok' if record['checksum_ok'] else 'WRONG'}",
    ]
    if record.get("entropy_bits") is not None:
        lines.append(f"  latents   {'ok' if record['latents_ok'] else 'WRONG'}, {record['entropy_bits']:,.1f} bits")
    return "\n".join(lines)
