"""The sink's script file: TOML, read once, every mistake in it reported at once.

seed = 7                       # of the odds; drawn at the start where not given
local_parts = true             # false: local parts ask for nothing, only rules do

[[rule]]
domain = ["a.test", "*.a.test"]     # also: recipient, sender, helo, peer, listener; a glob or a list of them
stage = "rcpt"                      # connect, banner, ehlo, mail, rcpt, data, body, dot, quit
action = "tempfail"                 # accept, tempfail, permfail, slow, disconnect, reset, raw
code = 452                          # with tempfail and permfail: code, enhanced, text
odds = 0.25                         # or count: every, first, skip
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from penstock.mail.duration import QuantityError, Seconds, parse_duration
from penstock.mail.problem import ConfigError, Problem
from penstock.sim.sink.behaviour import SLOWEST, TEXT_LIMIT, Action, Kind, Stage
from penstock.sim.sink.rules import KNOWN_FROM, Rule

_GLOBS: Final = ("listener", "peer", "helo", "sender", "recipient", "domain")
_REPLY: Final = ("code", "enhanced", "text")
_COUNTS: Final = ("every", "first", "skip")
_RULE_KEYS: Final = (*_GLOBS, "stage", "action", *_REPLY, "octets", "delay", "odds", *_COUNTS)
_TOP_KEYS: Final = ("seed", "local_parts", "rule")
_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}", re.ASCII)
_PRINTABLE = re.compile(r"[\x20-\x7e]*", re.ASCII)
_ORDER: Final = list(Stage)
#: More rules than this is not a script written by a person; each one is tried at each moment of its stage.
_RULE_LIMIT: Final = 1000
_COUNT_LIMIT: Final = 10**9


class Script(msgspec.Struct, frozen=True):
    """What a script file says. ``seed`` None: drawn at the start. ``local_parts``: whether recipients' local parts are obeyed."""

    rules: tuple[Rule, ...] = ()
    seed: int | None = None
    local_parts: bool = True


def load_script(path: Path) -> Script:
    """The script in the file at ``path``; ConfigError with every problem found, the file's own included."""
    try:
        text = path.read_bytes().decode("utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            [Problem(str(path), "", f"cannot be read: {reason}", "name a TOML file")]
        ) from error
    except ValueError as error:
        raise ConfigError(
            [Problem(str(path), "", f"is not TOML: {error}", "see docs/sink-and-blast.md")]
        ) from error
    return parse_script(table, str(path))


def parse_script(table: Mapping[str, object], file: str) -> Script:
    """The script that a parsed TOML table says; ``file`` is named in problems."""
    reader = _Reader(file, "", table)
    reader.refuse_unknown(_TOP_KEYS)
    seed = reader.integer("seed", 0, 2**63 - 1)
    local_parts = reader.boolean("local_parts", default=True)
    listed = table.get("rule", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        reader.complain("rule", "is not a list of tables", "write [[rule]]")
        listed = []
    if len(listed) > _RULE_LIMIT:
        reader.complain("rule", f"has {len(listed)} rules", f"at most {_RULE_LIMIT} are possible")
        listed = []
    rules = []
    for index, item in enumerate(listed):
        rule_reader = _Reader(file, f"rule[{index}].", item)
        rules.append(_rule(rule_reader))
        reader.problems += rule_reader.problems
    if reader.problems:
        raise ConfigError(reader.problems)
    return Script(tuple(rule for rule in rules if rule is not None), seed, local_parts)


class _Reader:
    """One table, and the problems found in it."""

    def __init__(self, file: str, prefix: str, table: Mapping[str, object]) -> None:
        self.file = file
        self.prefix = prefix
        self.table = table
        self.problems: list[Problem] = []

    def complain(self, key: str, what: str, hint: str) -> None:
        self.problems.append(Problem(self.file, self.prefix + key, what, hint))

    def refuse_unknown(self, known: tuple[str, ...]) -> None:
        for key in self.table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                self.complain(
                    key,
                    "is no such key",
                    f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}",
                )

    def text(self, key: str) -> str | None:
        value = self.table.get(key)
        if value is None or isinstance(value, str):
            return value
        self.complain(key, f"is {value!r}, not text", "write it in quotation marks")
        return None

    def integer(self, key: str, low: int, high: int) -> int | None:
        value = self.table.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.complain(key, f"is {value!r}", f"write a whole number from {low} to {high}")
        return None

    def boolean(self, key: str, *, default: bool) -> bool:
        value = self.table.get(key, default)
        if isinstance(value, bool):
            return value
        self.complain(key, f"is {value!r}", "write true or false")
        return default

    def globs(self, key: str) -> tuple[str, ...]:
        value = self.table.get(key, [])
        patterns = [value] if isinstance(value, str) else value
        is_list = isinstance(patterns, list) and all(
            isinstance(pattern, str) and pattern for pattern in patterns
        )
        if isinstance(patterns, list) and is_list and (patterns or key not in self.table):
            return tuple(patterns)
        self.complain(key, f"is {value!r}", 'write a glob such as "*@a.test", or a list of them')
        return ()

    def number(self, key: str, default: float) -> float:
        value = self.table.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
            return float(value)
        self.complain(key, f"is {value!r}", "write a number above 0, up to 1")
        return default

    def choice(self, key: str, words: tuple[str, ...]) -> str | None:
        value = self.table.get(key)
        if isinstance(value, str) and value in words:
            return value
        near = difflib.get_close_matches(str(value), words, 1)
        known = f"one of {', '.join(words)}"
        what = "is missing" if value is None else f"is {value!r}"
        self.complain(key, what, f"did you mean {near[0]!r}? It is {known}" if near else f"write {known}")
        return None


def _rule(reader: _Reader) -> Rule | None:
    reader.refuse_unknown(_RULE_KEYS)
    stage_word = reader.choice("stage", tuple(stage.value for stage in Stage))
    kind_word = reader.choice("action", tuple(kind.value for kind in Kind))
    globs = {key: reader.globs(key) for key in _GLOBS}
    odds = reader.number("odds", 1.0)
    every = reader.integer("every", 1, _COUNT_LIMIT) or 1
    first = reader.integer("first", 1, _COUNT_LIMIT) or 0
    skip = reader.integer("skip", 1, _COUNT_LIMIT) or 0
    if stage_word is None or kind_word is None:
        return None
    stage, kind = Stage(stage_word), Kind(kind_word)
    for key, earliest in KNOWN_FROM.items():
        if globs[key] and _ORDER.index(stage) < _ORDER.index(earliest):
            reader.complain(
                key,
                f"is not known yet at stage {stage.value}",
                "match by listener or peer, or take a later stage",
            )
    action = _action(reader, kind, stage)
    return Rule(action=action, odds=odds, every=every, first=first, skip=skip, **globs)


def _action(reader: _Reader, kind: Kind, stage: Stage) -> Action:
    """The action of a rule, with complaints about keys that do not go with it."""
    refuses = kind in (Kind.TEMPFAIL, Kind.PERMFAIL)
    for key in _REPLY:
        if key in reader.table and not refuses:
            reader.complain(
                key, f"has no meaning with action {kind.value!r}", "it goes with tempfail and permfail"
            )
    digit = 4 if kind is Kind.TEMPFAIL else 5
    code = (reader.integer("code", digit * 100, digit * 100 + 99) or 0) if refuses else 0
    enhanced = (reader.text("enhanced") or "") if refuses else ""
    if enhanced:
        match = _ENHANCED.fullmatch(enhanced)
        if match is None or int(match[1]) != digit:
            reader.complain(
                "enhanced", f"is {enhanced!r}", f'write an enhanced status code such as "{digit}.7.1"'
            )
    text = (reader.text("text") or "") if refuses else ""
    if len(text) > TEXT_LIMIT or not _PRINTABLE.fullmatch(text):
        reader.complain(
            "text", "does not fit a reply line", f"write up to {TEXT_LIMIT} printable ASCII characters"
        )
    return Action(
        kind,
        stage,
        code=code,
        enhanced=enhanced,
        text=text,
        delay=_delay(reader, kind),
        octets=_octets(reader, kind),
    )


def _delay(reader: _Reader, kind: Kind) -> Seconds:
    value = reader.table.get("delay")
    if value is None:
        if kind is Kind.SLOW:
            reader.complain("delay", "is missing", 'action "slow" needs one, such as "2s"')
        return Seconds(0.0)
    try:
        if not isinstance(value, str | int | float):
            raise QuantityError(f'{value!r} is no duration; write "2s" or a number of seconds')
        delay = parse_duration(value)
    except QuantityError as error:
        what, _, hint = str(error).partition("; ")
        reader.complain("delay", what, hint)
        return Seconds(0.0)
    if delay > SLOWEST:
        reader.complain("delay", f"is {value!r}", "write at most a day")
    return delay


def _octets(reader: _Reader, kind: Kind) -> bytes:
    """What a RAW action sends: the text's characters up to U+00FF are the octets."""
    text = reader.text("octets")
    if (kind is Kind.RAW) != (text is not None):
        hint = 'it goes with action "raw", and "raw" needs it: octets = "250 ok\\r\\n"'
        reader.complain("octets", "is missing" if text is None else "has no meaning here", hint)
    if text is not None and not all(ord(character) < 256 for character in text):
        reader.complain("octets", "has characters above U+00FF", r'write octets as "\u00ff"')
        return b""
    return (text or "").encode("latin-1")
