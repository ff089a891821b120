"""Runs a policy file and says what is wrong with it: not there, no Python, an exception while it runs, or no end to it, with the line.

The octets are read once and compiled from memory: what is run is what an epoch keeps, and no ``__pycache__`` is left beside the operator's file.
While and after it runs, the module is known to ``sys.modules`` by a private name, which dataclasses and pickles of the policy's own classes need.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Final

import msgspec

from penstock.mail.duration import Seconds
from penstock.mail.problem import ConfigError, Problem
from penstock.policy import bounded
from penstock.policy.hooks import Hook, check_hooks, find_hooks

MODULE_NAME: Final = "_penstock_policy"
#: Far beyond any policy.
_SIZE_LIMIT: Final = 16 * 1024 * 1024
#: How long a file may run: enough to import what is slow to import, and to read a table.
DEADLINE: Final = Seconds(10.0)
#: How much of an exception's text, or of a line, is repeated, in characters.
_SHOWN: Final = 200


class Policy(msgspec.Struct, frozen=True):
    """A policy file that was run: where it was, its octets, the module it became, and its hooks by name."""

    path: str
    source: bytes
    module: ModuleType
    hooks: dict[str, Hook]


class _Loader(importlib.abc.InspectLoader):
    """Hands out one source that is in memory; tracebacks find its lines through ``get_source``."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path = path
        self._source = source

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source)

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_source(fullname), self._path)


def load(
    path: str | Path, *, named_by: str = "", deadline: Seconds = DEADLINE, source: bytes | None = None
) -> Policy:
    """Run the policy file at ``path``; ConfigError says why it cannot be used. KeyboardInterrupt passes, whatever else it raises is reported.

    ``named_by`` is the option that names the file, "" if it was given by hand; ``source`` its octets, if they were read already.
    A file that runs longer than ``deadline`` is ended.
    On an error the module of an earlier ``load`` stays the registered one.
    """
    file = str(path)
    if source is None:
        source = _read(file, f"{named_by} names it" if named_by else "give the right path")
    loader = _Loader(file, source)
    code = _compile(file, loader)
    before = sys.modules.get(MODULE_NAME)
    try:
        module = _run(file, loader, code, deadline)
        problems = check_hooks(file, vars(module))
        if problems:
            raise ConfigError(problems)
    except BaseException:
        if before is None:
            sys.modules.pop(MODULE_NAME, None)
        else:
            sys.modules[MODULE_NAME] = before
        raise
    return Policy(file, source, module, find_hooks(vars(module)))


def _read(file: str, hint: str) -> bytes:
    path = Path(file)
    try:
        if path.exists() and not path.is_file():
            raise _error(
                file,
                "",
                "is no regular file" if not path.is_dir() else "is a directory",
                "name a Python file",
            )
        with path.open("rb") as opened:
            source = opened.read(_SIZE_LIMIT + 1)
    except FileNotFoundError as error:
        raise _error(file, "", "does not exist", hint) from error
    except OSError as error:
        what = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise _error(file, "", what, hint) from error
    if len(source) > _SIZE_LIMIT:
        raise _error(file, "", "is too big for a policy", f"a policy has at most {_SIZE_LIMIT >> 20} MiB")
    return source


def _run(file: str, loader: _Loader, code: CodeType, deadline: Seconds) -> ModuleType:
    module = importlib.util.module_from_spec(ModuleSpec(MODULE_NAME, loader, origin=file))
    module.__file__ = file
    sys.modules[MODULE_NAME] = module
    try:
        # the operator's own program is what exec is for
        bounded.call(lambda: exec(code, vars(module)), deadline)  # noqa: S102
    except KeyboardInterrupt:
        raise
    except bounded.Late as late:
        raise _endless(file, late, deadline) from None
    except BaseException as error:
        # SystemExit too: a policy never ends the server
        raise _raised(file, error) from error
    return module


def _compile(file: str, loader: _Loader) -> CodeType:
    try:
        return loader.get_code(MODULE_NAME)
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.lineno else ""
        if error.lineno and error.offset:
            where += f", column {error.offset}"
        raise _error(file, where, f"does not parse: {error.msg}", _quoted(error.text)) from error
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        what = f"does not parse: {type(error).__name__}: {_text(error)}"
        raise _error(file, "", what, "a policy is Python 3 source in UTF-8") from error


def _raised(file: str, error: BaseException) -> ConfigError:
    said = _text(error)
    what = f"raised {type(error).__name__}{': ' if said else ''}{said}"
    hint = "a policy file has to run to its end without an exception"
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install {error.name.partition('.')[0]} for {sys.executable}"
    line = _last_line(file, error.__traceback__)
    return _error(file, f"line {line}" if line else "", what, hint)


def _endless(file: str, late: bounded.Late, deadline: Seconds) -> ConfigError:
    within = [
        line for frame, line in zip(late.frames, late.lines, strict=True) if frame.f_code.co_filename == file
    ]
    what = f"was still running after {deadline:g} s"
    hint = "a policy file is run once, to define its hooks; what takes long belongs into them"
    return _error(file, f"line {within[-1]}" if within else "", what, hint)


def _last_line(file: str, traceback: TracebackType | None) -> int | None:
    """The line of the policy file that was running, the innermost one if several were."""
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _text(error: BaseException) -> str:
    """What an exception says; its own ``__str__`` may be the operator's and raise."""
    try:
        return _line(str(error))
    except Exception:  # noqa: BLE001 - it is being reported already
        return "(its text cannot be made)"


def _quoted(line: str | None) -> str:
    return f"the line is: {_line(line)}" if line and line.strip() else "a policy is Python 3 source in UTF-8"


def _line(text: str) -> str:
    """``text`` on one printable line, its tail cut if it is long."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))[:_SHOWN]


def _error(file: str, where: str, what: str, hint: str) -> ConfigError:
    return ConfigError([Problem(file, where, what, hint)])
