"""A private Postfix that relays everything to one next hop: Debian's package, run beside any Postfix of the machine.

Its dialogues are logged (``debug_peer_list``). Its users are in a database of Cyrus SASL, made by ``saslpasswd2``, which ``.ci/peers`` unpacks.
Its client has no CHUNKING (3.7).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar, Final

from benchmarks import postfix
from benchmarks.peers.peer import Door, Login, NextHop, Patterns, Use
from benchmarks.peers.presence import check_privilege, unpacked

SASL_PACKAGE: Final = "sasl2-bin"
HOSTNAME: Final = "postfix.test"

#: Added to a relay's main.cf, where the last word counts.
COMMON: Final = """
debug_peer_list = 127.0.0.1
smtpd_tls_loglevel = 1
smtp_tls_loglevel = 1
message_size_limit = 50000000
# loopback is another host: no header field is added to what comes from there
local_header_rewrite_clients =
smtpd_relay_restrictions = {permit}, reject
"""
DOOR_TLS: Final = """\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {folder}/key.pem, {folder}/chain.pem
smtpd_tls_auth_only = yes
"""
DOOR_LOGIN: Final = """\
smtpd_sasl_auth_enable = yes
"""
#: Debian's Postfix looks for smtpd.conf in the folder sasl beside main.cf.
SASL: Final = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN LOGIN
sasldb_path: {folder}/users.db
"""
HOP_TLS: Final = """\
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = mta.test
smtp_tls_CAfile = {folder}/hop.pem
"""
HOP_LOGIN: Final = """\
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = static:{{{login.name}:{login.password}}}
smtp_sasl_security_options = noanonymous
"""
#: A line of a dialogue by a process of Postfix: what it says, what it hears. Lines of several processes are mixed: "process" is which.
_SAID, _HEARD = r"\]: > [^\n]*: ", r"\]: < [^\n]*: "
_PROCESS = r"smtp\[(?P<process>\d+)"
#: Whole lines between, of any process, and of any but that one.
_LINES, _LINES_OF_OTHERS = (
    r"[^\n]*\n(?:[^\n]*\n)*?[^\n]*",
    r"[^\n]*\n(?:(?![^\n]*\[(?P=process)\])[^\n]*\n)*?[^\n]*",
)


class PostfixPeer(postfix.Postfix):
    """A running Postfix, as a context; ``folder`` must be empty and reachable by the user ``postfix``."""

    name: ClassVar[str] = "Postfix"
    takes: ClassVar[frozenset[Use]] = frozenset(Use)
    gives: ClassVar[frozenset[Use]] = frozenset(set(Use) - {Use.BDAT})
    incoming: ClassVar[Patterns] = {
        Use.TLS: re.compile(r"smtpd\[\d+\]: \S+ TLS connection established from [^\n]* TLSv1\.[23] "),
        Use.AUTH: re.compile(r"smtpd\[\d+\]: \w+: client=[^\n]* sasl_method=PLAIN, sasl_username="),
        Use.BDAT: re.compile(r"disconnect from [^\n]* bdat=[1-9]"),
        Use.EIGHT_BIT: re.compile(_HEARD + r"MAIL FROM:[^\n]* BODY=8BITMIME", re.IGNORECASE),
        Use.UTF8: re.compile(_HEARD + r"MAIL FROM:[^\n]* SMTPUTF8", re.IGNORECASE),
        Use.DSN: re.compile(_HEARD + r"RCPT TO:[^\n]* NOTIFY=", re.IGNORECASE),
    }
    outgoing: ClassVar[Patterns] = {
        Use.TLS: re.compile(r"smtp\[\d+\]: Verified TLS connection established to [^\n]* TLSv1\.[23] "),
        Use.AUTH: re.compile(
            _PROCESS + _SAID + r"AUTH PLAIN " + _LINES + r"smtp\[(?P=process)" + _HEARD + r"235 "
        ),
        Use.PIPELINING: re.compile(
            _PROCESS + _SAID + r"MAIL FROM:" + _LINES_OF_OTHERS + r"smtp\[(?P=process)" + _SAID + r"RCPT TO:"
        ),
        Use.EIGHT_BIT: re.compile(_SAID + r"MAIL FROM:[^\n]* BODY=8BITMIME"),
        Use.UTF8: re.compile(_SAID + r"MAIL FROM:[^\n]* SMTPUTF8"),
        Use.DSN: re.compile(_SAID + r"RCPT TO:[^\n]* NOTIFY="),
    }

    def __init__(self, folder: Path, door: Door, hop: NextHop) -> None:
        super().__init__(folder, hop.port)
        self._door = door
        self._hop = hop

    def whole_log(self) -> str:
        """Its mail log, with its dialogues as client and server."""
        log = self._folder / "mail.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _write_configuration(self) -> Path:
        check_privilege()
        if self._door.certificate is not None:
            shutil.copy(self._door.certificate.chain, self._folder / "chain.pem")
            shutil.copy(self._door.certificate.key, self._folder / "key.pem")
        if self._hop.authority is not None:
            shutil.copy(self._hop.authority, self._folder / "hop.pem")
        configuration = super()._write_configuration()
        if self._door.login is not None:
            self._make_users(configuration / "sasl", self._door.login)
        return configuration

    def _main_cf(self) -> str:
        door, hop = self._door, self._hop
        permit = "permit_sasl_authenticated" if door.login else "permit_mynetworks"
        changes = COMMON.format(permit=permit)
        changes += DOOR_TLS if door.certificate else ""
        changes += DOOR_LOGIN if door.login else ""
        changes += HOP_TLS if hop.authority else ""
        changes += HOP_LOGIN if hop.login else ""
        return _merged(super()._main_cf(), changes.format(folder=self._folder, login=hop.login))

    def _make_users(self, folder: Path, login: Login) -> None:
        folder.mkdir()
        users = folder / "users.db"
        (folder / "smtpd.conf").write_text(SASL.format(folder=folder))
        subprocess.run(
            [
                unpacked(SASL_PACKAGE) / "usr/sbin/saslpasswd2",
                "-f",
                users,
                "-c",
                "-p",
                "-u",
                HOSTNAME,
                login.name,
            ],
            input=login.password.encode(),
            capture_output=True,
            timeout=20,
            check=True,
        )
        shutil.chown(users, "postfix")


def _merged(main: str, changes: str) -> str:
    """A main.cf without what is changed, and the changes: Postfix would warn of a parameter that is there twice."""
    changed = {line.partition(" =")[0] for line in changes.splitlines()}
    kept = [line for line in main.splitlines() if line.partition(" =")[0] not in changed]
    return "\n".join([*kept, changes])
