"""The operator's policy file: what cannot be said in TOML is said in Python.

``load`` runs the file once, as a module of its own, and says everything that is wrong with it. The hooks that such a file may define (``hooks``) are
refused by name until this version calls them: a policy that is silently not applied would be worse than none.
"""

from penstock.policy.loading import Policy, load

__all__ = ["Policy", "load"]
