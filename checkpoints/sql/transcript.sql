-- The transcript of a thread: what was said, what else happened, and who decided what.
--
-- All of it is read in pages: messages by ranges of their numbers, the rest by the key of the last row before.

-- name: transcript
-- Return whether a thread exists, its user, whether it is shared with the user who asks, and its last row. The user of a thread that is not in the index is in the
-- metadata of its first checkpoint. Each first row is searched by its key: for an EXISTS, PostgreSQL may scan the
-- table, in which the rows of a long thread seem to be everywhere and may be at the end.
SELECT t.generation, t.deleted_at IS NOT NULL AS deleted,
       coalesce(t.user_id, (
         SELECT {user_id}
         FROM checkpoints AS c
         WHERE c.thread_id = :thread_id AND c.checkpoint_ns = ''
         ORDER BY c.checkpoint_id
         LIMIT 1
       )) AS user_id,
       {is_member} AS is_member, t.title,
       coalesce((SELECT max(m.seq) FROM holdfast_messages AS m WHERE m.thread_id = :thread_id), 0) AS last_seq,
       CAST({now} AS DOUBLE PRECISION) AS read_at,
       (SELECT c.checkpoint_id FROM checkpoints AS c WHERE c.thread_id = :thread_id AND c.checkpoint_ns = ''
        ORDER BY c.checkpoint_id LIMIT 1) IS NOT NULL AS has_checkpoints,
       (SELECT m.seq FROM holdfast_messages AS m WHERE m.thread_id = :thread_id AND {said}
        ORDER BY m.seq LIMIT 1) IS NOT NULL AS has_said,
       (SELECT e.no FROM holdfast_events AS e WHERE e.thread_id = :thread_id
        ORDER BY e.no LIMIT 1) IS NOT NULL AS has_events
FROM (SELECT 1 AS one) AS one
LEFT JOIN holdfast_threads AS t ON t.thread_id = :thread_id;

-- name: said
-- A page is a range of row numbers, whether or not all of the rows match, so that no plan can take more work than that.
-- The first columns are those of `load_rows`.
SELECT m.seq, m.ns, m.channel, TRUE AS committed, m.redacted_at IS NOT NULL AS redacted, m.key_no,
       m.message_id, m.digest, m.codec, m.role, m.name, m.content, m.body,
       m.user_id, m.run_id, m.created_at, m.redacted_at, m.checkpoint_id
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.seq > :after AND m.seq <= :until_seq AND {said} AND {where}
ORDER BY m.seq;

-- name: row_after
-- The number of the next row, which may be far away in a thread that someone has altered.
SELECT min(m.seq) AS seq
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.seq > :after;

-- name: said_from_the_end
-- The row at which the last messages begin.
SELECT m.seq, m.created_at
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.seq > :after AND m.seq <= :until_seq AND {said} AND {where}
ORDER BY m.seq DESC
LIMIT 1 OFFSET :skip;

-- name: said_again
-- The ids under which several versions were said, and the row of the last version. There is no index on the id: one
-- scan of the part of the thread that is read, instead of one for each message.
SELECT m.message_id, max(m.seq) AS seq
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.seq > :after AND m.seq <= :until_seq AND m.message_id IS NOT NULL AND {said}
GROUP BY m.message_id
HAVING count(*) > 1;

-- name: events_of
SELECT e.no, e.after_seq, e.kind, e.actor, e.data, e.at
FROM holdfast_events AS e
WHERE e.thread_id = :thread_id AND (e.after_seq, e.no) > (:after, :no) AND e.after_seq <= :until_seq
  AND e.at >= :since AND e.at < :until
ORDER BY e.after_seq, e.no
LIMIT :limit;

-- name: undos_of
-- The undone turns of a thread, in order.
SELECT e.after_seq, e.actor, e.data, e.at
FROM holdfast_events AS e
WHERE e.thread_id = :thread_id AND e.kind = 'undo' AND e.after_seq > :after AND e.after_seq <= :until_seq
ORDER BY e.after_seq, e.no;

-- name: prompt_of
-- A fork of an earlier moment may lack the event, which its origin has.
WITH RECURSIVE origins (thread_id, depth) AS (
  SELECT CAST(:thread_id AS TEXT), 0
  UNION ALL
  SELECT t.origin_thread_id, o.depth + 1
  FROM origins AS o
  JOIN holdfast_threads AS t ON t.thread_id = o.thread_id
  WHERE t.origin_thread_id IS NOT NULL AND o.depth < 100
)
SELECT e.thread_id, e.data
FROM origins AS o
JOIN holdfast_events AS e ON e.thread_id = o.thread_id
WHERE e.kind = 'prompt'
ORDER BY o.depth, e.no DESC
LIMIT 1;

-- name: add_event
-- It stands behind all message rows that exist by now.
INSERT INTO holdfast_events (thread_id, no, after_seq, kind, actor, data, at)
SELECT t.thread_id, coalesce((SELECT max(no) FROM holdfast_events AS e WHERE e.thread_id = t.thread_id), 0) + 1,
       t.next_seq - 1, :kind, CAST(:actor AS TEXT), CAST(:data AS TEXT), {now}
FROM holdfast_threads AS t
WHERE t.thread_id = :thread_id;

-- name: delete_events
DELETE FROM holdfast_events
WHERE thread_id {among_ids};

-- name: answers_of
-- The first columns are those of `interrupt`, without `is_late`.
SELECT i.interrupt_id, i.answered_at, i.answered_by, i.answer_type, i.answer, i.answer_digest,
       coalesce(i.closed_why = 'expired', FALSE) AS expired, i.asked_at, i.expires_at, i.run_id
FROM holdfast_interrupts AS i
WHERE i.thread_id = :thread_id AND (i.answered_at, i.interrupt_id) > (:since, :interrupt_id) AND i.answered_at < :until
ORDER BY i.answered_at, i.interrupt_id
LIMIT :limit;
