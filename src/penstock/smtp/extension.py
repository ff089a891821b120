"""The service extensions of this server, by the keywords of its EHLO reply (RFC 5321 2.2), and what each needs to be offered."""

from __future__ import annotations

from typing import Final

PIPELINING: Final = "PIPELINING"  # RFC 2920
SIZE: Final = "SIZE"  # RFC 1870
EIGHT_BIT: Final = "8BITMIME"  # RFC 6152
SMTPUTF8: Final = "SMTPUTF8"  # RFC 6531
ENHANCED: Final = "ENHANCEDSTATUSCODES"  # RFC 2034
CHUNKING: Final = "CHUNKING"  # RFC 3030
DSN: Final = "DSN"  # RFC 3461
STARTTLS: Final = "STARTTLS"  # RFC 3207; only on a listener that has it, until it is in use
AUTH: Final = (
    "AUTH"  # RFC 4954; only where a policy answers it, and under TLS unless the listener says otherwise
)
XCLIENT: Final = "XCLIENT"  # Postfix's; only to clients that may use it
HELP: Final = "HELP"  # RFC 5321 4.1.1.8

#: What every client is offered.
STANDARD: Final = frozenset((PIPELINING, SIZE, EIGHT_BIT, SMTPUTF8, ENHANCED, CHUNKING, DSN, HELP))
#: All of them, in the order in which they are written.
ORDER: Final = (PIPELINING, SIZE, EIGHT_BIT, SMTPUTF8, ENHANCED, CHUNKING, DSN, STARTTLS, AUTH, XCLIENT, HELP)
