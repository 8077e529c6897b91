import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from lightsr.sharding import Shard

NAMES = [Path(f"patient {i % 37}/series/{i:04}.dcm") for i in range(2000)]


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_parts_are_disjoint_complete_and_about_equal(count: int) -> None:
    parts = [[name for name in NAMES if Shard(index, count).holds(name)] for index in range(1, count + 1)]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    assert sum(len(part) for part in parts) == len(NAMES)
    assert min(len(part) for part in parts) > 0.7 * len(NAMES) / count


def test_a_part_is_what_the_page_says() -> None:
    name = Path("a/b.dcm")
    remainder = int(hashlib.sha256(b"a/b.dcm").hexdigest()[:16], 16) % 5
    assert [index for index in range(1, 6) if Shard(index, 5).holds(name)] == [remainder + 1]


def test_parts_are_those_of_every_process(tmp_path: Path) -> None:
    """Python's own hashes differ from process to process."""
    code = (
        "from pathlib import Path; from lightsr.sharding import Shard\n"
        "print([Shard(2, 3).holds(Path(f'patient {i}/é.dcm')) for i in range(50)])"
    )
    seen = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=None).stdout for _ in range(2)
    }
    assert seen == {f"{[Shard(2, 3).holds(Path(f'patient {i}/é.dcm')) for i in range(50)]}\n".encode()}


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_names_that_are_no_text_have_a_part() -> None:
    name = Path("scan\udcff.dcm")
    assert sum(Shard(index, 4).holds(name) for index in range(1, 5)) == 1


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1.0/2", "²/3"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is needed|is allowed"):
        Shard.parse(text)
