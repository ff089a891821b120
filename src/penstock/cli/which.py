"""Which mail a command is about: options that narrow it, and the guard where nothing does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from penstock.cli.server import CommandError
from penstock.mail.control import WrittenCriteria, criteria_of
from penstock.mail.directive import Criteria


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """What narrows a command: mail that agrees with all that is given."""

    tenant: str | None = None
    """Mail of this tenant; "" is mail without one."""
    campaign: str | None = None
    """Mail of this campaign; "" is mail without one."""
    domain: str | None = None
    """Mail to this domain."""
    routing_domain: str | None = None
    """Mail with this routing domain; "" is mail without one."""
    queue: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """Mail of this queue, campaign:tenant@domain!routing_domain; may be given more than once, and not with the others."""
    everything: Annotated[bool, Parameter(negative="")] = False
    """All mail there is: has to be said where nothing else is."""

    @property
    def written(self) -> WrittenCriteria:
        """As the server reads it."""
        return WrittenCriteria(self.campaign, self.tenant, self.domain, self.routing_domain, self.queue)

    def criteria(self) -> Criteria:
        """What is given, checked; ControlRefused."""
        return criteria_of(self.written)

    def guarded(self) -> WrittenCriteria:
        """What is given. CommandError if it is nothing, and that was not meant."""
        is_all = self.criteria().is_everything
        if is_all and not self.everything:
            raise CommandError(
                "this is about all mail; narrow it with --tenant, --campaign, --domain, --routing-domain or --queue, or say --everything"
            )
        if self.everything and not is_all:
            raise CommandError("--everything is all mail, and goes with nothing that narrows it")
        return self.written


ALL = Which()
