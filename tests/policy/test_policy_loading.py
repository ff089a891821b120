"""Running a policy file: what it becomes, and what is said of one that cannot be used."""

from __future__ import annotations

import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock import policy
from penstock.mail.duration import Seconds
from penstock.mail.problem import ConfigError
from penstock.policy.hooks import KINDS, NOT_YET, HookKind
from penstock.policy.loading import MODULE_NAME


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Leave no policy registered behind."""
    sys.modules.pop(MODULE_NAME, None)
    yield
    sys.modules.pop(MODULE_NAME, None)


def load(folder: Path, text: str | bytes) -> policy.Policy:
    """The policy of a file with this text."""
    path = folder / "policy.py"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return policy.load(path)


def problems(folder: Path, text: str | bytes) -> list[str]:
    """What is wrong with a policy file of this text, a line for each problem, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_file_without_hooks_is_run_and_its_octets_are_kept(tmp_path: Path) -> None:
    """An epoch is made of octets."""
    text = '"""Ours."""\n\nLIMIT = 5\n\ndef double(number):\n    return 2 * number\n'
    loaded = load(tmp_path, text)
    assert loaded.path == str(tmp_path / "policy.py")
    assert loaded.source == text.encode()
    assert loaded.module.double(loaded.module.LIMIT) == 10
    assert loaded.module.__doc__ == "Ours."
    assert loaded.module.__file__ == loaded.path


def test_an_empty_file_is_a_policy(tmp_path: Path) -> None:
    """One begins with it."""
    assert load(tmp_path, "").source == b""


def test_nothing_is_written_beside_the_file(tmp_path: Path) -> None:
    """``check`` changes nothing, and what is run is never an older compilation."""
    load(tmp_path, "VALUE = 1\n")
    assert load(tmp_path, "VALUE = 2\n").module.VALUE == 2
    assert [path.name for path in tmp_path.iterdir()] == ["policy.py"]


def test_a_policy_may_define_dataclasses(tmp_path: Path) -> None:
    """They look for their module among those that are registered."""
    text = """
from __future__ import annotations
from dataclasses import dataclass, field
from typing import ClassVar

@dataclass
class Limit:
    kind: ClassVar[str] = "limit"
    names: list[str] = field(default_factory=list)
"""
    assert load(tmp_path, text).module.Limit(["a"]).names == ["a"]


def test_a_failed_load_leaves_the_earlier_policy_in_place(tmp_path: Path) -> None:
    """A reload with a mistake changes nothing."""
    earlier = load(tmp_path, "VALUE = 1\n")
    assert sys.modules[MODULE_NAME] is earlier.module
    problems(tmp_path, "VALUE = 2\nraise ValueError\n")
    assert sys.modules[MODULE_NAME] is earlier.module
    problems(tmp_path, "def on_rcpt(): pass\n")
    assert sys.modules[MODULE_NAME] is earlier.module


def test_a_first_failed_load_leaves_nothing(tmp_path: Path) -> None:
    """Half a module is no module."""
    problems(tmp_path, "1 / 0\n")
    assert MODULE_NAME not in sys.modules


def test_a_traceback_of_a_policy_shows_its_lines(tmp_path: Path) -> None:
    """What an operator reads in the log when a function of theirs fails."""
    loaded = load(tmp_path, "def fail():\n    raise KeyError('wrong')  # here\n")
    with pytest.raises(KeyError) as caught:
        loaded.module.fail()
    assert "raise KeyError('wrong')  # here" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (\n", "policy.py: line 1, column 5: does not parse: '(' was never closed; the line is: x = ("),
        ("x = 1\n\ty = 2\n", "policy.py: line 2, column "),
        ("raise ValueError('first\\nsecond\\x1b[2J')\n", "policy.py: line 1: raised ValueError: first second?[2J; "),
        ("raise SystemExit\n", "policy.py: line 1: raised SystemExit; "),
        ("import sys\n\nsys.exit('bye')\n", "policy.py: line 3: raised SystemExit: bye; "),
        ("raise BaseException('x')\n", "policy.py: line 1: raised BaseException: x; "),
        ("import json\n\n\njson.loads('{')\n", "policy.py: line 4: raised JSONDecodeError: "),
        ("def f():\n    1 / 0\n\nf()\n", "policy.py: line 2: raised ZeroDivisionError: division by zero; "),
        ("def f():\n    f()\nf()\n", "policy.py: line 2: raised RecursionError: "),
        ("import nowhere.at.all\n", "policy.py: line 1: raised ModuleNotFoundError: No module named 'nowhere'; install nowhere for "),
        ("from json import nothing\n", "policy.py: line 1: raised ImportError: cannot import name 'nothing' from 'json'"),
        ("class E(Exception):\n    def __str__(self): return 1 / 0\n\nraise E\n", "policy.py: line 4: raised E: (its text cannot be made); "),
        ("import ast\nast.parse('(', 'other.py')\n", "policy.py: line 2: raised SyntaxError: "),
        ("# coding: no-such-coding\n", "policy.py: does not parse: unknown encoding: no-such-coding; "),
        ("x = " + "(" * 5000, "policy.py: line 1, column "),
        ("x = " + "-" * 100_000 + "1", "policy.py: "),
        (b"\xff", "policy.py: does not parse: "),
        (b"x = 1\0", "policy.py: does not parse: "),
    ],
)  # fmt: skip
def test_a_file_that_does_not_run_to_its_end_is_told_with_its_line(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    """One line, printable, that begins with the place."""
    (line,) = problems(tmp_path, text)
    assert line.startswith(said), line
    assert line.isprintable()
    assert len(line) < 1000


def test_an_interrupt_from_the_keyboard_ends_the_program_and_not_the_policy(tmp_path: Path) -> None:
    """Whoever checks a policy that takes long may stop it."""
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, "raise KeyboardInterrupt\n")
    assert MODULE_NAME not in sys.modules


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\nwhile True:\n    pass\n", ("line 2", "line 3")),
        ("import json\ndef spin():\n    while True: json.loads('{}')\n\nspin()\n", ("line 3",)),
        (
            "for _ in range(3):\n    try:\n        while True: pass\n    except BaseException: pass\n",
            ("line 3",),
        ),
        ("import threading\nthreading.Event().wait()\n", ("line 2",)),
    ],
    ids=["a loop", "in a function and beyond", "a stubborn loop", "waiting in C"],
)
def test_a_file_that_does_not_end_is_told_with_its_line(
    tmp_path: Path, text: str, line: tuple[str, ...]
) -> None:
    """``check``, ``serve`` and a reload go on."""
    path = tmp_path / "policy.py"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        policy.load(path, deadline=Seconds(0.1))
    (problem,) = caught.value.problems
    assert problem.key in line
    assert problem.what == "was still running after 0.1 s"
    assert "what takes long belongs into them" in problem.hint
    assert MODULE_NAME not in sys.modules


def test_a_file_that_stops_when_told_to_leaves_no_thread(tmp_path: Path) -> None:
    """One that cannot be told is left behind, and is nobody's hindrance."""
    path = tmp_path / "policy.py"
    path.write_text("while True: pass\n")
    before = threading.active_count()
    with pytest.raises(ConfigError):
        policy.load(path, deadline=Seconds(0.05))
    assert threading.active_count() <= before


@pytest.mark.parametrize("hook", NOT_YET)
def test_a_hook_that_is_not_called_yet_is_refused_by_name(tmp_path: Path, hook: str) -> None:
    """A policy that is silently not applied is worse than none."""
    assert problems(tmp_path, f"\nasync def {hook}(*given):\n    pass\n") == [
        f"policy.py: line 2: hook {hook} is not yet supported in this version; leave it out"
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_hook_takes_what_it_is_given_and_nothing_else(tmp_path: Path, kind: HookKind) -> None:
    """Names are the operator's; what can be called is right, whatever it is."""
    right = ", ".join(kind.parameters)
    names = ", ".join("abc"[: len(kind.parameters)])
    for parameters in (right, names, "*given", f"{right}, more=1"):
        for text in ("async def {}({}): pass\n", "def {}({}): pass\n"):
            assert kind.name in load(tmp_path, text.format(kind.name, parameters)).hooks
    for parameters in ("", f"{right}, more", f"*, {right}"):
        assert problems(tmp_path, f"\ndef {kind.name}({parameters}): pass\n") == [
            f"policy.py: line 2: hook {kind.name} cannot be called with what it is given; write: def {kind.name}({right})"
        ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def on_mail(a, b): yield\n", "policy.py: line 1: hook on_mail is a generator; use return, not yield"),
        ("async def on_mail(a, b): yield\n", "policy.py: line 1: hook on_mail is a generator; use return, not yield"),
        ("on_mail = 5\n", "policy.py: on_mail: hook on_mail is no function; write: def on_mail(session, transaction)"),
        ("from penstock.policy import inline\n@inline\nasync def on_mail(a, b): pass\n", "policy.py: line 2: raised TypeError: a coroutine"),
        ("class on_mail: pass\n", "policy.py: on_mail: hook on_mail is a class, and a hook is a function; write: def on_mail(session, transaction)"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_hook_is_told(tmp_path: Path, text: str, said: str) -> None:
    """While it is loaded, and not when the first client comes."""
    (line,) = problems(tmp_path, text)
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@cached", "cached has to be told for how many seconds: write @cached(ttl=60); "),
        ("@cached()", "cached has to be told for how many seconds: write @cached(ttl=60); "),
        ("@cached(ttl='1m')", "cached takes numbers: write @cached(ttl=60, size=10_000, stale=0); "),
        ("@cached(-1)", "cached takes a ttl above 0, a size of 1 or more, and a stale of 0 or more; "),
        (
            "@inline()",
            "inline takes nothing but the function behind it: write @inline, without parentheses; ",
        ),
    ],
)
def test_a_decorator_that_is_written_wrong_is_told(tmp_path: Path, text: str, said: str) -> None:
    """With how it is written."""
    (line,) = problems(tmp_path, f"from penstock.policy import *\n{text}\ndef on_mail(a, b): pass\n")
    assert re.match(r"policy\.py: line 2: raised (Type|Value)Error: ", line)
    assert said in line


def test_hooks_run_where_they_say(tmp_path: Path) -> None:
    """Coroutines, objects and partials of coroutines on the loop, plain functions in the pool, inline ones at once."""
    text = """
import functools
from penstock.policy import cached, inline

async def on_connect(session): pass
def on_ehlo(session, extensions): pass
@inline
def on_mail(session, transaction): pass
class Auth:
    async def __call__(self, session, credentials): return True
on_auth = Auth()
async def both(more, message): pass
on_message = functools.partial(both, 1)
@cached(ttl=5)
async def on_rcpt(session, transaction, recipient): pass
on_reply = None
"""
    runs = {name: hook.runs.name for name, hook in load(tmp_path, text).hooks.items()}
    assert runs == {
        "on_connect": "LOOP", "on_ehlo": "POOL", "on_auth": "LOOP", "on_mail": "INLINE", "on_rcpt": "LOOP", "on_message": "LOOP",
    }  # fmt: skip


def test_every_hook_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    """Wrong ones, misspelt ones, and those that have nothing like them; in the order of the file."""
    text = "def on_mail(): pass\ndef on_mesage(): pass\ndef on_full_moon(): pass\nfrom os.path import join as egress_pool\n"
    first, second, third, fourth = problems(tmp_path, text)
    assert first.startswith("policy.py: line 1: hook on_mail cannot be called with what it is given; ")
    assert second == "policy.py: line 2: unknown hook on_mesage; did you mean 'on_message'?"
    assert third.startswith("policy.py: line 3: unknown hook on_full_moon; hooks are on_connect, on_ehlo")
    assert (
        fourth
        == "policy.py: egress_pool: hook egress_pool is not yet supported in this version; leave it out"
    )


def test_names_that_are_no_functions_are_the_operators_own(tmp_path: Path) -> None:
    """A table called ``on_hold``, or a hook switched off with None, is no hook."""
    assert load(tmp_path, "on_hold = {'a': 1}\non_rcpt = None\nonward = print\n").module.on_hold == {"a": 1}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: os.mkfifo(path), "is no regular file"),
        (lambda path: path.symlink_to(path.name), "cannot be read: "),
        (lambda path: path.write_bytes(b"#" * (16 * 1024 * 1024 + 1)), "is too big for a policy"),
    ],
    ids=["missing", "directory", "pipe", "link to itself", "too big"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, make: object, said: str) -> None:
    """Without waiting for it."""
    path = tmp_path / "policy.py"
    assert callable(make)
    make(path)
    with pytest.raises(ConfigError) as caught:
        policy.load(str(path))
    (problem,) = caught.value.problems
    assert problem.file == str(path)
    assert problem.what.startswith(said)
    assert problem.hint


def test_whoever_names_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    """An option of a configuration, or somebody by hand."""
    for named_by, hint in (("node.policy", "node.policy names it"), ("", "give the right path")):
        with pytest.raises(ConfigError) as caught:
            policy.load(tmp_path / "policy.py", named_by=named_by)
        assert [problem.hint for problem in caught.value.problems] == [hint]
