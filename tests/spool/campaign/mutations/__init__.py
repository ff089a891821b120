"""Mistakes that the campaign must find: syncs that are left out, rules of order that are broken, checks that are not made.

mutation  what one is
disk      made by switches of the simulated file system
writing   made by replacing a function of the spool, for as long as a context lasts: failures, storing, reclaim
starts    so too: starts, jumps of the clock, disks that go bad
orders    so too: what orders do to mail, and schedules
"""

from typing import Final

from tests.spool.campaign.mutations import orders, starts, writing
from tests.spool.campaign.mutations.disk import LIES
from tests.spool.campaign.mutations.mutation import Mutation

#: All of them.
MUTATIONS: Final[tuple[Mutation, ...]] = (*LIES, *writing.MISTAKES, *starts.MISTAKES, *orders.MISTAKES)

__all__ = ["MUTATIONS", "Mutation"]
