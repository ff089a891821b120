"""Whether a client may come in, or stay, by how much its address has taken of the server already. Clients that are trusted are not counted."""

from __future__ import annotations

from penstock.ingress.client import Client
from penstock.ingress.clients import TOO_MANY_CONNECTIONS, TOO_MANY_FAILURES, Clients
from penstock.mail.reply import Reply


def refusal(clients: Clients, client: Client) -> Reply | None:
    """What a client that has just connected is told instead of a greeting; None for one that may come in."""
    if client.terms.is_trusted:
        return None
    config, address = client.terms.config, client.peer_address
    if clients.connections(address) >= config.max_connections_per_client:
        return TOO_MANY_CONNECTIONS
    if not clients.may_fail(address, config.max_failures_per_client):
        return TOO_MANY_FAILURES
    return None


def dismissal(clients: Clients, client: Client, refused: int) -> Reply | None:
    """What a client is sent away with that was refused so many things more; None for one that may stay."""
    if client.terms.is_trusted:
        return None
    rate = client.terms.config.max_failures_per_client
    for _ in range(refused):
        clients.failed(client.peer_address, rate)
    return None if clients.may_fail(client.peer_address, rate) else TOO_MANY_FAILURES
