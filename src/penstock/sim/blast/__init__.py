"""A load generator: SMTP messages of many tenants to many domains, at a rate, with latencies to the far end.

options         what to send, and how it is written
mail            message number n
pace            when it is due: open loop at a rate, closed without
conductor       connections, who gets which message, beginning and end   -> Blast, run_blast
session         one SMTP connection
ledger          what was sent and has not come
histogram       latencies in fixed memory
tally, report   counts, and what is made of them
attached_sink   our end of a sink in a process of its own
receiver        that process
receipt         what it tells
"""

from penstock.sim.blast.attached_sink import AttachedSinkError
from penstock.sim.blast.conductor import Blast, run_blast
from penstock.sim.blast.options import BlastOptions, OptionError
from penstock.sim.blast.report import BlastProgress, BlastReport, SinkFigures, TenantFigures

__all__ = [
    "AttachedSinkError",
    "Blast",
    "BlastOptions",
    "BlastProgress",
    "BlastReport",
    "OptionError",
    "SinkFigures",
    "TenantFigures",
    "run_blast",
]
