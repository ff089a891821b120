"""The endpoints, as ASGI applications: a public one for each HTTP listener, and one for the control socket.

Who may ask what: liveness anyone; metrics the listener's ``trusted_hosts`` alone, by the address of the connection and no header; the
control socket whoever may open it, which is the server's own user and root. No endpoint takes a body: a request with one is refused
before anything is read. Every answer but the metrics' text is JSON, an error as ``{"error": "..."}``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from penstock.api.exposition import TEXT_TYPE, to_json, to_text
from penstock.api.ports import Liveness, MetricsSource, StatusSource
from penstock.mail.network import Network, is_within

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_Endpoint = Callable[[Request], Awaitable[Response]]


def public_app(liveness_of: Liveness, metrics: MetricsSource, trusted_hosts: Sequence[Network]) -> ASGIApp:
    """``GET /api/check-liveness/v1``; ``GET /metrics`` and ``GET /metrics.json``, each with ``?prefix=``, for ``trusted_hosts``."""

    async def liveness(_: Request) -> Response:
        fault = liveness_of.fault()
        if fault is None:
            return _json({"status": "ok"})
        return _json({"status": "unavailable", "reason": fault}, 503)

    async def text(request: Request) -> Response:
        _require_trusted(request, trusted_hosts)
        content = to_text(await metrics.snapshot(), request.query_params.get("prefix", ""))
        return Response(content, headers={"Content-Type": TEXT_TYPE, **_HEADERS})

    async def json(request: Request) -> Response:
        _require_trusted(request, trusted_hosts)
        return _json(to_json(await metrics.snapshot(), request.query_params.get("prefix", "")))

    return _app({"/api/check-liveness/v1": liveness, "/metrics": text, "/metrics.json": json})


def control_app(status: StatusSource) -> ASGIApp:
    """``GET /control/status/v1``: the whole ``Status``."""

    async def status_now(_: Request) -> Response:
        return _json(await status.status())

    return _app({"/control/status/v1": status_now})


def _app(endpoints: dict[str, _Endpoint]) -> ASGIApp:
    app = Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()],
        exception_handlers={HTTPException: _refusal, Exception: _failure},
    )
    app.router.redirect_slashes = False  # a redirect would repeat the Host field, which is the client's word
    return _without_bodies(app)


def _without_bodies(app: ASGIApp) -> ASGIApp:
    refusal = _json({"error": "this endpoint takes no body"}, 413)
    refusal.headers["Connection"] = "close"

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 "))
            for name, value in scope["headers"]
        ):
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


def _require_trusted(request: Request, trusted_hosts: Sequence[Network]) -> None:
    """403 unless the peer of the connection is in ``trusted_hosts``. IPv4 through an IPv6 socket counts as IPv4."""
    if not is_within(request.client.host if request.client else "", trusted_hosts):
        raise HTTPException(403, "metrics are for the trusted_hosts of this listener")


def _json(content: object, status_code: int = 200) -> Response:
    headers = {"Content-Type": "application/json", **_HEADERS}
    return Response(msgspec.json.encode(content), status_code, headers)


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # it is registered for these alone
    response = _json({"error": error.detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _failure(_: Request, error: Exception) -> Response:
    # Starlette raises the error again after this is sent, and uvicorn logs it: the cause stays private
    return _json({"error": "internal error"}, 500)
