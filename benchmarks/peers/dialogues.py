"""Dialogues that ``openssl s_client`` and ``swaks`` lead with Penstock, each with what must be said, and what arrives by it."""

from __future__ import annotations

import re
import shlex
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from benchmarks.capture import Capture
from benchmarks.messages import without_received
from benchmarks.peers.certificates import make_certificate
from benchmarks.peers.way import LOGIN, NAMES, POLICY
from benchmarks.processes import ProgramFaultError, find_program, free_port
from benchmarks.product import Penstock, Settings

#: The networks that XCLIENT and PROXY may name, and only they relay without AUTH: mail that is accepted shows that the name was believed.
BELIEVED: Final = "192.0.2.0/24"
LISTENERS: Final = """\
relay_hosts = []
tls_certificate = "{certificate.chain}"
tls_private_key = "{certificate.key}"
[[listener.smtp]]
listen = ["127.0.0.1:{implicit}"]
relay_hosts = []
tls = "implicit"
tls_certificate = "{certificate.chain}"
tls_private_key = "{certificate.key}"
[[listener.smtp]]
listen = ["127.0.0.1:{xclient}"]
relay_hosts = ["{believed}"]
allow_xclient = ["127.0.0.1"]
tls = "off"
[[listener.smtp]]
listen = ["127.0.0.1:{proxy}"]
relay_hosts = ["{believed}"]
allow_proxy = ["127.0.0.1"]
require_proxy_protocol = true
tls = "off"
"""
COMMANDS: Final = {
    "openssl": "openssl s_client -connect 127.0.0.1:{port} -crlf -nocommands -ign_eof",
    "swaks": "swaks --server 127.0.0.1 --port {port} --ehlo source.test --timeout 10 --from sender@source.test --to user@d1.test",
}
SECONDS: Final = 20.0


class Case(NamedTuple):
    """A dialogue: a program's ``options`` for one of the listeners; ``{folder}`` in them is where the certificate is.

    ``says`` are patterns of what it must print, ``received`` one of the Received field of the message that must arrive, None if none may.
    ``before`` are the options of a run before it, of which nothing is asked.
    """

    name: str
    program: str
    listener: str
    options: str
    says: tuple[str, ...] = ()
    received: str | None = None
    succeeds: bool = True
    before: str = ""


_TRUST: Final = "-CAfile {folder}/authority.pem -verify_hostname mta.test -verify_return_error"
_STARTTLS: Final = f"-starttls smtp -name source.test {_TRUST}"
_OLD: Final = "-cipher DEFAULT@SECLEVEL=0"
_OLD_IS_REFUSED: Final = ("alert protocol version",)
_VERIFY: Final = "--tls-verify --tls-ca-path {folder}/authority.pem"
_USER: Final = f"--auth-user {LOGIN.name} --auth-password {shlex.quote(LOGIN.password)}"
_PROXIED: Final = (
    "--proxy-source 192.0.2.8 --proxy-source-port 4711 --proxy-dest 127.0.0.1 --proxy-dest-port 25"
)

CASES: Final = (
    Case("STARTTLS", "openssl", "starttls", _STARTTLS, ("Verification: OK", "peername: mta.test", "New, TLSv1.3", "221 ")),
    Case("implicit TLS", "openssl", "implicit", _TRUST, ("Verification: OK", "New, TLSv1.3", "220 mta.test", "221 ")),
    Case("TLS 1.2", "openssl", "starttls", f"{_STARTTLS} -tls1_2", ("Verification: OK", "New, TLSv1.2", "221 ")),
    Case("TLS 1.1 is refused", "openssl", "starttls", f"{_STARTTLS} -tls1_1 {_OLD}", _OLD_IS_REFUSED, succeeds=False),
    Case("TLS 1.0 is refused", "openssl", "implicit", f"{_TRUST} -tls1 {_OLD}", _OLD_IS_REFUSED, succeeds=False),
    Case("TLS 1.2 is resumed", "openssl", "implicit", f"{_TRUST} -tls1_2 -reconnect", ("(?s)(Reused, TLSv1.2.*){5}",)),
    Case(
        "TLS 1.3 is resumed", "openssl", "starttls", f"{_STARTTLS} -sess_in {{folder}}/session",
        ("Reused, TLSv1.3", "221 "), before=f"{_STARTTLS} -sess_out {{folder}}/session",
    ),
    Case("AUTH PLAIN", "swaks", "starttls", f"--tls {_VERIFY} --auth PLAIN {_USER}", received="with ESMTPSA "),
    Case("AUTH LOGIN", "swaks", "starttls", f"--tls {_VERIFY} --auth LOGIN {_USER}", received="with ESMTPSA "),
    Case("AUTH, implicit TLS", "swaks", "implicit", f"--tlsc {_VERIFY} --auth PLAIN {_USER}", received="with ESMTPSA "),
    Case("pipelined", "swaks", "starttls", f"--tls --pipeline --auth PLAIN {_USER}", received="with ESMTPSA "),
    Case(
        "a wrong password is refused", "swaks", "starttls", f"--tls --auth PLAIN {_USER} --auth-password wrong",
        ("535 5.7.8",), succeeds=False,
    ),
    Case(
        "AUTH is not offered in the clear", "swaks", "starttls", f"--auth PLAIN {_USER}",
        ("did not advertise auth",), succeeds=False,
    ),
    Case("nobody relays without AUTH", "swaks", "starttls", "--tls", ("550 5.7.1",), succeeds=False),
    Case(
        "XCLIENT", "swaks", "xclient", "--xclient-addr 192.0.2.7 --xclient-port 4711",
        received=r"\(\[192\.0\.2\.7\]\)",
    ),
    Case(
        "XCLIENT does not make a stranger trusted", "swaks", "xclient", "--xclient-addr 198.51.100.7",
        ("550 5.7.1",), succeeds=False,
    ),
    Case(
        "PROXY, version 1", "swaks", "proxy", f"--proxy-version 1 --proxy-family TCP4 {_PROXIED}",
        received=r"\(\[192\.0\.2\.8\]\)",
    ),
    Case(
        "PROXY, version 2", "swaks", "proxy", f"--proxy-version 2 --proxy-family AF_INET {_PROXIED}",
        received=r"\(\[192\.0\.2\.8\]\)",
    ),
    Case("PROXY is required", "swaks", "proxy", "--timeout 1", succeeds=False),
)  # fmt: skip


class Dialogues:
    """Penstock with a listener for each, before a server that keeps what arrives; as a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        certificate = make_certificate(self._folder, *NAMES)
        policy = self._folder / "policy.py"
        policy.write_text(POLICY)
        self._ports = {name: free_port() for name in ("implicit", "xclient", "proxy")}
        settings = Settings(
            node=f'policy = "{policy}"\n',
            listener=LISTENERS.format(certificate=certificate, believed=BELIEVED, **self._ports),
        )
        with ExitStack() as stack:
            self._capture = stack.enter_context(Capture())
            penstock = stack.enter_context(
                Penstock(self._folder / "penstock", self._capture.port, settings=settings)
            )
            self._ports["starttls"] = penstock.port
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def fault(self, case: Case) -> str:
        """Lead a dialogue; what was wrong with it, with its transcript, or nothing."""
        if case.before:
            self._run(case._replace(options=case.before))
        done = self._run(case)
        wrong = [f"{pattern!r} was not said" for pattern in case.says if not re.search(pattern, done.stdout)]
        if (done.returncode == 0) != case.succeeds:
            wrong.append(f"it ended with status {done.returncode}")
        try:
            wrong += self._judge(case.received, 0.0 if wrong else SECONDS)
        except ProgramFaultError as late:
            wrong.append(str(late))
        return "; ".join([*wrong, f"it said: {done.stdout[-2000:]}"]) if wrong else ""

    def _run(self, case: Case) -> subprocess.CompletedProcess[str]:
        command = COMMANDS[case.program].format(port=self._ports[case.listener])
        argv = shlex.split(f"{command} {case.options.format(folder=self._folder)}")
        try:
            return subprocess.run(
                [find_program(argv[0]), *argv[1:]],
                input="QUIT\n",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise ProgramFaultError(
                f"{case.program} did not end within {SECONDS:g} s: {late.output!r}"
            ) from late

    def _judge(self, received: str | None, seconds: float) -> list[str]:
        if received is not None:
            self._capture.wait_for_recipients(1, seconds)
        fields = [without_received(captured.message)[0].decode() for captured in self._capture.take()]
        if received is None:
            return [f"a message arrived: {field}" for field in fields]
        return [f"its Received field is {field!r}" for field in fields if not re.search(received, field)]
