-- The versions of the tables.

-- name: has_schema
SELECT to_regclass('holdfast_schema') IS NOT NULL AS has_schema;
