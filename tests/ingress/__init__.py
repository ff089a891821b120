"""Tests of the way in. ``room`` has a listener without sockets, clients without sockets, and time that stands still."""
