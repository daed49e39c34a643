"""Imported behind all else by the process that others are forked from: what is there is never garbage.

So no process walks through it, and none gets copies of the pages that would be written in doing so.
"""

import gc

from holdfast import cli

cli._command(cli.app)  # which the first command would make
gc.collect()
gc.freeze()
