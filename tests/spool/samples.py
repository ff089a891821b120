"""Records to store: some by hand, and any that there can be (Hypothesis)."""

from __future__ import annotations

import datetime as dt

from hypothesis import strategies as st

from penstock.mail.address import Address
from penstock.mail.directive import Action, Order, Rebinding, SweepAction
from penstock.mail.dsn import EnvelopeDsn, RecipientDsn
from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    DirectiveChange,
    DirectiveRecord,
    ExpirationRecord,
    FlushRecord,
    MessageRecord,
    Move,
    MovedRecord,
    Outcome,
    Peer,
    PolicyErrorRecord,
    RebindRecord,
    Reception,
    RejectionRecord,
    RemovalRecord,
    Verdict,
)
from penstock.mail.reply import EnhancedCode, Reply
from penstock.mail.schedule import Schedule, Window
from penstock.mail.tls import TlsFacts

TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "CN=c.test", ("c.test",), is_verified=True)
RECEPTION = Reception(
    "ESMTPSA", "192.0.2.1", 40000, "c.test", "192.0.2.25:25", "mta.test", SessionId("s1"), TLS, "ann", "shop"
)
REPLY = Reply(250, EnhancedCode(2, 0, 0), "OK")
LATER = Reply(451, EnhancedCode(4, 3, 0), "later\nplease")
PEER = Peer("mx.a.test", "192.0.2.2", 25, "192.0.2.1", SessionId("p1"), TLS)


def message(
    number: int, recipients: int = 1, content: bytes = b"Subject: x\r\n\r\nbody\r\n", domain: str = "a.test"
) -> MessageRecord:
    """A message with a bit of everything."""
    return MessageRecord(
        MessageId(f"{number:032x}"),
        QueueName(domain, "shop", "spring"),
        Address("bounces", "shop.test"),
        tuple([Address(f"u{index}", domain) for index in range(recipients)]),
        b"Received: x\r\n",
        content,
        WallTime(1_700_000_000.5 + number),
        RECEPTION,
        is_canonical=True,
        dsn=EnvelopeDsn("HDRS", "id", tuple([RecipientDsn(("FAILURE",), "rfc822;u")] * recipients)),
        meta={"list": "news", "score": 0.5, "n": 3, "vip": True, "none": None},
    )


def attempt(
    record: MessageRecord, attempts: int, *verdicts: tuple[int, Verdict], due: float | None = None
) -> AttemptRecord:
    """An attempt with these verdicts by recipient."""
    outcomes = tuple(
        [
            Outcome(recipient, verdict, REPLY if verdict is Verdict.ACCEPTED else LATER, "DATA")
            for recipient, verdict in verdicts
        ]
    )
    due_at = WallTime(due) if due is not None else None
    return AttemptRecord(
        record, WallTime(1_700_000_100.0), attempts, "mx.a.test", "ip-1", PEER, outcomes, due_at
    )


def expiration(record: MessageRecord, *recipients: int) -> ExpirationRecord:
    """Recipients given up."""
    return ExpirationRecord(record, WallTime(1_700_000_200.0), 7, "mx.a.test", recipients, LATER)


SCHEDULE = Schedule(
    WallTime(1_700_003_600.0),
    Window(frozenset({0, 4}), "Europe/Vienna", dt.time(9, 30), dt.time(17, 0, 0, 1)),
    WallTime(1_700_090_000.0),
)
BOUNCE = Order("d1", SweepAction.BOUNCE, "spam", "ann")
DELETE = Order("d2", SweepAction.DELETE, "test mail", suppress_logging=True)
REBIND = Order("d3", SweepAction.REBIND, "a pool of its own", "ann", Rebinding("other", "", None))
FLUSH = Order("d4", SweepAction.FLUSH, "their server is back")
OTHER = QueueName("a.test", "other")


def removal(record: MessageRecord, *recipients: int, order: Order = BOUNCE) -> RemovalRecord:
    """Recipients taken out by an order."""
    time = WallTime(1_700_000_300.0)
    return RemovalRecord(
        record, time, 2, "mx.a.test", recipients, Reply(551, EnhancedCode(5, 7, 1), "no"), order
    )


def rebind(
    record: MessageRecord, queue: QueueName = OTHER, due: float | None = 1_700_000_400.0, recipients: int = 1
) -> RebindRecord:
    """A message put into another queue, all of its recipients waiting."""
    due_at = WallTime(due) if due is not None else None
    waiting = tuple(range(recipients))
    return RebindRecord(record, WallTime(1_700_000_400.0), 2, waiting, queue, due_at, REBIND)


def flush(record: MessageRecord, due: float = 1_700_000_500.0) -> FlushRecord:
    """A message that is due."""
    return FlushRecord(record, WallTime(1_700_000_500.0), 2, (0,), WallTime(due), FLUSH)


DIRECTIVE = DirectiveRecord(
    MessageId("2" * 32), WallTime(7.0), DirectiveChange.GIVEN, "d5", Action.SUSPEND, "tenant shop", "too many complaints",
    "ann", WallTime(307.0), 12, "shop",
)  # fmt: skip
REJECTION = RejectionRecord(
    MessageId("0" * 32), WallTime(5.0), RECEPTION, Reply(550, None, "no"), "RCPT", "s@x.test", "r@y.test"
)
POLICY_ERROR = PolicyErrorRecord(
    MessageId("1" * 32), WallTime(6.0), RECEPTION, "on_mail", "boom\n  at line 1"
)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
words = st.integers(0, 2**32 - 1)
times = st.floats(allow_nan=False).map(WallTime)
addresses = st.builds(Address, texts, texts)
enhanced = st.none() | st.builds(EnhancedCode, st.integers(2, 5), st.integers(0, 999), st.integers(0, 999))
replies = st.builds(Reply, st.integers(200, 599), enhanced, texts)
tls_facts = st.none() | st.builds(
    TlsFacts, texts, texts, texts, st.lists(texts, max_size=2).map(tuple), st.booleans(), st.booleans()
)
receptions = st.builds(
    Reception, texts, texts, st.integers(0, 65535), texts, texts, texts, texts, tls_facts, texts, texts, texts
)
metas = st.dictionaries(
    texts,
    texts | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans() | st.none(),
    max_size=4,
)
dsns = st.none() | st.builds(
    EnvelopeDsn,
    texts,
    texts,
    st.lists(st.builds(RecipientDsn, st.lists(texts, max_size=2).map(tuple), texts), max_size=3).map(tuple),
)
octets = st.binary(max_size=200) | st.just(b"\0\r\n.\r\n\xff\xfe\n\r") | st.just(b"\xf5\x9e\1\1" * 20)
queues = st.builds(QueueName, texts, st.none() | texts, st.none() | texts, st.none() | texts)

instants = st.none() | times
hours = st.times()
windows = st.none() | st.builds(Window, st.frozensets(st.integers(0, 6), min_size=1), texts, hours, hours)
schedules = st.none() | st.builds(Schedule, instants, windows, instants)
labels = st.none() | texts
orders = st.builds(
    Order,
    texts,
    st.sampled_from(SweepAction),
    texts,
    texts,
    st.builds(Rebinding, labels, labels, labels),
    st.booleans(),
)
moves = st.builds(Move, texts, texts.map(MessageId), st.integers(0, 65535))
moved = st.builds(MovedRecord, queues, times, moves, st.integers(0, 1000), st.booleans())


@st.composite
def transactions(draw: st.DrawFn) -> list[MessageRecord]:
    """The messages of a transaction: one content, one reception."""
    content, reception, flags = draw(octets), draw(receptions), draw(st.tuples(*[st.booleans()] * 3))
    return [
        MessageRecord(
            MessageId(draw(texts)),
            draw(queues),
            draw(st.none() | addresses),
            tuple(draw(st.lists(addresses, min_size=1, max_size=3))),
            draw(octets),
            content,
            draw(times),
            reception,
            *flags,
            dsn=draw(dsns),
            meta=draw(metas),
            schedule=draw(schedules),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]


outcomes = st.builds(Outcome, words, st.sampled_from(Verdict), replies, st.none() | texts, st.booleans())
peers = st.none() | st.builds(Peer, texts, texts, st.integers(0, 65535), texts, texts, tls_facts)
attempts = st.builds(
    AttemptRecord,
    st.just(message(1)),
    times,
    words,
    texts,
    texts,
    peers,
    st.lists(outcomes, max_size=3).map(tuple),
    st.none() | times,
)
expirations = st.builds(
    ExpirationRecord,
    st.just(message(1)),
    times,
    words,
    texts,
    st.lists(words, max_size=3).map(tuple),
    replies,
)
indices = st.lists(words, max_size=3).map(tuple)
removals = st.builds(RemovalRecord, st.just(message(1)), times, words, texts, indices, replies, orders)
rebinds = st.builds(RebindRecord, st.just(message(1)), times, words, indices, queues, instants, orders)
flushes = st.builds(FlushRecord, st.just(message(1)), times, words, indices, times, orders)
directives = st.builds(
    DirectiveRecord,
    texts,
    times,
    st.sampled_from(DirectiveChange),
    texts,
    st.sampled_from(Action),
    texts,
    texts,
    texts,
    times,
    st.integers(0, 2**40),
    labels,
)
notes = (
    st.builds(RejectionRecord, texts, times, receptions, replies, texts, texts, texts)
    | st.builds(PolicyErrorRecord, texts, times, receptions, texts, texts)
    | directives
)
