import subprocess
import sys

import lightsr
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightsr.budget import FLOOR_BYTES, Budget, parse_size
from lightsr.errors import MemoryLimitError
from lightsr.model import BundledModel, bundled_models

MIB = 2**20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("4096B", 4096),
        ("1K", 1024),
        ("256M", 256 * MIB),
        ("256m", 256 * MIB),
        ("256MiB", 256 * MIB),
        (" 256 mib ", 256 * MIB),
        ("256MB", 256_000_000),
        ("0.5G", 512 * MIB),
        ("2GiB", 2**31),
        ("3kB", 3000),
        (512, 512),
    ],
)
def test_sizes(text: str | int, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "0",
        "0M",
        "-1M",
        "1e3",
        "1T",
        "1 M B",
        "256,0M",
        "nan",
        "inf",
        "0.1B",
        "٣M",
        "1" * 400,
        0,
        -1,
        True,
        "M1",
    ],
)
def test_what_is_no_size(text: str | int) -> None:
    with pytest.raises(ValueError, match="such as 256M") as caught:
        parse_size(text)
    assert len(str(caught.value)) < 150


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        assert parse_size(text) >= 1
    except ValueError as error:
        assert "\n" not in str(error)


def a_budget(total: int) -> Budget:
    return Budget(total, scale=2, halo_px=12, channels=384, precision="int8")


@given(
    total=st.integers(80, 2000),
    columns=st.integers(1, 40_000),
    samples=st.sampled_from([1, 3]),
    item_bytes=st.sampled_from([1, 2, 4]),
)
def test_tiles_keep_within_the_budget_and_the_largest_side(
    total: int, columns: int, samples: int, item_bytes: int
) -> None:
    budget = a_budget(total * MIB)
    try:
        rows, across = budget.tile(columns, samples=samples, item_bytes=item_bytes, most=256)
    except MemoryLimitError as error:
        assert f"max_memory is {total}M" in str(error)
        least = parse_size(str(error).rsplit(" ", 1)[1])
        assert least >= error.needed > error.allowed == total * MIB
        a_budget(least).tile(columns, samples=samples, item_bytes=item_bytes, most=256)
        return
    assert 16 <= rows <= 256
    assert 16 <= across <= 256
    assert budget.peak_bytes((rows, across), columns, samples=samples, item_bytes=item_bytes) <= total * MIB


def test_more_memory_gives_larger_tiles() -> None:
    sides = [a_budget(total * MIB).tile(12_000, samples=1, item_bytes=2, most=256) for total in (90, 128, 192, 512)]
    assert sides == sorted(sides)
    assert sides[0] != sides[-1] == (256, 256)


def test_too_little_is_refused_when_the_model_is_loaded() -> None:
    with pytest.raises(ValueError, match=r"max_memory is 60M; this model needs at least 7\dM"):
        lightsr.load("tiny", threads=1, max_memory="60M")
    with pytest.raises(ValueError, match="exclude each other"):
        lightsr.load("tiny", threads=1, max_memory="600M", tile=64)


def test_too_wide_a_picture_is_refused_before_anything_is_computed() -> None:
    upscaler = lightsr.load("tiny", threads=1, max_memory="80M")
    with pytest.raises(lightsr.ImageError, match="a picture of 200000 columns needs at least"):
        upscaler(np.zeros((1, 200_000), np.uint16))


PEAK = """
import sys
import numpy as np, lightsr
from lightsr.memory import peak_mib
name, scale, precision, limit, rows, *shape = sys.argv[1], int(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:])
upscaler = lightsr.load(name, scale=scale, precision=precision, threads=1, max_memory=limit)
line = (np.arange(np.prod(shape)) * 7 % 4001).astype(np.uint16).reshape(1, *shape)
source = (line + np.uint16(row % 90) for row in range(rows))
plan = upscaler.plan((rows, *shape), np.dtype(np.uint16))
count = sum(map(len, upscaler.bands(source, rows=rows, intensity=lightsr.IntensityMap(0.0, 4095.0))))
print(plan.core_rows, plan.core_columns, count, peak_mib())
"""


def peak(entry: BundledModel, limit: int, rows: int, *shape: int) -> tuple[int, int, float]:
    """Rows and columns of the tiles, and the peak resident set in MiB, of a process that upscales a picture."""
    what = [entry.name, entry.scale, entry.precision, limit, rows, *shape]
    finished = subprocess.run([sys.executable, "-c", PEAK, *map(str, what)], check=True, capture_output=True, text=True)
    core_rows, core_columns, count, mib = finished.stdout.split()
    assert int(count) == entry.scale * rows
    return int(core_rows), int(core_columns), float(mib)


linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")


@linux
@pytest.mark.parametrize("entry", bundled_models(), ids=lambda entry: entry.file_name)
def test_every_bundled_model_keeps_within_the_least_memory_for_its_largest_tile(entry: BundledModel) -> None:
    upscaler = lightsr.load(entry.name, scale=entry.scale, precision=entry.precision, threads=1, max_memory="4G")
    assert upscaler.budget is not None
    limit = upscaler.budget.peak_bytes((256, 256), 512, samples=1, item_bytes=2)
    core_rows, core_columns, mib = peak(entry, limit, 512, 512)
    assert (core_rows, core_columns) == (256, 256)
    assert mib * MIB <= limit
    assert mib * MIB > FLOOR_BYTES / 2 + (limit - FLOOR_BYTES) / 4, "the bound is loose without need"


@linux
@pytest.mark.parametrize("limit", ["96M", pytest.param("256M", marks=pytest.mark.slow)])
def test_a_picture_larger_than_memory(limit: str) -> None:
    """12000 x 3600 of 16 bits: 82 MiB, and its result 330 MiB. For the smaller limit 600 of its rows."""
    [entry] = [m for m in bundled_models() if (m.name, m.scale, m.precision) == ("tiny", 2, "int8")]
    _, _, mib = peak(entry, parse_size(limit), 3600 if limit == "256M" else 600, 12_000)
    assert 40 < mib <= parse_size(limit) / MIB


@linux
@pytest.mark.parametrize("shape", [(12_000,), (4_000, 3)], ids=["grey", "colour"])
def test_wide_bands_count(shape: tuple[int, ...]) -> None:
    """A band of x4 with rows as high as the largest tile would alone take 188 MiB here."""
    [entry] = [m for m in bundled_models() if (m.name, m.scale, m.precision) == ("tiny", 4, "int8")]
    core_rows, _, mib = peak(entry, parse_size("160M"), 400, *shape)
    assert core_rows < 256
    assert mib <= 160


CALL = """
import sys
import numpy as np, lightsr
from lightsr.memory import peak_mib
upscaler = lightsr.load("tiny", precision="fp32", threads=1, max_memory="96M")
picture = np.arange(4_000_000, dtype=np.float32).reshape(2000, 2000)
result = upscaler(picture, padding=picture == 0)
print((picture.nbytes * 1.25 + result.nbytes) / 2**20, peak_mib())
"""


@linux
def test_a_call_takes_no_more_than_its_limit_beside_the_arrays_of_the_caller() -> None:
    finished = subprocess.run([sys.executable, "-c", CALL], check=True, capture_output=True, text=True)
    arrays, mib = map(float, finished.stdout.split())
    assert arrays < mib <= 96 + arrays


def test_the_same_limit_gives_the_same_tiles_for_a_call_and_for_bands() -> None:
    upscaler = lightsr.load("tiny", threads=1, max_memory="75M")
    picture = np.random.default_rng(0).integers(0, 4000, (90, 150), np.uint16)
    plan = upscaler.plan(picture.shape, picture.dtype)
    assert plan.core_rows < 90
    assert plan.core_columns < 150
    bands = list(upscaler.bands(picture))
    assert len(bands) == -(-90 // plan.core_rows)
    assert np.array_equal(np.concatenate(bands), upscaler(picture))
