"""The endpoints about queued mail: directives, sweeps, counts, reasons, single messages.

Requests and answers are the records of ``penstock.mail.control``, as JSON. What is refused is 400, what there is not 404, both with the reason.
"""

from __future__ import annotations

import pwd
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from penstock.api.ports import ControlDesk
from penstock.mail.control import (
    ControlMissing,
    ControlRefused,
    DirectiveRequest,
    MessageRequest,
    SurveyRequest,
    SweepRequest,
)

#: Octets that a request may have: NAMES_LIMIT names of queues.
BODY_LIMIT: Final = 4 * 1024 * 1024
Endpoint = Callable[[Request], Awaitable[Response]]
Asked = TypeVar("Asked")
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def order_endpoints(desk: ControlDesk) -> Mapping[tuple[str, str], Endpoint]:
    """The endpoints, by method and path; a path may have parameters."""

    async def listing(_: Request) -> object:
        return desk.orders()

    async def give(request: Request) -> object:
        return await desk.give(await _body(request, DirectiveRequest), author_of(request))

    async def cancel(request: Request) -> object:
        return await desk.cancel(request.path_params["id"], author_of(request))

    async def sweep(request: Request) -> object:
        return await desk.sweep(await _body(request, SweepRequest), author_of(request))

    async def survey(request: Request) -> object:
        return await desk.survey(await _body(request, SurveyRequest))

    async def explain_queue(request: Request) -> object:
        return await desk.explain_queue(_parameter(request, "queue"))

    async def explain_message(request: Request) -> object:
        return await desk.explain_message(request.path_params["id"])

    async def message(request: Request) -> object:
        return await desk.message(request.path_params["id"])

    async def order(request: Request) -> object:
        return await desk.order(await _body(request, MessageRequest), author_of(request))

    async def content(request: Request) -> Response:
        offset = _parameter(request, "offset")
        if not (offset.isascii() and offset.isdigit() and len(offset) < 16):
            raise ControlRefused("offset is a number of octets")
        octets = await desk.content(request.path_params["id"], int(offset))
        return Response(octets, headers={"Content-Type": "application/octet-stream", **_HEADERS})

    return {
        ("GET", "/control/directives/v1"): _answered(listing),
        ("POST", "/control/directives/v1"): _answered(give),
        ("DELETE", "/control/directives/v1/{id}"): _answered(cancel),
        ("POST", "/control/sweeps/v1"): _answered(sweep),
        ("POST", "/control/survey/v1"): _answered(survey),
        ("GET", "/control/explain/v1"): _answered(explain_queue),
        ("POST", "/control/messages/v1"): _answered(order),
        ("GET", "/control/messages/v1/{id}"): _answered(message),
        ("GET", "/control/messages/v1/{id}/explain"): _answered(explain_message),
        ("GET", "/control/messages/v1/{id}/content"): _guarded(content),
    }


def author_of(request: Request) -> str:
    """The name of the user at the other end of the control socket, as the kernel has it; "" where it is not known."""
    uid = request.scope.get("state", {}).get("uid")
    if uid is None:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _answered(decide: Callable[[Request], Awaitable[object]]) -> Endpoint:
    """An endpoint that answers with what ``decide`` gives, as JSON."""

    async def endpoint(request: Request) -> Response:
        content = msgspec.json.encode(await decide(request))
        return Response(content, headers={"Content-Type": "application/json", **_HEADERS})

    return _guarded(endpoint)


def _guarded(endpoint: Endpoint) -> Endpoint:
    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ControlMissing as error:
            raise HTTPException(404, str(error)) from error
        except ControlRefused as error:
            raise HTTPException(400, str(error)) from error

    return guarded


def _parameter(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if value is None:
        raise ControlRefused(f"give {name} in the query")
    return value


async def _body(request: Request, kind: type[Asked]) -> Asked:
    """What was asked for; ControlRefused if it is no ``kind``."""
    octets = bytearray()
    try:
        async for chunk in request.stream():
            octets += chunk
            if len(octets) > BODY_LIMIT:
                raise HTTPException(
                    413, f"a request has at most {BODY_LIMIT} octets", {"Connection": "close"}
                )
    except ClientDisconnect as error:
        raise ControlRefused("the request has ended before its end") from error
    try:
        return msgspec.json.decode(octets, type=kind)
    except msgspec.DecodeError as error:
        raise ControlRefused(f"that is no request of this endpoint: {error}") from error
