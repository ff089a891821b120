"""The table itself: every kind of attack has rows, every row has a name of its own, and what waits says for what."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.hostile.case import Case, Turn, Waiting, faults_of, matches, replies_in
from tests.hostile.cutting import EVERY_OFFSET, Extent, cuttings, offsets
from tests.hostile.scene import Scene
from tests.hostile.scenes import SCENES
from tests.hostile.table import CASES, WAITING
from tests.hostile.table.dialogue import row

#: The kinds of attack, by the codes that rows begin with.
KINDS = (
    *(f"A{number}" for number in range(1, 9)),
    *(f"B{number}" for number in range(1, 5)),
    *(f"C{number}" for number in range(1, 7)),
    *(f"D{number}" for number in range(1, 10)),
    *(f"E{number}" for number in range(1, 8)),
    *(f"F{number}" for number in range(1, 4)),
    *(f"M{number}" for number in range(1, 5)),
)


ROWS: tuple[Case | Scene | Waiting, ...] = (*CASES, *SCENES, *WAITING)


def test_every_kind_of_attack_has_rows() -> None:
    """Rows that are played, or rows that wait; none is silently absent."""
    assert {row.group for row in ROWS} == set(KINDS)


def test_every_row_has_a_name_of_its_own() -> None:
    """And words that say what it is."""
    names = Counter(row.code for row in ROWS)
    assert [name for name, count in names.items() if count > 1] == []
    assert all(row.what for row in ROWS)


def test_what_waits_says_for_what() -> None:
    """By the name of the part that it waits for."""
    assert all(len(row.waits_for) > 5 for row in WAITING)


def test_there_are_hundreds_of_rows() -> None:
    """And few that wait."""
    assert len(CASES) + len(SCENES) > 1500
    assert len(WAITING) < 40


def test_a_turn_is_cut_at_every_offset_but_where_its_octets_belong_together() -> None:
    """Whole, octet by octet, and in two pieces everywhere."""
    case = row("X-1", "x", Turn(b"EHLO x\r\n", is_common=True), Turn(b"ab\r\ncd", together=(4,)))
    found = dict(cuttings(case, Extent.CAMPAIGN))
    assert found.pop("whole") == {}
    assert found.pop("octet by octet") == {1: [b"a", b"b", b"\r", b"\nc", b"d"]}
    assert [cut[1][0] for cut in found.values()] == [b"a", b"ab", b"ab\r", b"ab\r\nc"]
    assert dict(cuttings(case, Extent.WHOLE)) == {"whole": {}}


def test_long_turns_are_cut_at_their_ends_and_borders() -> None:
    """Everywhere up to two thousand octets; else 64 at each end, and around where buffers end."""
    assert offsets(EVERY_OFFSET) == list(range(1, EVERY_OFFSET))
    assert {1, 64, 998, 4095, 4096, 4097, 65_536, 99_999} <= set(offsets(100_000))
    assert len(offsets(100_000)) < 400


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (b"250 ok", "does not end"),
        (b"250 \xff\r\n", "no reply line"),
        (b"250 a\x1bb\r\n", "no reply line"),
        (b"250-a\r\n500 b\r\n", "two codes"),
        (b"250 " + b"x" * 600 + b"\r\n", "no reply line"),
        (b"ok\r\n", "no reply line"),
    ],
)
def test_replies_that_are_not_right_are_noticed(output: bytes, fault: str) -> None:
    """Whatever a row expects."""
    assert fault in replies_in(output)[1][0]


def test_what_a_turn_expects_is_looked_at() -> None:
    """Number, codes, texts, and the end of the session."""
    turn = Turn(b"X\r\n", ("250", "550 5.7.1|530"), has=(b"one",), lacks=(b"two",))
    assert faults_of(turn, b"250 one\r\n530 x\r\n", is_closed=False) == []
    assert len(faults_of(turn, b"250 one\r\n", is_closed=False)) == 1
    assert len(faults_of(turn, b"250 one\r\n550 5.7.0 x\r\n", is_closed=False)) == 1
    assert len(faults_of(turn, b"250 two\r\n530 x\r\n", is_closed=True)) == 3
    assert matches(b"501 5.5.4 x", "5")


def test_rows_expect_something() -> None:
    """No row of the table is satisfied whatever is answered."""
    assert [case.code for case in CASES if not _expects(case)] == []


def _expects(case: Case) -> bool:
    turns = [step for step in case.steps if isinstance(step, Turn) and not step.is_common]
    return any(turn.answers is not None or turn.closes or turn.each != "2|3|4|5" for turn in turns)
