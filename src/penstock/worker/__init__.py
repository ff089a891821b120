"""One process of the server: an event loop with the roles listen and lane.

``worker`` wires its parts and gives them life and an end; ``journal`` makes events and counts of what the spool writes down (``derivation``
makes each event once, ``catching_up`` reads back what was missed, ``checkpoints`` says up to where events are on stable storage, with work
that is done ``aside``); ``committing`` decides in which lane a transaction is stored, ``crossing`` wires what that takes; ``report`` says how the
process is; ``memory`` how much it may use.
"""
