"""Time limits of the checkpointer, in seconds.

Read a limit through this module where it is used, as in `times.EFFECT_TTL`: a test that changes it then reaches every
reader.
"""

from __future__ import annotations

from typing import Final

# --- a database that is out of reach

# Longer than a restart or a failover takes, shorter than people wait. A URL may set another limit.
OUTAGE_WAIT: Final = 30.0

# The first retry follows at once: most often a single connection was cut, and the server is still there. From the
# second one on the pause doubles, so that a server that is starting is not flooded.
FIRST_RETRY_PAUSE: Final = 0.05
LONGEST_RETRY_PAUSE: Final = 1.0

# A thread that waits for one event cannot wait for a second one as well, so it polls that one.
GIVE_UP_POLL: Final = 0.05

# --- polling the database for what another process does, which no database announces

# Often at first, since most waits are short, then less often.
FIRST_POLL: Final = 0.01
POLL_GROWTH: Final = 1.5
SLOWEST_POLL: Final = 0.25

# Of the callers that wait for a lease, only the one that is next can get it, so only that one keeps polling often. That
# costs 20 small reads a second; measured with turns of a second, the lease is handed over in 20 ms instead of 240. See
# docs/decisions/0022.
NEXT_IN_QUEUE_POLL: Final = 0.05

# --- a thread's lease

# A dead process holds a thread for at most this long.
LEASE_TTL: Final = 15.0

# As long as a turn with a slow model may take. After that the caller gets `ThreadBusy`.
LEASE_WAIT: Final = 30.0

# A lease that could not be released expires by itself, and the caller has a result to report.
LEASE_RELEASE: Final = 5.0

# --- the ledger of effects

# As for a lease: the effect of a dead process is put before a person after this long.
EFFECT_TTL: Final = 15.0

# With durability "async" LangGraph saves a checkpoint while the tool that it calls begins. A checkpoint that is not
# there after this long was not saved.
CHECKPOINT_WAIT: Final = 10.0

# --- runs

# As for a lease, which its turn holds as well: another worker goes on with the run of a dead one after this long.
RUN_TTL: Final = 15.0

# A turn whose process has died is gone on with within this time. After a longer one its user has done something else.
DEAD_TURN_KEPT: Final = 86_400.0

# What became of a run, and its idempotency key, are known for this long: 30 days.
RUN_KEPT: Final = 30 * 86_400.0

# --- heartbeats

# A live process renews its claim three times within the TTL, so that one renewal may be late or lost. What ends before
# the first renewal costs none.
RENEWALS_PER_TTL: Final = 3
EFFECT_RENEWAL: Final = EFFECT_TTL / RENEWALS_PER_TTL
RUN_RENEWAL: Final = RUN_TTL / RENEWALS_PER_TTL

# --- requests for a person

# Looking through all threads for pauses that a stock saver has saved takes longer the more threads there are, and such
# pauses are rare. An open checkpointer does it once in this time, or in so many times as long as it has taken. A worker
# looks earlier, in each of its passes, so that an inbox does not wait for it.
UNLISTED_PAUSES_POLL: Final = 90.0
UNLISTED_PAUSES_REST: Final = 100

# --- retention

# Between two transactions a sweep rests for this many times as long: writers of other processes poll for the database,
# at intervals of up to 100 ms, and have to find it free.
SWEEP_REST: Final = 3.0
SWEEP_LONGEST_REST: Final = 1.0

# --- redaction

# For one expression in one text. Expressions that do not repeat within repetitions need microseconds.
REDACTION_MATCH: Final = 2.0

# --- erasure

# A process that was there before a user was erased may write nothing to this user's long-term memory for this long: a
# run that has read it may still be going on.
ERASURE_GUARD: Final = 3600.0
