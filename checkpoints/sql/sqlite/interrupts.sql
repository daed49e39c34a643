-- What waits for a person: where its words lie in the tables of langgraph-checkpoint-sqlite.

-- name: waiting
SELECT i.thread_id, i.interrupt_id, i.checkpoint_id, i.task_id, asked.task_path, i.asked_at, i.expires_at,
       asked.type, asked.value,
       CASE WHEN json_valid(CAST(c.metadata AS TEXT)) THEN json_extract(CAST(c.metadata AS TEXT), '$.user_id') END
FROM holdfast_interrupts AS i
JOIN checkpoints AS c
  ON c.thread_id = i.thread_id AND c.checkpoint_ns = i.checkpoint_ns AND c.checkpoint_id = i.checkpoint_id
JOIN {writes} AS asked
  ON asked.thread_id = i.thread_id AND asked.checkpoint_ns = i.checkpoint_ns
  AND asked.checkpoint_id = i.checkpoint_id AND asked.task_id = i.task_id AND asked.idx = -3
WHERE {where} AND i.answered_at IS NULL AND i.closed_at IS NULL
  AND (i.expires_at IS NULL OR i.expires_at > {now}) AND NOT ({over})
  AND (CAST(:user_id AS TEXT) IS NULL
       OR CASE WHEN json_valid(CAST(c.metadata AS TEXT)) THEN json_extract(CAST(c.metadata AS TEXT), '$.user_id') END = :user_id)
ORDER BY i.asked_at DESC, i.thread_id
LIMIT :limit;

-- name: unlisted
-- Pauses on the newest checkpoints of threads that have no row of their own: made before there was that table, or by a
-- stock saver.
SELECT heads.thread_id, heads.head, asked.task_id, asked.type, asked.value
FROM (
  SELECT c.thread_id, max(c.checkpoint_id) AS head
  FROM checkpoints AS c
  WHERE c.checkpoint_ns = '' AND {where}
  GROUP BY c.thread_id
) AS heads
JOIN {writes} AS asked
  ON asked.thread_id = heads.thread_id AND asked.checkpoint_ns = '' AND asked.checkpoint_id = heads.head
  AND asked.idx = -3
WHERE NOT EXISTS (
  SELECT 1
  FROM holdfast_interrupts AS i
  WHERE i.thread_id = heads.thread_id AND i.checkpoint_id = heads.head AND i.task_id = asked.task_id
);

-- name: close_replaced
-- What a task asked before it asked this: a subgraph goes on inside of it.
UPDATE holdfast_interrupts
SET closed_at = {now},
    closed_why = coalesce(closed_why, CASE WHEN answered_at IS NULL THEN 'moved on' ELSE 'answered' END)
WHERE thread_id = :thread_id AND closed_at IS NULL AND checkpoint_id = :checkpoint_id AND task_id = :task_id
  AND interrupt_id NOT IN (SELECT value FROM json_each(:interrupt_ids));
