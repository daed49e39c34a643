-- Threads and the index of threads.

-- name: thread
SELECT generation, next_seq, deleted_at IS NOT NULL AS deleted
FROM holdfast_threads
WHERE thread_id = :thread_id;

-- name: add_thread
-- The first generation is the time in microseconds, cut to whole milliseconds: so a thread that is begun anew, in
-- tables that were emptied or made again, differs from what a process has cached. Each deletion adds one.
INSERT INTO holdfast_threads (thread_id, generation, created_at, updated_at)
VALUES (:thread_id, CAST({now} * 1000 AS BIGINT) * 1000, {now}, {now})
ON CONFLICT (thread_id) DO NOTHING;

-- name: adopt_thread
INSERT INTO holdfast_threads (thread_id, generation, created_at, updated_at)
SELECT :thread_id, CAST({now} * 1000 AS BIGINT) * 1000, {now}, {now}
WHERE EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread_id)
ON CONFLICT (thread_id) DO NOTHING;

-- name: bury_threads
-- Their rows stay as tombstones, so that a run that began before the deletion can be told from one that begins now.
UPDATE holdfast_threads
SET generation = generation + 1, next_seq = 1, searched = 0, searched_as = NULL, updated_at = {now}, deleted_at = {now},
    user_id = NULL, title = NULL, metadata = NULL, head = NULL, unfinished = 0, messages = 0, bytes = 0,
    prompt = NULL, live_from = 1, origin_thread_id = NULL, origin_checkpoint_id = NULL, key_no = NULL
WHERE thread_id {among_ids};

-- name: next_generation
-- Makes writers stale that loaded the thread before.
UPDATE holdfast_threads
SET generation = generation + 1, updated_at = {now}
WHERE thread_id = :thread_id;

-- name: touch_thread
-- For a checkpoint of the root graph. It brings a deleted thread back to life.
UPDATE holdfast_threads
SET next_seq = :next_seq, updated_at = {now}, deleted_at = NULL,
    created_at = CASE WHEN deleted_at IS NULL THEN created_at ELSE {now} END,
    head = CASE WHEN head > :head THEN head ELSE :head END,
    unfinished = CASE WHEN head > :head THEN unfinished ELSE :unfinished END,
    messages = messages + :said, bytes = bytes + :bytes,
    user_id = coalesce(user_id, CAST(:user_id AS TEXT)), title = coalesce(title, CAST(:title AS TEXT)),
    metadata = coalesce(CAST(:metadata AS TEXT), metadata)
WHERE thread_id = :thread_id;

-- name: begin_thread
-- For the first checkpoint of a thread that was not there. See `add_thread` for the generation. A process without keys
-- begins none once the database is encrypted.
INSERT INTO holdfast_threads (thread_id, generation, next_seq, created_at, updated_at, head, unfinished, messages, bytes,
                              user_id, title, metadata, key_no)
SELECT :thread_id, CAST({now} * 1000 AS BIGINT) * 1000, CAST(:next_seq AS BIGINT), {now}, {now}, :head,
       CAST(:unfinished AS INTEGER), CAST(:said AS BIGINT), CAST(:bytes AS BIGINT),
       CAST(:user_id AS TEXT), CAST(:title AS TEXT), CAST(:metadata AS TEXT), CAST(:key_no AS INTEGER)
WHERE NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '')
  AND (CAST(:key_no AS INTEGER) IS NOT NULL OR NOT EXISTS (SELECT 1 FROM holdfast_encryption WHERE one = 1 AND state = 'on'))
ON CONFLICT (thread_id) DO NOTHING
RETURNING generation;

-- name: advance_thread
-- As `touch_thread`, if the thread is as it is known. Another saver may have written a head without changing its row.
UPDATE holdfast_threads
SET next_seq = :next_seq, updated_at = {now}, head = :head, unfinished = :unfinished,
    messages = messages + :said, bytes = bytes + :bytes,
    user_id = coalesce(user_id, CAST(:user_id AS TEXT)), title = coalesce(title, CAST(:title AS TEXT)),
    metadata = coalesce(CAST(:metadata AS TEXT), metadata)
WHERE {as_known}
RETURNING generation;

-- name: advance_in_place
-- As `advance_thread`, but the thread stays where it is in the list of threads: it changes no column that an index has.
UPDATE holdfast_threads
SET next_seq = :next_seq, head = :head, unfinished = :unfinished,
    messages = messages + :said, bytes = bytes + :bytes, title = coalesce(title, CAST(:title AS TEXT)),
    metadata = coalesce(CAST(:metadata AS TEXT), metadata)
WHERE {as_known}
RETURNING generation;

-- name: count_known_rows
-- As `count_rows`, if the thread is as it is known.
UPDATE holdfast_threads
SET next_seq = :next_seq, bytes = bytes + :bytes
WHERE {as_known}
RETURNING generation;

-- name: check_thread
SELECT generation
FROM holdfast_threads
WHERE {as_known}{for_update};

-- name: count_rows
-- As `touch_thread`, for every other save: it changes no column that an index has.
UPDATE holdfast_threads
SET next_seq = :next_seq, bytes = bytes + :bytes, deleted_at = NULL,
    created_at = CASE WHEN deleted_at IS NULL THEN created_at ELSE {now} END
WHERE thread_id = :thread_id;

-- name: recount_thread
-- After its rows were changed other than by a save, or when the thread comes into the index.
UPDATE holdfast_threads
SET messages = (
      SELECT count(*) FROM holdfast_messages AS m WHERE m.thread_id = holdfast_threads.thread_id AND {said}
    ),
    bytes = (
      SELECT coalesce(sum({bytes_of_row}), 0) FROM holdfast_messages AS m
      WHERE m.thread_id = holdfast_threads.thread_id
    )
WHERE thread_id = :thread_id;

-- name: note_thread
-- The thread is locked. It may have no checkpoint yet. One that was deleted is begun anew.
UPDATE holdfast_threads
SET metadata = CAST(:metadata AS TEXT), user_id = coalesce(user_id, CAST(:user_id AS TEXT)), deleted_at = NULL,
    updated_at = CASE WHEN head IS NULL THEN {now} ELSE updated_at END,
    created_at = CASE WHEN deleted_at IS NULL THEN created_at ELSE {now} END
WHERE thread_id = :thread_id;

-- name: begun_thread
SELECT t.thread_id, t.user_id, t.metadata, t.created_at, t.updated_at
FROM holdfast_threads AS t
WHERE t.thread_id = :thread_id AND t.deleted_at IS NULL AND t.metadata IS NOT NULL;

-- name: newest_begun
-- Those that have no checkpoint among the threads that were changed last.
SELECT t.thread_id, t.user_id, t.metadata, t.created_at, t.updated_at
FROM (
  SELECT * FROM holdfast_threads WHERE deleted_at IS NULL ORDER BY updated_at DESC, thread_id DESC LIMIT :limit
) AS t
WHERE t.head IS NULL AND t.metadata IS NOT NULL;

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

-- name: set_prompt
UPDATE holdfast_threads
SET prompt = :prompt
WHERE thread_id = :thread_id;

-- name: first_words
-- Several rows: the first may be an image, only spaces, or what a program added; the body says so, and is short then.
SELECT m.seq, m.key_no, m.digest, m.codec, m.content,
       CASE WHEN length(m.body) < 65536 OR m.key_no IS NOT NULL THEN m.body END AS body
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.role = 'human' AND (m.content <> '' OR m.key_no IS NOT NULL) AND {said}
ORDER BY m.seq
LIMIT 20;

-- name: first_user
-- The user of the first run, as far as the checkpoints are there and name a user.
SELECT {user_id} AS user_id
FROM checkpoints AS c
WHERE c.thread_id = :thread_id AND c.checkpoint_ns = '' AND {user_id} IS NOT NULL
ORDER BY c.checkpoint_id
LIMIT 1;

-- name: owner
-- Return the user of a thread, and no row if there is no such thread. The checkpoints are read only for a thread that
-- is not in the index: it was saved by a stock saver or an older version. A thread without checkpoints keeps its user
-- until it is deleted. Return also whether the thread is shared, and with the user who asks.
SELECT t.user_id,
       CASE WHEN t.head IS NULL THEN (
         SELECT {user_id}
         FROM checkpoints AS c
         WHERE c.thread_id = :thread_id AND c.checkpoint_ns = '' AND {user_id} IS NOT NULL
         ORDER BY c.checkpoint_id
         LIMIT 1
       ) END AS begun_by,
       {is_member} AS is_member,
       EXISTS (
         SELECT 1 FROM holdfast_members AS shared
         WHERE shared.thread_id = :thread_id AND shared.owner_id = t.user_id
       ) AS is_shared
FROM (SELECT 1 AS one) AS one
LEFT JOIN holdfast_threads AS t ON t.thread_id = :thread_id
WHERE t.head IS NOT NULL OR t.user_id IS NOT NULL
   OR EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = :thread_id AND c.checkpoint_ns = '');

-- name: not_begun
-- What is on record of a thread that has no checkpoint, and never had one or was deleted: its user if it was begun with
-- one, else the one whose run begins it, else the one who shares it. No row: nothing is.
SELECT found.user_id
FROM (
  SELECT CASE WHEN t.user_id IS NULL THEN 4 ELSE 1 END AS place, t.user_id
  FROM holdfast_threads AS t
  WHERE t.thread_id = :thread_id AND t.deleted_at IS NULL AND {on_record}
  UNION ALL
  SELECT 2, {begun_by_run}
  FROM (SELECT CAST(:thread_id AS TEXT) AS thread_id) AS t
  WHERE EXISTS (SELECT 1 FROM holdfast_runs AS r WHERE r.thread_id = t.thread_id)
  UNION ALL
  SELECT 3, shared.owner_id FROM holdfast_members AS shared WHERE shared.thread_id = :thread_id
) AS found
WHERE NOT EXISTS (SELECT 1 FROM holdfast_threads AS t WHERE t.thread_id = :thread_id AND t.head IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = :thread_id AND c.checkpoint_ns = '')
ORDER BY found.place
LIMIT 1;

-- name: unindexed
-- Threads with checkpoints that are not in the index: saved by older versions or by the savers of LangGraph.
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

-- name: listed_threads
SELECT t.*
FROM {threads}
WHERE t.head IS NOT NULL AND t.deleted_at IS NULL AND {where}
  AND (CAST(:metadata AS TEXT) IS NULL OR {has_metadata})
ORDER BY t.updated_at DESC, t.thread_id DESC
LIMIT :looked_at;

-- name: threads
-- Newest first. Whether a thread runs, waits or has failed is computed, so that no write can leave it wrong. Each of
-- these is a subquery for each thread of the page: with EXISTS, PostgreSQL may compute it for all threads at once.
SELECT *
FROM (
  SELECT facts.*,
         CASE WHEN runs = 1 THEN 'running' WHEN pending > 0 THEN 'paused' WHEN fails = 1 OR gave_up = 1 THEN 'failed'
              WHEN unfinished = 1 THEN 'unfinished' ELSE 'idle' END AS status
  FROM (
    SELECT listed.*,
           (
             SELECT count(*) FROM holdfast_interrupts AS i
             WHERE i.thread_id = listed.thread_id AND i.answered_at IS NULL AND i.closed_at IS NULL
               AND (i.expires_at IS NULL OR i.expires_at > {now}) AND NOT ({over})
           ) AS pending,
           -- A turn that was accepted and has no lease is about to begin, or its process has died and another goes on.
           coalesce((
             SELECT 1 FROM holdfast_leases AS l WHERE l.thread_id = listed.thread_id AND l.expires_at > {now} LIMIT 1
           ), (
             SELECT 1 FROM holdfast_runs AS r
             WHERE r.thread_id = listed.thread_id AND r.state IN ('accepted', 'running')
             LIMIT 1
           )) AS runs,
           (
             SELECT 1 FROM {writes} AS w
             WHERE w.thread_id = listed.thread_id AND w.checkpoint_ns = '' AND w.checkpoint_id = listed.head
               AND w.idx = -1
             LIMIT 1
           ) AS fails,
           (
             -- Its run has failed without an error of the graph, such as by the death of each of its processes.
             SELECT 1 FROM holdfast_runs AS r
             WHERE listed.unfinished = 1 AND r.thread_id = listed.thread_id AND r.state = 'failed'
               AND r.until_seq = listed.next_seq - 1
             LIMIT 1
           ) AS gave_up
    FROM ({threads}) AS listed
    ORDER BY listed.updated_at DESC, listed.thread_id DESC
    LIMIT :looked_at
  ) AS facts
) AS found
WHERE CAST(:status AS TEXT) IS NULL OR status = :status
ORDER BY updated_at DESC, thread_id DESC
LIMIT :limit;

-- name: rename_thread
UPDATE holdfast_threads AS t
SET title = CAST(:title AS TEXT)
WHERE t.thread_id = :thread_id AND t.head IS NOT NULL AND (CAST(:user_id AS TEXT) IS NULL OR {of_user})
RETURNING thread_id;
