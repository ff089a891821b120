"""Asks an ASGI application without a server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message


class Answer(msgspec.Struct):
    """What an application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def ask(
    app: ASGIApp,
    path: str,
    client: str | None = "127.0.0.1",
    method: str = "GET",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    body: bytes = b"",
    state: dict[str, Any] | None = None,
) -> Answer:
    """What ``app`` answers to a request for ``path``, which may have a query, from the address ``client``."""
    return asyncio.run(_ask(app, path, client, method, headers, body, state or {}))


async def _ask(
    app: ASGIApp,
    path: str,
    client: str | None,
    method: str,
    headers: tuple[tuple[bytes, bytes], ...],
    body: bytes,
    state: dict[str, Any],
) -> Answer:
    plain, _, query = path.partition("?")
    sent: list[Message] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": plain,
        "raw_path": plain.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": list(headers),
        "client": (client, 40000) if client is not None else None,
        "server": ("127.0.0.1", 8000),
        "state": state,
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    begin, *rest = sent
    return Answer(
        begin["status"],
        {name.decode().lower(): value.decode() for name, value in begin["headers"]},
        b"".join(message["body"] for message in rest),
    )
