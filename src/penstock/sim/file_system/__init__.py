"""A file system in memory that can lose power after any operation, and fail in any of them.

    disk        what is stored, on stable storage and not yet; where faults are asked for and power is cut
    process     a program's view of it: the spool's ``Files`` and ``File``
    syncer      the spool's ``Syncer``, which syncs when a test says so
    crash       the states that a power cut may leave: all, or a sample
    sample      which of them, where there are many
    file_state  what it may leave of one file
    story       what it has left, for people
    node        a file: its sectors, each with what it may hold after a power cut; a folder
    names       changes of names that are not on stable storage, and which of them may be there without the others
    faults      errors that are injected, and switches that make the disk lie
    operation   what is counted as a step

A disk is made with ``SimulatedDisk()``; ``disk.process()`` is what the code under test gets. After each step ``on_step`` is called,
and there ``disk.crash_states(limit, seed)`` yields other disks, as they may be when power is back: so one run visits all points at
which power can fail, and costs no repetition. A crash state is a disk like any other: recovery on it can be cut in turn.

What may be lost is everything that POSIX does not promise (see ``penstock.spool.files``), not only what ext4 or xfs would lose:

- Of each sector (512 octets) of a file, any of the contents that it has had since the last sync, or a torn one: the first octets of one
  content, the rest of that before. Octets that were synced are never lost by writing others to the same sector.
- A file's size, any of those that it has had since. Where it grew by writing, and the octets did not get there: zeros, or what a removed
  file had there. Where it grew by ``allocate`` or ``truncate``: zeros.
- Any of the changes to names since the last sync of their folder, in any combination that keeps the order of changes to one name. A
  rename is there or not, never half. Syncing a file does nothing for its name.
- After a sync that failed (``FailedSync``): what was written counts as clean, so that later syncs succeed without storing it.

Where there are few states all are visited; where there are many, those that are likely to show a mistake first (all, nothing, a
prefix in time, one change alone, all but one), then random ones from the seed. The states are made while they are asked for: look at
them before the disk goes on. Thousands a second, for files of some tens of kilobytes.
"""

from penstock.sim.file_system.disk import SimulatedDisk
from penstock.sim.file_system.faults import FailedSync, Fault, Switches
from penstock.sim.file_system.operation import Operation, PowerCut, Step
from penstock.sim.file_system.process import SimulatedFile, SimulatedFiles
from penstock.sim.file_system.syncer import SimulatedSyncer

__all__ = [
    "FailedSync",
    "Fault",
    "Operation",
    "PowerCut",
    "SimulatedDisk",
    "SimulatedFile",
    "SimulatedFiles",
    "SimulatedSyncer",
    "Step",
    "Switches",
]
