"""The vocabulary of mail: addresses, envelopes, replies, messages, rates, durations, ids, records, configuration and ports.

Everything above stands on this package and it stands on nothing: values in, values out.
Sources: RFC 5321, RFC 5322, RFC 6531, RFC 3463.
"""
