"""The endpoints about queued mail: what they take, what they refuse, and who is said to have asked."""

from __future__ import annotations

import os
import pwd
from typing import Any

import msgspec
import pytest
from starlette.types import ASGIApp

from penstock.api import orders
from penstock.api.app import control_app, public_app
from penstock.mail.configuration import LOOPBACK
from penstock.mail.control import (
    ControlRefused,
    DirectiveRequest,
    Explained,
    Given,
    Listing,
    MessageRequest,
    ShownMessage,
    Surveyed,
    SurveyRequest,
    SweepRequest,
    WrittenCriteria,
)
from penstock.mail.directive import Action, Rebinding, SweepAction
from penstock.mail.duration import Seconds
from penstock.mail.survey import Grouping

from .asgi import Answer, ask
from .fake_desk import CONTENT, ID, MESSAGE, NOW, FakeDesk
from .fake_server import FakeServer

SUSPEND = DirectiveRequest(Action.SUSPEND, WrittenCriteria(tenant="acme"), reason="x", duration=Seconds(60.0))


@pytest.fixture
def desk() -> FakeDesk:
    """A desk of one's own."""
    return FakeDesk()


@pytest.fixture
def app(desk: FakeDesk) -> ASGIApp:
    """The control socket's application."""
    return control_app(FakeServer(), desk)


def post(app: ASGIApp, path: str, content: object, **scope: Any) -> Answer:
    """Ask with a body."""
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    headers = ((b"content-length", str(len(body)).encode()),)
    return ask(app, path, method="POST", headers=headers, body=body, client=None, **scope)


def test_a_directive_is_given_listed_and_undone(app: ASGIApp, desk: FakeDesk) -> None:
    """By whom, the kernel knows."""
    author = pwd.getpwuid(os.getuid()).pw_name
    answer = post(app, "/control/directives/v1", SUSPEND, state={"uid": os.getuid()})
    assert answer.status == 200
    given = msgspec.json.decode(answer.body, type=Given)
    assert (given.id, given.expires) == (ID, NOW + 60)
    listed = ask(app, "/control/directives/v1")
    assert msgspec.json.decode(listed.body, type=Listing) == desk.listed
    gone = ask(app, f"/control/directives/v1/{ID}", method="DELETE", state={"uid": 4_000_000_000})
    assert msgspec.json.decode(gone.body, type=Given) == Given(ID)
    assert desk.asked == [
        ("give", SUSPEND, author),
        ("orders", None, ""),
        ("cancel", ID, "uid 4000000000"),
    ]


@pytest.mark.parametrize(
    ("path", "asked", "kind"),
    [
        ("sweeps", SweepRequest(SweepAction.REBIND, rebinding=Rebinding(tenant="x")), Given),
        ("survey", SurveyRequest(by=Grouping.TENANT, limit=3), Surveyed),
        ("messages", MessageRequest(MESSAGE, SweepAction.DELETE, "spam"), ShownMessage),
    ],
)
def test_what_is_posted_reaches_the_desk(
    app: ASGIApp, desk: FakeDesk, path: str, asked: msgspec.Struct, kind: type
) -> None:
    """As it was written."""
    answer = post(app, f"/control/{path}/v1", asked)
    assert answer.status == 200
    msgspec.json.decode(answer.body, type=kind)
    assert desk.asked[0][1] == asked


def test_reasons_are_asked_for_a_queue_or_a_message(app: ASGIApp, desk: FakeDesk) -> None:
    """A queue's name is in the query, for it has signs that a path cannot have."""
    answer = ask(app, "/control/explain/v1?queue=c%3Aacme%40a.test%21b.test")
    assert msgspec.json.decode(answer.body, type=Explained).subject == "c:acme@a.test!b.test"
    answer = ask(app, f"/control/messages/v1/{MESSAGE}/explain")
    assert msgspec.json.decode(answer.body, type=Explained).lanes[0].lane == "1"
    assert ask(app, "/control/explain/v1").json() == {"error": "give queue in the query"}


def test_a_message_is_shown_and_read_in_pieces(app: ASGIApp) -> None:
    """Octet for octet."""
    shown = msgspec.json.decode(ask(app, f"/control/messages/v1/{MESSAGE}").body, type=ShownMessage)
    assert shown.size == len(CONTENT)
    pieces = b""
    while piece := ask(app, f"/control/messages/v1/{MESSAGE}/content?offset={len(pieces)}").body:
        pieces += piece
    assert pieces == CONTENT
    answer = ask(app, f"/control/messages/v1/{MESSAGE}/content?offset=-1")
    assert (answer.status, answer.json()) == (400, {"error": "offset is a number of octets"})


def test_what_there_is_not_is_404(app: ASGIApp) -> None:
    """With what it is."""
    answer = ask(app, f"/control/messages/v1/{ID}")
    assert (answer.status, answer.json()) == (404, {"error": f"there is no queued message {ID}"})


def test_what_is_refused_is_400_with_the_reason(app: ASGIApp, desk: FakeDesk) -> None:
    """Nothing has changed then."""
    desk.refusal = ControlRefused("10000 directives are in force")
    answer = post(app, "/control/directives/v1", SUSPEND)
    assert (answer.status, answer.json()) == (400, {"error": "10000 directives are in force"})


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"action":"smile"}', b'{"action":"suspend","who":"me"}', b"\xff"]
)
def test_what_is_no_request_is_400(app: ASGIApp, desk: FakeDesk, body: bytes) -> None:
    """A key that is not known is refused, never passed over."""
    answer = post(app, "/control/directives/v1", body)
    assert answer.status == 400
    assert answer.json()["error"].startswith("that is no request of this endpoint: ")
    assert desk.asked == []


def test_a_request_is_bounded(app: ASGIApp, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says of its length."""
    monkeypatch.setattr(orders, "BODY_LIMIT", 10)
    answer = post(app, "/control/directives/v1", SUSPEND)
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert desk.asked == []


def test_bodies_are_for_those_who_take_them(app: ASGIApp) -> None:
    """Others refuse them before they are read."""
    field = ((b"content-length", b"5"),)
    for method, path in (
        ("GET", "/control/directives/v1"),
        ("POST", "/control/status/v1"),
        ("DELETE", f"/control/directives/v1/{ID}"),
    ):
        assert ask(app, path, method=method, headers=field).status == 413


def test_orders_are_not_for_the_public(desk: FakeDesk) -> None:
    """A listener knows none of these paths."""
    server = FakeServer()
    app = public_app(server, server, LOOPBACK)
    for path in ("/control/directives/v1", "/control/survey/v1", f"/control/messages/v1/{ID}"):
        assert ask(app, path).status == 404
        assert ask(app, path, method="POST").status == 404
