"""HTTP endpoints: liveness and metrics for monitoring, and status over the control socket for commands.

``app`` holds the endpoints, ``metrics`` what is measured and in which words, ``exposition`` the two formats of it; ``server`` runs an
app on bound sockets, with ``connection`` keeping each client within bounds; ``control`` is the Unix socket of one data directory,
``client`` the way to ask it. What is shown comes from ``ports``: nothing here knows how mail moves.
"""
