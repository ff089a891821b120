"""``docs/configuration.md`` says what the schema says: every option, its type, its default, its meaning; and its examples work."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import config
from penstock.config.queues_file import QUEUE_DEFAULT, QUEUE_OPTIONS, QUEUES_FILE, TENANT
from penstock.config.root_file import (
    DATA_DIR,
    DNS,
    DNS_STATIC,
    EVENTS,
    FILES,
    HTTP_LISTENER,
    LANE,
    LANE_MATCH,
    LISTENER_OVERRIDE,
    NODE,
    ROOT_FILE,
    SMTP_LISTENER,
    SPOOL,
)
from penstock.config.schema import Named, Option, Section, Sections, Table
from penstock.config.shaping_file import PATH_DEFAULT, SHAPING_FILE
from penstock.mail import configuration as records

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
SCHEMAS = {"penstock.toml": ROOT_FILE, "queues.toml": QUEUES_FILE, "shaping.toml": SHAPING_FILE}
HEADER = ["| option | type | default | meaning |", "|---|---|---|---|"]
#: Tables whose options fill a record. The paths that [files] lists are read, not kept.
RECORDS = [
    (NODE, records.NodeConfig),
    (SMTP_LISTENER, records.SmtpListenerConfig),
    (HTTP_LISTENER, records.HttpListenerConfig),
    (DNS, records.DnsConfig),
    (DNS_STATIC, records.StaticAnswer),
    (SPOOL, records.SpoolConfig),
    (EVENTS, records.EventsConfig),
    (LANE, records.LaneConfig),
    (QUEUES_FILE, records.QueuesConfig),
    (TENANT, records.TenantConfig),
    (QUEUE_DEFAULT, records.QueueConfig),
    (PATH_DEFAULT, records.PathConfig),
]
#: Fields that tables fill, not options.
FROM_TABLES = {
    "static",
    "domains",
    "tenants",
    "tenant_options",
    "default",
    "via",
    "peer",
    "overall",
    "origins",
    "layers",
}


def tables(table: Table, heading: str = "") -> Iterator[tuple[str, Table]]:
    """Every table of a document that has options, or names of the operator's choice, with its heading in the page."""
    if any(isinstance(entry, Option) for entry in table.entries) or heading.endswith('"name"]'):
        yield heading or "At the top of the file", table
    for entry in table.entries:
        path = f"{heading.strip('[]')}.{entry.name}".lstrip(".")
        match entry:
            case Section():
                yield from tables(entry.table, f"[{path}]")
            case Sections():
                yield from tables(entry.table, f"[[{path}]]")
            case Named():
                yield from tables(entry.table, f'[{path}."name"]')
    if table.members is not None:
        yield from tables(table.members.table, f'[{heading.strip("[]")}."{table.members.name}"]')


def own_options(table: Table) -> list[Option]:
    """The options of a table that are told at it; those that tables of queues share are told at [queue.default]."""
    options = [entry for entry in table.entries if isinstance(entry, Option)]
    is_told = table is QUEUE_DEFAULT
    return [option for option in options if is_told or option not in QUEUE_OPTIONS]


def row(option: Option) -> str:
    """The line of a table of the page that says what the schema says of an option."""
    default = (
        "required"
        if option.required
        else option.otherwise
        if option.default is None
        else f"`{option.default}`"
    )
    return f"| `{option.name}` | {option.kind.name} | {default} | {option.doc} |"


def chapters() -> dict[str, dict[str, str]]:
    """The page's text by file and heading."""
    found: dict[str, dict[str, str]] = {}
    for chapter in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        title, *sections = re.split(r"^### ", chapter, flags=re.MULTILINE)
        name = title.partition("\n")[0].strip("`")
        if name in SCHEMAS:
            found[name] = {
                text.partition("\n")[0].replace("`", ""): text.partition("\n")[2] for text in sections
            }
    return found


def example(file: str) -> str:
    """The whole file that the examples of a chapter make."""
    blocks = (
        re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for text in chapters()[file].values()
    )
    return "\n".join(block for section in blocks for block in section)


def find(document: Any, heading: str) -> dict[str, Any]:
    """The table of a document that a heading of the page stands for."""
    for name in re.findall(r'"[a-z]+"|[a-z_]+', heading) if heading.startswith("[") else ():
        if name.startswith('"'):
            inner = (value for key, value in document.items() if isinstance(value, dict) and key != "default")
            document = next(inner)
        else:
            document = document[name]
        document = document[0] if isinstance(document, list) else document
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("file", SCHEMAS)
def test_every_table_and_option_is_documented_and_nothing_else(file: str) -> None:
    """The page's tables are those that the schema makes; the message of a failure has the lines to paste."""
    documented = chapters()[file]
    declared = dict(tables(SCHEMAS[file]))
    assert list(documented) == list(declared)
    for heading, table in declared.items():
        options = own_options(table)
        others = [entry for entry in table.entries if isinstance(entry, Option) and entry not in options]
        if table is LISTENER_OVERRIDE:
            # said at the listener, whose options they are
            options, others = [], options
        names = ", ".join(f"`{option.name}`" for option in others)
        assert names in documented[heading].replace("\n", " ")
        lines = [*HEADER, *map(row, options)] if options else []
        shown = [line for line in documented[heading].splitlines() if line.startswith("|")]
        assert shown == lines, "\n".join(lines)


@pytest.mark.parametrize("file", SCHEMAS)
def test_the_examples_use_every_option_with_the_value_of_the_schema(file: str) -> None:
    """An operator finds each option as it is written."""
    document = tomllib.loads(example(file))
    for heading, table in tables(SCHEMAS[file]):
        shown = find(document, heading)
        for option in own_options(table):
            if table is not LISTENER_OVERRIDE:
                assert tomllib.loads(f"value = {option.example}")["value"] == shown[option.name], option.name


def test_the_examples_together_are_a_configuration_without_problems(tmp_path: Path) -> None:
    """They were tried."""
    for file in SCHEMAS:
        (tmp_path / file).write_text(example(file))
    (tmp_path / "local.toml").write_text("")
    loaded = config.load(tmp_path / "penstock.toml")
    assert loaded.queues.tenants == {"mytenant", "other-tenant"}
    assert loaded.shaping.default.connection_limit == 1000


def options() -> list[Option]:
    """Every option of every file."""
    return [
        entry
        for schema in SCHEMAS.values()
        for _, table in tables(schema)
        for entry in table.entries
        if isinstance(entry, Option)
    ]


@pytest.mark.parametrize("option", options(), ids=lambda option: option.name)
def test_defaults_and_examples_are_values_that_their_option_takes(option: Option) -> None:
    """Neither raises; and exactly one of required, default and otherwise says what an absent option means."""
    for toml in filter(None, (option.default, option.example)):
        option.kind.parse(tomllib.loads(f"value = {toml}")["value"])
    assert [option.required, option.default is not None, bool(option.otherwise)].count(True) == 1


@pytest.mark.parametrize(("table", "record"), RECORDS, ids=lambda item: getattr(item, "__name__", ""))
def test_documented_defaults_are_those_of_the_records(table: Table, record: type[msgspec.Struct]) -> None:
    """What the page says an absent option means is what the record holds; and each field has its option."""
    fields = {field.name: field for field in msgspec.structs.fields(record)}
    filled = set(FROM_TABLES)
    for option in own_options(table):
        if option.field == "":
            continue
        field = fields[option.field or option.name]
        filled.add(field.name)
        if field.required:
            # no default of the record: one of the loading, which says it
            assert option.required or option.otherwise or option.default == f'"{DATA_DIR}"'
        elif option.default is None:
            assert field.default is None
        else:
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            assert option.kind.parse(tomllib.loads(f"value = {option.default}")["value"]) == default
    assert filled >= set(fields)


def test_every_table_that_fills_a_record_is_compared_with_it() -> None:
    """A new table cannot be forgotten in the list above."""
    declared = [
        table
        for schema in SCHEMAS.values()
        for heading, table in tables(schema)
        # what differs for some queues fills layers
        if not heading.startswith(('[queue."', '[tenant."name".'))
    ]
    assert [table for table in declared if table not in (FILES, LANE_MATCH, LISTENER_OVERRIDE)] == [
        table for table, _ in RECORDS
    ]


def test_what_may_be_changed_for_some_connections_is_known_to_the_listener() -> None:
    """By the same names, with the same meaning."""
    own = {option.name: option for option in SMTP_LISTENER.entries if isinstance(option, Option)}
    for option in LISTENER_OVERRIDE.entries:
        assert isinstance(option, Option)
        assert option.name == "tls" or option == own[option.name]
