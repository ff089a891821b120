"""What the processes of one server say to each other: frames on Unix stream sockets.

frames      octets to frames and back; no I/O
channel     a connection that carries frames: connecting, listening, who may
vocabulary  records as the heads of frames
bus         requests with answers, and notes without, over a channel

A frame has a head, which is understood, and a tail, which is passed on as it is: mail, mostly. All processes of a server are of one
version; another one is told so, and not talked to.
"""
