"""What the files and folders of a spool are called (``docs/spool-format.md``, "Files")."""

from __future__ import annotations

import re
from typing import Final

from penstock.spool.frame import Identity

SEGMENTS: Final = "segments"
BODIES: Final = "bodies"
QUARANTINE: Final = "quarantine"

_SEGMENT: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})\.segment")
_BODY: Final = re.compile(r"[0-9a-z][0-9a-z-]{0,63}")


def segment_path(identity: Identity) -> str:
    """The path of a segment: its number and its salt, so that its frames can be read when its header cannot."""
    return f"{SEGMENTS}/{identity.number:08x}-{identity.salt:08x}.segment"


def segment_identity(name: str) -> Identity | None:
    """The segment that a name in the folder ``segments`` stands for; None if it is none of ours."""
    match = _SEGMENT.fullmatch(name)
    return Identity(int(match[1], 16), int(match[2], 16)) if match is not None else None


def is_body_name(name: str) -> bool:
    """Whether a body file can be called so: 1 to 64 small letters, digits and hyphens, no hyphen first."""
    return _BODY.fullmatch(name) is not None


def body_path(name: str) -> str:
    """The path of the body file called ``name``; ValueError if none can be."""
    if not is_body_name(name):
        raise ValueError(f"a body file cannot be called {name!r:.80}")
    return f"{BODIES}/{name}.body"


def body_name(file_name: str) -> str | None:
    """The body that a name in the folder ``bodies`` stands for; None if it is none of ours."""
    name, dot, suffix = file_name.partition(".")
    return name if dot and suffix == "body" and is_body_name(name) else None


def quarantine_path(identity: Identity, offset: int) -> str:
    """Where the octets of a damaged record are saved, by the place that they were at."""
    return f"{QUARANTINE}/{identity.number:08x}-{identity.salt:08x}-{offset:08x}.frame"
