"""What is due, and what may go now: queued messages as rows in typed arrays, driven by a time that is given.

``scheduler`` is the face: told what happened, it leaves ``effects`` for the shell; ``orders`` is its face towards people. ``rows`` holds the
messages, ``queues`` what they stand in (scheduled queue, hop, path), ``places`` every move between these. ``turnstile`` says what goes next;
``gates`` what holds mail back, by ``directives`` and limits; ``parking`` is where it waits for that, ``holds`` how it is remembered,
``explaining`` how it is told. ``sharing`` shares a path's turns among tenants, by ``rounds``. ``calendar`` has the instants of rows, ``timers`` those
of everything else, ``retry`` the arithmetic of attempts, ``routes`` what is said of them, ``supply`` the connections, ``backlog`` what is done in
slices, ``leaving`` the mail whose home is another lane, ``postings`` the queues by what criteria name, ``surveys`` what is queued, counted, and
``finding`` looks for one row. ``sweeping`` carries out orders about queued mail, each a run of ``runs``.

Between lanes: ``handover`` is the protocol by which a transaction goes to its home while it is taken in, ``moving`` the one for mail that is queued.
"""
