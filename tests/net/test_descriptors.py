"""The limit of open files and sockets."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from penstock.net.descriptors import raise_descriptor_limit


@pytest.fixture(autouse=True)
def _limits_as_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """And returned; a second time changes nothing."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    assert raise_descriptor_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert raise_descriptor_limit() == hard


def test_a_system_that_refuses_leaves_the_limit_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit in force is what is returned."""

    def refuse(_kind: int, _limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = min(256, hard - 1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    try:
        assert raise_descriptor_limit() == soft
    finally:
        monkeypatch.undo()
