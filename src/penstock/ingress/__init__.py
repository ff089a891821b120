"""The way in: SMTP sessions of clients, from the accepted socket to the stored message.

- ``listener``: sockets, and the terms (``terms``) of those who connect; ``admission`` and ``clients``: what one address may take
- ``connection``: octets, through ``passage`` (PROXY header, TLS), and ``deadlines``
- ``dialogue``: the answers to what a client asks for; ``questions`` to the policy, ``policy_view`` what it sees and sets, ``authentication``
- ``assignment``: whose mail a message is, as its fields say, and who may say so
- ``acceptance``: what becomes of a transaction, as plain functions; ``storing``: given to whoever has it stored
- ``client``: who is there; ``desk``: what connections share; ``budget``: memory for mail coming in
"""
