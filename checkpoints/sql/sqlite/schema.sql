-- The versions of the tables.

-- name: has_schema
SELECT count(*) > 0 AS has_schema
FROM sqlite_schema
WHERE type = 'table' AND name = 'holdfast_schema';
