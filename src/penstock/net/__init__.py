"""The only owner of sockets, DNS and clocks."""
