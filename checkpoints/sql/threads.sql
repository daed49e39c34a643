-- The index of threads.

-- name: touch_thread
-- A checkpoint of the graph itself was saved. A thread that was deleted comes back to life with that.
UPDATE holdfast_threads
SET next_seq = :next_seq, updated_at = {now}, deleted_at = NULL,
    created_at = CASE WHEN deleted_at IS NULL THEN created_at ELSE {now} END,
    head = CASE WHEN head > :head THEN head ELSE :head END,
    unfinished = CASE WHEN head > :head THEN unfinished ELSE :unfinished END,
    messages = messages + :said, bytes = bytes + :bytes,
    user_id = coalesce(user_id, CAST(:user_id AS TEXT)), title = coalesce(title, CAST(:title AS TEXT)),
    metadata = coalesce(CAST(:metadata AS TEXT), metadata)
WHERE thread_id = :thread_id;

-- name: count_rows
-- As `touch_thread`, for all else that is saved: it changes nothing that an index has.
UPDATE holdfast_threads
SET next_seq = :next_seq, bytes = bytes + :bytes, deleted_at = NULL,
    created_at = CASE WHEN deleted_at IS NULL THEN created_at ELSE {now} END
WHERE thread_id = :thread_id;

-- name: rows_said
-- Which rows of a range are part of the conversation.
SELECT m.seq
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.seq BETWEEN :first AND :last AND {said};

-- name: written_messages
-- What tasks wrote onto checkpoints of the graph itself, as far as it has messages.
SELECT checkpoint_id, task_id, idx, channel, type, {value} AS blob
FROM {writes}
WHERE thread_id = :thread_id AND checkpoint_ns = '' AND type = :type AND {where};

-- name: count_written
-- Those of some rows that are about to become part of the conversation.
UPDATE holdfast_threads
SET messages = messages + (
      SELECT count(*) FROM holdfast_messages AS m
      WHERE m.thread_id = :thread_id AND m.seq BETWEEN :first AND :last AND NOT ({said})
    )
WHERE thread_id = :thread_id;

-- name: claim_written
-- As `claim_row`, for rows whose ids are there already. Those that a checkpoint's state has stay as they are.
UPDATE holdfast_messages
SET ns = :ns, channel = :channel, checkpoint_id = coalesce(checkpoint_id, :checkpoint_id),
    run_id = coalesce(run_id, :run_id), step = coalesce(step, :step), user_id = coalesce(user_id, :user_id)
WHERE thread_id = :thread_id AND seq BETWEEN :first AND :last
  AND NOT (checkpoint_id IS NOT NULL AND ns = '' AND substr(channel, 1, 2) <> '__');

-- name: words_written
-- What people said in some rows. Several: the first may be a picture, or nothing but spaces.
SELECT content
FROM holdfast_messages
WHERE thread_id = :thread_id AND seq BETWEEN :first AND :last AND role = 'human' AND content <> ''
ORDER BY seq
LIMIT 20;

-- name: recount_thread
-- Its rows have changed by other ways than a save, or it comes into the index.
UPDATE holdfast_threads
SET messages = (
      SELECT count(*) FROM holdfast_messages AS m WHERE m.thread_id = holdfast_threads.thread_id AND {said}
    ),
    bytes = (
      SELECT coalesce(sum({bytes_of_row}), 0) FROM holdfast_messages AS m
      WHERE m.thread_id = holdfast_threads.thread_id
    )
WHERE thread_id = :thread_id;

-- name: index_thread
UPDATE holdfast_threads
SET head = CAST(:head AS TEXT), unfinished = :unfinished,
    -- A copy is as old as the copying. Of others the first checkpoint may have been pruned.
    created_at = CASE WHEN origin_thread_id IS NULL
                        AND (deleted_at IS NOT NULL OR CAST(:created_at AS DOUBLE PRECISION) < created_at)
                 THEN coalesce(CAST(:created_at AS DOUBLE PRECISION), created_at) ELSE created_at END,
    -- A thread that is in the index keeps its place there.
    updated_at = CASE WHEN head IS NULL THEN coalesce(CAST(:updated_at AS DOUBLE PRECISION), updated_at)
                 ELSE updated_at END,
    -- Of a thread of which nothing is left, its user is.
    user_id = coalesce(user_id, CAST(:user_id AS TEXT)), title = CAST(:title AS TEXT),
    metadata = CASE WHEN CAST(:head AS TEXT) IS NOT NULL THEN coalesce(metadata, CAST(:metadata AS TEXT)) END,
    deleted_at = CASE WHEN CAST(:head AS TEXT) IS NULL THEN deleted_at END
WHERE thread_id = :thread_id;

-- name: first_words
-- Several: the first may be a picture, or nothing but spaces.
SELECT m.content
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.role = 'human' AND m.content <> '' AND {said}
ORDER BY m.seq
LIMIT 20;

-- name: first_user
-- In whose run a thread was begun, as far as its checkpoints are there and say so.
SELECT {user_id} AS user_id
FROM checkpoints AS c
WHERE c.thread_id = :thread_id AND c.checkpoint_ns = '' AND {user_id} IS NOT NULL
ORDER BY c.checkpoint_id
LIMIT 1;

-- name: owner
-- Whether there is such a thread, and whose it is. The checkpoints are asked only of a thread that is not in the index:
-- a stock saver or an older version has saved it. A thread of which nothing is left keeps its user until it is deleted.
SELECT t.user_id,
       CASE WHEN t.head IS NULL THEN (
         SELECT {user_id}
         FROM checkpoints AS c
         WHERE c.thread_id = :thread_id AND c.checkpoint_ns = '' AND {user_id} IS NOT NULL
         ORDER BY c.checkpoint_id
         LIMIT 1
       ) END AS begun_by
FROM (SELECT 1 AS one) AS one
LEFT JOIN holdfast_threads AS t ON t.thread_id = :thread_id
WHERE t.head IS NOT NULL OR t.user_id IS NOT NULL
   OR EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = :thread_id AND c.checkpoint_ns = '');

-- name: unindexed
-- Threads with checkpoints that the index does not know: made by older versions, or by LangGraph's own savers.
SELECT DISTINCT c.thread_id
FROM checkpoints AS c
LEFT JOIN holdfast_threads AS t ON t.thread_id = c.thread_id
WHERE c.thread_id > :after AND c.checkpoint_ns = '' AND t.head IS NULL
ORDER BY c.thread_id
LIMIT :limit;

-- name: is_unindexed
SELECT TRUE AS is_unindexed
FROM checkpoints AS c
LEFT JOIN holdfast_threads AS t ON t.thread_id = c.thread_id
WHERE c.thread_id = :thread_id AND c.checkpoint_ns = '' AND t.head IS NULL
LIMIT 1;

-- name: add_event
-- After all that has a row by now.
INSERT INTO holdfast_events (thread_id, no, after_seq, kind, actor, data, at)
SELECT t.thread_id, coalesce((SELECT max(no) FROM holdfast_events AS e WHERE e.thread_id = t.thread_id), 0) + 1,
       t.next_seq - 1, :kind, CAST(:actor AS TEXT), CAST(:data AS TEXT), {now}
FROM holdfast_threads AS t
WHERE t.thread_id = :thread_id;

-- name: set_prompt
UPDATE holdfast_threads
SET prompt = :prompt
WHERE thread_id = :thread_id;

-- name: delete_events
DELETE FROM holdfast_events
WHERE thread_id = :thread_id;

-- name: cut_events
-- What happened after a moment.
DELETE FROM holdfast_events
WHERE thread_id = :thread_id AND at > :at;

-- name: copy_events
INSERT INTO holdfast_events (thread_id, no, after_seq, kind, actor, data, at)
SELECT :target, no, after_seq, kind, actor, data, at
FROM holdfast_events
WHERE thread_id = :thread_id;

-- name: threads
-- Newest first. What runs, waits or has failed is looked up, so that nobody's write can leave it wrong. Each by a query
-- of its own for each thread that is looked at: EXISTS would let PostgreSQL look it up for all threads at once.
SELECT *
FROM (
  SELECT facts.*,
         CASE WHEN runs = 1 THEN 'running' WHEN pending > 0 THEN 'paused' WHEN fails = 1 THEN 'failed'
              WHEN unfinished = 1 THEN 'unfinished' ELSE 'idle' END AS status
  FROM (
    SELECT t.thread_id, t.user_id, t.title, t.created_at, t.updated_at, t.messages, t.bytes, t.metadata, t.head,
           t.origin_thread_id, t.origin_checkpoint_id, t.unfinished,
           (
             SELECT count(*) FROM holdfast_interrupts AS i
             WHERE i.thread_id = t.thread_id AND i.answered_at IS NULL AND i.closed_at IS NULL
               AND (i.expires_at IS NULL OR i.expires_at > {now}) AND NOT ({over})
           ) AS pending,
           (
             SELECT 1 FROM holdfast_leases AS l WHERE l.thread_id = t.thread_id AND l.expires_at > {now} LIMIT 1
           ) AS runs,
           (
             SELECT 1 FROM {writes} AS w
             WHERE w.thread_id = t.thread_id AND w.checkpoint_ns = '' AND w.checkpoint_id = t.head AND w.idx = -1
             LIMIT 1
           ) AS fails
    FROM holdfast_threads AS t
    WHERE t.head IS NOT NULL AND {where}
    ORDER BY t.updated_at DESC, t.thread_id DESC
    LIMIT :looked_at
  ) AS facts
) AS found
WHERE CAST(:status AS TEXT) IS NULL OR status = :status
ORDER BY updated_at DESC, thread_id DESC
LIMIT :limit;

-- name: rename_thread
UPDATE holdfast_threads
SET title = CAST(:title AS TEXT)
WHERE thread_id = :thread_id AND head IS NOT NULL AND (CAST(:user_id AS TEXT) IS NULL OR user_id = :user_id)
RETURNING thread_id;

-- name: set_origin
UPDATE holdfast_threads
SET origin_thread_id = CAST(:origin AS TEXT), origin_checkpoint_id = CAST(:checkpoint_id AS TEXT)
WHERE thread_id = :thread_id;

-- name: set_live_from
UPDATE holdfast_threads
SET live_from = next_seq
WHERE thread_id = :thread_id;

-- name: message_place
-- The checkpoint that had a message first.
SELECT m.checkpoint_id
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.message_id = :message_id AND {said}
ORDER BY m.seq DESC
LIMIT 1;

-- name: asked_in
SELECT checkpoint_ns AS ns, checkpoint_id
FROM {writes}
WHERE thread_id = :thread_id AND idx = -3;

-- name: cut_writes
-- What was done from a checkpoint on; what was asked there stays.
DELETE FROM {writes}
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id AND idx <> -3;

-- name: ask_again
-- What was asked on a checkpoint is asked anew in a fork from there, and as long as then.
INSERT INTO holdfast_interrupts (thread_id, interrupt_id, checkpoint_ns, checkpoint_id, task_id, asked_at, expires_at)
SELECT CAST(:target AS TEXT), interrupt_id, checkpoint_ns, checkpoint_id, task_id, {now}, {now} + (expires_at - asked_at)
FROM holdfast_interrupts AS i
WHERE i.thread_id = :source AND i.checkpoint_id = :checkpoint_id AND i.interrupt_id = :interrupt_id;
