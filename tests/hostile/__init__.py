"""What hostile clients do, one row for each thing: sections 2.A to 2.F of the list of attacks, and what of 2.M exists.

``table`` has the rows, named by the list's codes (``A1-17``, ``C2-twice``); ``case`` says what a row is, ``cutting`` in what pieces its
octets arrive. ``core_driver`` plays a row on a server session, ``socket_driver`` on a running server over loopback, with real TLS;
``scene`` has what no row can say: deadlines, crowds, connections that end in the middle. ``make show K=protocol-1`` runs them all.

Every test here is shown to fail on mistakes that are put in: ``mutations``.
"""
