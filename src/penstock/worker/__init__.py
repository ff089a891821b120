"""One process of the server: an event loop with the roles listen and lane.

``worker`` wires its parts and gives them life and an end, as ``duty`` is told to by the supervisor; ``feed`` tells the scribe of what the spool
writes down; ``committing`` decides in which lane a transaction is stored, ``crossing`` wires what that takes; ``report`` says how the
process is; ``memory`` how much it may use.
"""
