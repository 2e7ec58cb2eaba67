#!/usr/bin/env sh
# Run once by the PostgreSQL image, in an empty data folder: the role that the service works as gets a login of its own.
# The migrations, which the owner runs, give it what it may do, table by table.
set -eu
psql -v ON_ERROR_STOP=1 -v password="${POSTGRES_APP_PASSWORD:?}" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE ums_app LOGIN PASSWORD :'password';
SQL
