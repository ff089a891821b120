"""Whatever is in the files, loading gives a configuration or a ConfigError."""

from __future__ import annotations

import datetime as dt
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import config
from penstock.config.queues_file import QUEUES_FILE
from penstock.config.root_file import ROOT_FILE
from penstock.config.schema import Named, Option, Section, Sections, Table
from penstock.config.shaping_file import SHAPING_FILE
from penstock.config.syntax import parse
from penstock.mail.configuration import Configuration
from penstock.mail.problem import ConfigError, Problem

GOOD = b'[[listener.smtp]]\nlisten = ["127.0.0.1:0"]\n[files]\nqueues = "queues.toml"\nshaping = "shaping.toml"\n'
ROOT = Path("etc/penstock.toml")

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["default", "retry_intervall", "example.com", "*.x", "spool", "lane", "provider", "smtp", "mx"]
)
values = st.recursive(
    st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(
        ["auto", "off", "127.0.0.1:25", "10.0.0.1/8", "5m", "1KiB", "a.example", "queues.toml", "."]
    )
    | st.dates()
    | st.times().map(lambda time: time.replace(fold=0))
    | st.datetimes().map(lambda moment: moment.replace(fold=0)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


def documents(table: Table) -> st.SearchStrategy[dict[str, Any]]:
    """Documents near a schema: its keys with their examples or with any value, and keys that it does not have."""
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for entry in table.entries:
        match entry:
            case Option():
                example = tomllib.loads(f"value = {entry.example}")["value"]
                optional[entry.name] = st.just(example) | values
            case Section():
                optional[entry.name] = documents(entry.table) | values
            case Sections():
                optional[entry.name] = st.lists(documents(entry.table), min_size=1, max_size=2) | values
            case Named():
                optional[entry.name] = st.dictionaries(names, documents(entry.table), max_size=2) | values
    if table.members is not None:
        for name in ("example.com", "*.x", "mytenant"):
            optional[name] = documents(table.members.table) | values
    others = st.dictionaries(names | st.sampled_from(sorted(table.later) or [""]), values, max_size=2)
    return st.builds(
        lambda known, unknown: {**unknown, **known}, st.fixed_dictionaries({}, optional=optional), others
    )


def toml(value: object) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return (
                "nan"
                if math.isnan(value)
                else ("inf" if value > 0 else "-inf")
                if math.isinf(value)
                else repr(value)
            )
        case str():
            return '"' + "".join(f"\\U{ord(char):08X}" for char in value) + '"'
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{toml(name)} = {toml(inner)}' for name, inner in value.items())}}}"
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
    return str(value)


def document(content: Mapping[str, object]) -> bytes:
    """A document as TOML writes it."""
    return "\n".join(f"{toml(name)} = {toml(value)}" for name, value in content.items()).encode()


def load(root: bytes, queues: bytes = b"", shaping: bytes = b"") -> Configuration | tuple[Problem, ...]:
    """What loading these files gives; any other exception than ConfigError ends the test."""
    files = {"penstock.toml": root, "queues.toml": queues, "shaping.toml": shaping}
    try:
        return config.load_whole(
            ROOT, hostname=lambda: "host.example", read=lambda path: files.get(path.name, b"")
        ).configuration
    except ConfigError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.what
        assert problem.hint
        assert str(problem).isprintable(), problem
    return problems


@settings(max_examples=300, deadline=None)
@given(content=documents(ROOT_FILE))
def test_any_root_file_is_a_configuration_or_a_list_of_problems(content: dict[str, Any]) -> None:
    """Whatever stands where."""
    load(document(content))


@settings(max_examples=200, deadline=None)
@given(queues=documents(QUEUES_FILE), shaping=documents(SHAPING_FILE))
def test_any_data_files_are_a_configuration_or_a_list_of_problems(
    queues: dict[str, Any], shaping: dict[str, Any]
) -> None:
    """Whatever stands where."""
    load(GOOD, document(queues), document(shaping))


@settings(max_examples=300, deadline=None)
@given(octets=st.binary(max_size=60) | st.text("[]{}=\"'.,#\n\\ aé\0", max_size=40).map(str.encode))
def test_any_octets_are_a_configuration_or_a_list_of_problems(octets: bytes) -> None:
    """TOML or not."""
    for files in ((octets,), (GOOD + octets,), (GOOD, octets), (GOOD, b"", octets)):
        load(*files)


@settings(deadline=None)
@given(content=documents(SHAPING_FILE))
def test_the_writer_of_these_tests_writes_toml(content: dict[str, Any]) -> None:
    """What the tests above mean to give is what they give."""
    assert repr(tomllib.loads(document(content).decode())) == repr(content)


@pytest.mark.parametrize(
    ("octets", "where"),
    [
        (b"a = 1\nb", "line 2, column 2"),
        (b"a = 1\nb\n\n\n", "line 2, column 2"),
        (b"a = 1\r\nb = x\r\n", "line 2, column 5"),
        (b"a = 1\nb = [1,\n2", "line 3, column 2"),
        (b'a = "\xff"', "line 1, column 6"),
        (b"\xef\xbb\xbfa = x", "line 1, column 5"),
        ("ä = 1\nü".encode(), "line 1, column 1"),
        (b"", None),
    ],
)
def test_a_slip_of_syntax_is_told_with_line_and_column(octets: bytes, where: str | None) -> None:
    """From 1, in characters; at the end of the document, behind the last of them."""
    parsed = parse("file.toml", octets)
    if where is None:
        assert parsed == {}
    else:
        assert isinstance(parsed, Problem)
        assert parsed.key == where


@pytest.mark.parametrize(
    "octets", [b"a = " + b"[" * 50_000, b"a = " + b"{a=" * 50_000, b"a = " + b"9" * 5000, b"a = 0x" + b"f" * 50_000, b"a." * 2_000 + b"b = 1"],
    ids=["arrays", "tables", "digits", "hexadecimal digits", "dots"],
)  # fmt: skip
def test_what_python_cannot_read_or_show_is_a_problem_too(octets: bytes) -> None:
    """Its limits are not the program's end."""
    assert isinstance(load(GOOD, octets), tuple)
