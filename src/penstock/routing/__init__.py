"""Where mail goes: the MX plan of a domain and the name of its site. Decides; asks a resolver port for answers (RFC 5321 5.1, RFC 7505)."""
