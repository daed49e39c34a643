-- Retention: which threads are due, and what a sweep changes.

-- name: clock
SELECT CAST({now} AS DOUBLE PRECISION) AS now;

-- name: aged_threads
-- The threads that were written last before a time, from the index of threads, the oldest first; also those that were
-- created, or had a run accepted, and have not begun.
SELECT t.*
FROM holdfast_threads AS t
WHERE t.deleted_at IS NULL AND (t.head IS NOT NULL OR {on_record}) AND t.updated_at < :before
  AND (t.updated_at, t.thread_id) > (:after_at, :after_id) AND {where}
  AND (CAST(:metadata AS TEXT) IS NULL OR {has_metadata})
ORDER BY t.updated_at, t.thread_id
LIMIT :limit;

-- name: long_threads
-- As `aged_threads`, for those that have more than `:most` root checkpoints. A few of their keys are read of each.
SELECT t.*
FROM holdfast_threads AS t
WHERE t.deleted_at IS NULL AND t.head IS NOT NULL
  AND (t.updated_at, t.thread_id) > (:after_at, :after_id) AND {where}
  AND (CAST(:metadata AS TEXT) IS NULL OR {has_metadata})
  AND (
    SELECT c.checkpoint_id FROM checkpoints AS c WHERE c.thread_id = t.thread_id AND c.checkpoint_ns = ''
    ORDER BY c.checkpoint_id DESC LIMIT 1 OFFSET :most
  ) IS NOT NULL
ORDER BY t.updated_at, t.thread_id
LIMIT :limit;

-- name: some_threads
SELECT t.*
FROM holdfast_threads AS t
WHERE t.deleted_at IS NULL AND (t.head IS NOT NULL OR {on_record}) AND t.thread_id {among_ids};

-- name: retention_facts
-- What decides about threads. Each fact is a subquery for each thread, as in `threads`.
SELECT t.thread_id, t.user_id, t.metadata, t.updated_at, t.messages, t.bytes, t.head,
       (
         SELECT max(c.checkpoint_id) FROM checkpoints AS c WHERE c.thread_id = t.thread_id AND c.checkpoint_ns = ''
       ) AS newest,
       t.live_from >= t.next_seq AND (
         SELECT c.checkpoint_id FROM checkpoints AS c WHERE c.thread_id = t.thread_id AND c.checkpoint_id <> t.head
         LIMIT 1
       ) IS NULL AS is_emptied,
       (
         SELECT 1 FROM holdfast_leases AS l WHERE l.thread_id = t.thread_id AND l.expires_at > {now} LIMIT 1
       ) IS NOT NULL OR (
         SELECT 1 FROM holdfast_effects AS e
         WHERE e.thread_id = t.thread_id AND e.state = 'started' AND e.alive_until > {now}
         LIMIT 1
       ) IS NOT NULL AS is_in_use,
       t.unfinished = 1 OR (
         SELECT 1 FROM holdfast_interrupts AS i WHERE i.thread_id = t.thread_id AND i.closed_at IS NULL AND NOT ({over})
         LIMIT 1
       ) IS NOT NULL OR (
         SELECT 1 FROM holdfast_effects AS e WHERE e.thread_id = t.thread_id AND e.state IN ('started', 'in_doubt')
         LIMIT 1
       ) IS NOT NULL OR (
         SELECT 1 FROM {writes} AS w
         WHERE w.thread_id = t.thread_id AND w.checkpoint_ns = '' AND w.checkpoint_id = t.head AND w.idx IN (-1, -3)
         LIMIT 1
       ) IS NOT NULL OR (
         SELECT 1 FROM holdfast_runs AS r WHERE r.thread_id = t.thread_id AND r.state IN ('accepted', 'running') LIMIT 1
       ) IS NOT NULL AS is_pending
FROM ({threads}) AS t
ORDER BY t.updated_at, t.thread_id;

-- name: asked_at
-- The checkpoints with requests that are open: they wait, or their answers are not carried out.
SELECT DISTINCT i.checkpoint_id
FROM holdfast_interrupts AS i
WHERE i.thread_id = :thread_id AND i.closed_at IS NULL AND NOT ({over});

-- name: close_requests
-- Of a thread whose state goes.
UPDATE holdfast_interrupts
SET closed_at = {now},
    closed_why = CASE WHEN closed_why = 'expired' THEN closed_why
                      WHEN answered_at IS NULL THEN 'moved on' ELSE 'answered' END
WHERE thread_id = :thread_id AND closed_at IS NULL;

-- name: empty_thread
-- Its state goes, and its transcript stays. It keeps its place in the list of threads. See `set_live_from` for what is
-- said from now on, and `next_generation` for late writers.
UPDATE holdfast_threads
SET generation = generation + 1, head = :head, unfinished = 0, live_from = next_seq
WHERE thread_id = :thread_id;

-- name: is_long
-- Return a row if a namespace of a thread has more than `:most` checkpoints.
SELECT c.checkpoint_ns
FROM checkpoints AS c
WHERE c.thread_id = :thread_id
GROUP BY c.checkpoint_ns
HAVING count(*) > :most
LIMIT 1;
