"""Configuration as it was given: values that passed, each with the file and key that gave it.

Problems that only show across files can so be reported where they arose, and several files can be laid over one another.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from penstock.config.refusal import printable
from penstock.config.schema import Option
from penstock.mail.problem import Problem

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
#: How much of a key is written in a path of keys, in characters.
_KEY_SHOWN = 100


class Place(msgspec.Struct, frozen=True):
    """A key of a file, by its path (``""`` is the file itself)."""

    file: str
    key: str = ""

    def child(self, name: str) -> Place:
        """The place of a key in the table that is here; quoted as TOML would, where it has to be."""
        shown = name if len(name) <= _KEY_SHOWN else name[:_KEY_SHOWN] + "…"
        if not _BARE_KEY.fullmatch(shown):
            shown = '"' + printable(shown).replace('"', '\\"') + '"'
        return Place(self.file, f"{self.key}.{shown}" if self.key else shown)

    def inside(self, suffix: str) -> Place:
        """A place in the value that is here, such as ``[2]``."""
        return Place(self.file, self.key + suffix)

    def problem(self, what: str, hint: str = "") -> Problem:
        """What is wrong here."""
        return Problem(self.file, self.key, what, hint)


class Given(msgspec.Struct, frozen=True):
    """A value that passed, what it is for, and where it was given."""

    option: Option
    value: Any
    place: Place


class Tree:
    """A table that was read: the values given in it, the tables in it, and its arrays of tables.

    ``written`` are all the keys that stand in it, those with refused values too. Tables of the schema that were not given are empty ones here.
    ``members`` are the tables with names of the operator's beside the schema's.
    """

    __slots__ = ("arrays", "given", "members", "place", "tables", "written")

    def __init__(self, place: Place, written: frozenset[str] = frozenset()) -> None:
        self.place = place
        self.written = written
        self.given: dict[str, Given] = {}
        self.tables: dict[str, Tree] = {}
        self.arrays: dict[str, list[Tree]] = {}
        self.members: dict[str, Tree] = {}

    def overlay(self, later: Tree) -> None:
        """Lay another file's table over this one: its values win, its tables are laid over ours, its arrays replace ours."""
        self.given.update(later.given)
        self.arrays.update(later.arrays)
        self.written |= later.written
        for ours, theirs in ((self.tables, later.tables), (self.members, later.members)):
            for name, table in theirs.items():
                if name in ours:
                    ours[name].overlay(table)
                else:
                    ours[name] = table

    def fields(self) -> dict[str, Any]:
        """The values by the fields they fill."""
        return {
            name if given.option.field is None else given.option.field: given.value
            for name, given in self.given.items()
            if given.option.field != ""
        }

    def value(self, name: str, otherwise: Any = None) -> Any:
        """The value given for an option, or ``otherwise``."""
        given = self.given.get(name)
        return otherwise if given is None else given.value
