"""Where mail goes: from a domain's DNS answers to its route, from a route to the addresses to connect to (RFC 5321 5.1, RFC 7505).

Pure: answers, ``now`` and random draws come in, decisions go out. Who asks the questions is ``penstock.net.router``.

- ``answer``: what DNS said, as values; ``ports``: who is asked
- ``plan``: a domain's answers to ``Route`` or ``Unroutable``
- ``site``: the one name of a set of MX hosts
- ``targets``: a route's addresses in the order to try them
- ``placement``: the lane that a path has its home in
- ``lifetime``, ``cache``: how long a decision is believed, and where it is kept
"""
