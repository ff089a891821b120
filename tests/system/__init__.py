"""Tests of the running server, over loopback."""
