"""Power cuts by the ten thousand: a spool is driven as the server drives it, and after each step of its disk the states that a power cut may
leave are started from and judged.

    world      sizes so small that a short run meets every rule, and what is drawn
    life       one process with a spool
    model      what the spool was asked and has told, and so what may be there after a power cut
    oracle     starts from a state, and compares: the contract, a name for each of its rules
    processes  processes one after the other on one disk, and what each power cut would leave
    run        one run: mail, retries, faults, stops, kills and power cuts, as chance has them
    scripts    runs that go where chance seldom does
    mutations  mistakes, each of which must be found
    campaign   many runs, and what they met
"""
