"""What lanes and the supervisor say to each other about who takes how much of the server (``ingress.doors``). All words are notes."""

from __future__ import annotations

import msgspec


class Takings(msgspec.Struct, frozen=True, array_like=True):
    """By client and by tenant: connections and octets under way; by tenant, octets queued. Those who take little are left out."""

    client_connections: dict[str, int] = {}
    client_octets: dict[str, int] = {}
    tenant_connections: dict[str, int] = {}
    tenant_octets: dict[str, int] = {}
    queued: dict[str, int] = {}


class SupervisorDoorsTell(msgspec.Struct, frozen=True, array_like=True):
    """What is taken of this lane."""

    here: Takings


class LaneDoorsTell(msgspec.Struct, frozen=True, array_like=True):
    """What is taken of all other lanes together."""

    elsewhere: Takings
