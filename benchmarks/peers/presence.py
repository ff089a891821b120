"""Whether the peers are on this machine and may be started here; if not, why, and how to get them."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.processes import MissingProgramError, find_program

REMEDY: Final = "on Debian, run '.ci/peers' as root"
#: What it unpacks, and what it installs that a program of another name needs.
PACKAGES: Final = ("exim4-daemon-light", "opensmtpd", "sasl2-bin")
PERL_MODULE: Final = "Net::SSLeay"
#: Options of unshare(1) for an enclosure.
NAMESPACES: Final = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")


def unpacked(package: str) -> Path:
    """Where the files of a package are; MissingProgramError says how to get them."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = Path(os.environ.get("PENSTOCK_PEERS") or Path(cache) / "penstock-peers") / package
    if not place.is_dir():
        raise MissingProgramError(f"{package} is not in {place.parent}; {REMEDY}")
    return place


@functools.cache
def check_peers() -> None:
    """MissingProgramError if one of the servers or of the programs that try Penstock is not here, or may not be started."""
    check_privilege()
    for program in ("postfix", "swaks", "openssl"):
        find_program(program)
    for package in PACKAGES:
        unpacked(package)
    if _complaint(["perl", f"-M{PERL_MODULE}", "-e1"]):
        raise MissingProgramError(f"swaks has no TLS, for want of Perl's {PERL_MODULE}; {REMEDY}")


@functools.cache
def check_privilege() -> None:
    """MissingProgramError if we may not start servers that need root, or may not make namespaces."""
    if os.geteuid() != 0:
        raise MissingProgramError(
            "mail servers of Debian run as root only: be root, in a container of its own if you like"
        )
    if why := _complaint(["unshare", *NAMESPACES, "true"]):
        raise MissingProgramError(f"no namespaces here ({why}): a container needs the capability SYS_ADMIN")


def _complaint(argv: Sequence[str]) -> str:
    """What a program that should succeed says if it does not; nothing if it does."""
    tried = subprocess.run(
        [find_program(argv[0]), *argv[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    return tried.stderr.decode(errors="replace").strip() or "it failed" if tried.returncode else ""
