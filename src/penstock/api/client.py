"""Asks the server of a data directory over its control socket."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from penstock.api.control import ControlError, control_path

DEADLINE: Final = 5.0
#: More than any answer has: a status names a bounded number of everything.
_ANSWER_LIMIT: Final = 16 * 1024 * 1024


class _Refusal(msgspec.Struct):
    error: str


class ControlRefusal(ControlError):
    """The server is there, and does not do what it was asked: ``reason`` is the server's, ``status`` that of HTTP."""

    def __init__(self, path: str, reason: str, status: int) -> None:
        super().__init__(f"the server refused {path}: {reason}")
        self.reason = reason
        self.status = status


async def control_get(data_dir: str | Path, path: str, *, deadline: float = DEADLINE) -> bytes:
    """What ``GET path`` answers, ``deadline`` seconds at most. ControlError, in words for a person, if there is no good answer."""
    return await control_ask(data_dir, "GET", path, deadline=deadline)


async def control_ask(
    data_dir: str | Path, method: str, path: str, body: bytes | None = None, *, deadline: float = DEADLINE
) -> bytes:
    """What a request is answered, as ``control_get``; ControlRefusal if the server is there and does not do it."""
    place = control_path(data_dir)
    try:
        return await _ask(place, method, path, body, deadline)
    except TimeoutError as error:
        raise ControlError(
            f"the server for data_dir {data_dir} did not answer within {deadline:g} s"
        ) from error
    except aiohttp.ClientConnectorError as error:
        raise ControlError(_connect_failure(data_dir, place, error.os_error)) from error
    except aiohttp.ClientError as error:
        raise ControlError(f"the server for data_dir {data_dir} broke off its answer: {error}") from error


async def _ask(place: Path, method: str, path: str, body: bytes | None, deadline: float) -> bytes:
    async with (
        asyncio.timeout(deadline),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(place)), trust_env=False) as session,
        session.request(method, f"http://penstock{path}", data=body, allow_redirects=False) as response,
    ):
        answer = bytearray()
        async for chunk in response.content.iter_any():
            answer += chunk
            if len(answer) > _ANSWER_LIMIT:
                raise ControlError(f"the answer to {path} is too long; is another program on {place}?")
        if response.status != 200:
            raise ControlRefusal(path, _reason(bytes(answer), response.status), response.status)
        return bytes(answer)


def _reason(answer: bytes, status: int) -> str:
    try:
        return msgspec.json.decode(answer, type=_Refusal).error
    except msgspec.DecodeError:
        return f"HTTP status {status}"


def _connect_failure(data_dir: str | Path, place: Path, error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"no server is running for data_dir {data_dir} (there is no {place})"
    if error.errno == errno.ECONNREFUSED:
        return f"no server is running for data_dir {data_dir} (nobody answers on {place})"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{place}: not permitted; ask as the user that the server runs as, or as root"
    return f"{place}: {error.strerror or error}"
