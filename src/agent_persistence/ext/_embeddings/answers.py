"""What an OpenAI-compatible server answered: vectors, or an error that repeats nothing of what was sent. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import starmap
from typing import Any, Final, NoReturn

from pydantic_core import from_json

from agent_persistence.backends.postgrest.failures import retry_after_s
from agent_persistence.backends.transport.messages import Response
from agent_persistence.exceptions import AdapterError, FailureState


def read_vectors(response: Response, expected: int, dimensions: int) -> list[list[float]]:
    """The vectors in the order of the texts; AdapterError unless they are as many, and as long, as expected."""
    if not 200 <= response.status < 300:
        raise _refusal(response)
    body = _json(response)
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        _reject("answered with something else than a list of embeddings; is base_url that of its API?")
    if len(data) != expected:
        _reject(f"was sent {expected} texts and answered with {len(data)} vectors")
    by_index = dict(starmap(_indexed, enumerate(data)))
    if by_index.keys() != set(range(expected)):
        _reject("does not tell which vector belongs to which text")
    return [_vector(by_index[index], dimensions) for index in range(expected)]


def _indexed(position: int, item: dict[str, Any]) -> tuple[Any, Any]:
    """The text's number and its vector; without a number, the order is that of the texts."""
    index = item.get("index", position)
    return (index if type(index) is int else None), item.get("embedding")


def _vector(given: object, dimensions: int) -> list[float]:
    if not isinstance(given, list) or not all(type(number) in (int, float) for number in given):
        _reject("answered with an embedding that is no list of numbers")
    if len(given) != dimensions:
        _reject(f"answered with a vector of {len(given)} dimensions, and {dimensions} were told to the embedder")
    vector = [float(number) for number in given if abs(number) <= _MAX_SINGLE]
    if len(vector) != dimensions:
        _reject("answered with a number that is not finite in single precision")
    return vector


_MAX_SINGLE: Final = 3.4028234663852886e38


def _reject(problem: str) -> NoReturn:
    raise AdapterError(f"the embedding server {problem}")


_RETRYABLE: Final = frozenset({408, 425, 429})
_EXHAUSTED: Final = "insufficient_quota"
_REMEDIES: Final = {
    400: "a text may be longer than the model takes, or the model unknown to the server",
    401: "the key was refused, or one is needed",
    403: "the key may not use this model",
    404: "base_url ends before /embeddings, often with /v1; or the model is unknown to the server",
    413: "a text is longer than the model takes, or max_chars too large for the server",
}


def _refusal(response: Response) -> AdapterError:
    status, code = response.status, _code(response)
    retryable = (status in _RETRYABLE or status >= 500) and code != _EXHAUSTED
    hint = "redirects are never followed; set base_url to the address it redirects to, if you trust it"
    return AdapterError(
        f"the embedding server answered with HTTP {status}{f', {code}' if code else ''}",
        state=FailureState.RETRYABLE if retryable else FailureState.REJECTED,
        status=status,
        code=code,
        hint=hint if 300 <= status < 400 else _REMEDIES.get(status),
        retry_after_s=retry_after_s(response.headers.get("retry-after"), datetime.now(UTC)),
    )


def _code(response: Response) -> str | None:
    """The error's code. A server's own words may repeat the text or the key, so that nothing else of them is shown."""
    body = _json(response)
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and re.fullmatch(r"[a-z]+(_[a-z]+){1,5}", code) and len(code) <= 40 else None


def _json(response: Response) -> Any:
    try:
        return from_json(response.body)
    except ValueError:
        return None
