"""Vectors from a server that speaks OpenAI's `POST /embeddings`: theirs, or one of your own.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Final

import anyio
from pydantic_core import to_json

from agent_persistence.backends.transport.connections import HttpTransport
from agent_persistence.backends.transport.messages import Request
from agent_persistence.backends.transport.over_httpcore import HttpcorePool
from agent_persistence.backends.transport.over_httpx import InjectedClient, base_url as checked_url
from agent_persistence.client.verbs import Closing
from agent_persistence.exceptions import AdapterError, BackendUnavailableError, ConfigurationError, FailureState
from agent_persistence.ext._embeddings.answers import read_vectors
from agent_persistence.ext._embeddings.embedder import batches, check_positive, checked_texts
from agent_persistence.policy.identity import checked_token
from agent_persistence.policy.retry import RetryPolicy, retry_policy
from agent_persistence.runtime.attempts import limited
from agent_persistence.runtime.hiding import hidden
from agent_persistence.runtime.time_limits import EndedError

if TYPE_CHECKING:
    import httpx
    from pydantic import SecretStr

_RETRY: Final = RetryPolicy(attempt_s=30.0, read_deadline_s=60.0)


class HttpEmbedder(Closing):
    """Asks `base_url`/embeddings of an OpenAI-compatible server, such as `http://127.0.0.1:11434/v1`.

    `dimensions` is what the model's vectors have, and is checked; with `request_dimensions` the server is asked for
    vectors of that size, which not every model can give. `key` is sent as a bearer token and shown nowhere; a local
    server needs none. `http://` is refused but for loopback or `allow_http`. Redirects are refused, proxies of the
    environment ignored; a `client` of the caller's is used instead of connections of our own, and not closed.

    A request has at most `max_texts` texts and `max_chars` characters; a longer text stands alone. It is sent again
    after 429, 5xx and lost connections, within the `attempts`, `attempt_s` and `read_deadline_s` of `retry`: asking
    twice changes nothing but the bill. The texts are in no message and in no log.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        dimensions: int,
        key: str | SecretStr | None = None,
        request_dimensions: bool = False,
        max_texts: int = 128,
        max_chars: int = 200_000,
        retry: RetryPolicy | bool | None = None,
        client: httpx.AsyncClient | None = None,
        allow_http: bool = False,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        key = hidden(key)
        for option, value in (("dimensions", dimensions), ("max_texts", max_texts), ("max_chars", max_chars)):
            check_positive(option, value)
        if not model.strip():
            raise ConfigurationError("model is the name that the server knows, such as 'text-embedding-3-small'")
        url = _url(base_url, allow_http=allow_http)
        self._http: HttpTransport = HttpcorePool(url) if client is None else InjectedClient(client, url)
        self._model = model
        self._dimensions = dimensions
        self._request_dimensions = request_dimensions
        self._key = None if key is None else checked_token("key", key)
        self._max_texts = max_texts
        self._max_chars = max_chars
        self._retry = _RETRY if retry is None or retry is True else retry_policy(retry)
        self._clock = clock
        self._random = random
        self._sleep = sleep

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model

    @property
    def dimensions(self) -> int:
        """How many numbers each vector has."""
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, in the order given; [] gives [] and asks nobody.

        BackendUnavailableError where the server stayed silent or kept refusing, AdapterError where it refuses for good
        or answers with anything but one vector of the right size for each text.
        """
        vectors: list[list[float]] = []
        for batch in batches(checked_texts(texts), max_texts=self._max_texts, max_chars=self._max_chars):
            vectors += await self._embedded(batch)
        return vectors

    async def aclose(self) -> None:
        """Close our own connections. Calling it again changes nothing."""
        await self._http.aclose()

    async def _embedded(self, batch: list[str]) -> list[list[float]]:
        request = self._request(batch)
        due = self._clock() + self._retry.read_deadline_s
        for attempt in count(1):
            try:
                return await self._attempt(request, len(batch), due - self._clock())
            except AdapterError as error:
                error.attempts = attempt
                pause_s = self._pause_s(error, due)
                if pause_s is None:
                    raise _final(error) from error.__cause__
            await self._sleep(pause_s)
        raise AssertionError("unreachable")  # pragma: no cover

    async def _attempt(self, request: Request, expected: int, remaining_s: float) -> list[list[float]]:
        try:
            response = await limited(remaining_s, self._retry.attempt_s, self._http.send(request))
        except EndedError:
            raise AdapterError("the embedding server did not answer in time", state=FailureState.AMBIGUOUS) from None
        return read_vectors(response, expected, self._dimensions)

    def _pause_s(self, error: AdapterError, due: float) -> float | None:
        """How long to wait before the next attempt; None if there is to be none."""
        if error.state is FailureState.REJECTED or error.attempts >= self._retry.attempts:
            return None
        pause_s = self._retry.wait_s(error.attempts, error.retry_after_s, self._random)
        return pause_s if self._clock() + pause_s < due else None

    def _request(self, batch: list[str]) -> Request:
        body: dict[str, object] = {"model": self._model, "input": batch}
        if self._request_dimensions:
            body["dimensions"] = self._dimensions
        headers = [("Content-Type", "application/json"), ("Accept", "application/json")]
        if self._key is not None:
            headers.append(("Authorization", f"Bearer {self._key.get_secret_value()}"))
        return Request("POST", "/embeddings", tuple(headers), to_json(body))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self._model!r}, dimensions={self._dimensions})"


def _final(error: AdapterError) -> AdapterError:
    """The error as the caller gets it: what could have gone better another time is "unavailable"."""
    if error.state is FailureState.REJECTED:
        return error
    unavailable = BackendUnavailableError(
        f"{error}; attempts: {error.attempts}",
        state=error.state,
        status=error.status,
        code=error.code,
        retry_after_s=error.retry_after_s,
    )
    unavailable.attempts = error.attempts
    return unavailable


def _url(given: str, *, allow_http: bool) -> httpx.URL:
    try:
        return checked_url(given, allow_http=allow_http)
    except ConfigurationError:
        raise ConfigurationError(
            "base_url is an https:// URL without query or credentials, such as https://api.openai.com/v1;"
            " http:// is for loopback (http://127.0.0.1:11434/v1), and for other hosts with allow_http=True"
        ) from None
