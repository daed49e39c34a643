-- min reader: 1
-- One writer per thread: the lowest unexpired ticket holds the lease, the others wait in line.
ALTER TABLE holdfast_threads ADD COLUMN next_ticket BIGINT NOT NULL DEFAULT 1;

CREATE TABLE holdfast_leases (
  thread_id TEXT NOT NULL,
  ticket BIGINT NOT NULL,                -- grows with every lease of the thread: the fencing token
  owner TEXT NOT NULL,                   -- for people: which host and process
  purpose TEXT NOT NULL,
  asked_at DOUBLE PRECISION NOT NULL,
  held_at DOUBLE PRECISION,              -- NULL: still in line
  expires_at DOUBLE PRECISION NOT NULL,  -- moved on by the owner while it lives
  PRIMARY KEY (thread_id, ticket));
