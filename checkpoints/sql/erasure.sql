-- Erasure. Its record is made of events under the id '', which no thread can have: one for each thread or user that was
-- erased, under a number that follows from it, and behind it the parts of an erasure that is under way.

-- name: erasure
SELECT kind, data
FROM holdfast_events
WHERE thread_id = '' AND no = :no;

-- name: lock_erasure
-- Of two processes that erase the same, one waits for each transaction of the other.
SELECT kind, data
FROM holdfast_events
WHERE thread_id = '' AND no = :no{for_update};

-- name: begin_erasure
INSERT INTO holdfast_events (thread_id, no, after_seq, kind, data, at)
VALUES ('', :no, 0, 'erasing', CAST(:data AS TEXT), {now})
ON CONFLICT (thread_id, no) DO UPDATE
SET kind = excluded.kind, data = excluded.data, at = excluded.at;

-- name: note_erased
INSERT INTO holdfast_events (thread_id, no, after_seq, kind, data, at)
SELECT '', max(no) + 1, 0, 'erased part', CAST(:data AS TEXT), {now}
FROM holdfast_events
WHERE thread_id = '' AND no >= :no AND no <= :last;

-- name: erased_parts
SELECT data
FROM holdfast_events
WHERE thread_id = '' AND no > :no AND no <= :last
ORDER BY no;

-- name: touch_erasure
UPDATE holdfast_events
SET at = {now}
WHERE thread_id = '' AND no = :no;

-- name: end_erasure
UPDATE holdfast_events
SET kind = 'erased', data = CAST(:data AS TEXT)
WHERE thread_id = '' AND no = :no;

-- name: forget_parts
DELETE FROM holdfast_events
WHERE thread_id = '' AND no > :no AND no <= :last;

-- name: erased_since
-- For a writer that may hold what was erased: one that was there before, and for some time after.
SELECT at
FROM holdfast_events
WHERE thread_id = '' AND no = :no AND at >= :since AND at > {now} - :guard;

-- name: delete_leases
DELETE FROM holdfast_leases
WHERE thread_id = :thread_id;

-- name: threads_of_user
-- Also those that an accepted run of the user is about to begin.
SELECT t.thread_id
FROM holdfast_threads AS t
WHERE t.user_id = :user_id AND t.deleted_at IS NULL OR t.user_id IS NULL AND t.head IS NULL
  AND t.thread_id IN (SELECT r.thread_id FROM holdfast_runs AS r WHERE r.user_id = :user_id)
  AND {begun_by_run} = :user_id
  AND NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = t.thread_id AND c.checkpoint_ns = '')
ORDER BY t.thread_id;

-- name: leave_threads
-- A user is no member of any thread, and shares none, any more.
DELETE FROM holdfast_members
WHERE user_id = :user_id OR owner_id = :user_id
RETURNING thread_id;

-- name: said_elsewhere
-- The messages of a user in threads of others, as far as they are not redacted.
SELECT m.thread_id, m.seq
FROM holdfast_messages AS m
LEFT JOIN holdfast_threads AS t ON t.thread_id = m.thread_id
WHERE m.user_id = :user_id AND m.role = 'human' AND m.redacted_at IS NULL AND coalesce(t.user_id, '') <> :user_id
ORDER BY m.thread_id, m.seq;

-- name: named_elsewhere
-- The rows that name a user, by column; see `shares` for the data of events.
SELECT 'holdfast_messages.user_id' AS place, count(*) AS number FROM holdfast_messages WHERE user_id = :user_id
UNION ALL
SELECT 'holdfast_events.actor', count(*) FROM holdfast_events WHERE actor = :user_id
UNION ALL
SELECT 'holdfast_interrupts.answered_by', count(*) FROM holdfast_interrupts WHERE answered_by = :user_id
UNION ALL
SELECT 'holdfast_effects.decided_by', count(*) FROM holdfast_effects WHERE decided_by = :user_id
UNION ALL
SELECT 'holdfast_runs.user_id', count(*) FROM holdfast_runs WHERE user_id = :user_id
UNION ALL
SELECT 'checkpoints.metadata', count(*) FROM checkpoints AS c WHERE {user_id} = :user_id;

-- name: rename_in_messages
UPDATE holdfast_messages
SET user_id = :new
WHERE user_id = :user_id;

-- name: rename_in_actors
UPDATE holdfast_events
SET actor = :new
WHERE actor = :user_id;

-- name: shares
-- The events whose data name users.
SELECT thread_id, no, kind, data
FROM holdfast_events
WHERE kind IN ('share', 'unshare')
ORDER BY thread_id, no;

-- name: rename_in_answers
UPDATE holdfast_interrupts
SET answered_by = :new
WHERE answered_by = :user_id;

-- name: rename_in_verdicts
UPDATE holdfast_effects
SET decided_by = :new
WHERE decided_by = :user_id;

-- name: rename_in_runs
-- Those that have not ended hold what the user said: they do not run any more.
UPDATE holdfast_runs
SET user_id = :new, input_type = NULL, input = NULL,
    ended_at = coalesce(ended_at, {now}), cancelled_at = CASE WHEN ended_at IS NULL THEN {now} ELSE cancelled_at END,
    state = CASE WHEN ended_at IS NULL THEN 'cancelled' ELSE state END
WHERE user_id = :user_id;
