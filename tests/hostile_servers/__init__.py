"""What hostile servers do: a table of named cases, run on the core and on sockets.

Codes begin with what a case is about, in the letters of ``tests.hostile``: J is what servers do in answer to us, by stage; C3 and C4 are STARTTLS
and B1 and B2 our own mail data, seen from the client's side.
"""
