"""Holds a TOML document against its schema: what passes becomes a tree, everything else a problem."""

from __future__ import annotations

from typing import Any

from penstock.config.refusal import Refused, describe
from penstock.config.schema import Entry, Named, Option, Section, Sections, Table, homes
from penstock.config.suggestion import suggest
from penstock.config.tree import Given, Place, Tree
from penstock.mail.problem import Problem

NOT_YET = "is not yet supported in this version"


def empty(table: Table, place: Place) -> Tree:
    """The tree of a table in which nothing was given: all its tables are there and hold nothing."""
    tree = Tree(place)
    for entry in table.entries:
        inner = place.child(entry.name)
        match entry:
            case Section():
                tree.tables[entry.name] = empty(entry.table, inner)
            case Sections():
                tree.arrays[entry.name] = []
            case Named():
                tree.tables[entry.name] = Tree(inner)
            case Option():
                pass
    return tree


class Reading:
    """One file being read. ``problems`` grows; ``read`` gives what passed."""

    def __init__(self, document: Table, file: str, problems: list[Problem]) -> None:
        self._document = document
        self._root = Place(file)
        self._problems = problems

    def read(self, toml: dict[str, Any]) -> Tree:
        """The tree of a whole document."""
        return self._table(self._document, toml, self._root)

    def _table(self, table: Table, toml: dict[str, Any], place: Place) -> Tree:
        tree = Tree(place, frozenset(toml))
        for name, value in toml.items():
            entry = table.entry(name)
            if entry is not None:
                self._entry(entry, value, tree)
            elif table.members is not None and _may_be_member(table, name, value):
                self._member(table.members, name, value, tree, tree.members)
            else:
                self._problems.append(self._unknown(table, name, place.child(name)))
        for entry in table.entries:
            if entry.name not in toml:
                self._absent(entry, tree)
        return tree

    def _entry(self, entry: Entry, value: object, tree: Tree) -> None:
        place = tree.place.child(entry.name)
        match entry:
            case Option():
                self._option(entry, value, tree, place)
            case Section():
                tree.tables[entry.name] = self._section(entry, value, place)
            case Sections():
                tree.arrays[entry.name] = self._sections(entry, value, place)
            case Named():
                tree.tables[entry.name] = self._named(entry, value, place)

    def _option(self, option: Option, value: object, tree: Tree, place: Place) -> None:
        try:
            tree.given[option.name] = Given(option, option.kind.parse(value), place)
        except Refused as error:
            self._refuse(error, place, f"write {option.name} = {option.example}")

    def _section(self, section: Section, value: object, place: Place) -> Tree:
        if isinstance(value, dict):
            return self._table(section.table, value, place)
        hint = (
            f"write [{place.key}], with single brackets"
            if _is_array_of_tables(value)
            else f"write [{place.key}]"
        )
        self._problems.append(place.problem(f"expected a table, found {describe(value)}", hint))
        return empty(section.table, place)

    def _sections(self, sections: Sections, value: object, place: Place) -> list[Tree]:
        if not isinstance(value, list):
            what = f"expected an array of tables, found {describe(value)}"
            self._problems.append(place.problem(what, f"write [[{place.key}]], with double brackets"))
            return []
        if not value and sections.required:
            self._problems.append(_none(sections, place))
        trees = []
        for index, item in enumerate(value):
            inner = place.inside(f"[{index}]")
            if isinstance(item, dict):
                trees.append(self._table(sections.table, item, inner))
            else:
                what = f"expected a table, found {describe(item)}"
                self._problems.append(inner.problem(what, f"write [[{place.key}]]"))
        return trees

    def _named(self, named: Named, value: object, place: Place) -> Tree:
        if not isinstance(value, dict):
            what = f"expected a table, found {describe(value)}"
            self._problems.append(
                place.problem(what, f"write [{place.key}.'name'], or name = {{ ... }} below it")
            )
            return Tree(place)
        tree = Tree(place, frozenset(value))
        for name, inner in value.items():
            self._member(named, name, inner, tree, tree.tables)
        return tree

    def _member(self, named: Named, name: str, value: object, tree: Tree, members: dict[str, Tree]) -> None:
        place = tree.place.child(name)
        try:
            key = named.kind.parse(name)
        except Refused as error:
            self._refuse(error, place, f"write [{tree.place.key}.'name']")
            return
        if key in members:
            first = members[key].place.key
            self._problems.append(place.problem("names the same thing twice", f"{first} is there already"))
        elif isinstance(value, dict):
            members[key] = self._table(named.table, value, place)
        else:
            what = f"expected a table, found {describe(value)}"
            self._problems.append(place.problem(what, f"write [{place.key}]"))

    def _absent(self, entry: Entry, tree: Tree) -> None:
        place = tree.place.child(entry.name)
        match entry:
            case Option(required=True):
                self._problems.append(place.problem("is missing", f"write {entry.name} = {entry.example}"))
            case Section():
                # what is required inside is missing too
                tree.tables[entry.name] = self._table(entry.table, {}, place)
            case Sections():
                tree.arrays[entry.name] = []
                if entry.required:
                    self._problems.append(_none(entry, place))
            case Named():
                tree.tables[entry.name] = Tree(place)
            case _:
                pass

    def _refuse(self, error: Refused, place: Place, hint: str) -> None:
        """Report a refused value; ``hint`` is for what the parser of its kind has no better one."""
        for fault in error.faults:
            self._problems.append(place.inside(fault.at).problem(fault.what, fault.hint or hint))

    def _unknown(self, table: Table, name: str, place: Place) -> Problem:
        if table.knows_later(name):
            return place.problem(NOT_YET, "leave it out")
        belongs = homes(self._document, name)
        if belongs:
            where = " or in ".join(heading or "the top of the file" for heading in belongs)
            return place.problem("unknown key here", f"it belongs in {where}")
        near = suggest(name, [*table.names(), *table.later])
        if near:
            return place.problem("unknown key", f"did you mean '{near}'?")
        known = table.names()
        return place.problem("unknown key", f"known here: {', '.join(known)}" if known else "leave it out")


def _may_be_member(table: Table, name: str, value: object) -> bool:
    """Whether a name that is none of the schema's is the operator's own: that of a table, and no slip in one of ours."""
    sections = [entry.name for entry in table.entries if isinstance(entry, Section)]
    return isinstance(value, dict) and not table.knows_later(name) and suggest(name, sections) is None


def _is_array_of_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _none(sections: Sections, place: Place) -> Problem:
    return place.problem("at least one is needed", f"add [[{place.key}]] with {sections.required}")
