"""The command line, and the wiring of what it starts."""
