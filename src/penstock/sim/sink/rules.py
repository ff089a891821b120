"""Rules of a sink: which moments of which sessions get which action, and how often.

Rules are tried in order; the first one that matches and whose turn it is decides. A rule counts the moments it matches: ``skip`` leaves
the first ones out, then ``first`` limits how many it acts on, ``every`` takes each so-many-th, ``odds`` draws for each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.mail.ports import Draw
from penstock.sim.sink.behaviour import Action, Stage


class Moment(msgspec.Struct, frozen=True):
    """What is known when a session comes to a stage; ``""`` is not known yet, or the null reverse-path. Recipients are ``local@domain``."""

    stage: Stage
    listener: str
    peer: str
    helo: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True):
    """One rule. Globs (``*`` any octets, ``?`` one; case does not matter) are ANDed between keys, ORed inside one; an empty key matches all."""

    action: Action
    listener: tuple[str, ...] = ()
    peer: tuple[str, ...] = ()
    helo: tuple[str, ...] = ()
    sender: tuple[str, ...] = ()
    recipient: tuple[str, ...] = ()
    domain: tuple[str, ...] = ()
    odds: float = 1.0
    every: int = 1
    first: int = 0
    skip: int = 0


#: Which keys say something at a stage: what a session has not told yet cannot be matched.
KNOWN_FROM: Final[dict[str, Stage]] = {
    "helo": Stage.EHLO,
    "sender": Stage.MAIL,
    "recipient": Stage.RCPT,
    "domain": Stage.RCPT,
}


def _glob(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    bodies = (re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns)
    return re.compile("|".join(bodies), re.IGNORECASE | re.DOTALL)


class _Counted:
    """A rule ready to match, and how many moments it has matched."""

    __slots__ = ("domain", "helo", "listener", "peer", "recipient", "rule", "seen", "sender")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen = 0
        self.listener = _glob(rule.listener)
        self.peer = _glob(rule.peer)
        self.helo = _glob(rule.helo)
        self.sender = _glob(rule.sender)
        self.recipient = _glob(rule.recipient)
        self.domain = _glob(rule.domain)

    def matches(self, moment: Moment) -> bool:
        session = (
            (self.listener, moment.listener),
            (self.peer, moment.peer),
            (self.helo, moment.helo),
            (self.sender, moment.sender),
        )
        if any(pattern is not None and not pattern.fullmatch(text) for pattern, text in session):
            return False
        if self.recipient is None and self.domain is None:
            return True
        return any(self._matches_recipient(recipient) for recipient in moment.recipients)

    def _matches_recipient(self, recipient: str) -> bool:
        if self.recipient is not None and not self.recipient.fullmatch(recipient):
            return False
        return self.domain is None or self.domain.fullmatch(recipient.rpartition("@")[2]) is not None

    def has_its_turn(self, draw: Draw) -> bool:
        self.seen += 1
        rule = self.rule
        turn = self.seen - rule.skip
        if turn <= 0 or (rule.first and turn > rule.first) or turn % rule.every:
            return False
        return rule.odds >= 1.0 or draw() < rule.odds


class Rules:
    """The rules of one running sink, with their counts."""

    __slots__ = ("_by_stage", "_draw")

    def __init__(self, rules: Sequence[Rule], draw: Draw) -> None:
        self._draw = draw
        self._by_stage: dict[Stage, list[_Counted]] = {}
        for rule in rules:
            self._by_stage.setdefault(rule.action.stage, []).append(_Counted(rule))

    def decide(self, moment: Moment) -> Action | None:
        """The action of the first rule that matches and has its turn; None if no rule says anything."""
        for counted in self._by_stage.get(moment.stage, ()):
            if counted.matches(moment) and counted.has_its_turn(self._draw):
                return counted.rule.action
        return None

    def has(self, stage: Stage) -> bool:
        """Whether any rule is about ``stage``."""
        return stage in self._by_stage
