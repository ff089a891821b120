"""Kinds of text: paths of files, names of header fields, the banner, names of tenants, lanes and users, EHLO keywords, credentials, metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from penstock.config.kinds import Kind
from penstock.config.refusal import Fault, Refused, describe, quote, refused, unexpected
from penstock.config.suggestion import suggest
from penstock.mail.configuration import Secret
from penstock.mail.lanes import LANE_NAME_LIMIT, is_lane_name
from penstock.mail.meta import NAME_EXPECTED, NAMES_LIMIT, SIZE_LIMIT, is_name
from penstock.mail.queue_name import is_label
from penstock.smtp import extension

#: Linux's PATH_MAX, its NUL included.
_PATH_LIMIT: Final = 4096
#: RFC 5321 4.5.3.1.5: a reply line has 512 octets, of which the code and a host name of 255 may be in front of this.
_BANNER_LIMIT: Final = 200
#: RFC 5322 2.1.1: a line has 78 characters where it can, and a field name shares it with its colon.
_FIELD_NAME_LIMIT: Final = 77
#: RFC 4616 2 has to be taken by servers up to 255 octets; tokens that stand for passwords are longer.
_CREDENTIAL_LIMIT: Final = 1024
#: XCLIENT is offered to those whom ``allow_xclient`` names, and to nobody else.
KEYWORDS: Final = tuple(keyword for keyword in extension.ORDER if keyword != extension.XCLIENT)
# RFC 5322 3.6.8: field-name = 1*ftext; ftext = %d33-57 / %d59-126
_FIELD_NAME = re.compile(r"[!-9;-~]+", re.ASCII)
# useradd(8), and names of other systems' directories: a backslash, a dot, an at sign
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.@\\-]{0,63}\$?", re.ASCII)
_PRINTABLE = re.compile(r"[ -~]+", re.ASCII)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE | re.ASCII)


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise unexpected(expected, value)
    if not value:
        raise refused("is empty")
    return value


def _path(value: object) -> str:
    path = _text(value, "a path")
    if len(path.encode()) >= _PATH_LIMIT:
        raise refused("the path is too long", f"a path has at most {_PATH_LIMIT - 1} octets")
    if not path.isprintable():
        raise refused(f"{quote(path)} has characters that are not printable", "name the file without them")
    return path


def _data_file(value: object) -> str:
    path = _path(value)
    if _URL.match(path):
        raise refused(f"{quote(path)}: a URL is not yet supported in this version", "name a file")
    if path.endswith(".json"):
        raise refused(f"{quote(path)}: JSON is not yet supported in this version", "write the file in TOML")
    return path


def _banner(value: object) -> str:
    banner = _text(value, "a string")
    if not _PRINTABLE.fullmatch(banner):
        raise refused(f"{quote(banner)} is more than printable ASCII on one line", 'write "Example ESMTP"')
    if len(banner) > _BANNER_LIMIT:
        raise refused(f"has {len(banner)} characters", f"write at most {_BANNER_LIMIT}")
    return banner


def _field_name(value: object) -> str:
    name = _text(value, "the name of a header field")
    if name.endswith(":"):
        raise refused(f"{quote(name)} ends with a colon", "write the name without it")
    if not _FIELD_NAME.fullmatch(name) or len(name) > _FIELD_NAME_LIMIT:
        raise refused(f"{quote(name)} is no name of a header field", 'write "X-Tenant"')
    return name.lower()


def _lane_name(value: object) -> str:
    name = _text(value, "a name")
    if not is_lane_name(name):
        raise refused(
            f"{quote(name)} is no name of a lane",
            f"write a letter, then letters, digits and hyphens, all small, at most {LANE_NAME_LIMIT}",
        )
    return name


def _user(value: object) -> str:
    name = _text(value, "the name of a user")
    if not _USER.fullmatch(name):
        raise refused(f"{quote(name)} is no name of a user", 'write the name, such as "penstock"')
    return name


def _label(what: str) -> Kind[str]:
    def parse(value: object) -> str:
        name = _text(value, "a name")
        if not is_label(name):
            raise refused(
                f"{quote(name)} cannot name a {what}",
                "use 1 to 128 printable ASCII characters, no space and none of : @ !",
            )
        return name

    return Kind("name", parse)


def _authorization_id(value: object) -> str:
    name = _text(value, "an authorization id")
    if not name.isprintable() or len(name.encode()) > _CREDENTIAL_LIMIT:
        raise refused(
            f"{quote(name)} is no authorization id", 'write it as the client says it, such as "daniel"'
        )
    return name


def _keyword(value: object) -> str:
    keyword = _text(value, "an EHLO keyword").upper()
    if keyword in KEYWORDS:
        return keyword
    near = suggest(keyword, KEYWORDS)
    raise refused(
        f"{quote(str(value))} is no EHLO keyword of ours",
        f'did you mean "{near}"?' if near else f"these are: {', '.join(KEYWORDS)}",
    )


def _credential(value: object) -> Secret:
    # What is wrong is said without the value: problems are shown and logged.
    if not isinstance(value, str):
        raise refused("expected a text", "write it in quotes")
    if not value or "\0" in value or len(value.encode()) > _CREDENTIAL_LIMIT:
        raise refused("is empty, too long, or has a NUL", f"write 1 to {_CREDENTIAL_LIMIT} octets")
    return Secret(value)


def _meta(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise unexpected("a table", value)
    if len(value) > NAMES_LIMIT:
        raise refused(f"has {len(value)} names", f"write at most {NAMES_LIMIT}")
    faults = [
        Fault(what, hint, f".{quote(str(name))}")
        for name, item in value.items()
        for what, hint in _bad_meta(name, item)
    ]
    if faults:
        raise Refused(faults)
    return dict(value)


def _bad_meta(name: str, value: object) -> Iterator[tuple[str, str]]:
    if not is_name(name):
        yield "is no name of metadata", f"use {NAME_EXPECTED}"
    if not isinstance(value, str):
        yield f"expected a text, found {describe(value)}", "write it in quotes"
    elif len(value.encode("utf-8", "replace")) > SIZE_LIMIT:
        yield f"has {len(value)} characters", f"names and values have at most {SIZE_LIMIT} octets together"


#: A path of this machine; relative ones are relative to the file that says them.
PATH = Kind("path", _path)
#: A path of a file with more configuration.
DATA_FILE = Kind("path of a TOML file", _data_file)
#: What follows the host name in the greeting (RFC 5321 4.2).
BANNER = Kind(f"text, printable ASCII, at most {_BANNER_LIMIT}", _banner)
#: The name of a header field, in lower case (RFC 5322 3.6.8).
FIELD_NAME = Kind("name of a header field", _field_name)
#: The name of a tenant (``penstock.mail.queue_name``).
LABEL = _label("tenant")
#: The name of a campaign, and of an egress pool: as tenants' names.
CAMPAIGN = _label("campaign")
POOL = _label("pool")
#: The name of a dedicated lane (``penstock.mail.lanes``).
LANE_NAME = Kind("name of a lane", _lane_name)
#: The name of a user of this host.
USER = Kind("name of a user", _user)
#: An EHLO keyword that we offer, in capitals.
KEYWORD = Kind("EHLO keyword", _keyword)
#: Whom a client acts for after AUTH.
AUTHORIZATION_ID = Kind("authorization id", _authorization_id)
#: A name or password, never shown.
CREDENTIAL = Kind(f"text, at most {_CREDENTIAL_LIMIT} octets", _credential)
#: Metadata: texts by name.
META = Kind("table of texts", _meta)
