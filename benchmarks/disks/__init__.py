"""What checks of the spool share: disks that can be cut, filled and spoiled, mail whose way is written down, and the judge of what became of it.

``mounts`` has the disks, ``letters`` the mail; ``source`` sends it and ``destination`` takes it, each with a journal of its own
(``benchmarks.journals``) on another disk than the server's; ``oracle`` holds the journals against each other; ``trial`` runs a server between
them. ``faults`` are what can befall its disk while it runs, ``flips`` what can befall its files while it does not.
"""
