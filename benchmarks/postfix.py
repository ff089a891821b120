"""A private Postfix that relays everything to one sink: what Penstock's throughput is measured against.

It is Debian's package with Debian's settings, run from a temporary folder beside any Postfix of the machine. What differs from a fresh
installation, and why, is said beside each setting in ``MAIN_CF`` and ``MASTER_CF``; nothing that decides its speed is touched. Needs root,
because Postfix does.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.cpu import TreeClock
from benchmarks.processes import (
    LOOPBACK,
    MissingProgramError,
    ProgramFaultError,
    find_program,
    free_port,
    greets,
    guard,
    start,
    stop,
    wait_until,
)

#: Debian's main.cf (compatibility_level, banner, biff, append_dot_mydomain, readme_directory, restrictions, mynetworks, limits) and:
MAIN_CF: Final = """\
compatibility_level = 3.6
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
readme_directory = no
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_protocols = all
# differs: its own folders, so that a Postfix of this machine is not touched
queue_directory = {folder}/queue
data_directory = {folder}/data
# differs: Debian logs to syslogd. A test machine may run none, and then Postfix would log nothing; like any production server, it logs
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
# differs: a name that does not depend on the machine
myhostname = postfix.test
# differs: loopback only; nothing leaves the machine
inet_interfaces = 127.0.0.1
# differs: everything goes to the sink, by address (no DNS lookups, which would cost Postfix time), nothing is delivered here
relayhost = [127.0.0.1]:{sink_port}
mydestination =
alias_maps =
alias_database =
# differs: Debian offers and uses TLS where the other side does; nobody does here, and Penstock is measured without it as well
smtpd_tls_security_level = none
smtp_tls_security_level = none
"""
#: Debian's master.cf, as far as a relay uses it. Differs: the SMTP server's address and port, and no chroot (Debian's installation copies
#: libraries and name service files into the queue folder for it; it costs nothing at run time).
MASTER_CF: Final = """\
{address}:{port} inet n - n - - smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


class Postfix:
    """A running Postfix, as a context; ``folder`` must be empty and reachable by the user ``postfix``."""

    def __init__(self, folder: Path, sink_port: int) -> None:
        self.port = free_port()
        self._folder = folder
        self._sink_port = sink_port

    def __enter__(self) -> Self:
        configuration = self._write_configuration()
        checked = subprocess.run(
            [find_program("postfix"), "-c", configuration, "check"],
            capture_output=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if checked.returncode:
            raise ProgramFaultError(f"postfix check: {checked.stderr.decode(errors='replace').strip()}")
        master = Path(self._parameter("daemon_directory")) / "master"
        with (self._folder / "master.stderr").open("wb") as stderr:
            self._process = start([str(master), "-s", "-c", str(configuration)], stderr=stderr)
        self._guardian = guard(self._process)
        try:
            wait_until(lambda: greets(self.port), 20.0, "Postfix to greet", self._process)
        except BaseException:
            self._stop()
            raise
        self.clock = TreeClock(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._guardian.kill()
        self._guardian.communicate()
        stop(self._process, grace=10.0)

    def log(self) -> str:
        """The end of its mail log."""
        log = self._folder / "mail.log"
        return log.read_text(errors="replace")[-600:] if log.exists() else ""

    def _write_configuration(self) -> Path:
        if os.geteuid() != 0:
            raise MissingProgramError(
                "Postfix runs as root only: run this check as root, in a container of its own if you like"
            )
        find_program("postfix")
        self._folder.chmod(0o755)
        configuration = self._folder / "etc"
        configuration.mkdir()
        (configuration / "main.cf").write_text(self._main_cf())
        (configuration / "master.cf").write_text(MASTER_CF.format(address=LOOPBACK, port=self.port))
        for name in ("queue", "data"):
            (self._folder / name).mkdir()
        _give_to(self._folder / "data", "postfix")
        return configuration

    def _main_cf(self) -> str:
        return MAIN_CF.format(folder=self._folder, sink_port=self._sink_port)

    def _parameter(self, name: str) -> str:
        """One of the package's own settings, as built."""
        answer = subprocess.run(
            [find_program("postconf"), "-d", "-h", name],
            capture_output=True,
            timeout=20,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return answer.stdout.decode().strip()


def _give_to(folder: Path, user: str) -> None:
    import pwd  # here: it exists on Unix only, and so does Postfix

    os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
