-- Partitions the large tables of a database by hash of `thread_id`: a new one, or one that is in use.
--
--   psql -v ON_ERROR_STOP=1 -v parts=16 -f partition.sql postgresql://owner@host/database
--
-- With `schema=chat` in the URL of the application: PGOPTIONS='-c search_path=chat' psql …
--
-- It is one transaction: all of it, or nothing. The tables are locked and copied, so the application waits until it is
-- over. Run it as the owner of the tables. The primary keys of these tables begin with `thread_id`, and statements about
-- a thread name it, so PostgreSQL opens one part.
BEGIN;
SET LOCAL holdfast.parts = :'parts'; -- a DO block does not see the variables of psql

CREATE FUNCTION pg_temp.grants(source REGCLASS, target TEXT) RETURNS SETOF TEXT LANGUAGE sql AS $$
  SELECT format('GRANT %s ON %I TO %s', acl.privilege_type, target,
                CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END)
  FROM pg_class, aclexplode(relacl) AS acl
  WHERE oid = source
$$;

DO $do$
DECLARE
  parts CONSTANT INTEGER := current_setting('holdfast.parts');
  large CONSTANT TEXT[] := ARRAY['checkpoints', 'checkpoint_blobs', 'checkpoint_writes', 'holdfast_messages'];
  view_text CONSTANT TEXT := pg_get_viewdef('holdfast_transcript');
  last_of_all TEXT[]; -- statements
  last_of_table TEXT[];
  owner REGROLE;
  options TEXT;
  whole TEXT;
  part TEXT;
  name TEXT;
BEGIN
  FOREACH name IN ARRAY large LOOP
    IF (SELECT relkind FROM pg_class WHERE oid = to_regclass(name)) IS DISTINCT FROM 'r' THEN
      RAISE EXCEPTION '% is no table, or is partitioned already; nothing was changed', name;
    END IF;
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', name);
  END LOOP;

  -- What refers to the tables is made again at the end. If anything else does, such as a view of your own, a table cannot
  -- be dropped, and nothing is changed.
  last_of_all := ARRAY['CREATE VIEW holdfast_transcript AS ' || view_text]
    || ARRAY(SELECT pg_temp.grants('holdfast_transcript', 'holdfast_transcript'))
    || 'ALTER TABLE holdfast_search ADD FOREIGN KEY (thread_id, seq) REFERENCES holdfast_messages ON DELETE CASCADE'::text;
  DROP VIEW holdfast_transcript;
  ALTER TABLE holdfast_search DROP CONSTRAINT holdfast_search_thread_id_seq_fkey;

  FOREACH name IN ARRAY large LOOP
    whole := name || '_whole';
    SELECT relowner::regrole, coalesce('WITH (' || array_to_string(reloptions, ', ') || ')', '')
    INTO owner, options
    FROM pg_class
    WHERE oid = name::regclass;
    last_of_table := ARRAY(
      SELECT CASE WHEN con.oid IS NULL THEN pg_get_indexdef(indexrelid)
                  ELSE format('ALTER TABLE %I ADD CONSTRAINT %I %s', name, conname, pg_get_constraintdef(con.oid)) END
      FROM pg_index
      LEFT JOIN pg_constraint AS con ON conindid = indexrelid AND conrelid = indrelid
      WHERE indrelid = name::regclass
    );

    EXECUTE format('ALTER TABLE %I RENAME TO %I', name, whole);
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES) PARTITION BY HASH (thread_id)', name, whole);
    FOR number IN 0 .. parts - 1 LOOP
      part := name || '_' || lpad(number::text, 3, '0');
      EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS %s, REMAINDER %s) %s',
                     part, name, parts, number, options);
      last_of_table := last_of_table || format('ALTER TABLE %I OWNER TO %s', part, owner)
        || ARRAY(SELECT pg_temp.grants(whole::regclass, part));
    END LOOP;
    last_of_table := last_of_table || format('ALTER TABLE %I OWNER TO %s', name, owner)
      || ARRAY(SELECT pg_temp.grants(whole::regclass, name));
    EXECUTE format('INSERT INTO %I SELECT * FROM %I', name, whole);
    EXECUTE format('DROP TABLE %I', whole);
    FOR number IN 1 .. cardinality(last_of_table) LOOP
      EXECUTE last_of_table[number];
    END LOOP;
  END LOOP;

  FOR number IN 1 .. cardinality(last_of_all) LOOP
    EXECUTE last_of_all[number];
  END LOOP;
END
$do$;

COMMIT;
ANALYZE checkpoints, checkpoint_blobs, checkpoint_writes, holdfast_messages;
