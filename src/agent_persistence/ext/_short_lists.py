"""Lists that fit into the URL of one request. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

MAX_BYTES: Final = 2000
_BESIDE: Final = 8
"""What a value has around it: quotes and a comma, each of them escaped in a URL."""


def short_lists(names: Iterable[str]) -> Iterator[list[str]]:
    """The names in their order, no more at once than one request takes; a longer one stands alone.

    Rows whose key is of texts are not merged by the service where a list is split, since their order is the database's.
    """
    some: list[str] = []
    size = 0
    for name in names:
        needed = len(quote(name, safe="", errors="surrogatepass")) + _BESIDE
        if some and size + needed > MAX_BYTES:
            yield some
            some, size = [], 0
        some.append(name)
        size += needed
    if some:
        yield some
