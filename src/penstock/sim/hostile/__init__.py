"""A server that does at each moment of a session what its script says, however wrong, and at all others what a good server does.

A script names moments, in the order of a session: ``banner``, ``EHLO`` (``LHLO``, ``HELO``), ``STARTTLS``, ``handshake`` (the client's first octets
behind a STARTTLS that was answered and led to no TLS), ``AUTH``, ``MAIL``, ``RCPT``, ``DATA``, ``body`` (the first octets of mail data have come),
``.`` (its end has), ``BDAT`` (a chunk has), ``RSET``, ``NOOP``, ``QUIT``. ``RCPT 2`` is the second of a session, ``tls EHLO`` the one within TLS.
What it does there is a reply line (text), octets, one of the other acts, or several in a row; ``()`` is nothing, not even a reply.

    {"RCPT 2": "550 5.1.1 no such user", ".": (b"25", Move.RESET)}

acts     what can be done
peer     the server without I/O: octets in, acts out                 -> HostilePeer
server   the same on sockets                                         -> HostileServer
"""

from penstock.sim.hostile.acts import Act, Drip, Endless, Move, Script
from penstock.sim.hostile.peer import HostilePeer, Manners
from penstock.sim.hostile.server import HostileServer, HostileSession

__all__ = [
    "Act",
    "Drip",
    "Endless",
    "HostilePeer",
    "HostileServer",
    "HostileSession",
    "Manners",
    "Move",
    "Script",
]
