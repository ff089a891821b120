"""What is due, and what may go now: queued messages as rows in typed arrays, driven by a time that is given.

``rows`` holds the messages, ``queues`` what they stand in (scheduled queue, hop, path), ``timers`` the instants at which something is to
happen, ``retry`` the arithmetic of attempts, ``effects`` what the shell is asked to do, and ``scheduler`` moves rows between all of them.
The state of the waiting mail is in ``scheduler``'s header.
"""
