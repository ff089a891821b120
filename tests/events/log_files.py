"""Event files written line by line, as a server would write them, or with a fault in them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.events.files import file_name
from penstock.events.record import derive, encode
from penstock.events.totals import Totals, opening_line
from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId
from penstock.mail.records import MessageRecord, SpoolRecord, Verdict

from .samples import CREATED, attempt, expiration, message, outcome

VERDICTS = {"delivered": Verdict.ACCEPTED, "bounced": Verdict.FAILED, "deferred": Verdict.DEFERRED}


class Files:
    """Files of a log, oldest first; each opens with the sums of what was written before it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.totals = Totals()
        self.files: list[list[bytes]] = []
        self._number = 0

    def begin(self) -> None:
        """Another file."""
        moment = WallTime(CREATED + len(self.files))
        name = file_name(int(moment * 1_000_000))
        self.files.append([opening_line(self.totals, name, moment, "mta.example", 1)])

    def write(self, record: SpoolRecord) -> None:
        """The events of a record, in the newest file."""
        events = derive(record, node="mta.example", epoch=1)
        self.totals.add(events)
        self.files[-1] += [encode([event]) for event in events]

    def write_silently(self, record: SpoolRecord) -> None:
        """Count the events of a record that nobody wants."""
        self.totals.add_unlogged(derive(record, node="mta.example", epoch=1))

    def sum_up(self) -> None:
        """Sums within the newest file."""
        self.files[-1].append(opening_line(self.totals, "sums", CREATED, "mta.example", 1))

    def accept(self, *recipients: str, tenant: str | None = "acme") -> MessageRecord:
        """A message."""
        self._number += 1
        sent = msgspec.structs.replace(
            message(*recipients, tenant=tenant), id=MessageId(f"{self._number:032x}")
        )
        self.write(sent)
        return sent

    def settle(self, sent: MessageRecord, *places: int, how: str = "delivered", attempts: int = 1) -> None:
        """Recipients of a message, all if none is named."""
        which = places or tuple(range(len(sent.recipients)))
        if how == "expired":
            self.write(expiration(*which, of=sent, attempts=attempts))
        else:
            outcomes = [outcome(VERDICTS[how], place) for place in which]
            self.write(attempt(*outcomes, of=sent, attempts=attempts))

    def save(self) -> Path:
        """Write them; the directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for number, lines in enumerate(self.files):
            name = file_name(int((CREATED + number) * 1_000_000))
            (self.directory / name).write_bytes(b"".join(lines))
        return self.directory
