"""Syncs that are left out, in part or too late, and other lies of the disk."""

from __future__ import annotations

from typing import Final

from penstock.sim.file_system import Switches
from tests.spool.campaign.mutations.mutation import Mutation

LIES: Final = (
    Mutation("segments are not synced", switches=Switches(ignores_sync_of=("segments/*",))),
    Mutation("body files are not synced", switches=Switches(ignores_sync_of=("bodies/*",))),
    Mutation("names of segments are not synced", switches=Switches(ignores_folder_sync_of=("segments",))),
    Mutation("names of body files are not synced", switches=Switches(ignores_folder_sync_of=("bodies",))),
    Mutation("names of the folders are not synced", switches=Switches(ignores_folder_sync_of=("",))),
    Mutation("answers before the sync", switches=Switches(answers_before_sync=True)),
    Mutation("syncs the first file only", switches=Switches(sync_only_first_file=True)),
    Mutation("syncs the last file only", switches=Switches(sync_only_last_file=True)),
    Mutation("hides failed syncs", "a sync fails", switches=Switches(hides_failed_sync=True)),
    Mutation("removes nothing for good", switches=Switches(ignores_remove=True)),
)
