"""How many tokens a text is: a protocol, an estimate that needs only the standard library, and a real vocabulary.

The estimate adds up what words, numbers, signs and the letters of each script cost in the vocabulary o200k_base, fitted
to texts in many languages, JSON and code. `benchmarks/rag_tokens.py` measures how far off it is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from importlib import import_module
from math import ceil
from typing import Any, Final, Literal, Protocol

from agent_persistence._extras import command_for
from agent_persistence.exceptions import ConfigurationError, ValidationError


class TokenCounter(Protocol):
    """Counts the tokens of texts."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def exact(self) -> bool:
        """Whether it counts with a model's own vocabulary, and does not estimate."""
        ...

    def count(self, text: str) -> int:
        """The tokens of the text; the same for the same text."""
        ...


_WORD: Final = re.compile(r"[A-Za-z]+")
_WORD_BEYOND_3: Final = re.compile(r"[A-Za-z]{4,}")
_LETTERS_BEYOND_6: Final = re.compile(r"[A-Za-z]{6}([A-Za-z]+)")
_UP_TO_3_DIGITS: Final = re.compile(r"[0-9]{1,3}")
_SPACES: Final = re.compile(r"\s{2,}|[\n\t]")
_SIGNS: Final = re.compile(r"[!-/:-@\[-`{-~]+")
_NOT_ASCII: Final = re.compile(r"[^\0-\x7f]+")

_SCRIPTS: Final = (
    (0x80, "latin"),
    (0x250, "other"),
    (0x370, "greek"),
    (0x400, "cyrillic"),
    (0x530, "caucasian"),
    (0x590, "hebrew"),
    (0x600, "arabic"),
    (0x900, "indic"),
    (0xE00, "thai"),
    (0x1000, "other"),
    (0x10A0, "caucasian"),
    (0x1100, "other"),
    (0x1E00, "vietnamese"),
    (0x1F00, "greek"),
    (0x2000, "punctuation"),
    (0x2E80, "other"),
    (0x3000, "punctuation"),
    (0x3040, "kana"),
    (0x3100, "han"),
    (0xAC00, "hangul"),
    (0xD7B0, "other"),
    (0xFF00, "punctuation"),
    (0xFFF0, "other"),
    (0x10000, "emoji"),
)
_FIRST: Final = [first for first, _ in _SCRIPTS]


@dataclass(frozen=True, slots=True)
class _Costs:
    """Tokens of a word, and what it costs more from its fourth letter and for each beyond six; of up to three digits;
    of white space other than one blank; of a run of signs, and for each beyond one; of a character of each script."""

    word: float
    beyond_3: float
    letter_beyond_6: float
    up_to_3_digits: float
    spaces: float
    signs: float
    sign_beyond_1: float
    scripts: dict[str, float]


_STANDARD: Final = _Costs(
    word=0.3,
    beyond_3=0.75,
    letter_beyond_6=0.45,
    up_to_3_digits=1.3,
    spaces=0.75,
    signs=0.85,
    sign_beyond_1=0.25,
    scripts={
        "latin": 0.95,
        "vietnamese": 0.35,
        "caucasian": 0.5,
        "greek": 0.42,
        "cyrillic": 0.36,
        "hebrew": 0.58,
        "arabic": 0.4,
        "indic": 0.45,
        "thai": 0.54,
        "kana": 0.9,
        "han": 0.53,
        "hangul": 0.75,
        "punctuation": 1.1,
        "emoji": 2.6,
        "other": 1.2,
    },
)
_CONSERVATIVE: Final = _Costs(
    word=0.55,
    beyond_3=0.75,
    letter_beyond_6=0.5,
    up_to_3_digits=1.3,
    spaces=1.4,
    signs=1.0,
    sign_beyond_1=0.4,
    scripts={
        "latin": 1.5,
        "vietnamese": 0.6,
        "caucasian": 0.6,
        "greek": 0.46,
        "cyrillic": 0.44,
        "hebrew": 0.64,
        "arabic": 0.54,
        "indic": 0.52,
        "thai": 0.6,
        "kana": 1.05,
        "han": 0.75,
        "hangul": 0.95,
        "punctuation": 1.6,
        "emoji": 4.0,
        "other": 2.0,
    },
)


class _CostOfCharacter(dict[str, float]):
    """What a character beyond ASCII costs, worked out when it is first met."""

    def __init__(self, scripts: dict[str, float]) -> None:
        super().__init__()
        self._scripts = scripts

    def __missing__(self, character: str) -> float:
        cost = self._scripts[_SCRIPTS[bisect_right(_FIRST, ord(character)) - 1][1]]
        if len(self) < 0x4000:
            self[character] = cost
        return cost


@dataclass(frozen=True, slots=True)
class EstimatedTokens:
    """An estimate: near the truth on average, or with `conservative`, for a limit that must hold, rarely below it."""

    conservative: bool = True
    _costs: _Costs = field(init=False, repr=False, compare=False)
    _characters: _CostOfCharacter = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        costs = _CONSERVATIVE if self.conservative else _STANDARD
        object.__setattr__(self, "_costs", costs)
        object.__setattr__(self, "_characters", _CostOfCharacter(costs.scripts))

    @property
    def name(self) -> str:
        return "estimate, conservative" if self.conservative else "estimate"

    @property
    def exact(self) -> bool:
        return False

    def count(self, text: str) -> int:
        costs = self._costs
        signs = _SIGNS.findall(text)
        total = (
            costs.word * len(_WORD.findall(text))
            + costs.beyond_3 * len(_WORD_BEYOND_3.findall(text))
            + costs.letter_beyond_6 * len("".join(_LETTERS_BEYOND_6.findall(text)))
            + costs.up_to_3_digits * len(_UP_TO_3_DIGITS.findall(text))
            + costs.spaces * len(_SPACES.findall(text))
            + costs.signs * len(signs)
            + costs.sign_beyond_1 * (len("".join(signs)) - len(signs))
        )
        if not text.isascii():
            total += sum(map(self._characters.__getitem__, "".join(_NOT_ASCII.findall(text))))
        return ceil(total)


Vocabulary = Literal["o200k_base", "cl100k_base"]


class BpeTokens:
    """Counts with one of OpenAI's vocabularies, which come with the extra `tokens`: no download."""

    __slots__ = ("_encoding", "_vocabulary")

    def __init__(self, vocabulary: Vocabulary = "o200k_base") -> None:
        if vocabulary not in ("o200k_base", "cl100k_base"):
            raise ValidationError(
                "BpeTokens", f"the vocabularies are o200k_base and cl100k_base, not {vocabulary!r:.40}"
            )
        self._vocabulary = vocabulary
        self._encoding: Any = getattr(_openai(), vocabulary)()

    @property
    def name(self) -> str:
        return self._vocabulary

    @property
    def exact(self) -> bool:
        return True

    def count(self, text: str) -> int:
        """The tokens of the text; a lone surrogate counts as the character that replaces it."""
        return int(self._encoding.count(text.encode(errors="replace").decode()))


def _openai() -> Any:
    try:
        return import_module("rs_bpe.bpe").openai
    except ImportError:
        raise ConfigurationError(
            f"BpeTokens needs the package rs-bpe: {command_for('tokens')}; EstimatedTokens() needs nothing"
        ) from None
