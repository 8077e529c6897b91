from typing import Any

import lightsr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from lightsr import arrays
from lightsr.errors import ImageError, LightsrError

ZEROS = np.zeros((4, 4))


@pytest.fixture(scope="module")
def fp32() -> lightsr.Upscaler:
    return lightsr.load("tiny", scale=2, precision="fp32", threads=1, tile=16)


@pytest.fixture(scope="module")
def int8() -> lightsr.Upscaler:
    return lightsr.load("tiny", scale=2, precision="int8", threads=1, tile=16)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 4), np.uint8), "at least one row"),
        (np.zeros((4, 0), np.uint8), "at least one row"),
        (np.zeros((0, 4, 3), np.uint8), "at least one row"),
        (np.zeros((4, 4, 4), np.uint8), "four channels"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((4, 4, 1), np.uint8), r"shape \(4, 4, 1\)"),
        (np.zeros((3, 4, 4, 3), np.uint8), r"shape \(3, 4, 4, 3\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.uint8(4), r"shape \(\)"),
        (None, r"shape \(\)"),
        ("text", r"shape \(\)"),
        (ZEROS.astype(bool), "array of bool.*a mask is no picture"),
        (ZEROS.astype(np.int32), "array of int32.*once it is certain that every value fits"),
        (ZEROS.astype(np.uint32), "array of uint32.*every value fits"),
        (ZEROS.astype(np.int64), "array of int64.*every value fits"),
        (ZEROS.astype(np.uint64), "array of uint64.*every value fits"),
        (ZEROS.astype(np.float16), "array of float16.*loses nothing"),
        (ZEROS, "array of float64.*seven digits"),
        (ZEROS.astype(np.longdouble), "array of (float128|float96|longdouble)"),
        (ZEROS.astype(np.complex64), "array of complex64"),
        (ZEROS.astype(object), "array of object"),
        (ZEROS.astype("U3"), "array of str"),
        (ZEROS.astype("datetime64[s]"), "array of datetime64"),
        (np.zeros((4, 4), [("a", np.uint8)]), "array of void"),
        (np.ma.masked_array(np.zeros((4, 4), np.uint8), np.eye(4)), "masked array.*padding="),
        ([[1, 2], [3, 4]], "array of int64|array of int32"),
        ([[1, 2], [3]], "rows of different lengths"),
    ],
)
def test_other_arrays_are_refused(image: Any, message: str, fp32: lightsr.Upscaler) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        fp32(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({(7, 3): np.nan}, "NaN at row 7, column 3; finite"),
        ({(0, 0): np.inf}, "infinity at row 0, column 0; finite"),
        ({(9, 8): -np.inf}, "infinity at row 9, column 8; finite"),
        ({(2, 1): -2e30}, r"a value beyond 1e\+30 at row 2, column 1; finite"),
        ({(3, 1): np.inf, (2, 8): np.nan}, r"NaN at row 2, column 8 \(2 such values in all\)"),
        ({(3, 1): np.inf, (2, 8): np.nan, (9, 9): 2e30}, r"NaN at row 2, column 8 \(3 such values in all\)"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2**20])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_is_not_finite_is_refused_with_its_place(
    places: dict[tuple[int, int], float],
    message: str,
    chunk: int,
    precision: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrays, "CHUNK_PX", chunk)
    image = np.ones((10, 10), np.float32)
    for place, value in places.items():
        image[place] = value
    with pytest.raises(ImageError, match=message):
        request.getfixturevalue(precision)(image)


def test_the_channel_is_named(fp32: lightsr.Upscaler) -> None:
    image = np.ones((5, 6, 3), np.float32)
    image[4, 2, 1] = np.nan
    with pytest.raises(ImageError, match="NaN at row 4, column 2, channel 1"):
        fp32(image)


@pytest.mark.parametrize("value_range", [(10, 5), (300, 400), (-9, -1), (3.2, 3.8), (np.nan, 5)])
def test_a_value_range_without_values_is_refused(value_range: tuple[float, float], fp32: lightsr.Upscaler) -> None:
    with pytest.raises(ImageError, match="value range"):
        fp32(np.zeros((20, 20), np.uint8), value_range=value_range)


@pytest.mark.parametrize(
    ("padding", "message"),
    [
        (np.zeros((4, 5), bool), r"bool of shape \(4, 5\); bool of shape \(4, 4\)"),
        (np.zeros((4, 4), np.uint8), "padding is uint8"),
        (np.ones((4, 4), bool), "every pixel is padding"),
    ],
)
def test_other_masks_are_refused(padding: np.ndarray, message: str, fp32: lightsr.Upscaler) -> None:
    with pytest.raises(ImageError, match=message):
        fp32(np.zeros((4, 4), np.uint8), padding=padding)
    with pytest.raises(ImageError, match="a colour picture has none"):
        fp32(np.zeros((4, 4, 3), np.uint8), padding=padding)


dtypes = st.sampled_from(["u1", "i1", "<u2", ">u2", "<i2", ">i2", "<f4", ">f4"])
sides = st.integers(1, 40)


class Picture(np.ndarray):
    """What libraries of images give."""


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    """Arrays as people have them: any layout, byte order, sign and size, grey or colour, read-only or not."""
    dtype = np.dtype(draw(dtypes))
    rows, columns = draw(sides), draw(sides)
    shape: tuple[int, ...] = (2 * rows, 2 * columns) if draw(st.booleans()) else (2 * rows, 2 * columns, 3)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    if dtype.kind == "f":
        wide = (random.normal(0, 1, shape) * 10.0 ** draw(st.integers(-3, 6))).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        wide = random.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    part = np.ascontiguousarray(wide[:rows, :columns])
    layouts = {
        "every second": wide[::2, ::2],
        "a part": wide[:rows, :columns],
        "Fortran order": np.asfortranarray(wide[rows:, columns:]),
        "upside down": wide[1::2, ::-2],
        "turned": part.swapaxes(0, 1),
        "one row many times": np.broadcast_to(part[:1], part.shape),
        "one pixel many times": np.broadcast_to(part[:1, :1], part.shape),
        "between words": np.frombuffer(b"\0" + part.tobytes(), np.uint8)[1:].view(dtype).reshape(part.shape),
        "of another class": part.view(Picture),
    }
    image = layouts[draw(st.sampled_from(sorted(layouts)))]
    if image.flags.writeable:
        image.flags.writeable = draw(st.booleans())
    return image


@settings(max_examples=60, deadline=None)
@given(image=pictures(), precision=st.sampled_from(["fp32", "int8"]))
def test_layout_and_byte_order_do_not_matter(
    image: np.ndarray, precision: str, fp32: lightsr.Upscaler, int8: lightsr.Upscaler
) -> None:
    upscaler = fp32 if precision == "fp32" else int8
    before = image.copy()
    result = upscaler(image)
    assert result.shape == (2 * image.shape[0], 2 * image.shape[1], *image.shape[2:])
    assert result.dtype == image.dtype
    assert result.flags.writeable
    assert np.array_equal(image, before)
    plain = np.ascontiguousarray(image).astype(image.dtype.newbyteorder("="))
    assert np.array_equal(result, upscaler(plain))


@settings(max_examples=60, deadline=None)
@given(
    image=arrays_of.arrays(
        dtype=st.one_of(arrays_of.scalar_dtypes(), st.just(np.dtype(object))),
        shape=arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_any_array_is_enlarged_or_refused_in_one_line(image: Any, fp32: lightsr.Upscaler) -> None:
    try:
        result = fp32(image)
    except LightsrError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 250
    else:
        assert image.dtype.name in arrays.DTYPES
        assert result.shape[:2] == (2 * image.shape[0], 2 * image.shape[1])
