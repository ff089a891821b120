"""The running server, killed before a call that it makes, or given an error by it; and what came of the mail, by both ends' own journals.

strace does it: it holds one call, the n-th of its kind in a process, before the kernel gets it, and meanwhile all processes of the
server are killed; or it has the call fail. Nothing of the server is changed, and nothing of it is asked but what anybody can: SMTP, HTTP, its
events, its exit status.

``letters`` is the mail, ``sink`` where it goes, ``journal`` what both ends know and the verdict from it, ``accounts`` the verdict on the
event log. ``calls`` reads traces and chooses among the calls; ``server`` starts and kills, ``story`` is what a server lives through,
``cycle`` one life with its fault and the next one in which it must show what it has kept, ``crowd`` kills under load.
"""
