-- min reader: 7
-- With whom a thread is shared. Older code does not delete these rows with their thread, so each names the owner who
-- shared the thread: it means nothing for a thread that another user begins under the same id.
CREATE TABLE holdfast_members (
  thread_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  owner_id TEXT NOT NULL,                -- the thread's user
  added_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (thread_id, user_id)){without_rowid};
CREATE INDEX holdfast_members_user ON holdfast_members (user_id, thread_id);
