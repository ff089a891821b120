"""The only owner of sockets, DNS and clocks; foreign exceptions end here.

- ``dns``, ``static``: the resolvers; ``lookups``, ``router``: the shell around ``penstock.routing``
- ``tls``: TLS over memory BIOs, certificates, sessions to resume
- ``listening``: every listening socket or none; ``ourselves``: which addresses are our own
- ``clock``, ``descriptors``: time, and how many files and sockets may be open
"""
