"""Tests of sockets, DNS and clocks."""
