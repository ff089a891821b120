"""The sink's script file."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.mail.problem import ConfigError
from penstock.sim.draw import fixed_draw, seeded_draw
from penstock.sim.sink.behaviour import Action, Kind, Stage
from penstock.sim.sink.rules import Moment, Rules
from penstock.sim.sink.script import load_script

from .world import rule

EXAMPLE = """
seed = 7
local_parts = false

[[rule]]
domain = ["a.test", "*.a.test"]
stage = "rcpt"
action = "tempfail"
code = 452
enhanced = "4.2.2"
text = "mailbox full"
odds = 0.25

[[rule]]
listener = "127.0.0.3:*"
stage = "connect"
action = "disconnect"
every = 10

[[rule]]
sender = "*@slow.test"
stage = "dot"
action = "slow"
delay = "1m30s"

[[rule]]
stage = "ehlo"
action = "raw"
octets = "250-a\\r\\n500 b\\r\\n\\u00ff"
first = 2
skip = 1
"""


def written(tmp_path: Path, text: str) -> Path:
    """A script file."""
    path = tmp_path / "script.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_script_is_read(tmp_path: Path) -> None:
    """Every key means what the documentation says."""
    script = load_script(written(tmp_path, EXAMPLE))
    assert (script.seed, script.local_parts, len(script.rules)) == (7, False, 4)
    busy, dead, slow, broken = script.rules
    assert busy.action == Action(Kind.TEMPFAIL, Stage.RCPT, code=452, enhanced="4.2.2", text="mailbox full")
    assert (busy.domain, busy.odds) == (("a.test", "*.a.test"), 0.25)
    assert (dead.listener, dead.every) == (("127.0.0.3:*",), 10)
    assert slow.action.delay == 90.0
    assert broken.action.octets == b"250-a\r\n500 b\r\n\xff"
    assert (broken.first, broken.skip) == (2, 1)


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("sede = 7", "sede", "did you mean 'seed'"),
        ("seed = -1", "seed", "whole number"),
        ("local_parts = 1", "local_parts", "true or false"),
        ("rule = 3", "rule", "[[rule]]"),
        ('[[rule]]\nstage = "rcpt"', "rule[0].action", "is missing"),
        ('[[rule]]\naction = "accept"', "rule[0].stage", "is missing"),
        ('[[rule]]\nstage = "rctp"\naction = "accept"', "rule[0].stage", "did you mean 'rcpt'"),
        ('[[rule]]\nstage = "rcpt"\naction = "drop"', "rule[0].action", "write one of"),
        (
            '[[rule]]\nstage = "rcpt"\naction = "accept"\nrecipent = "*"',
            "rule[0].recipent",
            "did you mean 'recipient'",
        ),
        ('[[rule]]\nstage = "rcpt"\naction = "accept"\ndomain = []', "rule[0].domain", "glob"),
        ('[[rule]]\nstage = "rcpt"\naction = "accept"\ndomain = [1]', "rule[0].domain", "glob"),
        ('[[rule]]\nstage = "rcpt"\naction = "accept"\ncode = 250', "rule[0].code", "goes with tempfail"),
        ('[[rule]]\nstage = "rcpt"\naction = "tempfail"\ncode = 550', "rule[0].code", "from 400 to 499"),
        ('[[rule]]\nstage = "rcpt"\naction = "permfail"\nenhanced = "4.1.1"', "rule[0].enhanced", "5.7.1"),
        ('[[rule]]\nstage = "rcpt"\naction = "tempfail"\ntext = "a\\nb"', "rule[0].text", "printable"),
        ('[[rule]]\nstage = "rcpt"\naction = "tempfail"\ntext = 3', "rule[0].text", "quotation"),
        ('[[rule]]\nstage = "rcpt"\naction = "slow"', "rule[0].delay", "is missing"),
        ('[[rule]]\nstage = "rcpt"\naction = "slow"\ndelay = "soon"', "rule[0].delay", "90s"),
        ('[[rule]]\nstage = "rcpt"\naction = "slow"\ndelay = "2d"', "rule[0].delay", "at most a day"),
        ('[[rule]]\nstage = "rcpt"\naction = "slow"\ndelay = [1]', "rule[0].delay", "no duration"),
        ('[[rule]]\nstage = "rcpt"\naction = "raw"', "rule[0].octets", "is missing"),
        ('[[rule]]\nstage = "rcpt"\naction = "accept"\noctets = "x"', "rule[0].octets", "no meaning"),
        ('[[rule]]\nstage = "rcpt"\naction = "raw"\noctets = "€"', "rule[0].octets", "U+00FF"),
        ('[[rule]]\nstage = "rcpt"\naction = "accept"\nodds = 0', "rule[0].odds", "above 0"),
        ('[[rule]]\nstage = "rcpt"\naction = "accept"\nodds = true', "rule[0].odds", "above 0"),
        ('[[rule]]\nstage = "rcpt"\naction = "accept"\nevery = 0', "rule[0].every", "from 1"),
        ('[[rule]]\nstage = "mail"\naction = "accept"\ndomain = "a.test"', "rule[0].domain", "not known yet"),
        ('[[rule]]\nstage = "banner"\naction = "accept"\nhelo = "a"', "rule[0].helo", "not known yet"),
        ("seed =", "", "is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_is_right(
    tmp_path: Path, text: str, key: str, said: str
) -> None:
    """The file, the key's path, and a hint."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_script(path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == (str(path), key)
    assert said in f"{problem.what}; {problem.hint}"


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Nobody wants to mend a file one error at a time."""
    with pytest.raises(ConfigError) as caught:
        load_script(
            written(
                tmp_path, 'seed = "x"\n[[rule]]\nstage = "x"\n[[rule]]\nstage = "rcpt"\naction = "slow"\n'
            )
        )
    assert [problem.key for problem in caught.value.problems] == [
        "seed",
        "rule[0].stage",
        "rule[0].action",
        "rule[1].delay",
    ]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_script(tmp_path / "none.toml")


def moment(recipient: str = "u@a.test", sender: str = "s@b.test") -> Moment:
    """A recipient being named."""
    return Moment(Stage.RCPT, "127.0.0.1:25", "127.0.0.1:999", "client.test", sender, (recipient,))


@pytest.mark.parametrize(
    ("keys", "matches"),
    [
        ({}, True),
        ({"recipient": ("U@A.TEST",)}, True),
        ({"recipient": ("u@*",), "domain": ("a.*",)}, True),
        ({"domain": ("b.test", "a.t?st")}, True),
        ({"domain": ("*.a.test",)}, False),
        ({"domain": ("a.tes",)}, False),
        ({"domain": ("a[.]test",)}, False),
        ({"sender": ("*@b.test",), "domain": ("c.test",)}, False),
        ({"listener": ("127.0.0.1:*",), "peer": ("127.*",), "helo": ("client.*",)}, True),
        ({"helo": ("server.*",)}, False),
    ],
)
def test_globs_are_anded_between_keys_and_ored_inside(
    keys: dict[str, tuple[str, ...]], matches: bool
) -> None:
    """Stars, question marks, nothing else; case does not matter."""
    rules = Rules([rule(Kind.TEMPFAIL, Stage.RCPT, **keys)], seeded_draw(1))
    assert (rules.decide(moment()) is not None) is matches


def test_recipient_and_domain_must_hold_for_the_same_recipient() -> None:
    """Two recipients do not make up a match between them."""
    rules = Rules([rule(Kind.TEMPFAIL, Stage.DOT, recipient=("x@*",), domain=("b.test",))], seeded_draw(1))
    assert rules.decide(Moment(Stage.DOT, "", "", recipients=("x@a.test", "y@b.test"))) is None
    assert rules.decide(Moment(Stage.DOT, "", "", recipients=("x@a.test", "x@b.test"))) is not None


def test_the_first_rule_that_has_its_turn_decides() -> None:
    """A rule that is not due lets the next one speak."""
    first = rule(Kind.PERMFAIL, Stage.RCPT, every=2)
    rules = Rules([first, rule(Kind.TEMPFAIL, Stage.RCPT)], seeded_draw(1))
    kinds = [action.kind for action in (rules.decide(moment()) for _ in range(4)) if action]
    assert kinds == [Kind.TEMPFAIL, Kind.PERMFAIL, Kind.TEMPFAIL, Kind.PERMFAIL]


def test_skip_first_and_every_count_what_matches() -> None:
    """Moments that do not match do not count."""
    rules = Rules(
        [rule(Kind.TEMPFAIL, Stage.RCPT, domain=("a.test",), skip=2, first=4, every=2)], seeded_draw(1)
    )
    hits = []
    for number in range(1, 11):
        rules.decide(moment("u@other.test"))
        if rules.decide(moment()):
            hits.append(number)
    assert hits == [4, 6]


def test_odds_draw_for_each_match() -> None:
    """A draw below the odds is a hit."""
    rules = Rules([rule(Kind.TEMPFAIL, Stage.RCPT, odds=0.5)], fixed_draw(0.4, 0.5, 0.6, 0.0))
    assert [rules.decide(moment()) is not None for _ in range(4)] == [True, False, False, True]
