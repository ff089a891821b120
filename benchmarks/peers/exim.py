"""A private Exim that relays everything to one next hop: Debian's exim4-daemon-light, in an enclosure.

Its client sends 8-bit data without the BODY parameter (4.96).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import ClassVar, Final

from benchmarks.peers.enclosure import INSIDE, EnclosedPeer, number_of
from benchmarks.peers.peer import Patterns, Use
from benchmarks.processes import LOOPBACK

USER: Final = "Debian-exim"
#: Where its configuration and keys are, seen from within.
ETC: Final = Path("/var/lib/exim4")
BINARY: Final = INSIDE / "usr/sbin/exim4"

CONFIGURATION: Final = """\
primary_hostname = exim.test
exim_path = {binary}
spool_directory = /var/spool/exim4
log_file_path = /var/spool/exim4/log/%slog
pid_file_path = /run/exim.pid
# everything that was used is said in the log: K is CHUNKING, L is PIPELINING, M8S the BODY parameter
log_selector = +all -millisec
write_rejectlog = false
keep_environment =
timezone = UTC
# it is not a set-uid program here, so what delivers is not root; a relay needs no more
deliver_drop_privilege = true
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
disable_ipv6 = true
# nothing is looked up in the DNS
host_lookup =
dns_again_means_nonexist = *
# every message of a session is delivered at once, not only the first ten
smtp_accept_queue_per_connection = 0
# the addresses of one message go on together
remote_max_parallel = 1
message_size_limit = 50M
recipients_max = 10000
allow_utf8_domains = true
dsn_advertise_hosts = *
acl_smtp_mail = accept
acl_smtp_rcpt = relay
{tls}
begin acl
relay:
  {permit}
  deny message = relaying is for those who have authenticated
begin routers
everything:
  driver = manualroute
  domains = *
  transport = hop
  route_list = * 127.0.0.1::{hop_port}
  host_find_failed = defer
  self = send
begin transports
hop:
  driver = smtp
  allow_localhost = true
  hosts_try_chunking = *
{hop}
begin retry
* * F,1h,1s
begin authenticators
{authenticator}
"""
TLS: Final = """\
tls_advertise_hosts = *
tls_certificate = {etc}/chain.pem
tls_privatekey = {etc}/key.pem
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
"""
NO_TLS: Final = """\
tls_advertise_hosts =
auth_advertise_hosts =
"""
HOP_TLS: Final = """\
  hosts_require_tls = *
  tls_verify_certificates = {etc}/hop.pem
  tls_verify_hosts = *
"""
HOP_IN_THE_CLEAR: Final = """\
  hosts_avoid_tls = *
"""
HOP_LOGIN: Final = """\
  hosts_require_auth = *
"""
PLAIN: Final = """\
plain:
  driver = plaintext
  public_name = PLAIN
"""
PLAIN_SERVER: Final = """\
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{login.name}}}}}{{eq{{$auth3}}{{{login.password}}}}}}}}}
  server_set_id = $auth2
"""
PLAIN_CLIENT: Final = """\
  client_send = ^{login.name}^{login.password}
"""


class Exim(EnclosedPeer):
    """A running Exim, as a context; ``folder`` must be empty."""

    name: ClassVar[str] = "Exim"
    package: ClassVar[str] = "exim4-daemon-light"
    users: ClassVar[tuple[str, ...]] = (USER,)
    # chunks go only to who gives enhanced status codes (docs/decisions/0009-client-session.md), and Exim does not
    takes: ClassVar[frozenset[Use]] = frozenset(set(Use) - {Use.BDAT})
    gives: ClassVar[frozenset[Use]] = frozenset(set(Use) - {Use.EIGHT_BIT})
    incoming: ClassVar[Patterns] = {
        Use.TLS: re.compile(r" <= .* X=TLS1\.[23]:"),
        Use.AUTH: re.compile(r" <= .* A=plain:"),
        # "L." is said of clients that do use PIPELINING as well
        Use.EIGHT_BIT: re.compile(r" <= .* M8S=8"),
        Use.UTF8: re.compile(r" <= .* P=utf8"),
    }
    outgoing: ClassVar[Patterns] = {
        Use.TLS: re.compile(r" [=-]> .* X=TLS1\.[23]:.* CV=yes"),
        Use.AUTH: re.compile(r" [=-]> .* A=plain"),
        Use.PIPELINING: re.compile(r" [=-]> .* L "),
        Use.BDAT: re.compile(r" [=-]> .* K "),
    }

    def whole_log(self) -> str:
        """Its main log and its panic log, and what it has said."""
        logs = sorted((self._folder / "spool/exim4/log").glob("*log"))
        return "".join(log.read_text(errors="replace") for log in logs) + super().whole_log()

    def _prepare(self) -> list[str]:
        etc, spool = self._folder / "lib" / ETC.name, self._folder / "spool/exim4"
        etc.mkdir(parents=True)
        spool.mkdir(parents=True)
        number = number_of(self.users, USER)
        os.chown(spool, number, number)
        if self._door.certificate is not None:
            shutil.copy(self._door.certificate.chain, etc / "chain.pem")
            shutil.copy(self._door.certificate.key, etc / "key.pem")
            os.chown(etc / "key.pem", number, number)
        if self._hop.authority is not None:
            shutil.copy(self._hop.authority, etc / "hop.pem")
        (etc / "exim.conf").write_text(self._configuration())
        return [str(BINARY), "-C", str(ETC / "exim.conf"), "-bdf", "-q1h"]

    def _configuration(self) -> str:
        door, hop = self._door, self._hop
        authenticator = PLAIN if door.login or hop.login else ""
        authenticator += PLAIN_SERVER.format(login=door.login) if door.login else ""
        authenticator += PLAIN_CLIENT.format(login=hop.login) if hop.login else ""
        return CONFIGURATION.format(
            binary=BINARY,
            port=self.port,
            tls=TLS.format(etc=ETC) if door.certificate else NO_TLS,
            permit="accept authenticated = *" if door.login else f"accept hosts = {LOOPBACK}",
            hop_port=hop.port,
            hop=(HOP_TLS.format(etc=ETC) if hop.authority else HOP_IN_THE_CLEAR)
            + (HOP_LOGIN if hop.login else ""),
            authenticator=authenticator,
        )
