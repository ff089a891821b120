"""The world as a test or a trial run needs it.

    sink          an SMTP server that takes mail, answers as scripted, and judges what came
    blast         a load generator that accounts for every message
    hostile       a server that says what its script says, however wrong
    tls           TLS of such servers
    certificates  an authority of our own, and what it issues
    resolver      a resolver whose answers are a script
    file_system   a disk that loses power at any step, and fails at any
    clock, draw   time and chance that a test holds in its hand
    raw_client    a client that sends exactly the octets it is told to
    smuggling     twenty sequences that somebody takes for the end of mail data, and the attack made of them
    vulnerable    a server that falls for eleven of them: the positive control
    endpoint      addresses and ports; loopback only, unless asked otherwise

Nothing here is part of a running server. The lane, the ingress and the core never import it.
"""
