"""What hostile clients do, one row for each thing.

``table`` has the rows. Their codes (``A1-17``, ``C2-twice``) begin with a letter for the kind of attack and a number within it: A is smuggling
inwards, B smuggling outwards, C STARTTLS and other protocols, D authentication, relaying and whose mail it is, E commands, addresses and limits,
F 8-bit mail, UTF-8 and chunks, M logs and memory. A kind that needs what does not exist yet has a row that waits and says for what.

``case`` says what a row is, ``cutting`` in what pieces its octets arrive. ``core_driver`` plays a row on a server session, ``socket_driver`` on a
running server over loopback, with real TLS; ``scene`` has what no row can say: deadlines, crowds, connections that end in the middle.
``make show K=protocol-1`` runs them all.

Every test here is shown to fail on mistakes that are put in: ``mutations``.
"""
