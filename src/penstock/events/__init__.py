"""The event log: what happened to messages, one JSON line each."""
