"""Redaction: of a message, or of what patterns find, in every place where a database holds it; and before it is stored.

`patterns` find, `values` and `rows` replace, `thread` goes through the places of one thread, `target` is about one
message, `service` is the method of a database, `storing` is the filter, and `places` lists what holds texts.
"""

from holdfast.checkpoints.redaction.patterns import NAMES

__all__ = ["NAMES"]
