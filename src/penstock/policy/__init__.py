"""The operator's policy file: what cannot be said in TOML is said in Python.

``load`` runs the file once, as a module of its own, and says everything that is wrong with it. ``PolicyRunner`` asks its hooks
(``hooks``), each with a deadline, and gives a verdict whatever they do. What hooks are given is in ``session``, ``transaction``, ``message``
(with ``headers`` and ``mime``); how they refuse is in ``refusal``. ``cached``, and the modules ``dns``, ``http`` and ``sqlite``, help them to
look things up.

For operators: all names below, and those modules, keep their meaning. docs/policy.md describes them.
"""

from penstock.mail.address import Address
from penstock.mail.reply import EnhancedCode, Reply
from penstock.mail.tls import TlsFacts
from penstock.policy.cached import cached
from penstock.policy.hooks import inline
from penstock.policy.loading import Policy, load
from penstock.policy.message import NO_RECIPIENT, Decision, Message
from penstock.policy.mime import Part
from penstock.policy.refusal import Disconnect, LimitExceeded, Reject, checked_reply
from penstock.policy.runner import Asking, PolicyRunner
from penstock.policy.scope import wait
from penstock.policy.session import Credentials, Extensions, Granted, Session, SessionFacts
from penstock.policy.transaction import Recipient, Recipients, Transaction
from penstock.policy.verdict import Verdict

__all__ = [
    "NO_RECIPIENT",
    "Address",
    "Asking",
    "Credentials",
    "Decision",
    "Disconnect",
    "EnhancedCode",
    "Extensions",
    "Granted",
    "LimitExceeded",
    "Message",
    "Part",
    "Policy",
    "PolicyRunner",
    "Recipient",
    "Recipients",
    "Reject",
    "Reply",
    "Session",
    "SessionFacts",
    "TlsFacts",
    "Transaction",
    "Verdict",
    "cached",
    "checked_reply",
    "inline",
    "load",
    "wait",
]
