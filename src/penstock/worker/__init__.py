"""One process of the server: an event loop with the roles listen and lane."""
