"""Mistakes put into the server, one at a time, each of which the table must find: a test that cannot fail shows nothing.

Each takes pytest's ``monkeypatch``. The rows that are to find it are named beside it, by the beginning of their codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from penstock.ingress.dialogue import Dialogue
from penstock.ingress.policy_view import PolicyView
from penstock.smtp import chunk, command, server, transmission
from penstock.smtp.auth import Credentials
from penstock.smtp.chunk import ChunkReader
from penstock.smtp.data import DataReader
from penstock.smtp.lines import LineBuffer
from penstock.smtp.phase import Phase
from penstock.smtp.proxy import ProxyHeader
from penstock.smtp.server import ServerSession, TlsAsked

Mutate = Callable[[pytest.MonkeyPatch], None]


class Mutation(NamedTuple):
    """A mistake, and the rows that must find it, by the beginnings of their codes. ``is_core``: on the core, else on sockets."""

    mutate: Mutate
    rows: tuple[str, ...]
    is_core: bool = True


def line_feeds_end_data(patch: pytest.MonkeyPatch) -> None:
    """LF "." LF ends mail data too (CVE-2023-51764)."""
    feed = DataReader.feed

    def mutated(self: DataReader, data: bytes) -> int:
        place = data.find(b"\n.\n")
        if place < 0:
            return feed(self, data)
        feed(self, data[: place + 1] + b"\r\n.\r\n")
        return place + 3

    patch.setattr(DataReader, "feed", mutated)


def line_feeds_end_commands(patch: pytest.MonkeyPatch) -> None:
    """LF ends a command too."""
    feed = LineBuffer.feed
    patch.setattr(LineBuffer, "feed", lambda self, data: feed(self, re.sub(rb"(?<!\r)\n", b"\r\n", data)))


def controls_are_let_through(patch: pytest.MonkeyPatch) -> None:
    """NUL and other controls are text like any other."""
    patch.setattr(command, "_CONTROL", re.compile(rb"(?!)"))


def early_data_is_taken(patch: pytest.MonkeyPatch) -> None:
    """What comes in one segment with DATA is mail data."""
    original = ServerSession.accept

    def mutated(self: ServerSession, *arguments: Any) -> None:
        held = self._lines.take() if type(self._event).__name__ == "DataAsked" else b""
        original(self, *arguments)
        if held:
            self._lines.feed(held)

    patch.setattr(ServerSession, "accept", mutated)


def starttls_keeps_the_buffer(patch: pytest.MonkeyPatch) -> None:
    """What came in plain text behind STARTTLS is read after the handshake (CVE-2011-0411)."""
    accept, secured = ServerSession.accept, ServerSession.secured
    held: dict[int, bytes] = {}

    def mutated(self: ServerSession, *arguments: Any) -> None:
        if isinstance(self._event, TlsAsked):
            held[id(self)] = self._lines.take()
        accept(self, *arguments)

    def reading_on(self: ServerSession) -> None:
        secured(self)
        self._lines.feed(held.pop(id(self), b""))

    patch.setattr(ServerSession, "accept", mutated)
    patch.setattr(ServerSession, "secured", reading_on)


def tls_keeps_the_session(patch: pytest.MonkeyPatch) -> None:
    """EHLO, AUTH and all count on after the handshake."""
    patch.setattr(ServerSession, "secured", lambda self: setattr(self, "_phase", Phase.READY))


def tls_keeps_who_it_was(patch: pytest.MonkeyPatch) -> None:
    """Who has authenticated in plain text may relay under TLS."""
    secured = Dialogue.secured

    def mutated(self: Dialogue, facts: Any) -> None:
        person, user = self._person, self._client.authentication_id
        secured(self, facts)
        self._person = person
        self._client.authenticated(user, user)

    patch.setattr(Dialogue, "secured", mutated)


def the_limit_ends_data(patch: pytest.MonkeyPatch) -> None:
    """A message over its limit is over: what follows is commands."""
    feed = DataReader.feed

    def mutated(self: DataReader, data: bytes) -> int:
        used = feed(self, data)
        return (
            len(data) // 2
            if used < 0 and self.is_over
            else min(used, len(data) // 2)
            if self.is_over
            else used
        )

    patch.setattr(DataReader, "feed", mutated)


def chunks_are_commands(patch: pytest.MonkeyPatch) -> None:
    """The octets of a chunk are not counted."""
    begin = ChunkReader.begin
    patch.setattr(ChunkReader, "begin", lambda self, given: begin(self, type(given)(0, given.is_last)))


def bad_chunks_go_on(patch: pytest.MonkeyPatch) -> None:
    """A BDAT that cannot be read is an error like any other."""
    patch.setattr(chunk, "ERROR_LIMIT", 1)


def chunks_over_the_limit_are_kept(patch: pytest.MonkeyPatch) -> None:
    """The limit is looked at in the first chunk only."""
    begin = ChunkReader.begin

    def mutated(self: ChunkReader, given: Any) -> None:
        received, self.received = self.received, 0
        begin(self, given)
        self.received = received

    patch.setattr(ChunkReader, "begin", mutated)


def auth_goes_in_clear(patch: pytest.MonkeyPatch) -> None:
    """AUTH is taken in plain text."""
    init = ServerSession.__init__

    def mutated(self: ServerSession, limits: Any, **words: Any) -> None:
        init(self, type(limits)(**{**_fields(limits), "auth_needs_tls": False}), **words)

    patch.setattr(ServerSession, "__init__", mutated)


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def failures_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A client may try passwords for ever."""
    patch.setattr(server, "AUTH_FAILURES", 1_000_000)


def errors_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A client may make errors for ever."""
    patch.setattr(server, "ERROR_LIMIT", 1_000_000)


def anybody_relays(patch: pytest.MonkeyPatch) -> None:
    """An open relay."""
    patch.setattr(PolicyView, "may_relay", True)


def the_proxy_is_the_client(patch: pytest.MonkeyPatch) -> None:
    """The address in a PROXY header does not count."""
    patch.setattr(ProxyHeader, "is_local", property(lambda self: True))


def dots_are_not_doubled(patch: pytest.MonkeyPatch) -> None:
    """Mail data leaves without transparency."""
    patch.setattr(transmission, "_transparent", lambda content: content)


def bare_line_ends_leave(patch: pytest.MonkeyPatch) -> None:
    """Bare CRs and LFs leave as they came."""
    patch.setattr(transmission, "with_crlf", lambda content: content)


def fields_are_xtext_unseen(patch: pytest.MonkeyPatch) -> None:
    """ENVID and ORCPT may hold line ends in hexadecimal (CVE-2020-28026)."""
    patch.setattr(command, "is_envelope_id", lambda value: True)
    patch.setattr(command, "is_original_recipient", lambda value: True)


def credentials_show_their_password(patch: pytest.MonkeyPatch) -> None:
    """Whoever writes down an event writes down a password."""
    patch.setattr(Credentials, "__repr__", lambda self: f"Credentials({self.password!r})")


MUTATIONS: Final = (
    Mutation(line_feeds_end_data, ("A1-",)),
    Mutation(line_feeds_end_commands, ("A5-",)),
    Mutation(controls_are_let_through, ("E3-control-",)),
    Mutation(early_data_is_taken, ("A7-",)),
    Mutation(starttls_keeps_the_buffer, ("C1-",)),
    Mutation(tls_keeps_the_session, ("C2-",)),
    Mutation(tls_keeps_who_it_was, ("C2-forgets-auth",), is_core=False),
    Mutation(the_limit_ends_data, ("A2-",)),
    Mutation(chunks_are_commands, ("F3-",)),
    Mutation(bad_chunks_go_on, ("F3-malformed-",)),
    Mutation(chunks_over_the_limit_are_kept, ("F3-over-",)),
    Mutation(auth_goes_in_clear, ("D1-",)),
    Mutation(failures_are_not_counted, ("D2-three-",)),
    Mutation(errors_are_not_counted, ("E5-errors-",)),
    Mutation(anybody_relays, ("D4-percent-", "D4-quoted-"), is_core=False),
    Mutation(the_proxy_is_the_client, ("D3-proxy-v1-",), is_core=False),
    Mutation(dots_are_not_doubled, ("B2-",)),
    Mutation(bare_line_ends_leave, ("B1-",)),
    Mutation(fields_are_xtext_unseen, ("E4-",)),
    Mutation(credentials_show_their_password, ("M1-secret-",)),
)
