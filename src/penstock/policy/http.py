"""HTTP for hooks: ``answer = await http.get("https://api.example.com/tenant", query={"user": name})``.

Bounded in time, in octets and in redirections, which stay on the host that was asked. Certificates are verified. Proxies and credentials
of the environment are not used. What goes wrong is an ``HttpError``; a status that is no success is not, for it is an answer. A hook that lets
an ``HttpError`` pass has the mail deferred. Connections are kept while the policy is in force.

Addresses with credentials or tokens in them appear in no error: it names the host alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from penstock.policy.scope import SCOPE

#: Seconds for everything, from the first packet to the last.
TIMEOUT: Final = 3.0
#: Octets of an answer's body, after decompression.
BODY_LIMIT: Final = 1024 * 1024
REDIRECTS_LIMIT: Final = 3
#: Connections at a time, to all hosts.
_CONNECTIONS: Final = 100
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class HttpError(Exception):
    """There is no answer, or none that can be used."""


class Answer(msgspec.Struct, frozen=True):
    """What a server answered. ``headers`` has lower-case names, of fields that come twice the last."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> object:
        """The body as JSON; HttpError if it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError):
            raise HttpError("the answer is no JSON") from None


async def get(
    url: str,
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """GET ``url`` with these parameters added to it; HttpError, or ValueError for what is no ``http`` or ``https`` address."""
    return await _ask("GET", _checked(url, query), headers, None, timeout)


async def post(
    url: str,
    *,
    json: object = None,
    body: bytes | None = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """POST ``body``, or ``json`` as JSON, to ``url``; errors as of ``get``."""
    fields = dict(headers or {})
    if body is None:
        body = msgspec.json.encode(json)
        fields.setdefault("Content-Type", "application/json")
    return await _ask("POST", _checked(url, query), fields, body, timeout)


def _checked(url: str, query: Mapping[str, str] | None) -> URL:
    try:
        parsed = URL(url)
    except (ValueError, TypeError):
        parsed = URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("an address for HTTP is written http://host/path or https://host/path")
    return parsed.update_query(query) if query else parsed


async def _ask(
    method: str, url: URL, headers: Mapping[str, str] | None, body: bytes | None, timeout: float
) -> Answer:
    try:
        async with asyncio.timeout(timeout), _session() as session:
            return await _follow(session, method, url, headers, body)
    except TimeoutError:
        raise HttpError(f"{url.host} did not answer within {timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # its own words may hold the address, and with it a token
        raise HttpError(f"{url.host}: {type(error).__name__}") from None


async def _follow(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    headers: Mapping[str, str] | None,
    body: bytes | None,
) -> Answer:
    for _ in range(REDIRECTS_LIMIT + 1):
        async with session.request(
            method, url, headers=headers, data=body, allow_redirects=False
        ) as response:
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or target is None:
                return Answer(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    await _body(response, url),
                )
            next_url = url.join(URL(target))
            if next_url.origin() != url.origin():
                raise HttpError(f"{url.host} redirects to another host, which is not followed")
            if response.status in (301, 302, 303) and method != "GET":
                method, body = "GET", None
            url = next_url
    raise HttpError(f"{url.host} redirects more than {REDIRECTS_LIMIT} times")


async def _body(response: aiohttp.ClientResponse, url: URL) -> bytes:
    octets = bytearray()
    async for chunk in response.content.iter_any():
        octets += chunk
        if len(octets) > BODY_LIMIT:
            raise HttpError(f"the answer of {url.host} has more than {BODY_LIMIT} octets")
    return bytes(octets)


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    """The policy's own session; without a running policy one for this call."""
    scope = SCOPE.get()
    if scope is not None:
        yield scope.once(__name__, _new_session, aiohttp.ClientSession.close)
        return
    async with _new_session() as session:
        yield session


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),  # ours is around everything, redirections included
    )
