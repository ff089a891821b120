"""The name of a path towards the outside, as a ready queue's: ``source->site@smtp_client``."""

from __future__ import annotations

from typing import Final

_PROTOCOL: Final = "@smtp_client"


def path_name(source: str, site: str) -> str:
    """The name of the path from a source to a site."""
    return f"{source}->{site}{_PROTOCOL}"


def parse_path_name(text: str) -> str:
    """A path's name, written with its protocol or without. ValueError for what names no source and site."""
    source, arrow, site = text.partition("->")
    if not (source and arrow and site):
        raise ValueError(
            f"{text[:140]!r} is no path; write {path_name('source', 'site')}, as penstock status shows it"
        )
    return text if "@" in site else text + _PROTOCOL


def site_of_path(name: str) -> str:
    """The site in a path's name; "" if it is none."""
    return name.partition("->")[2].rpartition("@")[0]
