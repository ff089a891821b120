"""The event log: what happened to messages, one JSON line each.

``record`` derives events from spool records and encodes them (``event`` says what an event is, ``note`` makes those of what is no message,
``field`` their parts, ``text`` makes the words of strangers harmless); ``log`` appends the lines to rotating files (``files`` names them and
touches the disk), each of which opens with the ``totals`` of those before it; ``checkpoint`` says up to where the log is on stable storage, and
``survey`` what is in it at a start; ``tail`` reads and follows it, ``view`` shows a line to a person, and ``ledger`` checks the accounting.
"""
