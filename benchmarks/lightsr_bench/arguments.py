"""Arguments of `lightsr-bench`."""

import argparse
from pathlib import Path
from typing import Any

from lightsr import __version__
from lightsr.arguments import Parser
from lightsr.cli import positive


def parser() -> argparse.ArgumentParser:
    """Arguments of `lightsr-bench`."""
    p = Parser(
        prog="lightsr-bench",
        description="Measure lightsr models beside what people use.",
        examples=(
            "lightsr-bench device tiny base --json device.json",
            "lightsr-bench quality --data images --scale 4 --json quality.json",
            "lightsr-bench compare device.json quality.json --markdown results.md",
        ),
        closing="Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped. "
        "lightsr-bench COMMAND --help tells the options of each.",
    )
    p.add_argument("--version", action="version", version=f"lightsr-bench {__version__}")
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_device(commands)
    _add_quality(commands)
    _add_export(commands)
    _add_training(commands)
    _add_experiment(commands)
    _add_compare(commands)
    return p


def _add_device(commands: Any) -> None:
    d = commands.add_parser(
        "device",
        help="latency and memory on this machine",
        description="Measure latency and memory of networks on this machine, each in fresh processes, in turns.",
        examples=(
            "lightsr-bench device",
            "lightsr-bench device tiny base --scale 2 --size 256 --json device.json",
            "lightsr-bench device tiny --limit memory=256M,cpus=1",
        ),
    )
    d.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="bundled name, .onnx or .pb file, a folder of them, or fsrcnn, espcn, srcnn: "
        "these architectures for one channel with random weights (default all bundled)",
    )
    d.add_argument(
        "--scale", type=int, choices=(2, 3, 4, 8), help="of bundled models (default all) and architectures (default 2)"
    )
    d.add_argument("--size", type=_numbers, default=[128, 256, 512], metavar="PX,...", help="(default 128,256,512)")
    d.add_argument("--threads", type=_threads, default=["1", "2", "all"], metavar="N,...", help="(default 1,2,all)")
    d.add_argument("--rounds", type=positive, default=3, metavar="N", help="processes a network (default 3)")
    d.add_argument("--seconds", type=float, default=1.0, metavar="S", help="least duration of a round (default 1)")
    d.add_argument("--limit", metavar="memory=256M,cpus=1", help="imitate a smaller machine")
    d.add_argument(
        "--emulate",
        metavar="CPU",
        help="run on an emulated Arm processor (cortex-a53, cortex-a72, cortex-a76): are the results right there, "
        "how much memory, how many instructions; no times",
    )
    _add_output(d)


def _add_compare(commands: Any) -> None:
    c = commands.add_parser(
        "compare",
        help="results beside each other",
        description="Put results of several targets and models into one Markdown page and one figure.",
        examples=(
            "lightsr-bench compare device.json quality.json",
            "lightsr-bench compare *.json --markdown results.md --figure results.png --force",
        ),
    )
    c.add_argument("results", nargs="+", type=Path, metavar="FILE.json", help="of device and quality --json")
    c.add_argument("--markdown", type=Path, metavar="FILE.md", help="the page (default standard output)")
    c.add_argument("--figure", type=Path, metavar="FILE.png", help="latency and memory against PSNR")
    c.add_argument("--force", action="store_true", help="overwrite files that are there already")
    c.add_argument("--debug", action="store_true", help="show tracebacks")


def _add_quality(commands: Any) -> None:
    q = commands.add_parser(
        "quality",
        help="PSNR and SSIM on real images",
        description="Measure how close networks come to real images whose resolution was reduced, "
        "beside interpolation. --json and --pictures write files, everything else goes to the terminal.",
        examples=(
            "lightsr-bench quality --data images",
            "lightsr-bench quality --data images --scale 4 --degradation kspace --json quality.json",
            "lightsr-bench quality --data images tiny other.onnx --pictures pictures",
        ),
    )
    q.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="bundled name, .onnx or .pb file, or a folder of them (default all bundled at the scale)",
    )
    q.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of images")
    q.add_argument("--scale", type=int, choices=(2, 3, 4, 8), default=2, help="enlargement (default 2)")
    q.add_argument(
        "--degradation",
        default="bicubic",
        type=_degradation,
        metavar="KIND",
        help="how the input is made: bicubic (default), area, gaussian or kspace, and with + jpeg, gaussian-noise, "
        "rician-noise or poisson-noise, each with its strength after a colon, such as kspace+rician-noise:0.02",
    )
    q.add_argument("--by-source", action="store_true", help="a second table, per source")
    q.add_argument("--pictures", type=Path, metavar="DIR", help="the worst and the median image of every modality")
    q.add_argument("--images", type=positive, metavar="N", help="only about N images, spread evenly")
    q.add_argument("--threads", type=positive, metavar="N", help="CPU threads of the networks (default all)")
    _add_output(q)


def _add_export(commands: Any) -> None:
    e = commands.add_parser(
        "export",
        help="what exporting a trained network gains",
        description="Time networks straight from torch, as lightsr-export makes them, and in int8 with ranges of "
        "made-up pictures: one thread, in turns. Without any network: tiny and base at x2, tiny at x4.",
        examples=(
            "lightsr-bench export",
            "lightsr-bench export runs/mine --side 128 --json export.json",
            "lightsr-bench export --network fsrcnn --scale 4",
        ),
    )
    e.add_argument(
        "checkpoints",
        nargs="*",
        type=Path,
        metavar="CHECKPOINT",
        help="checkpoint or run folder of lightsr-train",
    )
    e.add_argument(
        "--network", action="append", default=[], metavar="NAME", help="named network with random weights; repeatable"
    )
    e.add_argument("--scale", type=int, choices=(2, 3, 4, 8), help="of --network (default 2)")
    e.add_argument("--side", type=positive, default=256, metavar="PX", help="of the low-resolution input (default 256)")
    e.add_argument("--rounds", type=positive, default=30, metavar="N", help="timed runs of each form (default 30)")
    e.add_argument("--kernels", type=positive, default=12, metavar="N", help="of each graph, in tables (default 12)")
    _add_output(e)


def _add_training(commands: Any) -> None:
    t = commands.add_parser(
        "training",
        help="how fast networks learn, and in how much memory",
        description="Train networks, each in a process of its own with its own learning rate, until they are ahead of "
        "bicubic interpolation on held-back patients: steps per second, peak memory, seconds.",
        examples=(
            "lightsr-bench training --data images",
            "lightsr-bench training --data images --network tiny --max-seconds 60 --json training.json",
        ),
    )
    t.add_argument(
        "--data", type=Path, action="append", required=True, metavar="DIR", help="folder of images; repeatable"
    )
    t.add_argument("--network", action="append", metavar="NAME", help="repeatable (default all)")
    t.add_argument("--scale", type=int, choices=(2, 3, 4, 8), default=2, help="enlargement (default 2)")
    t.add_argument("--modality", default="MR", metavar="NAME", help="whose held-back patients count (default MR)")
    t.add_argument("--target", type=float, default=1.0, metavar="DB", help="PSNR over bicubic (default 1)")
    t.add_argument("--max-seconds", type=float, default=600.0, metavar="S", help="of training (default 600)")
    t.add_argument("--steps", type=positive, default=15_000, metavar="N", help="of the schedule (default 15000)")
    t.add_argument("--validate-every", type=positive, default=100, metavar="N", help="steps (default 100)")
    t.add_argument("--threads", type=positive, default=1, metavar="N", help="CPU threads (default 1)")
    _add_output(t)


def _add_experiment(commands: Any) -> None:
    x = commands.add_parser(
        "experiment",
        help="train variants of networks and compare them",
        description="Train every variant that a TOML file names, export each, time all in turns, and measure their "
        "quality. Finished variants in --out are not trained again; an interrupted one goes on.",
        examples=(
            "lightsr-bench experiment train/experiments/baselines-x2.toml --out runs/baselines --eval images",
            "lightsr-bench experiment mine.toml -o runs/mine --eval images --only wide --json mine.json",
        ),
    )
    x.add_argument("config", type=Path, metavar="FILE.toml", help="see train/experiments")
    x.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="run folders, one a variant")
    x.add_argument("--eval", type=Path, required=True, metavar="DIR", help="folder of images to report on")
    x.add_argument("--images", type=positive, metavar="N", help="only about N of these images, spread evenly")
    x.add_argument("--only", nargs="+", metavar="NAME", help="only these variants; the table names the others")
    _add_output(x)
    t = commands.add_parser(
        "tables",
        help="renew the tables of a page",
        description="Put tables of results into a Markdown page, between <!-- table NAME --> and <!-- end -->.",
        examples=("lightsr-bench tables page.md experiment.json training.json",),
    )
    t.add_argument("page", type=Path, metavar="FILE.md")
    t.add_argument("results", nargs="*", type=Path, metavar="FILE.json", help="of experiment and training --json")
    t.add_argument("--debug", action="store_true", help="show tracebacks")


def _add_output(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", type=Path, metavar="FILE", help="results, to a file")
    p.add_argument("--force", action="store_true", help="overwrite files that are there already")
    p.add_argument("--debug", action="store_true", help="show tracebacks")


def _degradation(text: str) -> str:
    from lightsr_train.degradation import parse

    try:
        parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _numbers(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def _threads(text: str) -> list[str]:
    return [part if part == "all" else str(positive(part)) for part in text.split(",")]
