"""A private OpenSMTPD that relays everything to one next hop: Debian's opensmtpd, in an enclosure.

It has no SMTPUTF8, no CHUNKING and no PIPELINING, and its client sends 8-bit data without the BODY parameter (7.4).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar, Final

from benchmarks.peers.enclosure import INSIDE, EnclosedPeer
from benchmarks.peers.peer import Patterns, Use
from benchmarks.processes import LOOPBACK, find_program

#: Where its configuration and keys are, seen from within.
ETC: Final = Path("/var/lib/smtpd")
BINARY: Final = INSIDE / "usr/sbin/smtpd"

CONFIGURATION: Final = """\
smtp max-message-size 50M
{tables}
listen on {address} port {port} hostname opensmtpd.test {door}
action "hop" relay helo opensmtpd.test host {hop}
match {match} from any for any action "hop"
"""


class OpenSmtpd(EnclosedPeer):
    """A running OpenSMTPD, as a context; ``folder`` must be empty."""

    name: ClassVar[str] = "OpenSMTPD"
    package: ClassVar[str] = "opensmtpd"
    users: ClassVar[tuple[str, ...]] = ("opensmtpd", "opensmtpq")
    takes: ClassVar[frozenset[Use]] = frozenset({Use.TLS, Use.AUTH, Use.EIGHT_BIT, Use.DSN})
    gives: ClassVar[frozenset[Use]] = frozenset({Use.TLS, Use.AUTH, Use.DSN})
    incoming: ClassVar[Patterns] = {
        Use.TLS: re.compile(r" smtp tls ciphers=TLSv1\.[23]:"),
        Use.AUTH: re.compile(r" smtp authentication user=\S+ result=ok"),
        Use.EIGHT_BIT: re.compile(r"<<< MAIL FROM:.* BODY=8BITMIME", re.IGNORECASE),
        Use.DSN: re.compile(r"<<< RCPT TO:.* NOTIFY=", re.IGNORECASE),
    }
    outgoing: ClassVar[Patterns] = {
        Use.TLS: re.compile(r" mta tls ciphers=TLSv1\.[23]:"),
        Use.AUTH: re.compile(r">>> AUTH PLAIN"),
        Use.DSN: re.compile(r">>> RCPT TO:.* NOTIFY=", re.IGNORECASE),
    }

    def _prepare(self) -> list[str]:
        etc, spool = self._folder / "lib" / ETC.name, self._folder / "spool/smtpd"
        (self._folder / "lib/opensmtpd/empty").mkdir(parents=True)
        etc.mkdir(parents=True)
        spool.mkdir(parents=True)
        spool.chmod(0o711)
        if self._door.certificate is not None:
            shutil.copy(self._door.certificate.chain, etc / "chain.pem")
            shutil.copy(self._door.certificate.key, etc / "key.pem")
        # its client has no option for whom to trust: it is always this file
        trusted = self._hop.authority.read_bytes() if self._hop.authority else b""
        (self._folder / "certs").mkdir()
        (self._folder / "certs/ca-certificates.crt").write_bytes(trusted)
        (etc / "smtpd.conf").write_text(self._configuration())
        # with its dialogues as server and as client
        return [str(BINARY), "-d", "-v", "-T", "smtp", "-T", "mta", "-f", str(ETC / "smtpd.conf")]

    def _configuration(self) -> str:
        door, hop = self._door, self._hop
        tables = ""
        if door.certificate:
            tables += f'pki ours cert "{ETC}/chain.pem"\npki ours key "{ETC}/key.pem"\n'
        if door.login:
            tables += f'table logins {{ "{door.login.name}" = "{_hashed(door.login.password)}" }}\n'
        if hop.login:
            tables += f'table secrets {{ "hop" = "{hop.login.name}:{hop.login.password}" }}\n'
        return CONFIGURATION.format(
            tables=tables,
            address=LOOPBACK,
            port=self.port,
            door=("tls-require pki ours " if door.certificate else "")
            + ("auth <logins>" if door.login else ""),
            hop=f'"{"smtp+tls" if hop.authority else "smtp+notls"}://{"hop@" if hop.login else ""}{LOOPBACK}:{hop.port}"'
            + (" auth <secrets>" if hop.login else ""),
            match="auth" if door.login else "",
        )


def _hashed(password: str) -> str:
    """A password as crypt(3) keeps it."""
    done = subprocess.run(
        [find_program("openssl"), "passwd", "-6", "-stdin"],
        input=password.encode(),
        capture_output=True,
        timeout=20,
        check=True,
    )
    return done.stdout.decode().strip()
