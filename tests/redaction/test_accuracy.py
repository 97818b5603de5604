"""How much detectors find, and how often they are wrong, on generated sentences of twelve languages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Final

import pytest

from agent_persistence.redaction import DETECTORS, Detector, Emails, Finding, Phones
from tests.redaction.corpus import KINDS, LOCALES, phone_numbers, sentences
from tests.redaction.figures import Figures, found_by, measure

SENTENCES: Final = 100
REGIONS: Final = ("US", "GB", "DE", "FR", "ES", "IT", "PL", "BR", "RU", "TR", "JP", "KR")
WITH_REGIONS: Final = (*DETECTORS[:-1], Phones(regions=REGIONS))
FLOORS: Final = {
    # kind: precision and recall over all locales, then the least of any one
    "email": (0.999, 0.999, 0.99, 0.99),
    "iban": (1.0, 1.0, 1.0, 1.0),
    "card": (0.995, 0.999, 0.98, 0.99),
    "ip": (1.0, 1.0, 1.0, 1.0),
    "phone": (0.97, 0.97, 0.95, 0.85),
    "credential": (0.99, 0.99, 0.97, 0.97),
}
PHONE_FLOORS_WITH_REGIONS: Final = (0.88, 0.997, 0.85, 0.98)


@cache
def _figures(locale: str, detectors: Sequence[Detector]) -> dict[str, Figures]:
    return measure(partial(found_by, detectors), sentences(locale, SENTENCES))


def _check(kind: str, detectors: Sequence[Detector], floors: tuple[float, float, float, float]) -> None:
    precision, recall, local_precision, local_recall = floors
    total = Figures()
    for locale in LOCALES:
        figures = _figures(locale, detectors)[kind]
        assert figures.precision >= local_precision, f"{locale}: {figures}"
        assert figures.recall >= local_recall, f"{locale}: {figures}"
        total += figures
    assert total.values == SENTENCES * len(LOCALES)
    assert total.precision >= precision, total
    assert total.recall >= recall, total


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_detectors_reach_their_floors(kind: str) -> None:
    """Precision and recall over all locales and in each of them."""
    _check(kind, DETECTORS, FLOORS[kind])


def test_with_regions_hardly_a_phone_number_is_missed_at_the_price_of_more_numbers_that_are_none() -> None:
    """Bare digits count where they are valid in a region, which some numbers of orders are too."""
    _check("phone", WITH_REGIONS, PHONE_FLOORS_WITH_REGIONS)


@pytest.mark.parametrize("between", [" ", "  ", "\u00a0", "/", " / ", ", ", "; ", " - ", "\n", " or "])
@pytest.mark.parametrize("locale", LOCALES)
def test_of_two_numbers_that_are_found_alone_no_digit_is_left_when_they_stand_together(
    locale: str, between: str
) -> None:
    """Whatever stands between them."""
    numbers = [number for number in phone_numbers(locale, SENTENCES) if not _left(number)]
    assert len(numbers) > SENTENCES / 2
    assert [pair for pair in map(between.join, pairwise(numbers)) if _left(pair)] == []


def _left(text: str) -> str:
    """The digits that no finding covers."""
    found = found_by([Phones()], text)
    return "".join(c for i, c in enumerate(text) if c.isdigit() and not any(f.start <= i < f.end for f in found))


class _Eager:
    """Takes every word for an address."""

    kinds = frozenset({"email"})

    def find(self, text: str) -> Iterator[Finding]:
        yield Finding("email", 0, len(text))


@pytest.mark.parametrize("detectors", [(_Eager(),), ()], ids=["eager", "blind"])
def test_a_detector_that_finds_too_much_or_too_little_falls_short(detectors: tuple[Detector, ...]) -> None:
    """Control: the figures can fail."""
    with pytest.raises(AssertionError):
        _check("email", detectors, FLOORS["email"])


def test_the_sentences_are_the_same_for_the_same_seed_and_no_others() -> None:
    """Figures can be compared between commits."""
    assert list(sentences("ja_JP", 3)) == list(sentences("ja_JP", 3))
    assert list(sentences("ja_JP", 3)) != list(sentences("ja_JP", 3, seed=1))


def test_every_value_stands_where_the_sentence_says() -> None:
    """Control: the places of e-mail addresses are those of texts with an at sign."""
    for locale in LOCALES:
        for sentence in sentences(locale, 5):
            for kind, start, end in sentence.spans:
                assert kind == "credential" or ("@" in sentence.text[start:end]) == (kind == "email")
                assert kind != "email" or found_by([Emails()], sentence.text)
