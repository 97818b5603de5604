"""PostgreSQL's numbers: integers, numeric with its exact digits, double precision."""

from __future__ import annotations

import re
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from fractions import Fraction
from math import inf, isinf, nextafter
from struct import pack, unpack
from typing import Any, Final

from agent_persistence.backends.memory.refusals import NotOfTypeError, TwinCannotTellError
from agent_persistence.query.records import exact_number

MAX_JSON_DIGITS: Final = 4000
"""Python reads JSON integers of at most 4,300 digits."""
_MAX_DIGITS: Final = 131_072
_MAX_SCALE: Final = 16_383
"""numeric's digits before and behind the point (numeric.h)."""
_INTEGER = re.compile(
    r"\s*([+-]?)(?:(\d+(?:_\d+)*)|0[xX]((?:_?[\da-fA-F])+)|0[oO]((?:_?[0-7])+)|0[bB]((?:_?[01])+))\s*", re.ASCII
)
_DECIMAL = re.compile(
    r"[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:[eE][+-]?\d+(?:_\d+)*)?", re.ASCII
)
_DOUBLE = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INFINITY = re.compile(r"([+-]?)inf(?:inity)?", re.IGNORECASE | re.ASCII)
_BLANK: Final = " \t\n\r\v\f"
_EXACT: Final = Context(prec=2 * _MAX_DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN)


class _NotANumber(Decimal):
    """numeric's NaN, which equals itself and exceeds every number."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _NotANumber)

    def __ne__(self, other: object) -> bool:
        return not isinstance(other, _NotANumber)

    def __lt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return isinstance(other, _NotANumber)

    def __gt__(self, other: object) -> bool:
        return not isinstance(other, _NotANumber)

    def __ge__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


_NAN: Final = _NotANumber("NaN")


def number(value: Decimal) -> Any:
    """The JSON number as it is read back: a float where one is exact; names for what is no JSON number."""
    if value.is_finite():
        return exact_number(str(value))
    return "NaN" if value.is_nan() else "Infinity" if value > 0 else "-Infinity"


def read_integer(type_name: str, bits: int, text: str) -> int:
    """int4in and its kin: decimal, hexadecimal, octal or binary digits, `_` between them."""
    found = _INTEGER.fullmatch(text)
    if found is None:
        raise NotOfTypeError("22003" if _overflows(bits, text) else "22P02", type_name)
    digits = found.group(found.lastindex or 2).replace("_", "").lstrip("0")
    value = int(digits or "0", _BASE[found.lastindex or 2]) if len(digits) <= 64 else 1 << 64
    value = -value if found.group(1) == "-" else value
    if not -(1 << bits) <= value < 1 << bits:
        raise NotOfTypeError("22003", type_name)
    return value


def _overflows(bits: int, text: str) -> bool:
    """Whether the digits before what is no digit are too many already: PostgreSQL notices that first."""
    found = _INTEGER.match(text)
    if found is None:
        return False
    digits, base = found.group(found.lastindex or 2).replace("_", "").lstrip("0"), _BASE[found.lastindex or 2]
    return len(digits) > 64 or int(digits or "0", base) // base > (1 << bits) // base


_BASE: Final = {2: 10, 3: 16, 4: 8, 5: 2}


def read_numeric(text: str) -> int | Decimal:
    """numeric_in: exact, with as many digits behind the point as were written; an int where there are none."""
    text = text.strip(_BLANK)
    if not _DECIMAL.fullmatch(text):
        return _unusual_numeric(text)
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise NotOfTypeError("22003", "numeric") from None
    scale = -int(value.as_tuple().exponent)
    if scale > _MAX_SCALE or (value and value.adjusted() >= _MAX_DIGITS):
        raise NotOfTypeError("22003", "numeric")
    if scale <= 0:
        return int(value) if value else 0
    return value or abs(value)


def _unusual_numeric(text: str) -> int | Decimal:
    if text.lower() == "nan":
        return _NAN
    infinity = _INFINITY.fullmatch(text)
    if infinity:
        return Decimal(f"{infinity.group(1)}Infinity")
    based = _INTEGER.fullmatch(text)
    if based is None:
        raise NotOfTypeError("22P02", "numeric")
    value = int(based.group(based.lastindex or 2).replace("_", ""), _BASE[based.lastindex or 2])
    return -value if based.group(1) == "-" else value


def round_numeric(value: int | Decimal, precision: int | None = None, scale: int = 0) -> int | Decimal:
    """The value as a numeric(precision, scale) column stores it, away from zero where it is half-way."""
    if isinstance(value, Decimal) and not value.is_finite():
        if precision is not None and not value.is_nan():
            raise NotOfTypeError("22003", "numeric")
        return value
    if precision is not None:
        value = _quantized(Decimal(value), precision, scale)
    if isinstance(value, int) and value.bit_length() * 0.30103 > MAX_JSON_DIGITS:
        raise TwinCannotTellError("integers of more digits than Python reads")
    return value


def _quantized(value: Decimal, precision: int, scale: int) -> int | Decimal:
    if value and value.adjusted() > precision - scale:
        raise NotOfTypeError("22003", "numeric")
    rounded = value.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP, context=_EXACT)
    if abs(rounded) >= Decimal(10) ** (precision - scale):
        raise NotOfTypeError("22003", "numeric")
    if scale <= 0:
        return int(rounded)
    return rounded or abs(rounded)


def add_exactly(one: int | Decimal, other: int | Decimal) -> str:
    """The sum with all its digits; as many behind the point as the one with more of them (add_var in numeric.c)."""
    if not (Decimal(one).is_finite() and Decimal(other).is_finite()):
        raise TwinCannotTellError("sums with what is no finite number")
    return str(_EXACT.add(Decimal(one), Decimal(other)))


def add_doubles(one: Any, other: Any) -> str:
    """The sum as float8pl rounds it."""
    total = float(one) + float(other)
    if isinf(total) and not (isinf(one) or isinf(other)):
        raise NotOfTypeError("22003", "double precision")
    return repr(total)


def add_singles(one: Any, other: Any) -> str:
    """The sum as float4pl rounds it: that of two numbers of 32 bits is exact enough in 64 to be rounded once more."""
    total = _to_single(_to_single(float(one)) + _to_single(float(other)))
    if isinf(total) and not (isinf(one) or isinf(other)):
        raise NotOfTypeError("22003", "real")
    return repr(total)


def read_double(text: str) -> Any:
    """float8in; an int where PostgreSQL prints no point (shortest digits, no exponent below 1e15)."""
    value = _read_float(text, "double precision")
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def read_real(text: str) -> Any:
    """float4in: the shortest digits that identify the number of 32 bits; an int where there is no point (below 1e6)."""
    value = _read_float(text, "real")
    if isinstance(value, Decimal):
        return value
    single = _single(value, text)
    if isinf(single) or (single == 0 and value != 0):
        raise NotOfTypeError("22003", "real")
    texts = (f"{single:.{digits}g}" for digits in range(1, 10))
    shortest = next(short for text in texts if _single(short := float(text), text) == single)
    return int(shortest) if shortest.is_integer() and abs(shortest) < 1e6 else shortest


def _single(value: float, text: str) -> float:
    """The nearest number of 32 bits. Of the two of 64 bits about the text the odd one is rounded, which is exact."""
    exact = Fraction(text.strip(_BLANK))
    (bits,) = unpack("<Q", pack("<d", value))
    if Fraction(value) != exact and not bits & 1:
        value = nextafter(value, inf if exact > value else -inf)
    return _to_single(value)


def _to_single(value: float) -> float:
    try:
        (single,) = unpack("<f", pack("<f", value))
    except OverflowError:
        return inf
    return float(single)


def _read_float(text: str, name: str) -> float | int | Decimal:
    text = text.strip(_BLANK)
    if not _DOUBLE.fullmatch(text):
        if text.lower() == "nan" or _INFINITY.fullmatch(text):
            return _unusual_numeric(text)
        if text[:3].lower().lstrip("+-").startswith("0x"):
            raise TwinCannotTellError("hexadecimal floats")
        raise NotOfTypeError("22P02", name)
    value = float(text)
    if value in (inf, -inf) or (value == 0 and re.search("[1-9]", re.split("[eE]", text)[0])):
        raise NotOfTypeError("22003", name)
    return value
