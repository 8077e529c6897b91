import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightsr.tiling import TilePlan

sizes = st.integers(1, 90)


tiles = st.integers(1, 64) | st.tuples(st.integers(1, 64), st.integers(1, 64))


@given(sizes, sizes, tiles, st.integers(0, 9), st.sampled_from([1, 2, 4]))
def test_tiles_cover_the_picture_once(
    rows: int, columns: int, tile: int | tuple[int, int], halo: int, alignment: int
) -> None:
    plan = TilePlan.for_picture((rows, columns), tile=tile, halo=halo * alignment, alignment=alignment)
    covered = np.zeros((rows, columns), int)
    for part in plan:
        assert part.top % alignment == 0
        assert part.left % alignment == 0
        covered[part.top : part.top + part.rows, part.left : part.left + part.columns] += 1
    assert (covered == 1).all()
    most = tile if isinstance(tile, tuple) else (tile, tile)
    assert plan.core_rows <= max(most[0], alignment)
    assert plan.core_columns <= max(most[1], alignment)
    assert list(plan) == [part for top in range(0, rows, plan.core_rows) for part in plan.across(top)]


@given(st.integers(1, 10**9), st.integers(1, 5000), tiles, st.sampled_from([1, 2, 4]))
def test_tiles_of_pictures_of_any_size(rows: int, columns: int, tile: int | tuple[int, int], alignment: int) -> None:
    """Too large to count pixels: the bands and the tiles of the last one end where the picture does."""
    plan = TilePlan.for_picture((rows, columns), tile=tile, halo=8, alignment=alignment)
    last = (rows - 1) // plan.core_rows * plan.core_rows
    parts = list(plan.across(last))
    assert {(part.top, part.top + part.rows) for part in parts} == {(last, rows)}
    assert [part.left for part in parts] == [0, *(part.left + part.columns for part in parts[:-1])]
    assert parts[-1].left + parts[-1].columns == columns
    assert all(part.columns >= 1 for part in parts)


@given(sizes, sizes, st.integers(4, 64), st.integers(0, 9))
def test_a_tile_is_read_from_the_edge_extended_picture(rows: int, columns: int, tile: int, halo: int) -> None:
    picture = np.random.default_rng(0).integers(0, 1000, (rows, columns), dtype=np.int16)
    plan = TilePlan.for_picture((rows, columns), tile=tile, halo=halo, alignment=1)
    reach = halo + max(plan.read_shape)
    extended = np.pad(picture, reach, mode="edge").astype(np.float32)
    for part in plan:
        top, left = part.top - halo + reach, part.left - halo + reach
        expected = extended[top : top + plan.read_shape[0], left : left + plan.read_shape[1]]
        found = plan.read(picture, part)
        assert found.dtype == np.float32
        assert np.array_equal(found, expected)


def test_core_is_cut_out_of_an_enlarged_tile() -> None:
    plan = TilePlan.for_picture((5, 7), tile=4, halo=3, alignment=1)
    picture = np.arange(35, dtype=np.uint8).reshape(5, 7)
    result = np.zeros((10, 14), np.float32)
    for part in plan:
        enlarged = plan.read(picture, part).repeat(2, 0).repeat(2, 1)
        result[2 * part.top : 2 * (part.top + part.rows), 2 * part.left : 2 * (part.left + part.columns)] = plan.core(
            enlarged, part, 2
        )
    assert np.array_equal(result, picture.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("length", "core"), [(256, 256), (257, 130), (300, 150), (513, 172)])
def test_tiles_are_made_alike(length: int, core: int) -> None:
    assert TilePlan.for_picture((length, 10), tile=256, halo=0, alignment=2).core_rows == core
