import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import psutil
import pytest
from lightsr import raster
from lightsr_bench import cli, device, device_report, documents, limits, networks, target
from lightsr_bench.cli import main
from lightsr_bench.device import Row
from lightsr_bench.networks import Network
from lightsr_bench.worker import Job, Result

from tests.schemas import problems


@pytest.fixture
def tiny() -> Network:
    (network,) = (n for n in networks.find(["tiny"], scale=2) if n.name == "tiny-x2-int8")
    return network


def test_a_job_runs_in_a_process_of_its_own(tiny: Network) -> None:
    result = device.run(Job(str(tiny.path), "lightsr", 64, threads=1, seconds=0.05))
    assert isinstance(result, Result)
    assert len(result.run_ms) >= 3
    assert sum(result.run_ms) >= 45
    assert 0 < result.imported_mib < result.peak_mib < 1000
    assert 0 < min(result.run_ms) <= result.first_ms
    assert 0 < result.cpu_s < 5


def test_a_model_gives_a_row_for_the_session_and_one_for_the_runtime(tiny: Network) -> None:
    rows = list(device.measure([(tiny, 2)], sizes_px=(64,), threads=(1,), rounds=2, seconds=0.02))
    assert [(row.engine, row.size_px, row.threads, row.error) for row in rows] == [
        ("onnxruntime", 64, 1, ""),
        ("lightsr", 64, 1, ""),
    ]
    for row in rows:
        assert row.runs >= 6
        assert row.min_ms <= row.p50_ms <= row.p90_ms <= row.p99_ms
        assert row.ms_per_mpx == pytest.approx(row.p50_ms / (128 * 128 / 1e6))
        assert row.spread >= 0
        assert 0 < row.added_mib < row.peak_mib


def test_memory_that_is_not_there_is_a_row_that_says_so(tiny: Network) -> None:
    (plain, runtime) = device.measure(
        [(tiny, 2)], sizes_px=(64,), threads=(1,), rounds=1, seconds=0.01, limits=limits.parse("memory=40M")
    )
    for row in (plain, runtime):
        assert row.error.endswith("limited to 40 MiB")
        assert row.error.startswith(("killed: out of memory", "needs "))
        assert row.p50_ms == 0


def test_rounds_go_in_turns(tiny: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []

    def fake(job: Job, limit: limits.Limits) -> Result | str:
        jobs.append(job)
        return "broken" if job.engine == "lightsr" else Result(1, 2, [4.0, 6.0 + len(jobs)], 0.01, 30, 50)

    monkeypatch.setattr(device, "run", fake)
    rows = list(device.measure([(tiny, 2)], sizes_px=(100,), threads=(1, 2), rounds=3))
    assert [job.engine for job in jobs[:4]] == ["onnxruntime", "lightsr", "onnxruntime", "onnxruntime"]
    assert [job.threads for job in jobs] == [1] * 4 + [2] * 4
    assert [(row.engine, row.error) for row in rows[:2]] == [("onnxruntime", ""), ("lightsr", "broken")]
    assert rows[0].runs == 6
    assert rows[0].added_mib == 20


def test_what_was_measured_before_ctrl_c_is_kept(tiny: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []

    def fake(job: Job, limit: limits.Limits) -> Result:
        jobs.append(job)
        if len(jobs) == 4:
            raise KeyboardInterrupt
        return Result(1, 2, [4.0, 6.0], 0.01, 30, 50)

    monkeypatch.setattr(device, "run", fake)
    machine = target.describe()
    report = device_report.run([tiny], target=machine, progress=lambda text: None, sizes_px=(100, 200), rounds=1)
    assert report.interrupted
    assert [(row.engine, row.size_px) for row in report.rows] == [
        ("onnxruntime", 100),
        ("lightsr", 100),
        ("onnxruntime", 200),
    ]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_ends_the_measured_process_and_writes_the_file(tmp_path: Path) -> None:
    out = tmp_path / "d.json"
    command = ["device", "tiny", "--size", "32", "--threads", "1", "--rounds", "1", "--seconds", "30"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lightsr_bench.cli", *command, "--json", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    me = psutil.Process(process.pid)
    end = time.monotonic() + 60
    while not any("lightsr_bench.worker" in " ".join(child.cmdline()) for child in me.children()):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    workers = me.children()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped" in err
    assert "Traceback" not in err
    assert json.loads(out.read_text())["interrupted"] is True
    assert not any(worker.is_running() for worker in workers)


def test_the_command_writes_a_document_that_can_be_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSR_PEERS", str(tmp_path / "peers"))
    (tmp_path / "peers").mkdir()
    broken = tmp_path / "peers" / "broken.onnx"
    broken.write_bytes(b"not a network")
    out = tmp_path / "d.json"
    options = ["--size", "32", "--threads", "1", "--rounds", "1", "--seconds", "0.01", "--json", str(out)]
    assert main(["device", "espcn", str(broken), *options]) == 3
    printed = capsys.readouterr().out
    assert "ESPCN-1ch_x2 (random weights) | onnxruntime | 32 | 1 |" in printed
    assert "| broken | failed: " in printed
    content = documents.read(out)
    assert "$LIGHTSR_PEERS/broken.onnx" in content["command"]
    assert problems(content, "bench-device") == []
    report = device_report.from_document(content)
    assert report.random_weights == {"ESPCN-1ch_x2"}
    assert set(report.failures) == {"broken"}
    assert report.rows[0].p50_ms > 0
    assert report.failed
    assert device_report.text(report)[:300] == printed[:300]
    assert main(["device", "espcn", *options]) == 1
    assert "d.json: exists; --force overwrites it" in capsys.readouterr().err
    assert documents.read(out) == content


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["device", "nothing"], 1, "'nothing': not bundled"),
        (["device", "tiny", "--limit", "disk=3"], 1, "limit 'disk=3': memory=SIZE"),
        (["device", "tiny", "--limit", "memory=0M"], 1, "above 0"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("value", ["0", "-1", "x", "1,,2", " "])
@pytest.mark.parametrize("option", ["--size", "--threads", "--rounds"])
def test_numbers_must_be_above_0(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["device", "tiny", f"{option}={value}"])
    assert stop.value.code == 2
    assert "a whole number, at least 1, is needed" in capsys.readouterr().err


def test_a_busy_machine_is_told() -> None:
    report = device_report.Report(target.describe(), {}, frozenset(), (), {}, other_load_cpus=0.5)
    assert "other programs used 0.50 CPUs" in device_report.busy_warning(report)
    quiet = device_report.Report(target.describe(), {}, frozenset(), (), {}, other_load_cpus=0.05)
    assert device_report.busy_warning(quiet) == ""


def test_bystanders_are_what_our_processes_did_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    Every = namedtuple("Every", ["user", "system", "idle", "iowait"])
    Own = namedtuple("Own", ["user", "system", "children_user", "children_system", "elapsed"])
    now = {"clock": 100.0, "every": Every(50, 10, 900, 5), "own": Own(3, 1, 20, 2, 0)}
    monkeypatch.setattr(psutil, "cpu_times", lambda: now["every"])
    monkeypatch.setattr(device.os, "times", lambda: now["own"])
    monkeypatch.setattr(device.time, "monotonic", lambda: now["clock"])
    others = device.Bystanders()
    # in 10 s the machine worked 9 s, of which 1 s is ours and 6 s our children's; idle and waiting count for nothing
    now.update(clock=110.0, every=Every(57, 12, 950, 9), own=Own(3.5, 1.5, 25, 3, 0))
    assert others.cpus() == pytest.approx(0.2)
    now.update(every=Every(50, 10, 999, 5))  # clocks of different kinds may disagree a little
    assert others.cpus() == 0


def test_row_table_shows_a_failure_in_place_of_figures() -> None:
    report = device_report.Report(target.describe(), {}, frozenset({"b"}), (), {}, 0.0)
    rows = [Row("a", "onnxruntime", 128, 1, p50_ms=2.5, peak_mib=80.4), Row("b", "opencv", 128, 1, error="no memory")]
    first, second = device_report.rows_table(report, rows).splitlines()[2:]
    assert first.startswith("| a | onnxruntime | 128 | 1 | 2.5 |")
    assert first.count("|") == second.count("|")
    assert "| b (random weights) | opencv | 128 | 1 | failed: no memory |" in second


@pytest.mark.parametrize(
    ("cpu", "root", "message"),
    [
        ("cortex-m4", "x", "'cortex-m4': cannot be emulated; cortex-a53,"),
        ("cortex-a76", "", "LIGHTSR_ARM_ROOT is not set; run, in lightsr's source: bash benchmarks/arm64-root.sh DIR"),
        ("cortex-a76", "x", "qemu-aarch64, which runs Arm programs here, is missing; run: apt-get install qemu-user"),
    ],
)
def test_what_emulation_needs_is_told(
    cpu: str, root: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSR_ARM_ROOT", root)
    monkeypatch.setenv("PATH", "")
    assert main(["device", "tiny", "--emulate", cpu]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("option", ["--json", "--markdown", "--figure"])
def test_where_nothing_can_be_written_nothing_is_measured(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["device", "tiny"] if option == "--json" else ["compare", str(tmp_path / "a.json")]
    assert main([*command, option, str(tmp_path / "none" / "out")]) == 1
    captured = capsys.readouterr()
    assert "out: cannot be written: there is no such folder" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("command", "missing", "cure"),
    [
        (
            ["device", "tiny"],
            "psutil",
            "in the folder of the sources; on a device, pip install onnx psutil",
        ),
        (["quality", "--data", "."], "skimage", "skimage is not installed; pip install 'lightsr[bench]'"),
    ],
)
def test_what_is_not_installed_is_named(command: list[str], missing: str, cure: str, tmp_path: Path) -> None:
    code = (
        f"import sys\nsys.modules['{missing}'] = None\nfrom lightsr_bench.cli import main\nsys.exit(main({command!r}))"
    )
    random = np.random.default_rng(0)
    with (tmp_path / "a.png").open("wb") as file:
        raster.write_png(random.integers(0, 255, (48, 48), dtype=np.uint8), file)
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert finished.returncode == 1
    assert cure in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_device_needs_no_pytorch_to_be_measured() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'skimage', 'scipy', 'cv2', 'onnxscript', 'onnxsim'):\n"
        "    sys.modules[name] = None\n"
        "from lightsr_bench.cli import main\n"
        "sys.exit(main(['device', 'tiny', '--size', '32', '--threads', '1', '--rounds', '1', '--seconds', '0.01']))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert "| tiny-x2-int8 | lightsr | 32 | 1 |" in finished.stdout


def test_results_are_compared_without_what_measures(tmp_path: Path) -> None:
    results = sorted((Path(__file__).parents[2] / "docs" / "results").glob("device-*.json"))
    assert results
    code = (
        "import sys\nfor name in ('psutil', 'onnx', 'cv2', 'torch'): sys.modules[name] = None\n"
        f"from lightsr_bench.cli import main\nsys.exit(main(['compare', *{[str(path) for path in results]!r}]))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert "| base-x2-int8 |" in finished.stdout


class Terminal(io.StringIO):
    """Standard error of a person."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False)])
def test_progress_is_drawn_where_a_line_can_be_drawn_anew(
    term: str, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", term)
    cli._progress("measuring")
    assert terminal.getvalue() == ("\r\x1b[Kmeasuring" if drawn else "")
