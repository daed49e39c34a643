-- The versions of the tables.

-- name: schema_versions
SELECT version, name, min_reader
FROM holdfast_schema
ORDER BY version;

-- name: record_migration
INSERT INTO holdfast_schema (version, name, min_reader, applied_at)
VALUES (:version, :name, :min_reader, {now});
