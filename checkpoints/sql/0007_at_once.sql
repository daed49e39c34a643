-- min reader: 6
-- A save touches few pages. A process that has met a thread knows the digests of its rows, so no index on them is needed;
-- and an index that does not name `head` is changed only when a thread moves in the list.
DROP INDEX IF EXISTS holdfast_messages_digest;
DROP INDEX IF EXISTS holdfast_threads_user;
DROP INDEX IF EXISTS holdfast_threads_newest;
CREATE INDEX holdfast_threads_user ON holdfast_threads (user_id, updated_at DESC, thread_id DESC)
  WHERE deleted_at IS NULL;
CREATE INDEX holdfast_threads_newest ON holdfast_threads (updated_at DESC, thread_id DESC)
  WHERE deleted_at IS NULL;
