import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightsr import raster, signatures
from lightsr.model import bundled_models
from lightsr_bench import compare, documents, figure, tables
from lightsr_bench.cli import main
from lightsr_bench.documents import DocumentError
from lightsr_bench.figure import Point

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real results of small runs: `quality.json` and `device.json`."""
    folder = tmp_path_factory.mktemp("results")
    rows, columns = np.mgrid[:120, :140]
    for patient in ("a", "b"):
        path = folder / "images" / "MR" / patient / "0.png"
        path.parent.mkdir(parents=True)
        shift = 1 if patient == "a" else 3
        with path.open("wb") as file:
            raster.write_png((500 + 300 * np.sin(rows / 3 + shift) * np.cos(columns / 4)).astype(np.uint16), file)
    quality = ["quality", "--data", str(folder / "images"), "tiny", "--threads", "1"]
    assert main([*quality, "--json", str(folder / "quality.json")]) == 0
    device = ["device", "tiny", "espcn", "--size", "64", "--threads", "1", "--rounds", "1", "--seconds", "0.02"]
    assert main([*device, "--json", str(folder / "device.json")]) == 0
    return folder


def changed(results: Path, name: str, target: Path, change: Change) -> Path:
    content = documents.read(results / name)
    change(content)
    target.write_bytes(documents.dumps(content))
    return target


def test_a_page_holds_everything_side_by_side(results: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "docs" / "benchmarks.md", tmp_path / "docs" / "img" / "b.png"
    picture.parent.mkdir(parents=True)
    arguments = ["compare", str(results / "quality.json"), str(results / "device.json")]
    arguments += ["--markdown", str(page), "--figure", str(picture)]
    assert main(arguments) == 0
    text = page.read_text(encoding="utf-8")
    assert "![PSNR against latency and memory](img/b.png)" in text
    for name in ("quality.json", "device.json"):
        assert f"    {documents.read(results / name)['command']}\n" in text
    main_table = text.split("side by side")[1].split("## ")[0]
    (row,) = [line for line in main_table.splitlines() if line.startswith("| tiny-x2-int8 |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "17,024"
    assert float(cells[4].replace(",", "")) > 0
    assert float(cells[5]) > 20
    assert cells[6].startswith(("+", "-"))
    assert "| ESPCN-1ch_x2 (random weights) | 21,284 | 5,296 |" in main_table
    with picture.open("rb") as file:
        assert signatures.is_png(file.read(8))
    assert main(arguments) == 1
    assert main([*arguments, "--force"]) == 0
    assert page.read_text(encoding="utf-8") == text


def test_without_a_file_the_page_is_printed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(results / "device.json")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# Benchmarks\n")
    assert "| tiny-x2-int8 | lightsr | 64 | 1 |" in printed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("quality.json", lambda d: d["protocol"].update(digest="other", degradation="area"), "differ in digest"),
        ("quality.json", lambda d: d["protocol"].update(ranges="other", degradation="area"), "differ in ranges"),
        ("quality.json", lambda d: None, "both x2 with degradation bicubic"),
        ("device.json", lambda d: None, "measure them together"),
        (
            "device.json",
            lambda d: (d["target"].update(cpu="Other"), d["networks"][0].update(sha256="0" * 64, parameters=1)),
            "is not the same file in both",
        ),
        (
            "device.json",
            lambda d: (d["target"].update(cpu="Other"), [row.update(size_px=65) for row in d["rows"]]),
            "no size and number of threads that all were measured at",
        ),
    ],
)
def test_what_differs_is_not_compared(name: str, change: Change, message: str, results: Path, tmp_path: Path) -> None:
    other = changed(results, name, tmp_path / "other.json", change)
    with pytest.raises(DocumentError, match=message):
        compare.load([results / "quality.json", results / "device.json", other])


def test_a_target_may_have_other_weights_where_another_has_these(results: Path, tmp_path: Path) -> None:
    def older(content: dict[str, Any]) -> None:
        content["networks"][0].update(sha256="0" * 64)
        content["target"].update(board="A board")

    name = documents.read(results / "device.json")["networks"][0]["name"]
    board = changed(results, "device.json", tmp_path / "board.json", older)
    text = compare.markdown(compare.load([results / "quality.json", results / "device.json", board]))
    assert text.count(f"Measured with other weights of the same networks, which take the same time: {name}.") == 1
    with pytest.raises(DocumentError, match=f"{name} is not the same file in both"):
        compare.load([results / "quality.json", board])


def test_targets_and_degradations_stand_beside_each_other(results: Path, tmp_path: Path) -> None:
    board = changed(results, "device.json", tmp_path / "board.json", lambda d: d["target"].update(board="A board"))
    area = changed(results, "quality.json", tmp_path / "area.json", lambda d: d["protocol"].update(degradation="area"))
    text = compare.markdown(compare.load([results / "quality.json", area, results / "device.json", board]))
    assert "ms per output Mpx, A board" in text
    assert "## x2, area: quality" in text


@pytest.mark.parametrize("name", ["quality.json", "device.json"])
def test_incomplete_results_are_named(name: str, results: Path, tmp_path: Path) -> None:
    for key in ("protocol", "networks", "images" if name == "quality.json" else "rows"):
        other = changed(results, name, tmp_path / "other.json", lambda d, key=key: d.pop(key))  # type: ignore[misc]
        if (name, key) == ("device.json", "protocol"):
            continue  # device results say their places in their rows
        with pytest.raises(DocumentError, match="measure again"):
            compare.load([other])


def test_a_figure_needs_both(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(results / "device.json"), "--figure", str(tmp_path / "a.png")]) == 1
    assert "nothing to draw" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_points_are_plain_sessions(results: Path) -> None:
    comparison = compare.load([results / "quality.json", results / "device.json"])
    (found,) = [
        point
        for point in figure.points(comparison, comparison.devices[0], comparison.qualities[0], "MR", "ms_per_mpx")
        if point.name == "tiny-x2-int8"
    ]
    row = comparison.devices[0].row("tiny-x2-int8", 64, 1)
    assert row is not None
    assert row.engine == "onnxruntime"
    assert (found.kind, found.cost) == ("lightsr", row.ms_per_mpx)


def test_the_front_leaves_out_what_a_cheaper_one_beats() -> None:
    places = [(1, 30), (2, 30), (3, 33), (3, 32), (9, 31)]
    made = [Point(str(i), "", cost, psnr) for i, (cost, psnr) in enumerate(places)]
    assert [point.name for point in figure.pareto(made)] == ["0", "2"]


def test_some_networks_of_the_table(results: Path) -> None:
    """In a page written by hand, in its own order, and with what the whole table says of them."""
    paths = [results / "device.json", results / "quality.json"]
    page = "<!-- table x2 of lanczos, tiny-x2-int8 -->\n<!-- end -->\n"
    text, names = tables.renewed(page, paths)
    assert names == ["x2"]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| network", "| ---", "| lanczos", "| tiny-x2-int8"]
    assert set(rows) - {rows[0]} < set(compare.markdown(compare.load(paths)).splitlines())
    assert tables.renewed(text, paths)[0] == text
    with pytest.raises(DocumentError, match=r"quality\.json: has no results of tinny; it has nearest, bilinear"):
        tables.renewed(page.replace("lanczos", "tinny"), paths)
    with pytest.raises(DocumentError, match="no file given has quality at x4"):
        tables.renewed(page.replace("x2 of", "x4 of"), paths)


def test_the_table_of_the_readme_is_what_its_results_give() -> None:
    root = Path(__file__).parents[2]
    paths = [path for kind in ("device", "quality") for path in (root / "docs" / "results").glob(f"{kind}-*.json")]
    text = (root / "README.md").read_text(encoding="utf-8")
    assert tables.renewed(text, sorted(paths)) == (text, ["x2"]), "make bench renews it"


def test_the_page_in_the_documentation_is_what_its_results_give() -> None:
    docs = Path(__file__).parents[2] / "docs"
    paths = sorted((docs / "results").glob("*.json"))
    assert paths
    page = compare.markdown(compare.load(paths), figure="benchmarks.png")
    assert (docs / "benchmarks.md").read_text(encoding="utf-8") == page, "make bench renews it"
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    for kind in ("device", "quality"):
        models = {
            (network["name"], network["sha256"])
            for content in contents
            if content["kind"] == kind
            for network in content["networks"]
        }
        for entry in bundled_models():
            assert (Path(entry.file_name).stem, entry.sha256) in models, f"{kind} measured with an older bundled model"
