"""The hooks: which functions of a policy file mean something, what each is given and may return, and what is wrong with those of a file.

A hook is a coroutine function, which runs on the event loop; a plain function, which runs in the pool of threads; or a plain function
marked ``inline``, which runs on the loop, at once, and must therefore neither wait nor compute for long.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, TypeVar

import msgspec

from penstock.mail.problem import Problem
from penstock.mail.reply import Reply
from penstock.policy.message import NO_RECIPIENT, Message
from penstock.policy.refusal import Reject, checked_reply
from penstock.policy.session import Granted

F = TypeVar("F", bound=Callable[..., object])
_MARK: Final = "__penstock_inline__"
#: difflib's ratio: "on_rctp" and "on_rcpt" have 0.86, "on_data" and "on_auth" 0.57.
_CUTOFF: Final = 0.7


class Runs(Enum):
    """Where a hook runs."""

    LOOP = "a coroutine on the event loop"
    POOL = "a plain function in the pool of threads"
    INLINE = "a plain function on the event loop, at once"


class NonsenseError(Exception):
    """A hook returned what it cannot return; ``str()`` of it says what it can."""


def _nothing(arguments: tuple[object, ...], value: object) -> object:
    if value is not None:
        raise NonsenseError(f"it returned {_shown(value)}, and returns nothing; raise Reject to refuse")
    return None


def _grant(arguments: tuple[object, ...], value: object) -> object:
    if value is True:
        return Granted()
    if value is False or isinstance(value, Granted):
        return value
    raise NonsenseError(f"it returned {_shown(value)}, and returns True, False or Granted")


def _reply(arguments: tuple[object, ...], value: object) -> object:
    old = arguments[1]
    if value is None or not isinstance(old, Reply):
        return None
    try:
        return checked_reply(old, value)
    except ValueError as error:
        raise NonsenseError(str(error)) from None


def _options(arguments: tuple[object, ...], value: object) -> object:
    if value is None or isinstance(value, dict):
        return value
    raise NonsenseError(f"it returned {_shown(value)}, and returns a dict of options, or None for none")


def _recipients(arguments: tuple[object, ...], value: object) -> object:
    message = arguments[0]
    if _nothing(arguments, value) is None and isinstance(message, Message) and not len(message.recipients):
        raise Reject(NO_RECIPIENT.code, str(NO_RECIPIENT.enhanced), NO_RECIPIENT.text)
    return None


def _shown(value: object) -> str:
    """A value's type: its ``repr`` is the operator's code, and may be anything."""
    return (
        "None" if value is None else repr(value) if isinstance(value, bool) else f"a {type(value).__name__}"
    )


class HookKind(msgspec.Struct, frozen=True):
    """A hook that exists: its name, the names of its parameters, and what checks its return value (NonsenseError, or Reject)."""

    name: str
    parameters: tuple[str, ...]
    checked: Callable[[tuple[object, ...], object], object] = _nothing


#: In the order of a message's way. ``on_auth`` gives Granted or False, ``on_reply`` a Reply or None, ``queue_config`` a dict or None.
KINDS: Final = (
    HookKind("on_connect", ("session",)),
    HookKind("on_ehlo", ("session", "extensions")),
    HookKind("on_auth", ("session", "credentials"), _grant),
    HookKind("on_mail", ("session", "transaction")),
    HookKind("on_rcpt", ("session", "transaction", "recipient")),
    HookKind("on_message", ("message",), _recipients),
    HookKind("on_reply", ("session", "reply"), _reply),
    HookKind("queue_config", ("name",), _options),
)
#: Called by later versions.
NOT_YET: Final = ("egress_pool",)
HOOKS: Final = (*(kind.name for kind in KINDS), *NOT_YET)
_BY_NAME: Final = {kind.name: kind for kind in KINDS}


class Hook(msgspec.Struct, frozen=True):
    """A hook that a policy has."""

    kind: HookKind
    function: Callable[..., object]
    runs: Runs


def inline(function: F | None = None, /) -> F:
    """Run this plain function on the event loop itself: it costs least, and while it runs nothing else does. TypeError for a coroutine."""
    if not callable(function):
        raise TypeError("inline takes nothing but the function behind it: write @inline, without parentheses")
    if _is_coroutine(function):
        raise TypeError("a coroutine runs on the event loop as it is; inline is for plain functions")
    setattr(function, _MARK, True)
    return function


def find_hooks(names: Mapping[str, object]) -> dict[str, Hook]:
    """The hooks among ``names``, what a policy file has defined and ``check_hooks`` has found nothing wrong with."""
    return {
        kind.name: Hook(kind, function, _runs(function))
        for kind in KINDS
        if callable(function := names.get(kind.name))
    }


def _runs(function: Callable[..., object]) -> Runs:
    if _is_coroutine(function):
        return Runs.LOOP
    return Runs.INLINE if getattr(function, _MARK, False) else Runs.POOL


def _is_coroutine(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose call is a coroutine
    )


def check_hooks(file: str, names: Mapping[str, object]) -> list[Problem]:
    """Problems of what a policy file has defined: hooks that cannot be called as they will be, that are not called yet, or only look like some.

    A hook's name with None is a hook that is switched off.
    """
    problems: list[Problem] = []
    for name, value in names.items():
        if value is None:
            continue
        if name in NOT_YET:
            problems.append(
                _problem(
                    file, name, value, f"hook {name} is not yet supported in this version", "leave it out"
                )
            )
        elif name in _BY_NAME:
            problems += _check_hook(file, _BY_NAME[name], value)
        elif callable(value) and name.startswith("on_"):
            problems.append(_unknown(file, name, value))
    return problems


def _check_hook(file: str, kind: HookKind, value: object) -> list[Problem]:
    right = f"write: def {kind.name}({', '.join(kind.parameters)})"
    if isinstance(value, type):
        what = f"hook {kind.name} is a class, and a hook is a function"
        return [_problem(file, kind.name, value, what, right)]
    if not callable(value):
        return [_problem(file, kind.name, value, f"hook {kind.name} is no function", right)]
    if inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
        return [_problem(file, kind.name, value, f"hook {kind.name} is a generator", "use return, not yield")]
    try:
        inspect.signature(value).bind(*kind.parameters)
    except TypeError:
        return [
            _problem(
                file, kind.name, value, f"hook {kind.name} cannot be called with what it is given", right
            )
        ]
    except ValueError:
        pass  # a function of C may have no signature; it will be seen when it is called
    return []


def _unknown(file: str, name: str, value: object) -> Problem:
    near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=_CUTOFF)
    hint = (
        f"did you mean '{near[0]}'?"
        if near
        else f"hooks are {', '.join(HOOKS)}; call other functions otherwise"
    )
    return _problem(file, name, value, f"unknown hook {name}", hint)


def _problem(file: str, name: str, value: object, what: str, hint: str) -> Problem:
    return Problem(file, _where(file, value) or name, what, hint)


def _where(file: str, function: object) -> str:
    """``"line 3"`` if the function is defined in the file, ``""`` if it came from elsewhere."""
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    if not inspect.iscode(code) or code.co_filename != file:
        return ""
    return f"line {code.co_firstlineno}"
