"""The mail servers that Penstock is tried with."""

from __future__ import annotations

from typing import Final

from benchmarks.peers.exim import Exim
from benchmarks.peers.opensmtpd import OpenSmtpd
from benchmarks.peers.peer import Peer
from benchmarks.peers.postfix import PostfixPeer

KINDS: Final[tuple[type[Peer], ...]] = (PostfixPeer, Exim, OpenSmtpd)
