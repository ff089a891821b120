"""Records as the heads of frames: MessagePack, and a kind for each type."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.ipc.frames import ProtocolError

#: Types in one vocabulary; the kinds from here on are left to who uses it.
TYPES_LIMIT: Final = 240


class Vocabulary:
    """Types of records; their kinds are their places in the order given. Both sides have the same one."""

    def __init__(self, *types: type[msgspec.Struct]) -> None:
        if len(types) > TYPES_LIMIT or len(set(types)) != len(types):
            raise ValueError(f"a vocabulary has up to {TYPES_LIMIT} types, each once")
        self._kinds = {item: kind for kind, item in enumerate(types)}
        self._decoders = [msgspec.msgpack.Decoder(item) for item in types]
        self._encode = msgspec.msgpack.Encoder().encode

    def encode(self, item: msgspec.Struct) -> tuple[int, bytes]:
        """The kind and the head of a frame that says ``item``. ValueError if its type is not in the vocabulary."""
        kind = self._kinds.get(type(item))
        if kind is None:
            raise ValueError(f"{type(item).__name__} is not in the vocabulary")
        return kind, self._encode(item)

    def decode(self, kind: int, head: bytes) -> msgspec.Struct:
        """What a frame of this kind with this head says. ProtocolError if there is no such kind, or the head is none of its type."""
        if kind >= len(self._decoders):
            raise ProtocolError(f"the other process said a word of unknown kind {kind}")
        try:
            return self._decoders[kind].decode(head)
        except (msgspec.DecodeError, RecursionError) as error:
            name = self._decoders[kind].type.__name__
            raise ProtocolError(f"the other process said a {name} that is none: {error}") from error
