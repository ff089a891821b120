"""The cache against the simplest thing that could be one, and lifetimes."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.routing import lifetime
from penstock.routing.cache import Cache

NAMES = st.sampled_from("abcdef")
CAPACITY = 4


class CacheModel(RuleBasedStateMachine):
    """A cache of four names against a plain list, the name used last at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: Cache[int] = Cache(CAPACITY)
        self.entries: list[tuple[str, int, float]] = []
        self.now = 0.0

    def found(self, name: str) -> tuple[str, int, float] | None:
        """The entry of ``name``."""
        return next((entry for entry in self.entries if entry[0] == name), None)

    @rule(name=NAMES, value=st.integers(), seconds=st.integers(-1, 10))
    def put(self, name: str, value: int, seconds: int) -> None:
        """Keep a value, even one whose time is over already."""
        self.cache.put(name, value, MonotonicTime(self.now + seconds))
        self.entries = [entry for entry in self.entries if entry[0] != name][-(CAPACITY - 1) :]
        self.entries.append((name, value, self.now + seconds))

    @rule(name=NAMES)
    def get(self, name: str) -> None:
        """Only what has not expired, and being found counts as use."""
        entry = self.found(name)
        got = self.cache.get(name, MonotonicTime(self.now))
        if entry is None or entry[2] <= self.now:
            assert got is None
        else:
            assert got == entry[1]
            self.entries.remove(entry)
            self.entries.append(entry)

    @rule(name=NAMES)
    def last(self, name: str) -> None:
        """Expired or not, and without counting as use."""
        entry = self.found(name)
        assert self.cache.last(name) == (None if entry is None else entry[1])

    @rule(seconds=st.integers(0, 5))
    def wait(self, seconds: int) -> None:
        """Time goes on."""
        self.now += seconds

    @invariant()
    def is_bounded(self) -> None:
        """Never more than its capacity, and exactly what the list has."""
        assert len(self.cache) == len(self.entries) <= CAPACITY
        assert all(self.cache.last(name) == value for name, value, _ in self.entries)


TestCacheModel = CacheModel.TestCase


@pytest.mark.parametrize(
    ("ttl", "kept"),
    [(0, 5), (5, 5), (6, 6), (86_400, 86_400), (86_401, 86_400), (2**31, 86_400)],
    ids=["RFC 2181 8: 0", "floor", "above the floor", "a day", "above a day", "RFC 2181 8: nonsense"],
)
def test_records_live_as_long_as_their_ttl_within_bounds(ttl: float, kept: float) -> None:
    """Five seconds at least, a day at most."""
    assert lifetime.positive(Seconds(ttl)) == kept


@pytest.mark.parametrize(
    ("ttl", "kept"),
    [(None, 300), (0, 5), (60, 60), (10_800, 300)],
    ids=["no SOA", "0", "RFC 2308 5", "three hours"],
)
def test_absence_is_believed_for_five_minutes_at_most(ttl: float | None, kept: float) -> None:
    """The SOA's minimum where there is one."""
    assert lifetime.negative(None if ttl is None else Seconds(ttl)) == kept


def test_failures_without_end_do_not_overflow() -> None:
    """RFC 2308 7.1: a failure is never believed for more than five minutes."""
    assert lifetime.failure(0) == 30.0
    assert lifetime.failure(10**9) == 300.0
