"""What only shows across tables and files: things that must be there, must differ, or must not meet.

Each check looks at trees of values that passed, so that its problems come together with all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from penstock.config.hosts import DOMAIN_NAME
from penstock.config.lanes import check_lanes
from penstock.config.refusal import Refused, printable, quote
from penstock.config.suggestion import suggest
from penstock.config.tree import Place, Tree
from penstock.mail.configuration import EnableTls, Endpoint, TlsMode
from penstock.mail.meta import NAMES_LIMIT, SIZE_LIMIT
from penstock.mail.problem import Problem


def check(root: Tree, queues: Tree, shaping: Tree) -> Iterator[Problem]:
    """Every problem across the tables and files."""
    yield from _endpoints(root)
    for listener in root.tables["listener"].arrays["smtp"]:
        yield from _listener(listener)
    yield from _default_tenant(queues)
    yield from _tenants_of_queues(queues)
    yield from _header_names(queues)
    yield from _metadata(root)
    yield from _credentials(shaping.tables["default"])
    yield from check_lanes(root)


def overrides(listener: Tree) -> list[Tree]:
    """The tables of a listener that change it for some connections."""
    return [table for name in ("via", "peer") for table in listener.tables[name].tables.values()]


def own_name(root: Tree, hostname: Callable[[], str]) -> str | Problem:
    """``node.hostname``, else the name that the host calls itself; a problem if that is none to greet anybody with.

    ``""`` if a name was given and refused, which was reported.
    """
    node = root.tables["node"]
    if "hostname" in node.written:
        name: str = node.value("hostname", "")
        return name
    place = node.place.child("hostname")
    hint = 'write hostname = "mta1.example.com"'
    try:
        own = hostname()
        return DOMAIN_NAME.parse(own)
    except OSError as error:
        return place.problem(f"is missing, and the host does not say its own name: {error}", hint)
    except Refused:
        return place.problem(
            f"is missing, and the host's own name, {quote(own)}, is no valid domain name", hint
        )


def _endpoints(root: Tree) -> Iterator[Problem]:
    taken: dict[Endpoint, Place] = {}
    for kind in ("smtp", "http"):
        for listener in root.tables["listener"].arrays[kind]:
            given = listener.given.get("listen")
            if given is None:
                continue
            for endpoint in given.value:
                if endpoint.port and endpoint in taken:
                    what = f"{endpoint} is taken already"
                    yield given.place.problem(
                        what, f"{taken[endpoint].key} listens there; give it another port"
                    )
                taken.setdefault(endpoint, given.place)


def _default_tenant(queues: Tree) -> Iterator[Problem]:
    given = queues.given.get("default_tenant")
    if given is not None:
        yield from _tenant(queues, given.value, given.place)


def _tenants_of_queues(queues: Tree) -> Iterator[Problem]:
    for domain in queues.tables["queue"].members.values():
        for tenant, table in domain.members.items():
            yield from _tenant(queues, tenant, table.place)


def _tenant(queues: Tree, name: str, place: Place) -> Iterator[Problem]:
    tenants = queues.tables["tenant"]
    if name not in tenants.written:
        near = suggest(name, tenants.tables)
        hint = f"did you mean '{near}'?" if near else f"add [tenant.'{printable(name)}']"
        yield place.problem(f"there is no tenant {quote(name)}", hint)


def _metadata(root: Tree) -> Iterator[Problem]:
    """What a listener keeps with its messages has to fit together with the most that an address adds."""
    for listener in root.tables["listener"].arrays["smtp"]:
        largest = [_metadata_size(listener)]
        for kind in ("via", "peer"):
            tables = listener.tables[kind].tables.values()
            largest.append(max(map(_metadata_size, tables), default=(0, 0)))
        names, size = (sum(numbers) for numbers in zip(*largest, strict=True))
        if names > NAMES_LIMIT or size > SIZE_LIMIT:
            what = f"has {names} names and {size} octets, with the largest of via and of peer"
            yield listener.place.child("meta").problem(
                what, f"write at most {NAMES_LIMIT} names and {SIZE_LIMIT} octets"
            )


def _metadata_size(table: Tree) -> tuple[int, int]:
    """Names, and octets of names and values."""
    meta = table.value("meta", {})
    return len(meta), sum(len(name) + len(value.encode()) for name, value in meta.items())


def _header_names(queues: Tree) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for name, says in (
        ("tenant_header", "names the tenant"),
        ("campaign_header", "names the campaign"),
        ("scheduling_header", "says when mail may go"),
    ):
        given = queues.given.get(name)
        if given is None:
            continue
        if given.value in taken:
            what = f"{quote(given.value)} {taken[given.value]} already"
            yield given.place.problem(what, f"give {name} a header field of its own")
        taken.setdefault(given.value, says)


def _listener(listener: Tree) -> Iterator[Problem]:
    below = overrides(listener)
    is_implicit = listener.value("tls") is TlsMode.IMPLICIT
    for table in (listener, *below):
        key = table.given.get("tls_private_key")
        if key is not None and "tls_certificate" not in table.written:
            yield key.place.problem("there is no certificate for this key", "give tls_certificate beside it")
        discarded = table.given.get("discard_ehlo_keywords")
        if is_implicit and discarded is not None and "STARTTLS" in discarded.value:
            yield discarded.place.problem('STARTTLS is not offered with tls = "implicit"', "leave it out")
    for table in below:
        if is_implicit and "tls" in table.given:
            what = 'the listener has tls = "implicit", which begins before anything can differ'
            yield table.given["tls"].place.problem(what, "leave it out, or give these connections a listener")
    yield from _unused_tls(listener, below)
    yield from _proxies(listener)


def _unused_tls(listener: Tree, below: list[Tree]) -> Iterator[Problem]:
    """Certificates where no TLS is: whoever wrote them believes that there is."""
    is_lifted = any("tls" in table.written for table in below)
    for table in (listener, *below):
        if table.value("tls") is not TlsMode.OFF or (table is listener and is_lifted):
            continue
        for name in ("tls_certificate", "tls_required_client_ca"):
            if name in table.given:
                yield table.given[name].place.problem(
                    'tls = "off" makes no use of it', 'write tls = "starttls"'
                )


def _proxies(listener: Tree) -> Iterator[Problem]:
    required = listener.given.get("require_proxy_protocol")
    is_given = "allow_proxy" in listener.written and listener.value("allow_proxy") != ()
    if required is not None and required.value and not is_given:
        hint = 'name the proxies: allow_proxy = ["192.0.2.1"]'
        yield required.place.problem("nobody may send the header that is required", hint)


def _credentials(path: Tree) -> Iterator[Problem]:
    """A name and password that are never given: mail would wait until it is too old."""
    username, password = (path.given.get(f"smtp_auth_plain_{name}") for name in ("username", "password"))
    for given, other in ((username, "password"), (password, "username")):
        if given is not None and f"smtp_auth_plain_{other}" not in path.written:
            what = f"there is no smtp_auth_plain_{other} with it"
            yield given.place.problem(what, "give both, or neither")
    enable_tls = path.value("enable_tls")
    for modes, permission, what in _NEVER_GIVEN:
        if username is not None and enable_tls in modes and not path.value(permission):
            yield username.place.problem(f"{what}, so AUTH is never done", f"write {permission} = true")


#: How a path is encrypted; what then allows AUTH; what the trouble is without it.
_NEVER_GIVEN: Final = (
    (
        (EnableTls.DISABLED,),
        "allow_smtp_auth_plain_without_tls",
        'enable_tls = "Disabled" leaves no encryption',
    ),
    (
        (EnableTls.OPPORTUNISTIC_INSECURE, EnableTls.REQUIRED_INSECURE),
        "allow_smtp_auth_plain_without_valid_certificate",
        "with this enable_tls no certificate is verified",
    ),
)
