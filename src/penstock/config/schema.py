"""What a file may hold, as declarations: options, tables, arrays of tables, tables with names of the operator's choice.

A declaration does nothing; ``reading`` holds a document against it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from penstock.config.kinds import Kind


class Option(msgspec.Struct, frozen=True):
    """A key with a value.

    ``field`` is the field of the table's record that it fills (None: its own name; ``""``: none, it is only checked). ``default`` is TOML for the
    value that an absent key stands for, or None where it has to be said otherwise: ``otherwise`` says it. ``example`` and ``default`` are TOML.
    """

    name: str
    kind: Kind[object]
    doc: str
    example: str
    default: str | None = None
    otherwise: str = ""
    required: bool = False
    field: str | None = None


class Section(msgspec.Struct, frozen=True):
    """A key with a table of known keys: ``[node]``."""

    name: str
    table: Table


class Sections(msgspec.Struct, frozen=True):
    """A key with an array of such tables: ``[[listener.smtp]]``. ``required``: an example, if there has to be one."""

    name: str
    table: Table
    required: str = ""


class Named(msgspec.Struct, frozen=True):
    """A key with tables whose names are the operator's, each name of a kind: ``[tenant.'mytenant']``."""

    name: str
    kind: Kind[str]
    table: Table


Entry = Option | Section | Sections | Named


def nothing(name: str) -> bool:
    """No name: for tables whose names to come are all listed."""
    return False


class Table(msgspec.Struct, frozen=True):
    """The keys of a table. ``later`` are names that are known and not yet supported; so are those for which ``is_later`` answers True.

    ``members`` says what tables with other names, the operator's, are: their ``name`` is what the documentation calls them.
    """

    entries: tuple[Entry, ...] = ()
    later: frozenset[str] = frozenset()
    is_later: Callable[[str], bool] = nothing
    members: Named | None = None

    def entry(self, name: str) -> Entry | None:
        """What ``name`` means in this table, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def names(self) -> list[str]:
        """The names that can be used, in the order of the documentation."""
        return [entry.name for entry in self.entries]

    def knows_later(self, name: str) -> bool:
        """Whether ``name`` is known, and not yet supported."""
        return name in self.later or self.is_later(name)


def homes(document: Table, name: str) -> list[str]:
    """Where in a document an option or table of this name belongs, as TOML headings; ``""`` is the top of the file.

    Tables where it is not yet supported are named only if it is supported in none.
    """
    return _homes(document, "", lambda table: table.entry(name) is not None) or _homes(
        document, "", lambda table: name in table.later
    )


def _homes(document: Table, heading: str, has: Callable[[Table], bool]) -> list[str]:
    is_here = has(document)
    found = [heading] if is_here else []
    for entry in document.entries:
        match entry:
            case Section(name=inner, table=table):
                found += _homes(table, _heading(heading, inner, "[{}]"), has)
            case Sections(name=inner, table=table):
                found += _homes(table, _heading(heading, inner, "[[{}]]"), has)
            # what has a home here, and may be changed in the named tables below, is told once
            case Named(name=inner, table=table) if not is_here:
                found += _homes(table, _heading(heading, inner, "[{}.'...']"), has)
            case _:
                pass
    if document.members is not None and not is_here:
        found += _homes(document.members.table, _heading(heading, "'...'", "[{}]"), has)
    return found


def _heading(outer: str, name: str, form: str) -> str:
    path = outer.strip("[]")
    return form.format(f"{path}.{name}" if path else name)
