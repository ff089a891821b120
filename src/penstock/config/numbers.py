"""Kinds that count: integers, durations, sizes, rates. TOML's booleans, floats and dates are never taken for integers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

from penstock.config.kinds import Kind
from penstock.config.refusal import Refused, quote, refused, unexpected
from penstock.mail.configuration import Reserve
from penstock.mail.duration import ByteCount, QuantityError, Seconds, parse_byte_size, parse_duration
from penstock.mail.rate import Rate, parse_rate

T = TypeVar("T")
V = TypeVar("V", bound=str | int | float)

#: TOML 1.0: integers are 64 bits. Python reads longer ones, and then cannot always write them.
_INTEGER_BITS: Final = 63
#: No quantity needs more; the parsers of quantities convert all the digits they are given.
_TEXT_LIMIT: Final = 64
#: A count above this is a slip: nothing here is counted in thousands of millions.
MOST: Final = 10**9
#: Octets to be left free: less is a slip, a share without its sign or a size without its unit.
_LEAST_RESERVE: Final = 1024 * 1024
#: Percent of a file system that can be asked to be left free; with more there would be no room for mail.
_LARGEST_SHARE: Final = 90
MILLISECOND: Final = Seconds(0.001)

# ["local:"] 1*DIGIT with "," or "_" between thousands
_COUNT_TEXT = re.compile(r"(?:local:)?([0-9]{1,12}|[0-9]{1,3}(?:[,_][0-9]{3}){1,3})", re.ASCII)
# 1*2DIGIT [ "." 1*2DIGIT ] [ " " ] "%"
_SHARE = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,2})?) ?%", re.ASCII)
_BARE = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)


def _integer(value: object, expected: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        bare = isinstance(value, str) and _BARE.fullmatch(value)
        raise unexpected(expected, value, f"write it without quotes: {value}" if bare else "")
    if value.bit_length() > _INTEGER_BITS:
        raise refused("the integer is beyond 64 bits")
    return value


def _within(number: int, at_least: int, at_most: int) -> int:
    if not at_least <= number <= at_most:
        raise refused(f"{number} is out of range", f"write {_digits(at_least)} to {_digits(at_most)}")
    return number


def integer(at_least: int, at_most: int = MOST) -> Kind[int]:
    """A whole number within bounds that are included."""
    return Kind(
        _integers(at_least, at_most),
        lambda value: _within(_integer(value, "an integer"), at_least, at_most),
    )


def number(at_least: float, at_most: float) -> Kind[float]:
    """A number, whole or not, within bounds that are included."""

    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise unexpected("a number", value)
        if isinstance(value, int):
            _integer(value, "a number")
        if not at_least <= value <= at_most:  # NaN is not either
            raise refused(f"{value} is out of range", f"write {at_least:g} to {at_most:g}")
        return float(value)

    return Kind(f"number, {at_least:g} to {at_most:g}", parse)


def limit(at_least: int, at_most: int = MOST) -> Kind[int]:
    """A number as KumoMTA's files write limits: ``10``, ``"1,000"``, ``"local:5"``.

    ``local:`` says that the limit is not shared between nodes: this version has one node, so it is what holds anyway.
    """

    def parse(value: object) -> int:
        if isinstance(value, str):
            match = _COUNT_TEXT.fullmatch(value)
            if match is None:
                raise refused(f"{quote(value)} is no number", 'write 10, "1,000" or "local:10"')
            return _within(int(re.sub("[,_]", "", match[1])), at_least, at_most)
        return _within(_integer(value, "an integer"), at_least, at_most)

    return Kind(f'{_integers(at_least, at_most)}, also as "1,000"', parse)


def duration(at_least: Seconds = MILLISECOND) -> Kind[Seconds]:
    """A time span, ``"5m"`` or a number of seconds."""

    def parse(value: object) -> Seconds:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise unexpected('a duration such as "5m"', value)
        if isinstance(value, int):
            _integer(value, "a duration")
        seconds = _quantity(parse_duration, value)
        if seconds < at_least:
            raise refused(
                f"{value if not isinstance(value, str) else quote(value)} is too short",
                f"write at least {at_least:g}s",
            )
        return seconds

    return Kind("duration", parse)


def size(at_least: int, at_most: int) -> Kind[ByteCount]:
    """A number of octets, ``"20MiB"`` or an integer."""

    def parse(value: object) -> ByteCount:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise unexpected('a size such as "20MiB"', value)
        if isinstance(value, int):
            _integer(value, "a size")
        octets = _quantity(parse_byte_size, value)
        if not at_least <= octets <= at_most:
            shown = quote(value) if isinstance(value, str) else str(value)
            raise refused(f"{shown} is out of range", f"write {_binary(at_least)} to {_binary(at_most)}")
        return octets

    return Kind(f"size, {_binary(at_least)} to {_binary(at_most)}", parse)


def reserve(at_most: int) -> Kind[Reserve]:
    """What is left free of a file system: a share of it, ``"5%"``, or a number of octets, as ``size`` has them."""
    octets = size(0, at_most)

    def parse(value: object) -> Reserve:
        if not isinstance(value, str) or "%" not in value:
            room = octets.parse(value)
            if 0 < room < _LEAST_RESERVE:
                raise refused(
                    f"{quote(value) if isinstance(value, str) else value} is a size of {room} octets, which keeps nothing free",
                    f'write "5%" for a share, or a size of at least {_binary(_LEAST_RESERVE)}; 0 keeps nothing free',
                )
            return Reserve(octets=room)
        match = _SHARE.fullmatch(value)
        if match is None or float(match[1]) > _LARGEST_SHARE:
            raise refused(
                f"{quote(value)} is no share of a file system",
                f'write "5%", at most "{_LARGEST_SHARE}%", or a size such as "2GiB"',
            )
        return Reserve(share=float(match[1]) / 100.0)

    return Kind(f'share such as "5%", or {octets.name}', parse)


def _rate(value: object) -> Rate:
    if not isinstance(value, str):
        raise unexpected('a rate such as "10/minute"', value, 'write "10/minute"')
    return _quantity(parse_rate, value)


#: So many in so long, with the burst that may come at once.
RATE = Kind("rate", _rate)


def _quantity(parse: Callable[[V], T], value: V) -> T:
    if isinstance(value, str) and len(value) > _TEXT_LIMIT:
        raise refused(
            f"the text has {len(value)} characters, too many for a quantity",
            'write "5m", "20MiB" or "10/minute"',
        )
    try:
        return parse(value)
    except QuantityError as error:
        raise _split(error) from None


def _split(error: QuantityError) -> Refused:
    what, _, hint = str(error).rpartition("; ")
    return refused(what, hint) if what else refused(hint)


def _integers(at_least: int, at_most: int) -> str:
    if at_most == MOST:
        return f"integer, at least {_digits(at_least)}"
    return f"integer, {_digits(at_least)} to {_digits(at_most)}"


def _digits(number: int) -> str:
    return str(number) if number < 100_000 else f"{number:_}"


def _binary(octets: int) -> str:
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets and octets % factor == 0:
            return f"{octets // factor}{unit}"
    return f"{octets}B"
