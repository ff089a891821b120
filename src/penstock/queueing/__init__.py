"""What is due, and what may go now: queued messages as rows in typed arrays, driven by a time that is given.

``scheduler`` is the face: told what happened, it leaves ``effects`` for the shell. ``rows`` holds the messages, ``queues`` what they stand in
(scheduled queue, hop, path), ``places`` every move between these. ``calendar`` has the instants of rows, ``timers`` those of everything else,
``retry`` the arithmetic of attempts, ``supply`` the connections, ``routes`` what answers about routes mean, ``backlog`` what is done in slices,
``leaving`` the mail whose home is another lane.

What holds mail: ``gates`` asks the ``directives`` in force and the limits; queues that are refused stand aside in a ``parking``, and ``holds`` say
why; ``explaining`` asks all gates for people. Who is next on a path: ``sharing``, by ``rounds``. What is there: ``postings`` has the queues by what
criteria name, ``surveys`` counts them, ``finding`` looks for one row. ``sweeping`` carries out orders about queued mail, each a run of ``runs``.

Between lanes: ``handover`` is the protocol by which a transaction goes to its home while it is taken in, ``moving`` the one for mail that is queued.
"""
