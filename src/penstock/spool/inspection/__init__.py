"""A spool looked at from outside, whether a server is at work in it or not: nothing is locked, and nothing can be written.

read_only            the files of a spool, to be read
view                 what is queued now, put together as ``recovery`` does, beside whoever writes
survey               figures of what was seen
stored, search       messages read back; looked for by id; and what became of their recipients
examination          everything read and held against everything else, by way of:
comparison             an index against its frames
doubts                 records about messages that are not there
access                 whose files they are
quarantine_folder      what was found damaged before
findings             all that can be found, in words
"""
