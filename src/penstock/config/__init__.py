"""Reads configuration files into checked records, and reports every problem at once."""
