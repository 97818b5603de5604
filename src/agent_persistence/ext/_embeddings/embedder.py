"""Which texts an embedder takes, and in which batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent_persistence.exceptions import ConfigurationError, ValidationError
from agent_persistence.query.records import encode_value
from agent_persistence.rag.ranking.models import Embedder as Embedder


def checked_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list; ValidationError for what is no text, or none that JSON can hold."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Sequence):
        raise ValidationError("embed", f"texts is a list of str, not {type(texts).__name__}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValidationError("embed", f"texts[{index}] is a str, not {type(text).__name__}")
        encode_value("embed", text, f"texts[{index}]")
    return list(texts)


def batches(texts: Sequence[str], *, max_texts: int, max_chars: int) -> Iterator[list[str]]:
    """The texts in their order, at most `max_texts` and `max_chars` together; a longer text stands alone."""
    batch: list[str] = []
    chars = 0
    for text in texts:
        if batch and (len(batch) == max_texts or chars + len(text) > max_chars):
            yield batch
            batch, chars = [], 0
        batch.append(text)
        chars += len(text)
    if batch:
        yield batch


def check_positive(option: str, value: object) -> None:
    """Refuse what is no int of at least 1."""
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"{option} is an int of at least 1, not {value!r}")
