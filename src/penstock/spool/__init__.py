"""The only owner of stored mail: a log of segments (``docs/spool-format.md`` to the octet, ``docs/decisions/0012-the-spool-log.md`` why).

frame, names         how records lie in segments, and what files are called
forms                the shapes of records in frames, which do not change when ours do
codec, decoding      records to frames and back
meaning, index       what frames mean to the scheduler, and all of a segment's in columns (``columns``)
orders, parts        what orders did, in frames; and what many records have
segment              segments written, sealed, and read
scan                 a segment without an index, read frame by frame
arrivals, departures messages that come from other lanes, and go there
queued, recovery     what is queued, put together from all segments when a process begins
quarantine           what is damaged
files, os_files      what is asked of a file system, and the operating system's answer
syncer, sync_helper  syncs that do not stop the loop
memory               a spool in memory: nothing survives the process, and the server says so
"""
