from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightsr.errors import ImageError
from lightsr.pixels import PixelDescription, values_of, words_of


def a_description(
    allocated: int, stored: int, low_bit: int, *, signed: bool, overlay_bits: int = 0
) -> PixelDescription:
    return PixelDescription(
        1, 4, 1, 1, "MONOCHROME2", allocated, stored, low_bit, signed, by_plane=False, overlay_bits=overlay_bits
    )


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, int, int, bool]:
    allocated = draw(st.sampled_from([8, 16]))
    stored = draw(st.integers(8, allocated))
    return allocated, stored, draw(st.integers(0, allocated - stored)), draw(st.booleans())


@given(layout=layouts(), fractions=st.lists(st.floats(0, 1), min_size=4, max_size=4), little=st.booleans())
def test_values_come_back_from_anywhere_in_their_words(
    layout: tuple[int, int, int, bool], fractions: list[float], little: bool
) -> None:
    allocated, stored, low_bit, signed = layout
    of = a_description(allocated, stored, low_bit, signed=signed)
    lowest = -(2 ** (stored - 1)) if signed else 0
    values = np.array([[lowest + round(share * (2**stored - 1)) for share in fractions]])
    order = "<" if little else ">"
    words = ((values << low_bit) % 2**allocated).astype(f"{order}u{allocated // 8}")
    found = values_of(words_of(words.tobytes(), of, little=little), of, Path("a"))
    assert found.dtype == of.dtype
    assert np.array_equal(found, values)


@given(layout=layouts(), word=st.integers(0, 2**16 - 1))
def test_a_word_with_a_foreign_bit_is_refused_unless_it_is_an_overlays_or_a_sign_left_out(
    layout: tuple[int, int, int, bool], word: int
) -> None:
    allocated, stored, low_bit, signed = layout
    word %= 2**allocated
    value = (word >> low_bit) % 2**stored
    if signed and value >= 2 ** (stored - 1):
        value -= 2**stored
    foreign = ((value << low_bit) % 2**allocated) ^ word
    words = np.array([[word] * 4], f"u{allocated // 8}")
    sign_left_out = signed and word == (value % 2**stored) << low_bit
    if sign_left_out:
        plain = a_description(allocated, stored, low_bit, signed=signed)
        assert values_of(words, plain, Path("a")).tolist() == [[value] * 4]
    elif foreign:
        with pytest.raises(ImageError, match=f"values outside its {stored} stored bits"):
            values_of(words, a_description(allocated, stored, low_bit, signed=signed), Path("a"))
    masked = a_description(allocated, stored, low_bit, signed=signed, overlay_bits=foreign)
    assert values_of(words, masked, Path("a")).tolist() == [[value] * 4]
