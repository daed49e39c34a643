-- min reader: 4
-- What waits for a person and who answered, and which tool calls have changed the world: code that does not know these
-- would run an effect behind their back.
CREATE TABLE holdfast_interrupts (
  thread_id TEXT NOT NULL,
  interrupt_id TEXT NOT NULL,
  checkpoint_ns TEXT NOT NULL,           -- with the two below: the write that has its value
  checkpoint_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  asked_at DOUBLE PRECISION NOT NULL,
  expires_at DOUBLE PRECISION,           -- NULL: never
  answered_at DOUBLE PRECISION,          -- NULL: it waits
  answered_by TEXT,
  answer_type TEXT,
  answer {bytes},
  answer_digest {bytes},                   -- what was decided, without by whom and when
  run_id TEXT,                           -- the run that brought the answer, where one did
  closed_at DOUBLE PRECISION,            -- its task has ended, or never will
  closed_why TEXT,
  PRIMARY KEY (thread_id, interrupt_id));
CREATE INDEX holdfast_interrupts_waiting ON holdfast_interrupts (asked_at, thread_id)
  WHERE answered_at IS NULL AND closed_at IS NULL;
CREATE INDEX holdfast_interrupts_open ON holdfast_interrupts (thread_id) WHERE closed_at IS NULL;
CREATE INDEX holdfast_interrupts_id ON holdfast_interrupts (interrupt_id); -- who answers names no thread

-- A copy can run no effect that its original has run, nor the other way round: they share a lineage.
ALTER TABLE holdfast_threads ADD COLUMN lineage TEXT; -- the thread that a copy comes from in the end; NULL: it is none
CREATE INDEX holdfast_threads_lineage ON holdfast_threads (lineage) WHERE lineage IS NOT NULL;

CREATE TABLE holdfast_effects (
  lineage TEXT NOT NULL,
  effect_key TEXT NOT NULL,              -- which call of which message
  thread_id TEXT NOT NULL,               -- where it ran, or runs
  tool TEXT NOT NULL,
  args_digest {bytes} NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('started', 'done', 'failed', 'in_doubt', 'skipped')),
  attempt INTEGER NOT NULL,              -- grows with each "run again": the fencing token
  owner TEXT NOT NULL,                   -- which open checkpointer
  alive_until DOUBLE PRECISION NOT NULL, -- moved on by the owner while it lives
  why TEXT,                              -- of a doubt
  interrupt_id TEXT,                     -- the answer under which it ran; NULL: it needed none
  decision TEXT,                         -- what a person said about a doubt
  decided_by TEXT,
  decided_at DOUBLE PRECISION,
  result_type TEXT,
  result {bytes},
  run_id TEXT,
  started_at DOUBLE PRECISION NOT NULL,
  finished_at DOUBLE PRECISION,
  PRIMARY KEY (lineage, effect_key));
CREATE INDEX holdfast_effects_open ON holdfast_effects (alive_until) WHERE state IN ('started', 'in_doubt');
CREATE INDEX holdfast_effects_thread ON holdfast_effects (thread_id);

ALTER TABLE holdfast_leases ADD COLUMN nonce TEXT; -- of who asked: a place in line is taken once, also when asked for twice
