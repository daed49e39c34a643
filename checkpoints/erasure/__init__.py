"""Erasure: of a thread or a user, everywhere a database holds them, with a receipt.

`service` is the method of a database, `thread` erases one thread, `elsewhere` is about what other threads hold of a
user, `journal` records what is done so that an erasure can go on after a crash, and `receipt` is what the caller gets.
"""

from holdfast.checkpoints.erasure.receipt import Erased, ReceiptCheck, is_receipt, read_receipt

__all__ = ["Erased", "ReceiptCheck", "is_receipt", "read_receipt"]
