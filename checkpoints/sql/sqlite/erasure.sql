-- Erasure.

-- name: tables_of_threads
SELECT tables.name
FROM sqlite_schema AS tables
JOIN pragma_table_info(tables.name) AS columns
WHERE tables.type = 'table' AND columns.name = 'thread_id';

-- name: lock_items
-- BEGIN IMMEDIATE has locked the whole database already, so this does nothing.
DELETE FROM store WHERE FALSE;

-- name: rename_in_metadata
UPDATE checkpoints AS c
SET metadata = CAST(json_set(CAST(c.metadata AS TEXT), '$.user_id', :new) AS BLOB)
WHERE {user_id} = :user_id;
