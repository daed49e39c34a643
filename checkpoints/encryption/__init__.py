"""Encryption of what is stored: a data key for each thread, wrapped by a master key.

`masters` are the master keys, or a key service that has them. `cipher` is a data key. `keyring` knows the data keys of
the threads, and `sealer` encrypts with them. `records` names what is encrypted of a thread, for whatever works on a
thread as a whole.
"""
