"""The page about DICOM names what the code does."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from lightsr import derive, dicom, geometry

PAGE = Path(__file__).parents[2] / "docs" / "dicom.md"


@pytest.mark.parametrize(
    "names",
    [
        dicom.TRANSFER_SYNTAXES.values(),
        dicom.SOP_CLASSES.values(),
        derive.REMOVED,
        geometry.REMOVED,
        geometry.SPACINGS,
        geometry.ENLARGED_EDGES,
        geometry.ENLARGED_POINTS,
        geometry.ENLARGED_LENGTHS,
        geometry.REGION_DISPLACEMENTS,
    ],
)
def test_every_name_of_the_code_is_on_the_page(names: Iterable[str]) -> None:
    page = PAGE.read_text(encoding="utf-8").replace("secondary capture", "SC")
    assert not [name for name in names if name not in page]
