#!/bin/sh
# Writes schema/schema.sql, the whole current schema for people to read, from the numbered steps.
# Run it after adding a step; tests/store/open_test.cc fails when the two differ.
set -eu
cd "$(dirname "$0")/../schema"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for step in [0-9][0-9][0-9][0-9]_*.sql; do
  sqlite3 -bail "$work/steps.db" <"$step"
done
{
  cat <<'HEAD'
-- The current schema as a whole, made from the numbered steps by scripts/schema.sh: read this, change those.
-- Nothing runs it; a test proves that it gives what the steps give. Rules: README.md.

HEAD
  sqlite3 "$work/steps.db" <<'SQL'
.mode list
SELECT o.sql || ';' || char(10)
FROM sqlite_schema o JOIN sqlite_schema t ON t.type = 'table' AND t.name = o.tbl_name
WHERE o.type IN ('table', 'index') AND o.sql IS NOT NULL AND o.name NOT LIKE 'sqlite\_%' ESCAPE '\'
ORDER BY t.rowid, o.type DESC, o.rowid;
SELECT '-- engine_state has one row with a random database_id, made by step 1.' || char(10);
.mode insert profile
SELECT * FROM profile;
.mode insert before_insert
SELECT * FROM before_insert;
.mode insert dialect
SELECT * FROM dialect;
.mode list
SELECT 'ANALYZE dialect;' || char(10) || 'DELETE FROM sqlite_stat1;';
.mode insert sqlite_stat1
SELECT * FROM sqlite_stat1;
.mode list
SELECT '';
SELECT sql || ';' || char(10) FROM sqlite_schema WHERE type = 'view' ORDER BY rowid;
SELECT sql || ';' || char(10) FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid;
SQL
} >"$work/schema.sql"
cp "$work/schema.sql" schema.sql
