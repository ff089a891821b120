"""The only owner of stored mail."""
