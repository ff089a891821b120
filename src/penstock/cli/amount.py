"""How much queued mail an order is about: counted by the server, and told in words.

Of a path or a source it is what has a site already; this version has one source, so all mail goes by that one and none by any other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.api.control import ControlError
from penstock.cli.quantities import counted
from penstock.cli.server import DONE, PARTLY, Server, complain, put_json
from penstock.mail.control import Surveyed, SurveyRequest, WrittenCriteria
from penstock.mail.directive import Rebinding
from penstock.mail.path_name import site_of_path
from penstock.mail.survey import GROUPS_LIMIT, Group, Grouping, Survey, together
from penstock.routing.placement import UNSPECIFIED

_NO_SOURCE: Final = f"there is no such source; this version has the one source {UNSPECIFIED}"


class About(msgspec.Struct, frozen=True):
    """Which mail: what agrees with ``criteria``; or all that would go by ``subject``, a path's or a source's name, if that is not "".

    ``rebinding`` is what it is to become, if the server is to refuse what cannot be.
    """

    criteria: WrittenCriteria
    subject: str = ""
    rebinding: Rebinding = Rebinding()

    @property
    def has_source(self) -> bool:
        """Whether it names a source that there is, or none at all."""
        return self.subject.partition("->")[0] in ("", UNSPECIFIED)


def survey(server: Server, about: About) -> Surveyed:
    """What there is of it now. As ``Server.ask``."""
    is_path = "->" in about.subject
    by, limit = (Grouping.SITE, GROUPS_LIMIT) if is_path else (None, 1)
    request = SurveyRequest(about.criteria, by, limit, about.rebinding)
    surveyed = server.ask(Surveyed, "POST", "/control/survey/v1", request)
    if not about.has_source:
        return msgspec.structs.replace(surveyed, survey=Survey(Group("")))
    if not is_path:
        return surveyed
    site = site_of_path(about.subject)
    groups = tuple(group for group in surveyed.survey.groups if group.name == site)
    return msgspec.structs.replace(surveyed, survey=Survey(together("", groups), groups))


def survey_if_it_can_be(server: Server, about: About) -> Surveyed | None:
    """The same, beside an order that is given in any case; None if it is not to be had."""
    try:
        return survey(server, about)
    except ControlError:
        return None


def in_words(surveyed: Surveyed | None, about: About) -> str:
    """So many messages in so many queues; or that there are none, which is how a slip of the pen shows."""
    if not about.has_source:
        return _NO_SOURCE
    if surveyed is None:
        return "how much mail that is could not be counted"
    total = surveyed.survey.total
    if not total.messages:
        return "no such mail now" if not surveyed.silent else "no such mail now in the lanes that answered"
    at_least = "at least " if surveyed.silent else ""
    return f"{at_least}{counted(total.messages, 'message')} in {counted(total.queues, 'queue')}"


def dry_run(server: Server, about: About, what: str, verb: str, *, json: bool) -> int:
    """Say how much it would be about; the exit status."""
    surveyed = survey(server, about)
    if json:
        put_json(surveyed)
        return PARTLY if surveyed.silent else DONE
    if not about.has_source:
        print(f"{what}: {_NO_SOURCE}. No mail would be {verb}.")
    else:
        total = surveyed.survey.total
        messages, queues = counted(total.messages, "message"), counted(total.queues, "queue")
        print(f"{what}: {messages} in {queues} would be {verb}.")
    if surveyed.silent:
        return complain("dry run", f"no answer of lane {', '.join(surveyed.silent)}", PARTLY)
    return DONE
