"""The SMTP protocol, both sides, without I/O: octets in, events and octets out (RFC 5321, 1870, 2034, 2920, 6152, 6531)."""
