"""Mail servers that we did not write, run beside Penstock: Postfix, Exim and OpenSMTPD as Debian has them.

A *peer* (``peer.Peer``) is one of them as a private instance on loopback: it takes mail through its *door* and passes everything on to its
*next hop*, and says in its log what was used on the way. So the same instance is Penstock's client (its next hop is Penstock) or the server
behind it (its next hop keeps every octet). ``letters`` are the messages, and judge what arrived; ``tap`` shows what two servers say to each
other in the clear.

Debian's mail servers cannot be installed together: ``.ci/peers`` installs Postfix and unpacks the others where ``enclosure`` finds them and
gives each a view of the file system with the users and folders it expects. Nothing of the machine's own mail is touched. Needs root.
"""
