-- What waits for a person: what PostgreSQL says in another way.

-- name: close_replaced
-- What a task asked before it asked this: a subgraph goes on inside of it.
UPDATE holdfast_interrupts
SET closed_at = {now},
    closed_why = coalesce(closed_why, CASE WHEN answered_at IS NULL THEN 'moved on' ELSE 'answered' END)
WHERE thread_id = :thread_id AND closed_at IS NULL AND checkpoint_id = :checkpoint_id AND task_id = :task_id
  AND interrupt_id <> ALL(:interrupt_ids);
