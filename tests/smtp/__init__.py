"""Tests of the SMTP protocol, both sides, without a socket."""
