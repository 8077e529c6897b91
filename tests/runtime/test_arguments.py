"""Wrong arguments get one line that says what was perhaps meant."""

import pytest
from lightsr.arguments import Parser
from lightsr.cli import main
from lightsr.errors import ModelError
from lightsr.model import find


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("lightsr-infer: ")
    return said.err


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("--scal", "--scale"),
        ("--mdoel", "--model"),
        ("--skip", "--skip-existing"),
        ("--treads=2", "--threads"),
        ("--Force", "--force"),
        ("--list-model", "--list-models"),
    ],
)
def test_an_option_that_is_nearly_right(wrong: str, right: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = wrong.partition("=")[0]
    assert f" {name}: no such option; did you mean {right}? " in complaint(capsys, "in", "out", wrong)


@pytest.mark.parametrize("wrong", ["--colour", "--s", "--"])
def test_nothing_is_made_up(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" not in complaint(capsys, wrong)


def test_an_option_comes_before_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="program")
    parser.add_argument("--out", required=True)
    with pytest.raises(SystemExit):
        parser.parse_args(["--ot", "x"])
    assert capsys.readouterr().err == "program: --ot: no such option; did you mean --out? program --help tells all\n"


def test_a_choice_that_is_nearly_right(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, "in", "out", "--precision", "int9")
    assert "--precision: 'int9'; int8, fp32 are allowed; did you mean int8? " in said
    assert "'5'; 2, 3, 4, 8 are allowed; lightsr-infer" in complaint(capsys, "in", "out", "--scale", "5")


def test_what_stands_behind_two_hyphens_is_no_option() -> None:
    parser = Parser(prog="program")
    parser.add_argument("file")
    assert parser.parse_args(["--", "--scal"]).file == "--scal"


@pytest.mark.parametrize(
    ("name", "end"), [("tinny", "; did you mean tiny?"), ("nano", "an .onnx file"), ("tiny", "file")]
)
def test_a_model_that_is_nearly_right(name: str, end: str) -> None:
    with pytest.raises(ModelError) as caught:
        find(name, scale=8)
    assert str(caught.value).endswith(end)
