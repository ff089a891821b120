"""What Penstock can be held to: acceptance checks and measurements, run against whole programs on loopback.

``python -m benchmarks.show list`` names the checks; ``python -m benchmarks.show relay-1`` runs one, prints its figures, and exits 0 (all
held), 1 (something did not), 2 (no such check) or 3 (a program that it needs is not here). ``python -m benchmarks`` measures.

The other side is never Penstock's own code: mail is made by Postfix's ``smtp-source``, ``swaks`` and ``dialogue`` (plain sockets), taken
by Postfix's ``smtp-sink`` and ``capture`` (plain sockets), and compared with a stock Postfix (``postfix``). ``product`` runs Penstock
itself. Everything listens on 127.0.0.1, is bounded in time, and is stopped when the check ends, however it ends. Disks that a check
mounts (``disks``) are seen by nobody else, and go with it.
"""
