-- The members of threads: the users with whom the user of a thread shares it.

-- name: members
-- Oldest first.
SELECT user_id
FROM holdfast_members
WHERE thread_id = :thread_id AND owner_id = :owner
ORDER BY added_at, user_id;

-- name: add_member
-- A row that an earlier thread of this id has left behind is replaced.
INSERT INTO holdfast_members (thread_id, user_id, owner_id, added_at)
VALUES (:thread_id, :member, :owner, {now})
ON CONFLICT (thread_id, user_id) DO UPDATE
SET owner_id = excluded.owner_id, added_at = excluded.added_at;

-- name: remove_member
DELETE FROM holdfast_members
WHERE thread_id = :thread_id AND user_id = :member AND owner_id = :owner;

-- name: shared_threads
-- The threads that are shared with a user.
SELECT shared.thread_id
FROM holdfast_members AS shared
JOIN holdfast_threads AS t ON t.thread_id = shared.thread_id
WHERE shared.user_id = :user_id AND shared.owner_id = t.user_id AND t.deleted_at IS NULL
LIMIT :limit;

-- name: copy_members
INSERT INTO holdfast_members (thread_id, user_id, owner_id, added_at)
SELECT :target, user_id, owner_id, added_at
FROM holdfast_members
WHERE thread_id = :thread_id
ON CONFLICT (thread_id, user_id) DO UPDATE
SET owner_id = excluded.owner_id, added_at = excluded.added_at;

-- name: delete_members
DELETE FROM holdfast_members
WHERE thread_id {among_ids};
