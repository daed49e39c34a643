-- Requests to a person, and the answers.
--
-- A request waits as long as its checkpoint is the newest of the thread and its task has not ended. Each query computes
-- this, so that no write can leave it wrong; `{over}` is the negated condition. `closed_at` only removes closed
-- requests from the indexes.

-- name: note_interrupt
-- Each run of its task asks it again; the first row stays. A request that was kept is asked again in a later task: its
-- row moves there, with the time that it allows, and with an answer that came meanwhile.
INSERT INTO holdfast_interrupts (thread_id, interrupt_id, checkpoint_ns, checkpoint_id, task_id, asked_at, expires_at)
VALUES (:thread_id, :interrupt_id, :ns, :checkpoint_id, :task_id,
        coalesce(CAST(:asked_at AS DOUBLE PRECISION), {now}), {now} + CAST(:expires_in AS DOUBLE PRECISION))
ON CONFLICT (thread_id, interrupt_id) DO UPDATE
SET checkpoint_ns = excluded.checkpoint_ns, checkpoint_id = excluded.checkpoint_id, task_id = excluded.task_id,
    closed_at = NULL,
    closed_why = CASE WHEN holdfast_interrupts.closed_why = 'expired' THEN holdfast_interrupts.closed_why END
WHERE excluded.checkpoint_id > holdfast_interrupts.checkpoint_id;

-- name: keep_request
-- Let a request stay open while a run answers a message: until its task asks again, or until `release_requests`. An
-- expired request is answered, and is found as such when its task asks again.
UPDATE holdfast_interrupts
SET closed_at = NULL, closed_why = 'kept'
WHERE thread_id = :thread_id AND interrupt_id = :interrupt_id AND coalesce(closed_why, '') <> 'expired';

-- name: keep_open_request
-- As `keep_request`, if it is still open: messages are added without a run that would find out.
UPDATE holdfast_interrupts
SET closed_why = 'kept'
WHERE thread_id = :thread_id AND interrupt_id = :interrupt_id AND closed_at IS NULL
  AND coalesce(closed_why, '') <> 'expired';

-- name: drop_request
-- Note that the message that is about to be sent closes a request.
UPDATE holdfast_interrupts
SET closed_why = 'dropped'
WHERE thread_id = :thread_id AND interrupt_id = :interrupt_id AND closed_at IS NULL
  AND coalesce(closed_why, '') <> 'expired';

-- name: release_requests
-- Take back what was noted for a message: whether each request is over is derived again.
UPDATE holdfast_interrupts
SET closed_why = NULL
WHERE thread_id = :thread_id AND closed_why IN ('kept', 'dropped');

-- name: noted_requests
-- The requests of a thread of which was noted whether a message keeps or closes them.
SELECT i.interrupt_id, i.closed_why
FROM holdfast_interrupts AS i
WHERE i.thread_id = :thread_id AND i.closed_why IN ('kept', 'dropped');

-- name: move_request
-- A kept request is carried out by this task: whether it is over is derived from it from now on.
UPDATE holdfast_interrupts
SET checkpoint_id = :checkpoint_id, task_id = :task_id, closed_at = NULL,
    closed_why = CASE WHEN closed_why = 'expired' THEN closed_why END
WHERE thread_id = :thread_id AND interrupt_id = :interrupt_id;

-- name: close_before
-- Close the requests on older checkpoints. A request on this checkpoint may have been saved before it.
UPDATE holdfast_interrupts
SET closed_at = {now},
    closed_why = coalesce(closed_why, CASE WHEN answered_at IS NULL THEN 'moved on' ELSE 'answered' END)
WHERE thread_id = :thread_id AND closed_at IS NULL AND checkpoint_id < :checkpoint_id
  AND coalesce(closed_why, '') <> 'kept';

-- name: close_all_passed
-- As `close_before`, in all threads.
UPDATE holdfast_interrupts
SET closed_at = {now},
    closed_why = coalesce(closed_why, CASE WHEN answered_at IS NULL THEN 'moved on' ELSE 'answered' END)
WHERE closed_at IS NULL AND coalesce(closed_why, '') <> 'kept' AND checkpoint_id < (
  SELECT max(heads.checkpoint_id)
  FROM checkpoints AS heads
  WHERE heads.thread_id = holdfast_interrupts.thread_id AND heads.checkpoint_ns = ''
);

-- name: interrupt
-- Lateness is decided by the clock of the database.
SELECT i.interrupt_id, i.answered_at, i.answered_by, i.answer_type, i.answer, i.answer_digest,
       coalesce(i.closed_why = 'expired', FALSE) AS expired, i.asked_at, i.expires_at, coalesce(i.expires_at <= {now}, FALSE) AS is_late
FROM holdfast_interrupts AS i
WHERE i.thread_id = :thread_id AND i.interrupt_id = :interrupt_id;

-- name: record_answer
-- The first answer is taken. A run that was sent to an old checkpoint on purpose may answer what was asked there.
UPDATE holdfast_interrupts AS i
SET answered_at = {now}, answered_by = CAST(:by AS TEXT), answer_type = :type, answer = :blob,
    answer_digest = :digest, run_id = CAST(:run_id AS TEXT)
WHERE i.thread_id = :thread_id AND i.interrupt_id = :interrupt_id AND i.answered_at IS NULL
  AND (i.expires_at IS NULL OR i.expires_at > {now})
  AND (CAST(:anywhere AS INTEGER) = 1 OR (i.closed_at IS NULL AND NOT ({over})))
RETURNING answered_at;

-- name: is_dropped
-- Return whether the thread has gone on without carrying the answer out; this is unknown for a checkpoint that was
-- pruned.
SELECT EXISTS (
  SELECT 1
  FROM holdfast_interrupts AS i
  JOIN checkpoints AS asked
    ON asked.thread_id = i.thread_id AND asked.checkpoint_ns = '' AND asked.checkpoint_id = i.checkpoint_id
  WHERE i.thread_id = :thread_id AND i.interrupt_id = :interrupt_id AND i.answered_at IS NOT NULL
    AND coalesce(i.closed_why, '') <> 'kept' AND EXISTS (
      SELECT 1 FROM checkpoints AS newer
      WHERE newer.thread_id = i.thread_id AND newer.checkpoint_ns = '' AND newer.checkpoint_id > i.checkpoint_id
    )
    AND NOT EXISTS (
      SELECT 1 FROM {writes} AS ended
      WHERE ended.thread_id = i.thread_id AND ended.checkpoint_ns = i.checkpoint_ns
        AND ended.checkpoint_id = i.checkpoint_id AND ended.task_id = i.task_id AND ended.idx >= 0
    )
) AS is_dropped;

-- name: reopen_answer
UPDATE holdfast_interrupts
SET answered_at = NULL, answered_by = NULL, answer_type = NULL, answer = NULL, answer_digest = NULL, run_id = NULL
WHERE thread_id = :thread_id AND interrupt_id = :interrupt_id AND answer_digest = :digest AND closed_at IS NULL
RETURNING interrupt_id;

-- name: paused_tasks
-- The tasks of a thread that have paused, in all of its graphs.
SELECT paused.checkpoint_ns, paused.checkpoint_id, paused.task_id, paused.type, paused.{value} AS blob
FROM {writes} AS paused
WHERE paused.thread_id = :thread_id AND paused.idx = -3;

-- name: forget_answers
-- Delete the answers that LangGraph has saved for a task, and the error that came of them.
DELETE FROM {writes}
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id AND task_id = :task_id
  AND idx IN (-4, -1)
RETURNING task_id;

-- name: expire_interrupts
-- Expiry is an answer like any other: the first answer stays. It has no content; the graph that asked decides what that
-- means.
UPDATE holdfast_interrupts
SET answered_at = {now}, answer_digest = :digest, closed_why = 'expired'
WHERE answered_at IS NULL AND (thread_id, interrupt_id) IN (
  SELECT i.thread_id, i.interrupt_id
  FROM holdfast_interrupts AS i
  WHERE i.answered_at IS NULL AND i.closed_at IS NULL AND i.expires_at <= {now} AND NOT ({over})
    AND coalesce(i.closed_why, '') <> 'kept' -- it is asked again first
  ORDER BY i.expires_at
  LIMIT :limit
)
RETURNING thread_id;

-- name: todo
-- Requests that were answered, and whose answers are not carried out yet.
SELECT i.thread_id, i.interrupt_id, i.answered_at, i.answered_by, i.answer_type, i.answer, i.answer_digest,
       coalesce(i.closed_why = 'expired', FALSE) AS expired, i.asked_at, i.expires_at
FROM holdfast_interrupts AS i
WHERE {where} AND i.answered_at IS NOT NULL AND i.closed_at IS NULL AND NOT ({over})
ORDER BY i.answered_at
LIMIT :limit;

-- name: answered
-- By the first characters of an id, as people write it.
SELECT i.thread_id, i.interrupt_id, i.answered_at, i.answered_by, i.answer_type, i.answer, i.answer_digest,
       coalesce(i.closed_why = 'expired', FALSE) AS expired, i.asked_at, i.expires_at
FROM holdfast_interrupts AS i
WHERE {where} AND i.interrupt_id >= :first AND i.interrupt_id < :last AND i.answered_at IS NOT NULL
ORDER BY i.answered_at DESC
LIMIT 1;

-- name: waiting
-- Requests are chosen by their index, newest first, until there are enough; each condition is a search by key. Joined or
-- with EXISTS, PostgreSQL would read the writes of all threads. A thread that is not in the index yet has no user there;
-- its checkpoint may name one.
SELECT chosen.thread_id, chosen.interrupt_id, chosen.checkpoint_id, chosen.task_id, asked.task_path, chosen.asked_at,
       chosen.expires_at, asked.type, asked.{value} AS blob, chosen.user_id
FROM (
  SELECT i.*, CASE WHEN t.head IS NULL THEN {user_of_request} ELSE t.user_id END AS user_id
  FROM holdfast_interrupts AS i
  LEFT JOIN holdfast_threads AS t ON t.thread_id = i.thread_id
  WHERE {where} AND i.answered_at IS NULL AND i.closed_at IS NULL
    AND (i.expires_at IS NULL OR i.expires_at > {now}) AND NOT ({over})
    AND (
      SELECT 1 FROM checkpoints AS c
      WHERE c.thread_id = i.thread_id AND c.checkpoint_ns = i.checkpoint_ns AND c.checkpoint_id = i.checkpoint_id
      LIMIT 1
    ) = 1
    AND (
      SELECT 1 FROM {writes} AS asked
      WHERE asked.thread_id = i.thread_id AND asked.checkpoint_ns = i.checkpoint_ns
        AND asked.checkpoint_id = i.checkpoint_id AND asked.task_id = i.task_id AND asked.idx = -3
      LIMIT 1
    ) = 1
    AND (CAST(:user_id AS TEXT) IS NULL OR {of_user} OR (t.head IS NULL AND {user_of_request} = :user_id))
  ORDER BY i.asked_at DESC, i.thread_id DESC
  LIMIT :limit
) AS chosen
JOIN {writes} AS asked
  ON asked.thread_id = chosen.thread_id AND asked.checkpoint_ns = chosen.checkpoint_ns
  AND asked.checkpoint_id = chosen.checkpoint_id AND asked.task_id = chosen.task_id AND asked.idx = -3
ORDER BY chosen.asked_at DESC, chosen.thread_id DESC;

-- name: unlisted
-- Pauses on the newest checkpoints of threads that have no row yet: saved before this table existed, or by a stock
-- saver. Without a thread it reads the keys of all writes.
SELECT asked.thread_id, asked.checkpoint_id AS head, asked.task_id, asked.type, asked.{value} AS blob
FROM {writes} AS asked
WHERE {where} AND asked.idx = -3 AND asked.checkpoint_ns = ''
  AND NOT EXISTS (
    SELECT 1
    FROM holdfast_interrupts AS i
    WHERE i.thread_id = asked.thread_id AND i.checkpoint_id = asked.checkpoint_id AND i.task_id = asked.task_id
  )
  AND NOT EXISTS (
    SELECT 1
    FROM checkpoints AS newer
    WHERE newer.thread_id = asked.thread_id AND newer.checkpoint_ns = '' AND newer.checkpoint_id > asked.checkpoint_id
  )
  AND EXISTS (
    SELECT 1
    FROM checkpoints AS head
    WHERE head.thread_id = asked.thread_id AND head.checkpoint_ns = '' AND head.checkpoint_id = asked.checkpoint_id
  );

-- name: ask_again
-- Ask the requests of a checkpoint again in a fork from there, with the same time to answer.
INSERT INTO holdfast_interrupts (thread_id, interrupt_id, checkpoint_ns, checkpoint_id, task_id, asked_at, expires_at)
SELECT CAST(:target AS TEXT), interrupt_id, checkpoint_ns, checkpoint_id, task_id, {now}, {now} + (expires_at - asked_at)
FROM holdfast_interrupts AS i
WHERE i.thread_id = :source AND i.checkpoint_id = :checkpoint_id AND i.interrupt_id = :interrupt_id;

-- name: reopen_for_run
-- Remove the answers that a run brought.
UPDATE holdfast_interrupts
SET answered_at = NULL, answered_by = NULL, answer_type = NULL, answer = NULL, answer_digest = NULL, run_id = NULL,
    closed_at = NULL, closed_why = NULL
WHERE thread_id = :thread_id AND run_id = :run_id;

-- name: reopen_head
-- Open the requests that were closed by a checkpoint that was deleted.
UPDATE holdfast_interrupts
SET closed_at = NULL, closed_why = CASE WHEN closed_why = 'expired' THEN closed_why END
WHERE thread_id = :thread_id AND closed_at IS NOT NULL AND checkpoint_id = (
  SELECT max(heads.checkpoint_id)
  FROM checkpoints AS heads
  WHERE heads.thread_id = :thread_id AND heads.checkpoint_ns = ''
);

-- name: forget_unasked
-- Delete the requests of a run that was deleted.
DELETE FROM holdfast_interrupts
WHERE thread_id = :thread_id AND answered_at IS NULL AND NOT EXISTS (
  SELECT 1
  FROM {writes} AS asked
  WHERE asked.thread_id = holdfast_interrupts.thread_id AND asked.checkpoint_ns = holdfast_interrupts.checkpoint_ns
    AND asked.checkpoint_id = holdfast_interrupts.checkpoint_id AND asked.task_id = holdfast_interrupts.task_id
    AND asked.idx = -3
);

-- name: delete_interrupts
DELETE FROM holdfast_interrupts
WHERE thread_id {among_ids};
