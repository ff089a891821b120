"""The configuration that ``penstock demo`` starts with, as files; ``$`` names are filled in by it."""
