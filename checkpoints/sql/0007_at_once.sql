-- min reader: 6
-- A save touches few pages: an index that does not name `head` is changed only when a thread moves in the list.
DROP INDEX IF EXISTS holdfast_threads_user;
DROP INDEX IF EXISTS holdfast_threads_newest;
CREATE INDEX holdfast_threads_user ON holdfast_threads (user_id, updated_at DESC, thread_id DESC)
  WHERE deleted_at IS NULL;
CREATE INDEX holdfast_threads_newest ON holdfast_threads (updated_at DESC, thread_id DESC)
  WHERE deleted_at IS NULL;
