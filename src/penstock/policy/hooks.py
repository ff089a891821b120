"""Which functions of a policy file mean something, and what is wrong with those of a given one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Final

from penstock.mail.problem import Problem

#: The functions that Penstock will call, in the order of a message's way.
HOOKS: Final = (
    "on_connect",
    "on_ehlo",
    "on_auth",
    "on_mail",
    "on_rcpt",
    "on_message",
    "on_reply",
    "queue_config",
    "egress_pool",
)
#: difflib's ratio: "on_rctp" and "on_rcpt" have 0.86, "on_data" and "on_auth" 0.57.
_CUTOFF: Final = 0.7


def check_hooks(file: str, names: Mapping[str, object]) -> list[Problem]:
    """Problems of the functions in ``names``, what a policy file has defined: each hook, for none is called yet, and each that looks like one."""
    return [
        _problem(file, name, value)
        for name, value in names.items()
        if callable(value) and (name in HOOKS or name.startswith("on_"))
    ]


def _problem(file: str, name: str, function: object) -> Problem:
    where = _where(file, function) or name
    if name in HOOKS:
        return Problem(file, where, f"hook {name} is not yet supported in this version", "leave it out")
    near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=_CUTOFF)
    hint = (
        f"did you mean '{near[0]}'?"
        if near
        else f"hooks are {', '.join(HOOKS)}; call other functions otherwise"
    )
    return Problem(file, where, f"unknown hook {name}", hint)


def _where(file: str, function: object) -> str:
    """``"line 3"`` if the function is defined in the file, ``""`` if it came from elsewhere."""
    code = getattr(function, "__code__", None)
    if not inspect.iscode(code) or code.co_filename != file:
        return ""
    return f"line {code.co_firstlineno}"
