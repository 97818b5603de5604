"""Addresses of the internet protocol, versions 4 and 6."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from agent_persistence.redaction.findings import Finding
from agent_persistence.redaction.numerals import VERSION_BEFORE

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|[01]?\d{1,2})"
_V4: Final = re.compile(rf"(?<![0-9A-Za-z_])(?<![0-9]\.)(?:{_OCTET}\.){{3}}{_OCTET}(?![0-9A-Za-z_]|\.\d)")
_V6: Final = re.compile(
    r"(?<![0-9A-Za-z_:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,5}+){2,9}(?:(?:\.\d{1,3}){3})?(?![0-9A-Za-z_])"
)
_CUE_REACH: Final = 24


class IpAddresses:
    """Finds IPv4 and IPv6 addresses; neither versions of software, clock times nor hardware addresses."""

    kinds: Collection[str] = frozenset({"ip"})

    def find(self, text: str) -> Iterator[Finding]:
        for found in _V4.finditer(text):
            if not VERSION_BEFORE.search(text[max(0, found.start() - _CUE_REACH) : found.start()]):
                yield Finding("ip", *found.span())
        for found in _V6.finditer(text):
            without_port = found[0].rpartition(":")[0]
            for address in (found[0], without_port):
                if _is_v6(address):
                    yield Finding("ip", found.start(), found.start() + len(address))
                    break


def _is_v6(text: str) -> bool:
    """Whether the text is an address; `a::b` without a digit is more likely code, and `::1` names nobody."""
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return False
    return any(map(str.isdigit, text)) and not (address.is_loopback or address.is_unspecified)
