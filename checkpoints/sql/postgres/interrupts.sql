-- Requests to a person, and the answers.

-- name: close_replaced
-- Close what the task asked before these requests: a subgraph goes on inside the task.
UPDATE holdfast_interrupts
SET closed_at = {now},
    closed_why = coalesce(closed_why, CASE WHEN answered_at IS NULL THEN 'moved on' ELSE 'answered' END)
WHERE thread_id = :thread_id AND closed_at IS NULL AND checkpoint_id = :checkpoint_id AND task_id = :task_id
  AND interrupt_id <> ALL(:interrupt_ids);
