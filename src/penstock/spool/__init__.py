"""The only owner of stored mail. ``memory`` keeps it in memory: nothing survives the process, and the server says so."""
