"""Which items are nearest to a question: exact cosine over the vectors of their rows."""

from __future__ import annotations

import json
from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Final

from langgraph.store.base import PutOp, get_text_at_path

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.ext._embeddings.embedder import Embedder
from agent_persistence.query.records import Row
from agent_persistence.rag.ranking.vectors import Vector, cosine_similarity

TEXTS_AT_ONCE: Final = 100


class Index:
    """The vectors of the texts at `fields` of a value, made by one embedder."""

    def __init__(self, embedder: Embedder, fields: Sequence[str]) -> None:
        if isinstance(fields, str) or not fields:
            raise ConfigurationError('fields is a list of paths such as ["text"], and ["$"] is the whole value')
        self._embedder = embedder
        self._fields = tuple(fields)

    async def vectors(self, puts: Sequence[PutOp]) -> list[dict[str, str]]:
        """The vectors of each put by the path of the text, as they are stored. The embedder sees each text once."""
        texts = [self._texts(put) for put in puts]
        distinct = list(dict.fromkeys(text for by_path in texts for text in by_path.values()))
        made: dict[str, str] = {}
        for start in range(0, len(distinct), TEXTS_AT_ONCE):
            some = distinct[start : start + TEXTS_AT_ONCE]
            made |= zip(some, map(self._written, await self._embedder.embed(some)), strict=True)
        return [{path: made[text] for path, text in by_path.items()} for by_path in texts]

    def _texts(self, put: PutOp) -> dict[str, str]:
        if put.index is False or put.value is None:
            return {}
        found = {}
        for path in self._fields if put.index is None else put.index:
            for place, text in enumerate(get_text_at_path(put.value, path)):
                if text:
                    found[f"{path}.{place}"] = text
        return found

    def _written(self, vector: Sequence[float]) -> str:
        return f"{self._embedder.name}:{b64encode(Vector.of(vector).values.tobytes()).decode('ascii')}"

    async def scores(self, query: str, rows: Sequence[Row]) -> Mapping[tuple[str, str], float]:
        """How near each row's nearest text is, by namespace and key; rows without vectors of this embedder are not
        among them."""
        (asked,) = await self._embedder.embed([query])
        wanted = Vector.of(asked)
        scores: dict[tuple[str, str], float] = {}
        for row in rows:
            near = [cosine_similarity(wanted, vector) or 0.0 for vector in self._of(row)]
            if near:
                scores[row["namespace"], row["key"]] = max(near)
        return scores

    def _of(self, row: Row) -> list[Vector]:
        texts: dict[str, str] = json.loads(row["vectors"]) if row["vectors"] else {}
        prefix = f"{self._embedder.name}:"
        return [_vector(text.removeprefix(prefix)) for text in texts.values() if text.startswith(prefix)]


def _vector(text: str) -> Vector:
    values = array("f")
    values.frombytes(b64decode(text))
    return Vector.of(values)
