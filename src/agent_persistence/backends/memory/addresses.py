"""PostgreSQL's inet and cidr: how they are read, printed and ordered (network.c, inet_net_pton.c)."""

from __future__ import annotations

import re
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Final, TypeAlias

from agent_persistence.backends.memory.refusals import NotOfTypeError, TwinCannotTellError

_Interface: TypeAlias = IPv4Interface | IPv6Interface
_WHOLE: Final = re.compile(r"[0-9a-fA-F.:]+(?:/(?:0|[1-9][0-9]{0,2}))?", re.ASCII)
_ALMOST: Final = re.compile(r"[\s0-9a-fA-FxX.:/]+", re.ASCII)


def read_inet(text: str) -> str:
    """inet_in: an address, with the length of its network where that is not all of it."""
    found = _interface(text, "inet")
    return _address(found) if found.network.prefixlen == found.max_prefixlen else _with_length(found)


def read_cidr(text: str) -> str:
    """cidr_in: a network with its length; an address with bits to the right of it is none."""
    found = _interface(text, "cidr")
    if found.ip != found.network.network_address:
        raise NotOfTypeError("22P02", "cidr")
    if "/" not in text and found.version == 4:
        raise TwinCannotTellError("networks without a length")
    return _with_length(found)


def address_key(text: str) -> tuple[int, str, int]:
    """What orders addresses: the family, the network's bits, the shorter one first, then all bits."""
    found = ip_interface(text)
    bits = format(int(found.network.network_address), f"0{found.max_prefixlen}b")
    return (found.version, bits[: found.network.prefixlen], int(found.ip))


def _interface(text: str, name: str) -> _Interface:
    """Forms that PostgreSQL may read and Python does not, such as abbreviations and leading zeros, are not followed."""
    if _WHOLE.fullmatch(text):
        try:
            return ip_interface(text)
        except ValueError:
            pass
    if text and _ALMOST.fullmatch(text) and re.search("[0-9]", text):
        raise TwinCannotTellError("addresses that are not written in full")
    raise NotOfTypeError("22P02", name)


def _with_length(found: _Interface) -> str:
    return f"{_address(found)}/{found.network.prefixlen}"


def _address(found: _Interface) -> str:
    """IPv4 addresses within IPv6 ones are printed as such where only zeros, or zeros and ffff, stand before them."""
    number = int(found.ip)
    if found.version == 6 and number >> 32 in (0, 0xFFFF) and number > 0xFFFF:
        dotted = ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
        return f"::{'ffff:' if number >> 32 else ''}{dotted}"
    return str(found.ip)
