"""The page about DICOM names what the code does."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from lightsr import derive, geometry, kinds, pixels, syntaxes

PAGE = Path(__file__).parents[2] / "docs" / "dicom.md"


@pytest.mark.parametrize(
    "names",
    [
        [syntax.name for syntax in syntaxes.TRANSFER_SYNTAXES.values()],
        [package.strip("'") for _, package in syntaxes.DECODERS.values()],
        kinds.SOP_CLASSES.values(),
        pixels.PHOTOMETRIC,
        derive.REMOVED,
        geometry.REMOVED,
        geometry.SPACINGS,
        geometry.ENLARGED_EDGES,
        geometry.ENLARGED_POINTS,
        geometry.ENLARGED_LENGTHS,
        geometry.REGION_DISPLACEMENTS,
        ["HighBit", "PhotometricInterpretation", "SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames"],
        ["LossyImageCompression", "LossyImageCompressionMethod", "LossyImageCompressionRatio"],
    ],
)
def test_every_name_of_the_code_is_on_the_page(names: Iterable[str]) -> None:
    page = PAGE.read_text(encoding="utf-8").casefold()
    # As a word: "CR" is also in "described", and "JPEG 2000" in "JPEG 2000 Lossless".
    assert not [name for name in names if not re.search(rf"(?<!\w){re.escape(name.casefold())}(?! lossless|\w)", page)]


@pytest.mark.parametrize("tags", [derive.PALETTE_TAGS, derive.PIXEL_COMPONENT_TAGS])
def test_every_range_of_tags_is_on_the_page(tags: range) -> None:
    assert f"{shown(tags[0])} to {shown(tags[-1])}" in PAGE.read_text(encoding="utf-8")


def shown(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
