"""Makes TOML of octets; what does not parse is a problem with line and column."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from penstock.config.refusal import printable
from penstock.mail.problem import Problem

#: How much of the parser's own words is repeated, in characters; they may quote the file.
_SHOWN: Final = 200
_POSITION = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)\Z", re.ASCII)
_ENDLESS = re.compile(r"[0-9](?:_?[0-9]){4300}", re.ASCII)
#: What the parser says -> what would be right.
_HINTS: Final = {
    "Invalid value": 'text is written in quotes: key = "text"; true and false are lower case',
    "Expected '=' after a key": "write key = value, or [table]",
    "Cannot overwrite a value": "this key is there already; give it once",
    "Duplicate inline table key": "this key is there already; give it once",
    "Cannot redefine namespace": "this table is there already; put its keys together",
    "twice": "this table is there already; put its keys together",
    "Cannot mutate immutable namespace": "a table written in { } or [ ] is complete; put its keys together",
    "Unterminated string": "close the quotes",
    "Found invalid character": "quotes end on the line where they begin, and hold no control characters",
    "Illegal character": "quotes end on the line where they begin, and hold no control characters",
    "Expected newline or end of document": "one key = value to a line; a number has no leading zero, a text needs quotes",
    "Invalid date or datetime": "write a date as 2026-01-31; text needs quotes",
    "Invalid hex value": "write \\u and four hexadecimal digits",
    "Escaped character is": "write \\u and the code of a character",
    "Unescaped": "write \\\\ for a backslash, or use single quotes: 'C:\\dir'",
    "Expected ']": "close the bracket of the table's name",
    "Unclosed array": "close the bracket of the array, and put commas between its values",
    "Unclosed inline table": "close the brace of the table, and put commas between its keys",
    "Invalid initial character for a key": "a name with other characters than A-Z a-z 0-9 _ - is written in quotes",
    "Invalid statement": "write key = value, or [table]",
}


def parse(file: str, octets: bytes) -> dict[str, Any] | Problem:
    """The document in ``octets``, or what is wrong with them. A byte order mark in front is passed over."""
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = octets[: error.start].decode("utf-8-sig", "replace")
        what = f"the octet 0x{octets[error.start]:02X} is not valid UTF-8"
        return Problem(file, _where(before), what, "save the file as UTF-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return _syntax(file, text, str(error))
    except RecursionError:
        return Problem(
            file, "", "arrays or tables are nested too deeply", "nothing here needs more than a few"
        )
    except ValueError:
        # Python makes no integer of more than 4300 decimal digits, and says so with the base class
        digits = _ENDLESS.search(text)
        where = _where(text[: digits.start()]) if digits else ""
        return Problem(file, where, "a number has too many digits", "an integer has at most 64 bits")


def _syntax(file: str, text: str, message: str) -> Problem:
    position = _POSITION.search(message)
    said = message[: position.start()] if position else message
    hint = next((hint for known, hint in _HINTS.items() if known in said), "see toml.io for the format")
    where = f"line {position[1]}, column {position[2]}" if position and position[1] else _where(text.rstrip())
    shown = printable(said[:1].lower() + said[1:_SHOWN])
    return Problem(file, where, f"not valid TOML: {shown}", hint)


def _where(before: str) -> str:
    line = before.count("\n") + 1
    return f"line {line}, column {len(before) - before.rfind(chr(10))}"
