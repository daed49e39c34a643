-- After a restore, before an application or a worker opens the database: nothing that was under way when the backup was
-- made goes on by itself, because all of it may have happened since.
--
--   psql -v ON_ERROR_STOP=1 -f restored.sql postgresql://host/restored
--
-- It prints what it has stopped. What has changed the world since the backup is unknown to the database.
BEGIN;

\echo Turns that were accepted, and had not ended. They are cancelled; retry, or the next message, goes on:
UPDATE holdfast_runs
SET state = 'cancelled', cancelled_at = extract(epoch FROM now()), ended_at = extract(epoch FROM now()),
    alive_until = NULL, input_type = NULL, input = NULL
WHERE state IN ('accepted', 'running')
RETURNING thread_id, run_id, kind;

\echo Turns that were under way without being accepted. Retry, or the next message, goes on:
DELETE FROM holdfast_leases RETURNING thread_id, owner;

\echo Answers that were not carried out. They wait for a person again:
UPDATE holdfast_interrupts
SET answered_at = NULL, answered_by = NULL, answer_type = NULL, answer = NULL, answer_digest = NULL, run_id = NULL
WHERE answered_at IS NOT NULL AND closed_at IS NULL
RETURNING thread_id, interrupt_id;

\echo Calls that had begun. They are in doubt, and a person is asked whether they took effect:
UPDATE holdfast_effects SET alive_until = 0 WHERE state = 'started'
RETURNING thread_id, tool;

COMMIT;
