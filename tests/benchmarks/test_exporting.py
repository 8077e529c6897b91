import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from lightsr.card import golden_input
from lightsr_bench import compare, documents, exporting, exporting_report, forms
from lightsr_bench.cli import main
from lightsr_bench.documents import DocumentError
from lightsr_bench.exporting import Measurement, Subject
from lightsr_bench.exporting_report import Report
from lightsr_bench.forms import Forms
from lightsr_export import graph, profile, quantise
from lightsr_export.errors import ExportError
from lightsr_train import checkpoint
from lightsr_train.contract import Network
from lightsr_train.dense import LightDense
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.networks import build, dimensions

from tests.schemas import problems

SIDE_PX = 32
LR = golden_input(3, (SIDE_PX, SIDE_PX))

SMALL: dict[str, dict[str, int]] = {
    "srcnn": {},
    "espcn": {},
    "residual": {"channels": 8, "blocks": 2},
    "srdense": {"growth": 4, "layers": 2, "blocks": 2, "bottleneck": 8},
}


def a_network(scale: int = 2) -> LightDense:
    torch.manual_seed(4)
    network = LightDense(NetworkConfig(scale, channels=16, growth=16, layers=1, blocks=1)).eval()
    with torch.no_grad():
        network.deconvolution.weight.normal_(std=0.05)
    return network


def a_baseline(family: str) -> Network:
    torch.manual_seed(4)
    return build(family, {**SMALL[family], "scale": 2}).eval()


@cache
def forms_of(family: str, scale: int = 2) -> Forms:
    return forms.of(a_network(scale) if family == "light-dense" else a_baseline(family))


@pytest.fixture(scope="module")
def found() -> Forms:
    return forms_of("light-dense")


@pytest.fixture(scope="module")
def measured() -> Measurement:
    return exporting.measure(Subject("small-x2", a_network(), "12ab"), side_px=SIDE_PX, rounds=3)


@pytest.fixture(scope="module")
def without_int8() -> Measurement:
    return exporting.measure(Subject("espcn-x2", a_baseline("espcn")), side_px=SIDE_PX, rounds=2)


@pytest.fixture
def a_checkpoint(tmp_path: Path) -> Path:
    network = a_network()
    weights = {key: value.detach().clone() for key, value in network.state_dict().items()}
    path = tmp_path / "run" / checkpoint.MODEL_FILE
    path.parent.mkdir()
    checkpoint.save(checkpoint.Checkpoint("small", "light-dense", dimensions(network), weights, {}), path)
    return path


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def a_report(*measurements: Measurement, **changes: dict[str, str]) -> Report:
    versions = {"onnxruntime": "1", "torch": "2"}
    return Report("a processor", versions, SIDE_PX, 3, measurements, **{"failures": {}, **changes}, other_load_cpus=0.0)


def test_only_the_naive_form_has_a_deconvolution(found: Forms) -> None:
    assert kinds(found.naive)["ConvTranspose"] == 1
    assert kinds(found.fp32)["ConvTranspose"] == 0
    assert {"deconvolution", "phases"} <= set(found.passes)
    assert np.abs(graph.run(found.naive, LR) - graph.run(found.fp32, LR)).max() < 1e-5


def test_the_whole_body_is_integer(found: Forms) -> None:
    assert found.int8 is not None
    assert found.refusal == ""
    operators = {name.split(":")[-1]: count for name, count in profile.optimised_operators(found.int8).items()}
    body = sum(node.op_type == "Conv" for node in quantise.body_nodes(found.fp32))
    assert operators["QLinearConv"] == body + 1  # the copy of the stem's map
    assert operators["QuantizeLinear"] == 1


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("shape", [(SIDE_PX, SIDE_PX), (17, 31)])
def test_heads_are_the_ends_of_their_graphs(scale: int, shape: tuple[int, int]) -> None:
    every = forms_of("light-dense", scale)
    lr = golden_input(5, shape)
    results = {}
    for name, head in every.heads.items():
        model = every.models[name]
        tail = forms.value(model, head.tail, lr)
        (results[name],) = graph.session(head.model).run(None, {"lr": lr, head.tail: tail})
        np.testing.assert_array_equal(results[name], graph.run(model, lr))
        assert kinds(head.model)["ConvTranspose"] == 0
        assert not any(tensor.name.startswith(("blocks.", "stem.")) for tensor in head.model.graph.initializer)
    assert np.abs(results["naive"] - results["fp32"]).max() < 1e-5


def test_a_network_that_ends_in_a_convolution_has_no_head() -> None:
    assert forms_of("residual").heads == {}


def test_figures_of_a_network(measured: Measurement) -> None:
    assert list(measured.latencies) == ["naive", "fp32", "int8", "naive head", "fp32 head"]
    for latency in measured.latencies.values():
        assert 0 < latency.minimum_ms <= latency.median_ms
    assert set(measured.ratios) == {"naive/fp32", "fp32/int8", "naive head/fp32 head"}
    assert min(measured.ratios.values()) > 0
    # The copy of the stem's 16 channels, for a trunk pixel of 4 * 4 output pixels.
    assert measured.macs_per_px["int8"] == measured.macs_per_px["fp32"] + 16 * 16 / 16
    assert set(measured.rates) == {"fp32", "fp32 body", "int8"}
    for name in ("fp32", "fp32 body"):
        assert 0 < measured.rates[name].share < 3  # other programs may slow down the peak alone
        assert measured.rates[name].macs_per_s == pytest.approx(measured.rates[name].share * measured.peak_macs_per_s)
    assert list(measured.kernels) == ["fp32", "int8"]
    assert all(kernel.count == 3 for kernel in measured.kernels["fp32"])


@pytest.mark.parametrize("family", ["light-dense", "srcnn", "residual", "srdense"])
def test_kernels_of_the_body_do_its_work(family: str) -> None:
    """As many convolutions, and multiply-adds, as are integer in int8: also where ReLUs and sums are fused."""
    every = forms_of(family)
    assert every.int8 is not None
    body = exporting.of_body(every.fp32, profile.kernels(every.fp32, LR, runs=1), profile.multiply_adds(every.fp32, LR))
    integer = [
        k
        for k in profile.kernels(every.int8, LR, runs=1)
        if k.operator in exporting.INTEGER_CONVOLUTIONS and ".copied" not in k.name
    ]
    assert sorted(kernel.macs for kernel in body) == sorted(kernel.macs for kernel in integer)
    assert body


def test_a_body_that_cannot_be_told_is_none(found: Forms) -> None:
    kernels = profile.kernels(found.fp32, LR, runs=1)
    macs = profile.multiply_adds(found.fp32, LR)
    assert exporting.of_body(found.fp32, kernels[1:], macs) == []


def test_what_has_no_integer_form_says_why(without_int8: Measurement) -> None:
    assert list(without_int8.latencies) == ["naive", "fp32"]
    assert "Tanh between stem and tail has no integer form" in without_int8.refusal
    assert set(without_int8.ratios) == {"naive/fp32"}
    assert set(without_int8.rates) == {"fp32"}
    table = exporting_report.times_table(a_report(without_int8))
    assert "| espcn-x2 (random weights) | no int8: Tanh between" in table
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_a_document_is_read_back(measured: Measurement, without_int8: Measurement) -> None:
    report = a_report(measured, without_int8, failures={"other-x2": "broken"})
    content = json.loads(documents.dumps(exporting_report.document(report, ["export"])))
    assert problems(content, "bench-export") == []
    again = exporting_report.from_document(content)
    assert exporting_report.document(again, ["export"]) == content
    assert again.measurements[0].kernels["int8"][0].name == measured.kernels["int8"][0].name
    assert [found.name for found in again.measurements] == ["small-x2", "espcn-x2"]
    del content["networks"][0]["ratios"]
    with pytest.raises(DocumentError, match="incomplete export results"):
        exporting_report.from_document(content)


def test_tables_show_the_slowest_kernels(measured: Measurement) -> None:
    printed = exporting_report.text(a_report(measured), kernels=2)
    assert f"small-x2, fp32: the slowest 2 of {len(measured.kernels['fp32'])} kernels" in printed
    assert printed.count("| Conv |") + printed.count("| FusedConv |") + printed.count("| QLinearConv |") <= 4
    assert "| small-x2 | fp32, body |" in printed


def test_networks_by_checkpoint_and_by_name(a_checkpoint: Path) -> None:
    found = exporting.subjects([a_checkpoint, a_checkpoint.parent], [("tiny", 4), ("espcn", 4)])
    assert [subject.name for subject in found] == ["small-x2", "small-x2'", "tiny-x4", "espcn-x4"]
    assert [bool(subject.sha256) for subject in found] == [True, True, False, False]
    assert not any(subject.network.training for subject in found)
    (first,), (second,) = (exporting.subjects([], [("tiny", 2)]) for _ in range(2))
    for weight, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(weight, other)
        assert weight.abs().max() > 0


def test_without_networks_there_are_three() -> None:
    assert [subject.name for subject in exporting.subjects([], [])] == ["tiny-x2", "base-x2", "tiny-x4"]


def test_the_command_writes_a_document(a_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "e.json"
    command = ["export", str(a_checkpoint), "--side", "32", "--rounds", "2", "--kernels", "3", "--json", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    content = documents.read(out)
    assert content["kind"] == "export"
    assert content["protocol"] == {"side_px": 32, "rounds": 2, "threads": 1}
    (network,) = content["networks"]
    assert network["sha256"] == checkpoint.sha256(a_checkpoint)
    assert len(network["kernels"]["fp32"]) > 3
    again = exporting_report.text(exporting_report.from_document(content), kernels=3)
    assert again.splitlines()[:4] == printed.splitlines()[:4]
    assert again.count("\n") + 1 == printed.count("\n")  # figures are rounded once more
    assert main(command) == 1
    assert "e.json: exists; --force overwrites it" in capsys.readouterr().err
    with pytest.raises(DocumentError, match="results of export stand alone"):
        compare.load([out])


def test_failed_networks_are_rows_and_what_was_measured_is_kept(
    measured: Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(subject: Subject, *, side_px: int, rounds: int) -> Measurement:
        if subject.name == "b":
            raise ExportError("torch and onnxruntime differ")
        if subject.name == "c":
            raise KeyboardInterrupt
        return measured

    monkeypatch.setattr(exporting, "measure", fake)
    subjects = [Subject(name, a_network()) for name in "abcd"]
    report = exporting_report.run(subjects, side_px=SIDE_PX, rounds=1, progress=lambda text: None)
    assert report.interrupted
    assert report.measurements == (measured,)
    assert "| b | failed: torch and onnxruntime differ |" in exporting_report.text(report)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.pt"], "none.pt: no such checkpoint"),
        (["broken.pt"], "broken.pt: damaged, or not a checkpoint of lightsr-train"),
        (["--network", "huge"], "--network huge: unknown; tiny, base,"),
        (["--json", "none/e.json"], "e.json: cannot be written: there is no such folder"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.pt").write_bytes(b"not a network")
    assert main(["export", *arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [["--scale", "4"], ["--side", "0"], ["--rounds", "x"], ["--kernels", "-1"]])
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", *arguments])
    assert stop.value.code == 2


@pytest.mark.parametrize("missing", ["torch", "onnx", "onnxsim"])
def test_what_is_not_installed_is_named(missing: str) -> None:
    code = (
        f"import sys\nsys.modules['{missing}'] = None\n"
        "from lightsr_bench.cli import main\nsys.exit(main(['export', '--network', 'tiny']))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"lightsr-bench: {missing} is not installed; pip install 'lightsr[bench]'")
    assert len(finished.stderr.splitlines()) == 1
