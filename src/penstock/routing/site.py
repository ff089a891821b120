"""The names of MX hosts and of the sites they make.

A site is all domains with the same set of MX hosts; its name spells that set, whatever the preferences. Labels are factored one by one from
the right, as KumoMTA's ``site_name`` does, so that rules and dashboards know the names: ``(alt1|alt2)?.gmail-smtp-in.l.google.com`` is
``gmail-smtp-in.l.google.com`` with two alternatives before it. Where that spelling would also stand for other sets, the hosts are spelled
out before what they have in common: ``(a.x|b.y).example``. So a name means exactly one set, and a domain cannot pass for another site.
Alternatives are sorted (KumoMTA's are in the order of preference, which makes other sites of the same hosts in another order).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

#: A longer name is replaced by the hosts' common end, their number and a digest of them; it must fit in logs, metrics and events.
SITE_NAME_LIMIT: Final = 512

# Labels of letters, digits, hyphens and underscores, 63 octets each (RFC 1035 2.3.4, RFC 1123 2.1; underscores occur in names that resolve).
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


def host_name(text: str) -> str | None:
    """The host that an MX record names, lower-case and without a final dot; None if no mail goes to such a name.

    None are: the root, names with anything but letters, digits, ``-`` and ``_`` (DNS allows any octet: spaces, controls, escapes), names over
    253 octets, and addresses (RFC 5321 5.1 wants a domain name; no top-level domain is numeric, RFC 3696 2).
    """
    if not text.isascii():
        return None
    name = text.lower().removesuffix(".")
    if not _HOST.fullmatch(name) or name.rpartition(".")[2].isdigit():
        return None
    return name


def site_name(hosts: Iterable[str]) -> str:
    """The name of the site that ``hosts`` make, in any order, each a result of ``host_name``, or one address literal; ValueError without any."""
    names = sorted(set(hosts))
    if not names:
        raise ValueError("a site has at least one host")
    if len(names) == 1:
        return names[0]
    site = _factored(names) or _spelled_out(names)
    return site if len(site) <= SITE_NAME_LIMIT else _digested(names)


def _factored(names: Sequence[str]) -> str | None:
    """All labels of each place as one part; None if the parts would spell more names than these."""
    rows = [name.split(".")[::-1] for name in names]
    parts: list[str] = []
    spelled = 1
    for place in range(max(len(row) for row in rows)):
        labels = sorted({row[place] for row in rows if place < len(row)})
        is_optional = any(len(row) <= place for row in rows)
        # Every name is among those spelled. While these are no more than the names, they are exactly the names.
        spelled *= len(labels) + is_optional
        if spelled > len(names):
            return None
        part = labels[0] if len(labels) == 1 else f"({'|'.join(labels)})"
        parts.append(part + "?" if is_optional else part)
    return ".".join(reversed(parts))


def _spelled_out(names: Sequence[str]) -> str:
    end = _common_end(names)
    if not end:
        return f"({'|'.join(names)})"
    rests = sorted(name.removesuffix(end).removesuffix(".") for name in names)
    optional = "" if rests[0] else "?"
    return f"({'|'.join(rest for rest in rests if rest)}){optional}.{end}"


def _digested(names: Sequence[str]) -> str:
    digest = hashlib.blake2b("\n".join(names).encode("ascii"), digest_size=10).hexdigest()
    end = _common_end(names)
    return f"({len(names)}-hosts-{digest})" + (f".{end}" if end else "")


def _common_end(names: Sequence[str]) -> str:
    """The labels that all names end with, joined; "" if there are none."""
    end: list[str] = []
    for labels in zip(*(reversed(name.split(".")) for name in names), strict=False):
        if len(set(labels)) > 1:
            break
        end.append(labels[0])
    return ".".join(reversed(end))
