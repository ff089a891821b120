"""The client's side of TLS, in the room: it takes any certificate."""

from __future__ import annotations

import ssl

from penstock.net.tls import TlsChannel

from .room import Client


def client_channel() -> TlsChannel:
    """The client's side; it takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return TlsChannel(context, server_side=False)


async def shake(client: Client, channel: TlsChannel) -> bytes:
    """The handshake; what the server said in it."""
    said = channel.feed(b"")
    for _ in range(5):
        said += channel.feed(await client.say(channel.take_output()))
        if channel.is_ready and not (rest := channel.take_output()):
            break
        if channel.is_ready:
            said += channel.feed(await client.say(rest))
            break
    assert channel.is_ready
    return said


async def speak(client: Client, channel: TlsChannel, octets: bytes) -> bytes:
    """Say something through TLS; what was answered."""
    channel.write(octets)
    return channel.feed(await client.say(channel.take_output()))
