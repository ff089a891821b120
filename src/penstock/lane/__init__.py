"""Delivery: the owner of paths, their queues and connections.

``lane`` carries out what the scheduler asks for; ``slots`` bounds the connections, ``opening`` makes them; ``connection`` is one session with a peer
on its socket, and ``encryption`` its TLS; ``fetching`` gets a message out of the spool, ``delivery`` is one on a connection, from the pull to its
outcomes; ``undeliverable`` writes down what ends without one.

Between lanes: ``handing_over`` is another lane as a sender sees it, ``neighbours`` all of them; ``doorway`` is where others come, ``taking_over``
stores what they hand over, ``parcels`` carries large contents.
"""
