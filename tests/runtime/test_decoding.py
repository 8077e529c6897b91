import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightsr.decoding import Task, decode_rle, unpack
from pydicom.pixels.decoders.rle import _rle_decode_frame, _rle_decode_segment

from .dicom_files import rle

packets = st.one_of(
    st.binary(min_size=1, max_size=128).map(lambda content: bytes([len(content) - 1]) + content),
    st.tuples(st.integers(129, 255), st.integers(0, 255)).map(bytes),
    st.just(b"\x80"),
)


@given(parts=st.lists(packets, min_size=1, max_size=20))
def test_segments_stand_for_what_pydicom_says(parts: list[bytes]) -> None:
    segment = b"".join(parts)
    expected = bytes(_rle_decode_segment(segment))
    assert bytes(unpack(segment, len(expected))) == expected
    assert bytes(unpack(segment, len(expected) // 2)) == expected[: len(expected) // 2]
    with pytest.raises(IndexError):
        unpack(segment, len(expected) + 1)


@given(content=st.binary(max_size=200), count=st.integers(0, 400))
def test_no_segment_gives_more_than_asked_for(content: bytes, count: int) -> None:
    try:
        assert len(unpack(content, count)) == count
    except IndexError:
        pass


def a_task(samples: int, allocated: int) -> Task:
    return Task("", "RLE", 6, 7, samples, allocated, allocated, False, "RGB", False, 0, 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 3])
def test_frames_are_those_of_pydicom_and_of_pylibjpeg(dtype: str, samples: int) -> None:
    top = np.iinfo(dtype).max
    planes = np.random.default_rng(0).integers(0, top, (samples, 6, 7)).astype(dtype)
    bits = 8 * planes.dtype.itemsize
    frame = bytes(decode_rle(rle(planes), a_task(samples, bits)))
    assert frame == planes.tobytes()
    assert frame == bytes(_rle_decode_frame(rle(planes), 6, 7, samples, bits))
    faster = pytest.importorskip("rle", reason="pylibjpeg-rle is not installed (pip install 'lightsr[dicom]')")
    assert frame == bytes(faster.decode_pixel_data(rle(planes), version=2, rows=6, columns=7, bits_allocated=bits))


def test_a_segment_that_ends_early() -> None:
    content = rle(np.zeros((1, 6, 7), np.uint8))
    short = struct.pack("<16I", 1, 64, *[0] * 14) + content[64:-4]
    with pytest.raises(IndexError):
        decode_rle(short, a_task(1, 8))
