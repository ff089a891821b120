"""One mail transaction on the server's side (RFC 5321 3.3): its envelope, its mail data as it comes in, and what became of that."""

from __future__ import annotations

from penstock.mail.address import Address
from penstock.mail.dsn import NOTHING_ASKED, EnvelopeDsn, RecipientDsn
from penstock.mail.reply import Reply
from penstock.smtp import replies
from penstock.smtp.chunk import ChunkReader
from penstock.smtp.command import MailCommand
from penstock.smtp.data import DataReader, judge, line_too_long
from penstock.smtp.server_events import MessageGiven, ServerLimits


class Transaction:
    """The transaction that ``mail`` has opened. At most one of ``data`` and ``chunks`` is set, while mail data comes in."""

    __slots__ = ("_dsn", "chunks", "data", "mail", "recipients")

    def __init__(self, mail: MailCommand) -> None:
        self.mail = mail
        self.recipients: list[Address] = []
        self._dsn: dict[int, RecipientDsn] = {}
        self.data: DataReader | None = None
        self.chunks: ChunkReader | None = None

    def add(self, forward_path: Address, dsn: RecipientDsn | None) -> None:
        """Another recipient was accepted."""
        if dsn is not None:
            self._dsn[len(self.recipients)] = dsn
        self.recipients.append(forward_path)

    @property
    def held(self) -> int:
        """Octets of mail data in memory."""
        reader = self.data or self.chunks
        return reader.size if reader is not None else 0

    def drop(self) -> None:
        """Keep no mail data; it will be refused for want of memory."""
        reader = self.data or self.chunks
        if reader is not None:
            reader.drop()
            reader.is_starved = True

    def refusal(self, limits: ServerLimits) -> Reply | None:
        """The reply to mail data of which nothing is kept any more; None while there is no such reason."""
        reader = self.data or self.chunks
        assert reader is not None  # noqa: S101 -- called while mail data comes in
        if reader.is_starved:
            return replies.STARVED
        return replies.too_big(limits) if reader.is_over else None

    def given(self, limits: ServerLimits) -> MessageGiven | Reply:
        """The message, once all of its data has come, or the reply that refuses it."""
        reader = self.data or self.chunks
        assert reader is not None  # noqa: S101 -- called at the end of mail data
        refusal = self.refusal(limits)
        if refusal is not None:
            return refusal
        longest = limits.line_length_hard_limit
        if self.data is not None and self.data.is_endless:
            return line_too_long(longest)
        has_dots = self.data is None or self.data.has_dots
        kept = judge(reader.content(), limits.invalid_line_endings, longest, has_dots=has_dots)
        if isinstance(kept, Reply):
            return kept
        content, is_canonical = kept
        if len(content) > limits.max_message_size:  # line ends that were mended have made it longer
            return replies.too_big(limits)
        # chunks need not end with a line (RFC 3030 2); mail data of DATA always does
        is_canonical = is_canonical and (not content or content.endswith(b"\r\n"))
        command = "DATA" if self.chunks is None else "BDAT"
        return MessageGiven(self.mail, tuple(self.recipients), content, is_canonical, self._asked(), command)

    def _asked(self) -> EnvelopeDsn | None:
        mail = self.mail
        if not (mail.ret or mail.envelope_id or self._dsn):
            return None
        found = tuple(self._dsn.get(place, NOTHING_ASKED) for place in range(len(self.recipients)))
        return EnvelopeDsn(mail.ret, mail.envelope_id, found if self._dsn else ())
