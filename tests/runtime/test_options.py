import itertools
from typing import Any

import pytest
from lightsr.options import DEFAULTS, DicomOptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"series_offset": -1},
        {"series_offset": 2**31},
        {"suffix": ""},
        {"suffix": "   "},
        {"suffix": "a\\b"},
        {"suffix": "sch\u00e4rfer"},
        {"suffix": "a\nb"},
        {"suffix": "x" * 65},
        {"equipment": "scanner"},
        {"compress": "zip"},
    ],
)
def test_what_dicom_could_not_hold_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="allowed|printable ASCII"):
        DicomOptions(**wrong)


def test_the_limits_themselves_are_allowed() -> None:
    assert DicomOptions(series_offset=0, suffix="x" * 64).series_suffix(2) == "x" * 64
    assert DicomOptions(series_offset=2**31 - 1).series_suffix(4) == " [AI-SR x4]"


def test_every_choice_has_an_identity_of_its_own() -> None:
    offsets, suffixes = (1000, 1, 10001), (None, "a", 'a", "equipment": "keep', "1")
    chosen = [
        DicomOptions(*values) for values in itertools.product(offsets, suffixes, ("lightsr", "keep"), (False, True))
    ]
    assert len({options.identity(2) for options in chosen}) == len(chosen)


def test_what_changes_no_data_set_has_no_identity() -> None:
    for options in (
        DicomOptions(force_read=True),
        DicomOptions(allow_mammography=True),
        DicomOptions(compress="rle"),
        DicomOptions(compress="j2k-lossless"),
    ):
        assert options.identity(2) == ()


def test_saying_the_default_is_the_default() -> None:
    assert DEFAULTS.identity(2) == DicomOptions(1000, " [AI-SR x2]", "lightsr", False).identity(2) == ()
    assert DicomOptions(suffix=" [AI-SR x2]").identity(4) != ()
