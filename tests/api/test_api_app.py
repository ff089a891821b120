"""The endpoints: what they answer, to whom, and what they refuse."""

from __future__ import annotations

from ipaddress import ip_network

import msgspec
import pytest
from starlette.types import ASGIApp

from penstock.api.app import control_app, public_app
from penstock.mail.configuration import LOOPBACK
from penstock.mail.status import Snapshot, Status

from .asgi import ask
from .fake_server import FakeServer, status


@pytest.fixture
def server() -> FakeServer:
    """A server that is live."""
    return FakeServer()


@pytest.fixture
def app(server: FakeServer) -> ASGIApp:
    """Its public application, metrics for loopback."""
    return public_app(server, server, LOOPBACK)


def test_liveness_is_for_anyone(app: ASGIApp) -> None:
    """200 while the server is live, whoever asks."""
    answer = ask(app, "/api/check-liveness/v1", client="203.0.113.9")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_liveness_says_why_not(app: ASGIApp, server: FakeServer) -> None:
    """503 with the reason while it is not."""
    server.why = "draining"
    answer = ask(app, "/api/check-liveness/v1")
    assert (answer.status, answer.json()) == (503, {"status": "unavailable", "reason": "draining"})


def test_metrics_as_text(app: ASGIApp) -> None:
    """The text format says its version."""
    answer = ask(app, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'connection_count{service="esmtp_listener"} 11\n' in answer.body


def test_metrics_as_json(app: ASGIApp) -> None:
    """The same numbers."""
    assert ask(app, "/metrics.json").json()["connection_count"]["value"]["service"]["esmtp_listener"] == 11


@pytest.mark.parametrize("path", ["/metrics", "/metrics.json"])
def test_prefix_selects_metrics(app: ASGIApp, path: str) -> None:
    """``?prefix=`` keeps the names that begin so; none is no error."""
    assert b"config_epoch" not in ask(app, f"{path}?prefix=dns_mx").body
    assert b"dns_mx_resolve_cache_hit" in ask(app, f"{path}?prefix=dns_mx").body
    assert ask(app, f"{path}?prefix=nothing").status == 200


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_trusted_hosts_may_read_metrics(app: ASGIApp, client: str) -> None:
    """Addresses are compared as addresses, IPv4 through an IPv6 socket too."""
    assert ask(app, "/metrics", client=client).status == 200


@pytest.mark.parametrize(
    "client", ["203.0.113.9", "127.0.0.2", "::2", "fe80::1%eth0", "::ffff:203.0.113.9", "", "x", None]
)
@pytest.mark.parametrize("path", ["/metrics", "/metrics.json"])
def test_others_may_not_read_metrics(app: ASGIApp, client: str | None, path: str) -> None:
    """403, and not a number in it."""
    answer = ask(app, path, client=client)
    assert answer.status == 403
    assert answer.json() == {"error": "metrics are for the trusted_hosts of this listener"}


def test_link_local_address_has_a_zone(server: FakeServer) -> None:
    """The zone that the system adds is no part of the address."""
    app = public_app(server, server, [ip_network("fe80::/10")])
    assert ask(app, "/metrics", client="fe80::1%eth0").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/metrics/", "//metrics", "/METRICS", "/control/status/v1", "/../metrics"]
)
def test_other_paths_are_not_found(app: ASGIApp, path: str) -> None:
    """404 as JSON, no redirect; the control socket's paths are not public."""
    answer = ask(app, path)
    assert (answer.status, answer.json()) == (404, {"error": "Not Found"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"])
def test_other_methods_are_not_allowed(app: ASGIApp, method: str) -> None:
    """405 says what is."""
    answer = ask(app, "/metrics", method=method)
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


def test_head_is_get_without_the_content(app: ASGIApp) -> None:
    """RFC 9110 9.3.2."""
    assert ask(app, "/metrics", method="HEAD").status == 200


BODIES = [(b"content-length", b"1"), (b"content-length", b"00010"), (b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize("field", BODIES, ids=str)
def test_body_is_refused_before_it_is_read(app: ASGIApp, field: tuple[bytes, bytes]) -> None:
    """413, and the connection ends with it, whoever asks for whatever."""
    answer = ask(app, "/nothing", method="POST", headers=(field,))
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


def test_empty_body_is_none(app: ASGIApp) -> None:
    """Some clients announce that they send nothing."""
    headers = ((b"content-length", b"0"),)
    assert ask(app, "/api/check-liveness/v1", headers=headers).status == 200


def test_error_of_ours_tells_nothing() -> None:
    """500 as JSON; the cause goes to our log, not to the client."""

    class Broken(FakeServer):
        async def snapshot(self) -> Snapshot:
            raise RuntimeError("secret")

    app = public_app(Broken(), Broken(), LOOPBACK)
    with pytest.raises(RuntimeError, match="secret"):
        ask(app, "/metrics")


def test_status_over_the_control_socket(server: FakeServer) -> None:
    """The whole status, in a form that can be read back; the socket's client has no address."""
    answer = ask(control_app(server), "/control/status/v1", client=None)
    assert answer.status == 200
    assert msgspec.json.decode(answer.body, type=Status) == status()


def test_control_socket_has_no_public_paths(server: FakeServer) -> None:
    """Each application has its own."""
    assert ask(control_app(server), "/metrics", client=None).status == 404
