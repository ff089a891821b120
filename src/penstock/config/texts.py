"""Kinds of text: paths of files, names of header fields, the banner, names of tenants."""

from __future__ import annotations

import re
from typing import Final

from penstock.config.kinds import Kind
from penstock.config.refusal import quote, refused, unexpected
from penstock.mail.queue_name import is_label

#: Linux's PATH_MAX, its NUL included.
_PATH_LIMIT: Final = 4096
#: RFC 5321 4.5.3.1.5: a reply line has 512 octets, of which the code and a host name of 255 may be in front of this.
_BANNER_LIMIT: Final = 200
#: RFC 5322 2.1.1: a line has 78 characters where it can, and a field name shares it with its colon.
_FIELD_NAME_LIMIT: Final = 77
# RFC 5322 3.6.8: field-name = 1*ftext; ftext = %d33-57 / %d59-126
_FIELD_NAME = re.compile(r"[!-9;-~]+", re.ASCII)
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


def _label(value: object) -> str:
    name = _text(value, "a name")
    if not is_label(name):
        raise refused(
            f"{quote(name)} cannot name a tenant",
            "use 1 to 128 printable ASCII characters, no space and none of : @ !",
        )
    return name


#: A path of this machine; relative ones are relative to the file that says them.
PATH = Kind("path", _path)
#: A path of a file with more configuration.
DATA_FILE = Kind("path of a TOML file", _data_file)
#: What follows the host name in the greeting (RFC 5321 4.2).
BANNER = Kind(f"text, printable ASCII, at most {_BANNER_LIMIT}", _banner)
#: The name of a header field, in lower case (RFC 5322 3.6.8).
FIELD_NAME = Kind("name of a header field", _field_name)
#: The name of a tenant (``penstock.mail.queue_name``).
LABEL = Kind("name", _label)
