"""The endpoints, as ASGI applications: a public one for each HTTP listener, and one for the control socket.

Who may ask what: liveness anyone; metrics the listener's ``trusted_hosts`` alone, by the address of the connection and no header; the
control socket whoever may open it, which is the server's own user and root. An endpoint that takes no body refuses a request with one
before anything is read. Every answer but the metrics' text is JSON, an error as ``{"error": "..."}``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from penstock.api.exposition import TEXT_TYPE, to_json, to_text
from penstock.api.orders import Endpoint, order_endpoints
from penstock.api.ports import ControlDesk, Liveness, MetricsSource, StatusSource
from penstock.mail.network import Network, is_within

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


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

    gets = {"/api/check-liveness/v1": liveness, "/metrics": text, "/metrics.json": json}
    return _app({("GET", path): endpoint for path, endpoint in gets.items()})


def control_app(status: StatusSource, desk: ControlDesk | None = None) -> ASGIApp:
    """``GET /control/status/v1``: the whole ``Status``; and the endpoints of ``orders``, if there is a desk."""

    async def status_now(_: Request) -> Response:
        return _json(await status.status())

    orders = order_endpoints(desk) if desk is not None else {}
    return _app({("GET", "/control/status/v1"): status_now, **orders})


def _app(endpoints: Mapping[tuple[str, str], Endpoint]) -> ASGIApp:
    app = Starlette(
        routes=[Route(path, endpoint, methods=[method]) for (method, path), endpoint in endpoints.items()],
        exception_handlers={HTTPException: _refusal, Exception: _failure},
    )
    app.router.redirect_slashes = False  # a redirect would repeat the Host field, which is the client's word
    return _without_bodies(app, {path for method, path in endpoints if method == "POST"})


def _without_bodies(app: ASGIApp, with_bodies: Collection[str]) -> ASGIApp:
    """Requests with a body are for POST alone, to these paths."""
    refusal = _json({"error": "this endpoint takes no body"}, 413)
    refusal.headers["Connection"] = "close"

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        may_have_body = scope["method"] == "POST" and scope["path"] in with_bodies
        if not may_have_body and any(
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
