"""Ways that letters go: through a peer to Penstock, or through Penstock to a peer; at their end is a server that keeps every octet.

With TLS and AUTH what was used is read from the peer's log and Penstock's events; in the clear a tap between the two has it as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.capture import Capture
from benchmarks.peers.certificates import Certificate, make_certificate
from benchmarks.peers.letters import LETTER_DOMAINS, Letter, arrived, faults, post
from benchmarks.peers.peer import Door, Login, NextHop, Peer, Use, uses
from benchmarks.peers.tap import Tap
from benchmarks.processes import ProgramFaultError, wait_until
from benchmarks.product import Penstock, Settings

LOGIN: Final = Login("penstock", "open sesame")
#: What a session in the clear may use.
CLEAR: Final = frozenset(Use) - {Use.TLS, Use.AUTH}
#: What events have to say of mail that came, or went, with TLS and AUTH.
RECEIVED: Final = "ESMTPSA TLSv1.3"
DELIVERED: Final = RECEIVED
#: The name by which peers know Penstock, and those by which it knows them.
NAMES: Final = ("mta.test", *(f"mx.{domain}" for domain in LETTER_DOMAINS))
POLICY: Final = f"""\
async def on_auth(session, credentials):
    return credentials.authentication_id == {LOGIN.name!r} and credentials.password == {LOGIN.password!r}
"""


class Found(NamedTuple):
    """What became of the letters: faults, at best none; what was used according to the peer's log, and to the tap.

    ``events`` are protocol and TLS version as Penstock's events have them, such as ``ESMTPSA TLSv1.3``, once each.
    """

    faults: list[str]
    logged: set[Use]
    tapped: set[Use]
    events: set[str]


def through_peer(kind: type[Peer], folder: Path, letters: Sequence[Letter], *, secure: bool) -> Found:
    """The peer is Penstock's client. ``secure``: it has to authenticate, and does so under TLS with a certificate that it verifies."""
    places = _places(folder)
    certificate = make_certificate(folder, *NAMES)
    settings = _listener(folder, certificate) if secure else Settings()
    with ExitStack() as stack:
        capture = stack.enter_context(Capture([b"DSN"]))
        penstock = stack.enter_context(
            Penstock(places["penstock"], capture.port, domains=LETTER_DOMAINS, settings=settings)
        )
        tap = None if secure else stack.enter_context(Tap(penstock.port))
        hop = NextHop(tap.port) if tap else NextHop(penstock.port, certificate.authority, LOGIN)
        peer = stack.enter_context(kind(places["peer"], Door(), hop))
        wrong = _carry(peer.port, letters, capture, {Use.EIGHT_BIT} | kind.gives, peer)
        _stop(penstock)
        logged = uses(peer.whole_log(), kind.outgoing)
        tapped = tap.uses() if tap else set()
        return Found(wrong, logged, tapped, _protocols(penstock, "Reception", "reception_protocol"))


def through_penstock(kind: type[Peer], folder: Path, letters: Sequence[Letter], *, secure: bool) -> Found:
    """The peer is the server behind Penstock. ``secure``: Penstock has to authenticate, under TLS with a certificate that it verifies."""
    places = _places(folder)
    certificate = make_certificate(folder, *NAMES)
    settings = _path(certificate) if secure else Settings()
    with ExitStack() as stack:
        capture = stack.enter_context(Capture([b"DSN"]))
        door = Door(certificate, LOGIN) if secure else Door()
        peer = stack.enter_context(kind(places["peer"], door, NextHop(capture.port)))
        tap = None if secure else stack.enter_context(Tap(peer.port))
        penstock = stack.enter_context(
            Penstock(places["penstock"], (tap or peer).port, domains=LETTER_DOMAINS, settings=settings)
        )
        wrong = _carry(penstock.port, letters, capture, set(kind.takes & kind.gives), peer)
        _stop(penstock)
        logged = uses(peer.whole_log(), kind.incoming)
        tapped = tap.uses() if tap else set()
        return Found(wrong, logged, tapped, _protocols(penstock, "Delivery", "delivery_protocol"))


def refused(kind: type[Peer], folder: Path, letter: Letter) -> list[str]:
    """Enhanced status codes of the bounces that Penstock makes of a letter that the peer behind it cannot take; what arrived is one too many."""
    places = _places(folder)
    with (
        Capture() as capture,
        kind(places["peer"], Door(), NextHop(capture.port)) as peer,
        Penstock(places["penstock"], peer.port, domains=LETTER_DOMAINS) as penstock,
    ):
        post(penstock.port, [letter])
        bounces = wait_until(
            lambda: [event for event in penstock.events() if event["type"] == "Bounce"], 20.0, "a bounce"
        )
        codes = [event["response"]["enhanced_code"] for event in bounces]
        found = [f"{code['class']}.{code['subject']}.{code['detail']}" for code in codes]
        return found + ["arrived"] * len(capture.take())


def _carry(
    port: int, letters: Sequence[Letter], capture: Capture, carried: set[Use], peer: Peer
) -> list[str]:
    """Send the letters and judge what arrives; what does not come is a fault, with the end of the peer's log."""
    post(port, letters)
    try:
        found = arrived(capture, letters)
    except ProgramFaultError as late:
        return [
            f"{late}; the peer's last words: {peer.whole_log()[-1500:]}",
            *faults(letters, capture.take(), carried),
        ]
    return faults(letters, found, carried)


def _protocols(penstock: Penstock, kind: str, field: str) -> set[str]:
    events = [event for event in penstock.events() if event["type"] == kind]
    return {f"{event[field]} {event.get('tls_protocol_version', 'in the clear')}" for event in events}


def _stop(penstock: Penstock) -> None:
    """End Penstock, so that its event log is whole."""
    status = penstock.stop()
    if status:
        raise ProgramFaultError(f"Penstock stopped with status {status}: {penstock.log()[-1000:]}")


def _places(folder: Path) -> dict[str, Path]:
    """Folders for the two servers; peers have users of their own, who must be able to get there."""
    folder.chmod(0o755)
    places = {name: folder / name for name in ("peer", "penstock")}
    for place in places.values():
        place.mkdir()
    return places


def _listener(folder: Path, certificate: Certificate) -> Settings:
    """Only who authenticates may relay, and only under TLS."""
    policy = folder / "policy.py"
    policy.write_text(POLICY)
    return Settings(
        node=f'policy = "{policy}"\n',
        listener=f'relay_hosts = []\ntls_certificate = "{certificate.chain}"\ntls_private_key = "{certificate.key}"\n',
    )


def _path(certificate: Certificate) -> Settings:
    """Mail goes out only over TLS to a host whose certificate is verified, after AUTH."""
    return Settings(
        node=f'tls_ca_file = "{certificate.authority}"\n',
        path=f'enable_tls = "Required"\nsmtp_auth_plain_username = "{LOGIN.name}"\nsmtp_auth_plain_password = "{LOGIN.password}"\n',
    )
