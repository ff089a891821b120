"""The operator's policy file."""
