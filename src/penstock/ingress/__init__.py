"""SMTP sessions that bring mail in.

``acceptance`` decides: who may relay, what a transaction becomes (its tenant, campaign and parts). ``connection`` moves octets and keeps
deadlines, ``listener`` keeps the connections of one listener within their limits.
"""
