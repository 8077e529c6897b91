"""Every file there is, converted once; the ledger of the oracles and the page that they renew."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightsr
import pytest
from lightsr import dicom

from . import corpus as corpora
from . import enhanced, report, tools
from .standard import Standard

LEDGER = pytest.StashKey[report.Ledger]()
CORPUS = pytest.StashKey[corpora.Corpus]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", metavar="PAGE", type=Path, help="put the oracles' tables into this Markdown page")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEDGER] = report.Ledger()


def pytest_report_header(config: pytest.Config) -> str | None:
    absent = tools.missing()
    return f"oracles: tests skip without the Debian packages {' '.join(absent)}" if absent else None


def pytest_sessionfinish(session: pytest.Session) -> None:
    page = session.config.getoption("renew", default=None)
    if page is None:
        return
    ledger, corpus = session.config.stash[LEDGER], session.config.stash.get(CORPUS, None)
    without = [name for name in report.ORACLES if name not in ledger.entries]
    if corpus is None or without or {"pydicom-data", "series", "reader"} - corpus.folders.keys():
        raise pytest.UsageError(f"{page}: not renewed; it needs every oracle and every collection of files")
    report.renew(page, report.tables(corpus.tried, len(corpus.others), len(corpus.compressed), ledger))


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> report.Ledger:
    """Where an oracle notes what it found."""
    return request.config.stash[LEDGER]


@pytest.fixture(scope="session")
def corpus(samples: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> corpora.Corpus:
    """Every file, converted or refused, once in a session."""

    @functools.cache
    def upscaler(scale: int) -> Any:
        return lightsr.load(corpora.MODELS[scale], scale=scale, precision="int8", threads=1)

    with dicom.silenced():  # before `no_value_in_a_warning` begins
        folders = corpora.collections(samples)
        if "series" in folders:
            folders["enhanced"] = enhanced.legacy_converted(
                folders["series"], tmp_path_factory.mktemp("sources") / "enhanced"
            )
        made = corpora.convert_all(folders, tmp_path_factory.mktemp("results"), upscaler)
    request.config.stash[CORPUS] = made
    return made


@pytest.fixture(scope="session")
def standard() -> Standard:
    """Attribute tables of the standard."""
    return Standard.of_highdicom()


@pytest.fixture
def broken_from(corpus: corpora.Corpus) -> corpora.Conversion:
    """A converted CT image to be spoilt: an oracle that finds nothing wrong with it then is none."""
    return next(entry for entry in corpus if entry.source.name == "CT_small.dcm")


@pytest.fixture(autouse=True)
def no_value_in_a_warning() -> Iterator[None]:
    """pydicom warns of odd values and quotes them, and some of the files are people's."""
    with dicom.silenced():
        yield
