"""Penstock: a tenant-aware mail transfer agent.

``ls`` of this package is the table of contents; ``docs/architecture.md`` says how the packages stand on each other.
"""

__version__ = "0.1.0"
