"""The page about formats names what the code does."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from lightsr import files, nifti, segments, stored, tiff

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.mark.parametrize(
    "names",
    [
        [known.name for known in files.FORMATS if not known.name.startswith("gzipped")],
        stored.DTYPES,
        nifti.TYPES.values(),
        [name for name in nifti.FREE_TEXTS if name != "unused_str"],
        map(str, nifti.INTENTS),
        map(str, (*segments.DEFLATE, segments.PACKBITS)),
        ("LZW", "JPEG", "CCITT"),
        ("palette", "CMYK", "YCbCr", "MetaMorph", "LSM"),
        ("XResolution", "YResolution", "ResolutionUnit"),
    ],
)
def test_every_name_of_the_code_is_on_the_page(names: Iterable[str]) -> None:
    page = PAGE.read_text(encoding="utf-8").casefold()
    assert not [name for name in names if not re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", page)]


def test_numbers_of_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert f"about {tiff.STRIP_BYTES >> 10} KiB" in page
    assert f"beyond {stored.MAX_FLOAT:.0e}".replace("e+", "e") in page
    assert all(name in page for name in ("128 million", "65 535"))
