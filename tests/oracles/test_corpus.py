from pathlib import Path

import pytest

from . import corpus as corpora
from .corpus import Conversion, Corpus

pytestmark = pytest.mark.oracle


def test_every_file_is_converted_or_refused(corpus: Corpus) -> None:
    assert not [entry.label for entry in corpus.tried if ": unexpected " in entry.message]
    everything = {path for folder in corpus.folders.values() for path in corpora.files(folder)}
    assert {entry.source for entry in corpus.tried} == everything
    assert len(corpus.tried) > 150
    assert len(corpus.converted) > 30
    for entry in corpus:
        assert entry.target.is_file(), entry.label
    for entry in corpus.tried:
        assert entry.converted or not entry.target.exists(), entry.label


def test_what_is_converted_at_one_scale_is_converted_at_all(corpus: Corpus) -> None:
    assert {entry.scale for entry in corpus.others} == set(corpora.OTHER_SCALES)
    assert {entry.compress for entry in corpus.compressed} == set(corpora.FORMS)
    assert not [entry.label for entry in (*corpus.others, *corpus.compressed) if not entry.converted]


def test_every_refusal_is_one_line_with_a_known_reason(corpus: Corpus) -> None:
    refused = [entry for entry in corpus.tried if not entry.converted]
    assert not [entry.label for entry in refused if "\n" in entry.message or not entry.message]
    assert not [entry.message for entry in refused if not entry.reason]


def test_a_reason_that_nobody_knows_shows(broken_from: Conversion) -> None:
    wrong = Conversion("", broken_from.source, broken_from.target, 2, False, f"{broken_from.source}: Bad luck")
    assert not wrong.reason


def test_what_a_message_allows_is_not_its_reason() -> None:
    said = (
        "a: 16 of 16 bits, high bit 15, unsigned, RGB; grey of 8 to 16 bits, palettes of unsigned ones and colour of "
        "8 unsigned bits are allowed"
    )
    assert Conversion("", Path("a"), Path("b"), 2, False, said).reason == "number or use of bits"
