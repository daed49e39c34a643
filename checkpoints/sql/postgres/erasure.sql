-- Erasure.

-- name: tables_of_threads
SELECT tables.relname AS name
FROM pg_class AS tables
JOIN pg_attribute AS columns ON columns.attrelid = tables.oid AND columns.attname = 'thread_id'
WHERE tables.relkind IN ('r', 'p') AND tables.relnamespace = (
  SELECT relnamespace FROM pg_class WHERE oid = to_regclass('checkpoints')
);

-- name: lock_items
-- A writer that was first has committed its items by then, so they are deleted; any other finds the record of the erasure.
LOCK TABLE store IN EXCLUSIVE MODE;

-- name: rename_in_metadata
UPDATE checkpoints AS c
SET metadata = jsonb_set(c.metadata, ARRAY['user_id'], to_jsonb(CAST(:new AS TEXT)))
WHERE {user_id} = :user_id;
