"""The scribe: a process that makes events of what all lanes write down, and keeps the one event log.

``scribe`` is told of frames as lanes store them, or reads them back (``catching_up``) from the ``lane``'s log; ``deriving`` makes events of
them, ``writing`` hands them to the log, each once, and ``checkpoints`` puts the log on stable storage and says up to where.
"""
