"""The contexts of listeners: one for each certificate and name, made of the files as they are on disk.

Files are looked at again when a connection asks, at most once a second, and read when their time, size or inode has changed; a connection that
has begun keeps what it began with. A change that cannot be used (half of a pair is replaced, a file is cut short) is logged once, and the
context in force stays in force; the next change is tried again. A new context also has new keys for its session tickets, so that no session
outlives the certificates it was made under.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections import OrderedDict
from pathlib import Path
from typing import Final

from penstock.mail.configuration import SmtpListenerConfig
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.ports import Clock
from penstock.mail.tls import TlsFiles
from penstock.net.tls.client_hello import SMTP_PROTOCOLS
from penstock.net.tls.faults import TlsError
from penstock.net.tls.files import check_certificates
from penstock.net.tls.pair import load_client_authorities, load_pair

LOG = logging.getLogger(__name__)

#: How often a context's files are looked at, at most.
_LOOK_INTERVAL: Final = Seconds(1.0)
#: Contexts kept, the ones longest unused go first. One takes some 20 KB; a policy that makes names up cannot make more.
_KEPT: Final = 256

#: What shows that a file is another one than before: modification and change time (a renamed older file has an old mtime), size, inode.
_Stamp = tuple[int, int, int, int] | None
_Key = tuple[TlsFiles, str]


class _Entry:
    """A context, and what its files looked like when it was made, or when making a newer one last failed."""

    __slots__ = ("context", "looked", "stamps")

    def __init__(self, context: ssl.SSLContext, stamps: tuple[_Stamp, ...], looked: MonotonicTime) -> None:
        self.context = context
        self.stamps = stamps
        self.looked = looked


class ServerContexts:
    """The TLS contexts of all listeners."""

    __slots__ = ("_clock", "_entries")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()

    def context_for(self, config: SmtpListenerConfig) -> ssl.SSLContext:
        """The context of a listener, by its certificate files and name as they are now.

        The same object as long as nothing changes, so that sessions can be resumed. TlsError: the files cannot be used, and never could.
        """
        files = TlsFiles(config.tls_certificate, config.tls_private_key, config.tls_required_client_ca)
        key = (files, config.hostname)
        now = self._clock.monotonic()
        entry = self._entries.get(key)
        if entry is None:
            stamps = _stamps(files)
            entry = _Entry(server_context(files, config.hostname, self._clock.wall()), stamps, now)
            self._entries[key] = entry
            if len(self._entries) > _KEPT:
                self._entries.popitem(last=False)
            return entry.context
        self._entries.move_to_end(key)
        if now - entry.looked >= _LOOK_INTERVAL:
            entry.looked = now
            self._look(entry, files, config.hostname)
        return entry.context

    def _look(self, entry: _Entry, files: TlsFiles, hostname: str) -> None:
        stamps = _stamps(files)
        if stamps == entry.stamps:
            return
        # taken before the files are read: what changes meanwhile is seen the next time
        entry.stamps = stamps
        try:
            entry.context = server_context(files, hostname, self._clock.wall())
        except TlsError as error:
            LOG.error("the changed certificate files are not used, the ones before stay in force: %s", error)
        else:
            LOG.info("certificate files have changed and are used: %s", files.certificate or files.client_ca)


def server_context(files: TlsFiles, hostname: str, now: WallTime) -> ssl.SSLContext:
    """A new context of these files, self-signed for ``hostname`` where no certificate is given; TlsError, naming the file, if one cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(SMTP_PROTOCOLS))
    # one ticket: mail servers that resume, resume one connection after another, and each ticket costs a record in each handshake
    context.num_tickets = 1
    if files.certificate is None:
        _load_self_signed(context, hostname, now)
    try:
        if files.certificate is not None:
            load_pair(context, files.certificate, files.private_key)
        if files.client_ca is not None:
            load_client_authorities(context, files.client_ca)
    except TlsError as error:
        raise TlsError(_in_words(files) or str(error)) from error
    return context


def _in_words(files: TlsFiles) -> str:
    """What ``penstock check`` says of these files; "" if it finds nothing wrong with them any more."""
    return "; ".join(f"{problem.what} ({problem.hint})" for problem in check_certificates([(files, "")]))


def _load_self_signed(context: ssl.SSLContext, hostname: str, now: WallTime) -> None:
    from penstock.net.tls.self_signed import self_signed

    # Python's ssl reads keys from files only. This one is memory, and is never on a disk.
    descriptor = os.memfd_create("penstock-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, self_signed(hostname, now))
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _stamps(files: TlsFiles) -> tuple[_Stamp, ...]:
    return tuple(_stamp(path) for path in (files.certificate, files.private_key, files.client_ca))


def _stamp(path: str | None) -> _Stamp:
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
