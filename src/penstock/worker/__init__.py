"""One process of the server: an event loop with the roles listen and lane.

``worker`` wires its parts and gives them life and an end; ``journal`` makes events and counts of what the spool writes down; ``report`` says
how the process is; ``memory`` how much it may use.
"""
