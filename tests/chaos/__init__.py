"""`make chaos`: processes are killed, race each other, and lose their database, in numbers; then everything is counted.

What is counted stands outside of the database that is tried: the world, which the tools change, and a journal of what
the processes saw and were told. Both are files to which a line is appended with one write, which outlives its writer.
"""
