-- min reader: 8
-- Turns that were accepted, for any process to carry out. Older code deletes no row of these with its thread.
CREATE TABLE holdfast_runs (
  thread_id TEXT NOT NULL,
  number BIGINT NOT NULL,                -- its place in the order of the thread: a ticket of the thread
  run_id TEXT NOT NULL,                  -- also the id of the message that it sends
  agent TEXT NOT NULL,                   -- the name of the agent that has to carry it out
  user_id TEXT,
  kind TEXT NOT NULL CHECK (kind IN ('message', 'answer', 'retry')),
  input_type TEXT,
  input {bytes},                         -- until it has ended
  idempotency_key TEXT,
  request_digest {bytes},                -- of what the key was given for
  state TEXT NOT NULL CHECK (state IN ('accepted', 'running', 'done', 'failed', 'cancelled')),
  attempts INTEGER NOT NULL,             -- how often it was begun: the fencing token
  owner TEXT,                            -- which worker
  alive_until DOUBLE PRECISION,          -- moved on by the owner while it lives
  accepted_at DOUBLE PRECISION NOT NULL,
  started_at DOUBLE PRECISION,
  ended_at DOUBLE PRECISION,
  cancelled_at DOUBLE PRECISION,         -- when it was asked to stop
  after_seq BIGINT,                      -- the message row of the thread that it began after
  until_seq BIGINT,                      -- and the last one when it ended
  error_type TEXT,
  error TEXT,                            -- holds no text of the conversation
  PRIMARY KEY (thread_id, number)){without_rowid};
CREATE UNIQUE INDEX holdfast_runs_id ON holdfast_runs (run_id);
CREATE UNIQUE INDEX holdfast_runs_key ON holdfast_runs (thread_id, idempotency_key, coalesce(user_id, ''))
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX holdfast_runs_open ON holdfast_runs (thread_id, number) WHERE state IN ('accepted', 'running');
