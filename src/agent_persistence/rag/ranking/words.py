"""The words of a question, and when a word of a text is one of them: folded, without endings, in any script. Pure.

Folding takes away case and the signs on letters. Of a word the ending is cut that English, and in part other European
languages, put on nouns and verbs, and what is left counts up to its sixth letter. Scripts without blanks, and Hangul,
are compared by pairs of characters. Words that carry no meaning of their own are left out, by the question's language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent_persistence.rag.ranking.stop_words import STOP_WORDS
from agent_persistence.rag.rendering.visible import visible

MOST_WORDS: Final = 48
"""Of a longer question the longest words count: they say most."""
_MOST_CHARACTERS: Final = 20_000
_STEM: Final = 6
_LEAST_STEM: Final = 3
_WORD: Final = re.compile(r"[^\W_]+")
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_KANA: Final = re.compile("[\u3040-\u309f]+")
_VOWEL: Final = re.compile("[aeiouy]")
_ENDINGS: Final = (
    ("sses", "ss"),
    *((ending, "y") for ending in ("ies", "ied")),
    *((ending, "") for ending in ("ings", "ing", "ed", "es", "ly", "s")),
)
_UNDOUBLED: Final = frozenset("bdfgkmnprtz")
_ARABIC: Final = re.compile(
    "(?:\u0648?(?:\u0627\u0644|\u0628\u0627\u0644|\u0644\u0644|\u0641\u0627\u0644)|\u0648)?(.{3,}?)"
    "(?:\u0627\u062a|\u0627\u0646|\u0648\u0646|\u064a\u0646|\u0647\u0627|\u0629|\u0647|\u064a|\u0627)?"
)
_UMLAUTS: Final = ((("\u00e4", "\u00c4"), "ae"), (("\u00f6", "\u00d6"), "oe"), (("\u00fc", "\u00dc"), "ue"))
_OF_GRAMMAR: Final = 0.25
_LEAST_LANGUAGE: Final = 2
"""How many words of a language a question has at least for its other words without meaning to be known."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word to look for: texts are searched for `prefix`, and the words there are this one whose `stem` is the same.

    `spelled` is the word with its signs on letters. `is_pair` says that two characters are looked for wherever they
    stand; `is_name` that the question capitalises it.
    """

    text: str
    stem: str
    prefix: str
    spelled: str
    weight: float = 1.0
    is_pair: bool = False
    is_name: bool = False


class _Folds(dict[int, str]):
    """What a character beyond ASCII is folded to, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        if unicodedata.category(chr(code)) == "Cf":
            return self.setdefault(code, "")
        fold = unicodedata.normalize("NFKD", chr(code).casefold())
        fold = "".join(_LETTERS.get(character, character) for character in fold if not unicodedata.combining(character))
        fold = unicodedata.normalize("NFC", fold)
        if len(self) < 0x4000:
            self[code] = fold
        return fold


_LETTERS: Final = {"\u0649": "\u064a", "\u0131": "i", "\u0142": "l", "\u00f8": "o", "\u0640": ""}
_FOLDS: Final = _Folds()


def folded(text: str) -> str:
    """The text without case and without signs on letters."""
    return text.lower() if text.isascii() else text.lower().translate(_FOLDS)


def question_words(question: str) -> list[Word]:
    """The words to look for, in order, each once, MOST_WORDS at most; none where none of them has a meaning."""
    found: dict[str, Word] = {}
    for word in _meaningful(_WORD.findall(visible(question[:_MOST_CHARACTERS]))):
        for one in _words(word):
            found.setdefault(one.stem, one)
    kept = sorted(found.values(), key=lambda one: -len(one.text))[:MOST_WORDS]
    return [one for one in found.values() if one in kept]


def stem(word: str) -> str:
    """What is compared of a folded word of a script with blanks."""
    if len(word) <= _LEAST_STEM or word.isdecimal():
        return word
    if not word.isascii():
        return _stem_of_arabic(word) if "\u0600" <= word[0] <= "\u06ff" else word[:_STEM]
    for ending, instead in _ENDINGS:
        left = len(word) - len(ending)
        if left >= _LEAST_STEM and word.endswith(ending) and _VOWEL.search(word, 0, left):
            if ending != "s" or word[-2] not in "su":
                word = word[:left] + instead
            break
    if len(word) > _LEAST_STEM and word[-1] == word[-2] and word[-1] in _UNDOUBLED:
        word = word[:-1]
    if len(word) > _LEAST_STEM and word[-1] in "eaoy":
        word = word[:-1] + ("i" if word[-1] == "y" else "")
    return word[:_STEM]


def _stem_of_arabic(word: str) -> str:
    match = _ARABIC.fullmatch(word)
    return word if match is None else match[1]


def _meaningful(words: list[str]) -> Iterator[str]:
    """The words that are in no list of words without meaning of the language that the question has most words of."""
    folds = [folded(word) for word in words]
    counts = {language: sum(word in known for word in folds) for language, known in STOP_WORDS.items()}
    most = max(counts.values())
    languages = [name for name, count in counts.items() if count == most] if most >= _LEAST_LANGUAGE else ["en"]
    left_out = frozenset[str]().union(*(STOP_WORDS[language] for language in languages))
    for word, fold in zip(words, folds, strict=True):
        if fold not in left_out:
            yield word


def _words(word: str) -> Iterator[Word]:
    """The word, or its parts where it has parts in scripts without blanks."""
    is_name = word[0].isupper()
    fold = folded(word)
    if fold.isascii():
        yield _spaced(fold, is_name, word)
        yield from (_spaced(other, is_name, other) for other in _other_spellings(word, fold))
        return
    for run in _UNSPACED.findall(fold):
        if len(run) == 1 and _KANA.fullmatch(run):
            continue
        for pair in (run[at : at + 2] for at in range(max(len(run) - 1, 1))):
            yield Word(pair, pair, pair, pair, _OF_GRAMMAR if _KANA.fullmatch(pair) else 1.0, is_pair=True)
    yield from (_spaced(part, is_name, part) for part in _UNSPACED.split(fold) if part)


def _spaced(fold: str, is_name: bool, word: str) -> Word:
    root = stem(fold)
    prefix = root.removesuffix("i") if fold.isascii() else root
    while not fold.startswith(prefix) and fold.isascii():
        prefix = prefix[:-1]
    return Word(fold, root, prefix, unicodedata.normalize("NFC", word.lower()), is_name=is_name)


def _other_spellings(word: str, fold: str) -> Iterator[str]:
    """With ae, oe and ue for the letters that German writes so where it has no umlauts, and the other way round."""
    other = word
    for letters, instead in _UMLAUTS:
        for letter in letters:
            other = other.replace(letter, instead)
    if other != word:
        yield folded(other)
    elif (short := re.sub("(?<![aeq])([aou])e", r"\1", fold)) != fold and len(short) > _LEAST_STEM:
        yield short
