"""An SMTP sink: takes mail, answers as scripted, counts, and writes down what came.

It is an oracle: what Penstock sent is judged by it. So it shares no code with what it judges. Nothing here imports ``penstock.smtp`` or
the address, reply and message modules of ``penstock.mail``; it has its own grammar of commands (``syntax``), its own end of data
(``wire``), its own header reader (``message``). From ``penstock.mail`` come durations, endpoints, the clock's interface and configuration
problems only: none of them touches what is on the wire. A mistake made twice would have to be made twice.

    server       listening sockets, beginning and end         -> Sink
    session      commands and their replies
    extensions   STARTTLS, AUTH and BDAT
    authentication   one AUTH
    lmtp         a reply for each recipient
    transaction  recipients, mail data, how they are counted
    acting       which action is due, and carrying it out
    wire         octets in, replies out, holding a connection
    judge        rules and local parts, who has a turn
    behaviour    the grammar of local parts; actions and stages
    rules        matching of a script's rules
    script       the script file
    record       JSON lines and dumped messages
    statistics   counts by domain
"""

from penstock.sim.sink.behaviour import Action, Kind, Stage
from penstock.sim.sink.message import SinkEnvelope, SinkMessage
from penstock.sim.sink.options import Extension, Login, SinkOptions
from penstock.sim.sink.rules import Rule
from penstock.sim.sink.script import Script, load_script
from penstock.sim.sink.server import Sink
from penstock.sim.sink.statistics import DomainReport, SinkReport
from penstock.sim.tls import TlsSeen

__all__ = [
    "Action",
    "DomainReport",
    "Extension",
    "Kind",
    "Login",
    "Rule",
    "Script",
    "Sink",
    "SinkEnvelope",
    "SinkMessage",
    "SinkOptions",
    "SinkReport",
    "Stage",
    "TlsSeen",
    "load_script",
]
