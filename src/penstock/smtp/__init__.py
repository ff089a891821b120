"""The SMTP protocol, both sides, without I/O: octets in, events and octets out (RFC 5321, 1870, 2034, 2920, 6152, 6531).

``phase`` has the server's state table, ``command`` reads command lines, ``data`` reads mail data, ``server`` is the session that joins them.
``reply_reader`` reads a peer's replies, ``transmission`` writes commands and mail data, ``client`` is the session on the sending side:
``introduction`` up to where mail may go, ``client_transaction`` from there on.
What the sessions tell is in ``server_events`` and ``client_events``.
A session is fed octets and asked for events; it owns no socket, no deadline and no decision about who may send what.
"""
