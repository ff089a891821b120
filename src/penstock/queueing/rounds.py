"""A round: things that stand in a circle, each with its turn. Adding, removing and going on take the same time however many there are.

What stands in a round is a ``Standing``, in one round at a time; the links are its own, so a round costs nothing but its first place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar


class Standing:
    """What may stand in a round."""

    __slots__ = ("left", "right")

    def __init__(self) -> None:
        #: the neighbours in the round; None while it stands in none
        self.left: Standing | None = None
        self.right: Standing | None = None

    @property
    def stands(self) -> bool:
        """Whether it stands in a round."""
        return self.right is not None


S = TypeVar("S", bound=Standing)


class Round(Generic[S]):
    """``first`` is whose turn it is, None in an empty round."""

    __slots__ = ("first",)

    def __init__(self) -> None:
        self.first: S | None = None

    def __bool__(self) -> bool:
        return self.first is not None

    def __iter__(self) -> Iterator[S]:
        """All of them, the one whose turn it is first; the round must not change meanwhile."""
        standing = self.first
        while standing is not None:
            yield standing
            standing = standing.right  # type: ignore[assignment]  # who stands here are all S
            if standing is self.first:
                return

    def add(self, newcomer: S) -> None:  # hot: micro_queueing
        """Let it stand where its turn comes last."""
        first = self.first
        if first is None:
            self.first = newcomer.left = newcomer.right = newcomer
            return
        last = first.left
        assert last is not None  # noqa: S101  # who stands in a round has neighbours
        newcomer.left, newcomer.right = last, first
        last.right = first.left = newcomer

    def insert(self, newcomer: S, behind: S) -> None:
        """Let it stand before ``behind``, and have the turn if that had it."""
        left = behind.left
        assert left is not None  # noqa: S101  # as above
        newcomer.left, newcomer.right = left, behind
        left.right = behind.left = newcomer
        if self.first is behind:
            self.first = newcomer

    def remove(self, leaver: S) -> None:  # hot: micro_queueing
        """Let it go; if it was its turn, it is the next one's."""
        left, right = leaver.left, leaver.right
        assert left is not None and right is not None  # noqa: S101, PT018  # as above
        leaver.left = leaver.right = None
        if right is leaver:
            self.first = None
            return
        left.right, right.left = right, left
        if self.first is leaver:
            self.first = right  # type: ignore[assignment]  # as above

    def advance(self) -> None:  # hot: micro_queueing
        """It is the next one's turn."""
        if self.first is not None:
            self.first = self.first.right  # type: ignore[assignment]  # as above
