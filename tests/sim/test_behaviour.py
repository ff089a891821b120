"""The grammar of local parts."""

from __future__ import annotations

import pytest

from penstock.sim.sink.behaviour import Action, BehaviourError, Kind, Stage, parse_behaviour


@pytest.mark.parametrize(
    ("local_part", "action"),
    [
        ("tempfail", Action(Kind.TEMPFAIL, Stage.RCPT)),
        ("TempFail+tag-dot", Action(Kind.TEMPFAIL, Stage.RCPT)),
        ("tempfail-452", Action(Kind.TEMPFAIL, Stage.RCPT, code=452)),
        ("tempfail-dot", Action(Kind.TEMPFAIL, Stage.DOT)),
        ("permfail-552-mail", Action(Kind.PERMFAIL, Stage.MAIL, code=552)),
        ("tempfail-3-then-accept", Action(Kind.TEMPFAIL, Stage.RCPT, times=3)),
        ("tempfail-451-then-accept", Action(Kind.TEMPFAIL, Stage.RCPT, times=451)),
        ("tempfail-451-data-2-then-accept", Action(Kind.TEMPFAIL, Stage.DATA, code=451, times=2)),
        ("slow-2", Action(Kind.SLOW, Stage.RCPT, delay=2.0)),
        ("slow-0.5-dot", Action(Kind.SLOW, Stage.DOT, delay=0.5)),
        ("disconnect-banner", Action(Kind.DISCONNECT, Stage.BANNER)),
        ("reset-body", Action(Kind.RESET, Stage.BODY)),
    ],
)
def test_behaviours_are_read(local_part: str, action: Action) -> None:
    """Every form of the grammar, in any case, with or without a suffix."""
    assert parse_behaviour(local_part) == action


@pytest.mark.parametrize(
    "local_part",
    ["accept", "user", "", "tempfailed", "slowly", "disconnected", "t", "+tempfail", "x-tempfail"],
)
def test_anything_else_is_accepted(local_part: str) -> None:
    """Only a whole word at the beginning is a behaviour."""
    assert parse_behaviour(local_part) is None


@pytest.mark.parametrize(
    "local_part",
    [
        "tempfail-550",
        "permfail-451",
        "tempfail-",
        "tempfail-nowhere",
        "tempfail-0-then-accept",
        "tempfail-dot-452",
        "tempfail-٤٥٢",
        "slow",
        "slow-",
        "slow-x",
        "slow-86401",
        "slow-1e3",
        "disconnect",
        "disconnect-451",
        "disconnect-dot-3-then-accept",
    ],
)
def test_a_slip_of_the_pen_is_told(local_part: str) -> None:
    """What begins like a behaviour and is none is an error, not silent acceptance."""
    with pytest.raises(BehaviourError):
        parse_behaviour(local_part)


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("kind", [Kind.TEMPFAIL, Kind.PERMFAIL])
def test_every_refusal_has_a_whole_reply(kind: Kind, stage: Stage) -> None:
    """Code and enhanced code are of the right class, the line fits 512 octets."""
    digit = b"4" if kind is Kind.TEMPFAIL else b"5"
    action = Action(kind, stage)
    whole, bare = action.reply(with_enhanced=True), action.reply(with_enhanced=False)
    assert whole[:1] == whole[4:5] == bare[:1] == digit
    assert whole[5:6] == b"."
    assert bare.endswith(b"\r\n")
    assert len(whole) <= 512
    assert not bare[4:].startswith(digit + b".")
