"""What only shows across tables and files: things that must be there, must differ, or must not meet.

Each check looks at trees of values that passed, so that its problems come together with all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from penstock.config.hosts import DOMAIN_NAME
from penstock.config.refusal import Refused, printable, quote
from penstock.config.suggestion import suggest
from penstock.config.tree import Place, Tree
from penstock.mail.configuration import Endpoint
from penstock.mail.problem import Problem


def check(root: Tree, queues: Tree) -> Iterator[Problem]:
    """Every problem across the tables and files."""
    yield from _endpoints(root)
    yield from _default_tenant(queues)
    yield from _header_names(queues)


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
    tenants = queues.tables["tenant"]
    if given is None or given.value in tenants.written:
        return
    near = suggest(given.value, tenants.tables)
    hint = f"did you mean '{near}'?" if near else f"add [tenant.'{printable(given.value)}']"
    yield given.place.problem(f"there is no tenant {quote(given.value)}", hint)


def _header_names(queues: Tree) -> Iterator[Problem]:
    tenant, campaign = queues.given.get("tenant_header"), queues.given.get("campaign_header")
    if tenant is not None and campaign is not None and tenant.value == campaign.value:
        what = f"{quote(campaign.value)} names the tenant already"
        yield campaign.place.problem(what, "give the campaign a header field of its own")
