"""Delivery: the owner of paths, their queues and connections.

``lane`` carries out what the scheduler asks for; ``opening`` makes connections; ``connection`` is one session with a peer on its socket, and
``encryption`` its TLS; ``delivery`` is one message on a connection, from the pull to its outcomes; ``undeliverable`` writes down what ends
without one.
"""
