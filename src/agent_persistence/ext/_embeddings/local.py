"""An embedder in this process, whose weights come with a package: no server, no download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio.to_thread

from agent_persistence._extras import command_for
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.ext._embeddings.embedder import checked_texts

_PACKAGE: Final = "wordllama"
_WEIGHTS: Final = "weights/l2_supercat_256.safetensors"
_TOKENIZER: Final = "tokenizers/l2_supercat_tokenizer_config.json"
_MOST_CHARACTERS: Final = 20_000


class _Model(NamedTuple):
    weights: Any
    """One vector for each token."""
    tokenizer: Any


class LocalEmbedder:
    """The static embeddings of WordLlama (MIT, in English above all): the mean of the vectors of a text's tokens.

    Needs the extra `embeddings-local`, whose wheel of 19 MB holds the weights; they are read in a worker thread when
    the first text comes, once a process. A vector has 256 numbers and length 1, or zeros for a text without a token. Of
    a text the first 20,000 characters count.
    """

    def __init__(self) -> None:
        if find_spec(_PACKAGE) is None:
            raise ConfigurationError("a local embedder needs an extra", command_for("embeddings-local"))

    @property
    def name(self) -> str:
        """`wordllama-l2-supercat-256`."""
        return "wordllama-l2-supercat-256"

    @property
    def dimensions(self) -> int:
        """How many numbers each vector has."""
        return 256

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in the order given."""
        beginnings = [text[:_MOST_CHARACTERS] for text in checked_texts(texts)]
        return await anyio.to_thread.run_sync(_embedded, beginnings) if beginnings else []

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@cache
def _model() -> _Model:
    """The package is not imported, only its files are read: it imports what downloads."""
    spec = find_spec(_PACKAGE)
    folder = Path(str(((spec and spec.submodule_search_locations) or [""])[0]))
    tokenizer = import_module("tokenizers").Tokenizer.from_file(str(folder / _TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    (weights,) = import_module("safetensors.numpy").load_file(folder / _WEIGHTS).values()
    return _Model(weights.astype("float32"), tokenizer)


def _embedded(texts: Sequence[str]) -> list[list[float]]:
    model = _model()
    encodings = model.tokenizer.encode_batch(texts, add_special_tokens=False)
    return [_unit(model.weights[one.ids].sum(axis=0)) for one in encodings]


def _unit(vector: Any) -> list[float]:
    length = float((vector @ vector) ** 0.5)
    return list((vector / length if length else vector).tolist())
