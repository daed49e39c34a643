-- min reader: 1
-- What a run has made, so that it can be taken back as if it had never been.
-- Most checkpoints name their run; LangGraph's stock saver may write what is no JSON.
CREATE INDEX holdfast_checkpoints_run ON checkpoints (
  (CASE WHEN json_valid(CAST(metadata AS TEXT)) THEN json_extract(CAST(metadata AS TEXT), '$.run_id') END), thread_id)
  WHERE (CASE WHEN json_valid(CAST(metadata AS TEXT)) THEN json_extract(CAST(metadata AS TEXT), '$.run_id') END) IS NOT NULL;

-- What a run wrote onto a checkpoint that is not its own, such as the answer to a pause.
CREATE TABLE holdfast_run_writes (
  run_id TEXT NOT NULL,
  thread_id TEXT NOT NULL,
  checkpoint_ns TEXT NOT NULL,
  checkpoint_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  idx INTEGER NOT NULL,
  channel TEXT,                          -- the write that it took the place of, as it was; NULL: there was none
  type TEXT,
  blob BLOB,
  written_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id));
CREATE INDEX holdfast_run_writes_run ON holdfast_run_writes (run_id, thread_id);
