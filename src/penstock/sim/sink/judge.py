"""What a sink decides: the script file's rules first, then the local parts of the recipients, else acceptance."""

from __future__ import annotations

from typing import Final

from penstock.mail.ports import Draw
from penstock.sim.sink.behaviour import Action, Stage, parse_behaviour
from penstock.sim.sink.message import text_of
from penstock.sim.sink.rules import Moment, Rules
from penstock.sim.sink.script import Script

#: Recipients whose attempts are remembered for ``-then-accept``. The one first seen is forgotten when there are more.
_REMEMBERED: Final = 100_000
#: Initials of the behaviours: what begins otherwise needs no look at the grammar.
_INITIALS: Final = b"tTpPsSdDrR"
_EARLY: Final = (
    Stage.CONNECT,
    Stage.BANNER,
    Stage.EHLO,
    Stage.STARTTLS,
    Stage.AUTH,
    Stage.MAIL,
    Stage.RCPT,
)


class Judge:
    """Decides for all sessions of one sink."""

    __slots__ = ("_attempts", "_rules", "has_rules", "obeys_local_parts")

    def __init__(self, script: Script, draw: Draw) -> None:
        self._rules = Rules(script.rules, draw)
        self._attempts: dict[tuple[bytes, Action], int] = {}
        self.has_rules = bool(script.rules)
        self.obeys_local_parts = script.local_parts

    def rule(self, moment: Moment) -> Action | None:
        """What the script file says about this moment; None if nothing. ACCEPT is a decision too: no local part overrules it."""
        return self._rules.decide(moment)

    def has_rule_for(self, stage: Stage) -> bool:
        """Whether the script file says anything about a stage, for any session."""
        return self._rules.has(stage)

    def behaviour(self, local_part: bytes) -> Action | None:  # hot: throughput
        """What a recipient's local part asks for, None for acceptance; BehaviourError for a slip of the pen."""
        if local_part[:1] not in _INITIALS or not self.obeys_local_parts:
            return None
        return parse_behaviour(text_of(local_part))

    def take_turn(self, recipient: bytes, action: Action) -> bool:
        """Whether a recipient's action is carried out this time: always, but for the attempts after N of ``N-then-accept``."""
        if not action.times:
            return True
        key = (recipient.lower(), action)
        seen = self._attempts.pop(key, 0)
        if len(self._attempts) >= _REMEMBERED:
            del self._attempts[next(iter(self._attempts))]
        self._attempts[key] = min(seen + 1, action.times + 1)
        return seen < action.times


def acts_early(action: Action) -> bool:
    """Whether the action's stage is over, or just ending, when a recipient becomes known: it is carried out at RCPT."""
    return action.stage in _EARLY
