#!/bin/sh
# Run once by the image of Postgres, when it makes its folder: a database and a user of Crier's own,
# which is no superuser. The superuser loses its password, so that it can log in inside the container
# alone: docker compose exec --user postgres postgres psql
set -eu
psql --set ON_ERROR_STOP=1 --set password="$POSTGRES_PASSWORD" --username postgres <<'SQL'
CREATE ROLE crier LOGIN PASSWORD :'password';
CREATE DATABASE crier OWNER crier;
ALTER ROLE postgres PASSWORD NULL;
SQL
