"""What is due, and what may go now: queued messages as rows in typed arrays, driven by a given time."""
