-- What a graph that is to be deployed has to go on with.

-- name: open_pauses
-- The tasks of a thread that have paused, in all of its graphs, and have not ended.
SELECT paused.checkpoint_ns AS ns, paused.checkpoint_id, paused.task_id, paused.task_path
FROM {writes} AS paused
WHERE paused.thread_id = :thread_id AND paused.idx = -3 AND NOT EXISTS (
  SELECT 1
  FROM {writes} AS ended
  WHERE ended.thread_id = paused.thread_id AND ended.checkpoint_ns = paused.checkpoint_ns
    AND ended.checkpoint_id = paused.checkpoint_id AND ended.task_id = paused.task_id AND ended.idx >= 0
);
