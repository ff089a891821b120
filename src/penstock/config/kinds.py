"""Kinds of values: a name for the documentation, and the parser from a TOML value. Here are the ones made of others, and true and false.

A parser takes whatever TOML can hold and returns our value, or raises ``Refused`` with everything that is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

import msgspec

from penstock.config.refusal import Fault, Refused, quote, refused, unexpected
from penstock.config.suggestion import suggest

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Kind(msgspec.Struct, Generic[T_co], frozen=True):
    """What values of an option look like. ``name`` is what the documentation calls it."""

    name: str
    parse: Callable[[object], T_co]


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise unexpected("true or false", value, "write it without quotes" if isinstance(value, str) else "")


BOOLEAN = Kind("boolean", _boolean)


def choice(values: Mapping[str, T], later: Collection[str] = ()) -> Kind[T]:
    """One of the texts of ``values``; those of ``later`` are known, and refused as not yet supported."""
    known = " or ".join(f'"{name}"' for name in values)

    def parse(value: object) -> T:
        if not isinstance(value, str):
            raise unexpected(known, value)
        if value in values:
            return values[value]
        if value in later:
            raise refused(f"{quote(value)} is not yet supported in this version", f"write {known}")
        near = suggest(value, [*values, *later])
        raise refused(
            f"{quote(value)} is no value of this option",
            f'did you mean "{near}"?' if near else f"write {known}",
        )

    return Kind(known, parse)


def either(word: str, meaning: T, kind: Kind[T]) -> Kind[T]:
    """The text ``word``, which stands for ``meaning``, or a value of ``kind``."""

    def parse(value: object) -> T:
        if value == word:
            return meaning
        try:
            return kind.parse(value)
        except Refused as error:
            raise Refused(
                Fault(fault.what, f'{fault.hint or f"write {kind.name}"}, or "{word}"', fault.at)
                for fault in error.faults
            ) from None

    return Kind(f'"{word}" or {kind.name}', parse)


def list_of(kind: Kind[T], example: str, at_least: int = 0) -> Kind[tuple[T, ...]]:
    """An array of values, none of them twice; every bad one is reported. ``example`` is a whole array as TOML writes it."""

    def parse(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            hint = f"write it in brackets: {example}" if isinstance(value, str) else f"write {example}"
            raise unexpected(f"a list ({kind.name})", value, hint)
        if len(value) < at_least:
            raise refused("is empty", f"write at least one, such as {example}")
        return _items(kind, value)

    return Kind(f"list of: {kind.name}", parse)


def _items(kind: Kind[T], values: list[object]) -> tuple[T, ...]:
    taken: dict[T, int] = {}
    faults: list[Fault] = []
    for index, item in enumerate(values):
        try:
            parsed = kind.parse(item)
        except Refused as error:
            faults += [Fault(fault.what, fault.hint, f"[{index}]{fault.at}") for fault in error.faults]
            continue
        if parsed in taken:
            faults.append(Fault(f"the same as [{taken[parsed]}]", "leave one of them out", f"[{index}]"))
        taken.setdefault(parsed, index)
    if faults:
        raise Refused(faults)
    return tuple(taken)


def set_of(kind: Kind[T], example: str) -> Kind[frozenset[T]]:
    """As ``list_of``, where the order says nothing."""
    items = list_of(kind, example)
    return Kind(items.name, lambda value: frozenset(items.parse(value)))


def one_or_more(kind: Kind[T], example: str) -> Kind[tuple[T, ...]]:
    """One value, or an array of them."""
    many = list_of(kind, example)

    def parse(value: object) -> tuple[T, ...]:
        return many.parse(value) if isinstance(value, list) else (kind.parse(value),)

    return Kind(f"{kind.name}, or a list of them", parse)
