"""One message on a connection: sent to its waiting recipients, a batch in each transaction, and written down as outcomes.

Outcomes are recorded after each transaction, before anything else happens to the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.feedback.outcome import outcome
from penstock.mail.dsn import EnvelopeDsn
from penstock.mail.duration import WallTime
from penstock.mail.ports import Clock, Draw, Spool
from penstock.mail.records import (
    INTERNAL,
    AttemptRecord,
    ExpirationRecord,
    Outcome,
    Peer,
    StoredMessage,
    Verdict,
)
from penstock.mail.reply import Reply, reply
from penstock.queueing.queues import Path
from penstock.queueing.scheduler import Scheduler
from penstock.smtp.client import Finished
from penstock.smtp.transmission import Transmission

#: RFC 5321 4.5.3.1.8: every server takes a hundred recipients in one transaction.
RECIPIENTS_PER_TRANSACTION: Final = 100


def expired(why: str) -> Reply:
    """The reply of an expiration; ``why`` says what kept the message, "" if that is not known."""
    text = f"{INTERNAL}the message could not be delivered in its time"
    return reply(551, "5.4.7", f"{text}; {why}" if why else text)


def _of_batch(dsn: EnvelopeDsn, batch: Sequence[int]) -> EnvelopeDsn:
    """What was asked about notifications, for these recipients alone."""
    asked = dsn.recipients
    return EnvelopeDsn(
        dsn.ret, dsn.envelope_id, tuple([asked[recipient] for recipient in batch]) if asked else ()
    )


class Delivery:
    """The attempt to deliver the message of ``row``, which was pulled from ``path``."""

    __slots__ = (
        "_attempts",
        "_batch",
        "_clock",
        "_deferred",
        "_draw",
        "_due",
        "_has_begun",
        "_last_deferral",
        "_position",
        "_rest",
        "_scheduler",
        "_spool",
        "_stored",
        "path",
        "row",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        spool: Spool,
        clock: Clock,
        draw: Draw,
        path: Path,
        row: int,
        stored: StoredMessage,
    ) -> None:
        self._scheduler = scheduler
        self._spool = spool
        self._clock = clock
        self._draw = draw
        self.path = path
        self.row = row
        self._position = scheduler.rows.position[row]
        self._attempts = scheduler.rows.attempts[row] + 1
        self._stored = stored
        self._rest: Sequence[int] = stored.waiting
        self._batch: Sequence[int] = ()
        self._deferred: list[int] = []
        self._due: WallTime | None = None
        #: a transaction of it is over
        self._has_begun = False
        self._last_deferral: Reply | None = None

    def next_transmission(self) -> Transmission | None:  # hot: throughput
        """The next transaction to make; None when every recipient has had one, or while nothing may begin."""
        rest, scheduler = self._rest, self._scheduler
        if not rest or scheduler.hold is not None:
            return None
        if self._has_begun and not scheduler.may_begin(self.path, self.row, self._clock.wall()):
            return None
        record = self._stored.record
        self._batch, self._rest = rest[:RECIPIENTS_PER_TRANSACTION], rest[RECIPIENTS_PER_TRANSACTION:]
        everybody = record.recipients
        batch = self._batch
        recipients = (
            everybody
            if len(batch) == len(everybody)
            else tuple([everybody[recipient] for recipient in batch])
        )
        dsn = record.dsn
        return Transmission(
            record.reverse_path,
            recipients,
            record.added_header,
            record.content,
            record.eight_bit,
            record.smtputf8,
            record.is_canonical,
            dsn if dsn is None or recipients is everybody else _of_batch(dsn, batch),
        )

    def record(self, finished: Finished, peer: Peer) -> None:  # hot: throughput
        """Write down what a transaction came to."""
        batch = self._batch
        self._has_begun = True
        now = self._clock.wall()
        outcomes: list[Outcome] = []
        for result in finished.results:
            item = outcome(result, batch[result.recipient])
            outcomes.append(item)
            if item.verdict is Verdict.DEFERRED:
                self._deferred.append(item.recipient)
                if self._last_deferral is None:
                    self._due = self._scheduler.retry_at(self.row, now, self._draw())
                self._last_deferral = item.reply
        self._spool.record_attempt(
            self._position,
            AttemptRecord(
                message=self._stored.record,
                time=now,
                attempts=self._attempts,
                site=self.path.site,
                source=self.path.source,
                peer=peer,
                outcomes=tuple(outcomes),
                due=self._due,
            ),
        )

    def end(self) -> None:  # hot: throughput
        """Give the message back to the scheduler: settled, deferred, given up, or ready again if some recipients had no transaction.

        Where some were deferred and others had no transaction, all of them wait for the same time.
        """
        now = self._clock.wall()
        scheduler = self._scheduler
        if self._last_deferral is None:
            if self._rest:
                scheduler.put_back(self.path, self.row, now, has_begun=self._has_begun)
            else:
                scheduler.settled(self.path, self.row, now)
        elif self._due is not None:
            scheduler.deferred(self.path, self.row, self._due)
        else:
            self._give_up(now)
            scheduler.settled(self.path, self.row, now)

    def _give_up(self, now: WallTime) -> None:
        record = ExpirationRecord(
            message=self._stored.record,
            time=now,
            attempts=self._attempts,
            site=self.path.site,
            recipients=(*self._deferred, *self._rest),
            reply=expired(f"the last reply was: {self._last_deferral}"),
        )
        self._spool.record_expiration(self._position, record)

    def withdraw(self) -> None:
        """The last transaction was never begun. With none before it nothing was tried; what an earlier one deferred waits for its time."""
        self._rest = (*self._batch, *self._rest)
        self.end()
