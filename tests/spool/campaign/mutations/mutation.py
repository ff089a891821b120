"""What a mistake is, and how it is made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import msgspec

from penstock.sim.file_system import Switches

Patch = contextlib.AbstractContextManager[object]


class Mutation(msgspec.Struct, frozen=True):
    """A mistake. ``patch`` makes it while its context lasts; with ``switches`` the disk makes it.

    ``story`` is the script that goes where it shows.
    """

    name: str
    story: str = ""
    patch: Callable[[], Patch] = contextlib.nullcontext
    switches: Switches = Switches()


class Mistakes(list[Mutation]):
    """Those of one module, in the order in which they are written down."""

    def take(self, name: str, story: str = "") -> Callable[[Callable[[], Patch]], Callable[[], Patch]]:
        """Take up what the function below makes."""

        def decorate(patch: Callable[[], Patch]) -> Callable[[], Patch]:
            self.append(Mutation(name, story, patch))
            return patch

        return decorate


def replaced(owner: object, name: str, made: Callable[..., Any]) -> Patch:
    """``made`` in place of a function; it is given the function first."""
    original = getattr(owner, name)

    def replacement(*args: Any, **options: Any) -> Any:
        return made(original, *args, **options)

    return mock.patch.object(owner, name, replacement)


def nothing(*_args: object, **_options: object) -> None:
    """Done is nothing."""
