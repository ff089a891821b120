"""What an event costs: deriving it from a spool record and encoding it, in microseconds of one core.

Run: ``python -m benchmarks.events_encode``. The target is under 6 µs per event for derive and encode together, so that the two or more
events of a message cost no more than a tenth of what moving it costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.events.record import derive, encode
from penstock.mail.address import Address
from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource, SessionId
from penstock.mail.queue_name import QueueName
from penstock.mail.records import AttemptRecord, MessageRecord, Outcome, Peer, Reception, SpoolRecord, Verdict
from penstock.mail.reply import reply

_RECORDS = 2_000
_ROUNDS = 15


def messages_of(recipients: int) -> list[MessageRecord]:
    """Messages of 10 KB to so many recipients."""
    ids = IdSource(0x123456789AB)
    reception = Reception(
        protocol="ESMTP",
        peer_address="192.0.2.10",
        peer_port=43210,
        ehlo_domain="app7.customer.example",
        listener="192.0.2.1:2525",
        hostname="mta1.example.com",
        session_id=SessionId("0193f5c0a1b27abc8abcdef012345678"),
    )
    messages = []
    for index in range(_RECORDS):
        now = WallTime(1_763_668_800.0 + index / 5_000)
        messages.append(
            MessageRecord(
                id=ids.next(now),
                queue=QueueName("gmail.example", f"tenant-{index % 7}", "welcome-campaign"),
                reverse_path=Address(f"bounce-{index}", "send.customer.example"),
                recipients=tuple(Address(f"user{index}.{n}", "gmail.example") for n in range(recipients)),
                added_header=b"Received: x\r\n" * 10,
                content=b"x" * 10_240,
                created=now,
                reception=reception,
            )
        )
    return messages


def attempts_of(messages: list[MessageRecord], verdict: Verdict) -> list[AttemptRecord]:
    """One attempt of each, with the same verdict for all recipients."""
    replies = {
        Verdict.ACCEPTED: reply(250, "2.0.0", "OK 1763668800 a1b2c3d4e5f6-1234567890abcdef.123 - gsmtp"),
        Verdict.DEFERRED: reply(451, "4.7.1", "Try again later, your messages arrive too quickly"),
        Verdict.FAILED: reply(550, "5.1.1", "The email account that you tried to reach does not exist"),
    }
    session = SessionId("0193f5c0a1b27abc8abcdef012345679")
    return [
        AttemptRecord(
            message=message,
            time=WallTime(message.created + 0.25),
            attempts=1,
            site="(alt1|alt2|alt3|alt4)?.gmail-smtp-in.l.google.example",
            source="unspecified",
            peer=Peer("gmail-smtp-in.l.google.example", "198.51.100.27", 25, "192.0.2.1:53210", session),
            outcomes=tuple(
                Outcome(place, verdict, replies[verdict], ".") for place in range(len(message.recipients))
            ),
        )
        for message in messages
    ]


def _best(work: Callable[[SpoolRecord], object], records: list[SpoolRecord]) -> float:
    """Microseconds per record, of the best round: noise only ever adds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        for record in records:
            work(record)
        best = min(best, time.perf_counter() - begin)
    return best / len(records) * 1e6


def main() -> None:
    """Print a table: for each kind of record, microseconds per event to derive, and to derive and encode."""
    single, many = messages_of(1), messages_of(50)
    cases: list[tuple[str, int, list[SpoolRecord]]] = [
        ("Reception, 1 recipient", 1, list(single)),
        ("Reception, 50 recipients", 1, list(many)),
        ("Delivery", 1, list(attempts_of(single, Verdict.ACCEPTED))),
        ("TransientFailure", 1, list(attempts_of(single, Verdict.DEFERRED))),
        ("Bounce", 1, list(attempts_of(single, Verdict.FAILED))),
        ("Delivery, 50 recipients", 50, list(attempts_of(many, Verdict.ACCEPTED))),
    ]
    print(f"{'record':<26}{'events':>7}{'derive µs':>11}{'both µs':>9}{'octets':>8}   (per event)")
    for name, events, records in cases:
        derived = _best(lambda record: derive(record, node="mta1.example.com", epoch=1), records)
        both = _best(lambda record: encode(derive(record, node="mta1.example.com", epoch=1)), records)
        size = len(encode(derive(records[0], node="mta1.example.com", epoch=1)))
        print(f"{name:<26}{events:>7}{derived / events:>11.2f}{both / events:>9.2f}{size / events:>8.0f}")


if __name__ == "__main__":
    main()
