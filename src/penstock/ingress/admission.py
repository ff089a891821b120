"""Whether a client may come in, begin a message, have it taken, or stay, by how much its address and its tenant have taken of the server already.

Clients that are trusted are not counted by their address. Only the one over its limit is refused.
"""

from __future__ import annotations

from typing import Final

from penstock.ingress.client import Client
from penstock.ingress.clients import TOO_MANY_FAILURES, Clients, client_key
from penstock.ingress.desk import Desk
from penstock.ingress.doors import Visit
from penstock.mail.reply import Reply, reply

TOO_MANY_CONNECTIONS: Final = reply(421, "4.7.0", "too many connections from your address; try again later")
_TOO_MUCH: Final = reply(
    452, "4.3.1", "too much mail from your address is on its way in; try again when it has come"
)


def refusal(desk: Desk, client: Client) -> Reply | None:
    """What a client that has just connected is told instead of a greeting; None for one that may come in."""
    if client.terms.is_trusted:
        return None
    config, address = client.terms.config, client.peer_address
    if desk.doors.client_connections.of(client_key(address)) >= config.max_connections_per_client:
        return TOO_MANY_CONNECTIONS
    if not desk.clients.may_fail(address, config.max_failures_per_client):
        return TOO_MANY_FAILURES
    return None


def mail_refusal(desk: Desk, client: Client, visit: Visit, tenant: str | None) -> Reply | None:
    """What a client is told that begins a message, of ``tenant`` as far as that is known; None if it may. 421 ends the connection."""
    limit = client.terms.config.max_bytes_in_flight_per_client
    if not client.terms.is_trusted and visit.other_octets_of_client() >= limit:
        return _TOO_MUCH
    if tenant is None or tenant not in desk.queues.tenants:
        visit.become(None)
        return None
    if visit.tenant != tenant:
        most = desk.queues.options_of(tenant).max_connections
        if desk.doors.tenant_connections.of(tenant) >= most:
            return reply(421, "4.7.0", f"too many connections of tenant {tenant}; try again later")
    visit.become(tenant)
    return message_refusal(desk, visit, tenant, 1)


def message_refusal(desk: Desk, visit: Visit, tenant: str, size: int) -> Reply | None:
    """What is said to a message of so many octets of ``tenant``; None if there is room for it. One at a time always may come in."""
    limits, others = desk.queues.options_of(tenant), visit.other_octets_of(tenant)
    if others and others + size > limits.max_bytes_in_flight:
        return reply(
            452, "4.3.1", f"too much mail of tenant {tenant} is on its way in; try again when it has come"
        )
    if desk.doors.queued(tenant) + size > limits.max_queued_bytes:
        return reply(
            452, "4.3.1", f"the queues of tenant {tenant} are full; try again when mail has been delivered"
        )
    return None


def is_over(desk: Desk, client: Client, visit: Visit, octets: int) -> bool:
    """Whether the mail data that is coming in, so many octets, must be dropped. A message that comes alone never is."""
    config = client.terms.config
    others = visit.other_octets_of_client()
    if not client.terms.is_trusted and others and others + octets > config.max_bytes_in_flight_per_client:
        return True
    if visit.tenant is None:
        return False
    others = visit.other_octets_of(visit.tenant)
    return others > 0 and others + octets > desk.queues.options_of(visit.tenant).max_bytes_in_flight


def dismissal(clients: Clients, client: Client, refused: int) -> Reply | None:
    """What a client is sent away with that was refused so many things more; None for one that may stay."""
    if client.terms.is_trusted:
        return None
    rate = client.terms.config.max_failures_per_client
    for _ in range(refused):
        clients.failed(client.peer_address, rate)
    return None if clients.may_fail(client.peer_address, rate) else TOO_MANY_FAILURES
