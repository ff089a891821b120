"""The event log: what happened to messages, one JSON line each.

``record`` derives events from spool records and encodes them (``event`` says what an event is, ``text`` makes the words of strangers
harmless); ``log`` appends the lines to rotating files (``files`` names them and touches the disk); ``tail`` reads and follows them, and
``view`` shows a line to a person.
"""
