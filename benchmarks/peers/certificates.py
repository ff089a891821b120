"""Certificates as servers want them: in files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import LOOPBACK
from penstock.sim.certificates import Authority


class Certificate(NamedTuple):
    """Files in PEM: the certificate and its key, and the authority that a client trusts it by."""

    chain: Path
    key: Path
    authority: Path


def make_certificate(folder: Path, *names: str) -> Certificate:
    """A certificate for these host names and for loopback's address, by an authority of its own; ``folder`` gets the files."""
    authority = Authority()
    chain, key = authority.issue(*names, LOOPBACK).write(folder)
    trusted = folder / "authority.pem"
    trusted.write_bytes(authority.pem)
    return Certificate(chain, key, trusted)
