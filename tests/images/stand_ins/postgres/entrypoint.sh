set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb -U postgres --pwfile /tmp/password --auth-local trust --auth-host scram-sha-256
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    # By its socket alone, so that the health check does not succeed before the scripts have run.
    pg_ctl -w -o "-c listen_addresses='' -c unix_socket_directories=/tmp" start
    createdb -h /tmp -U postgres "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        psql -h /tmp -U postgres -d "$POSTGRES_DB" -v ON_ERROR_STOP=1 -f "$script"
    done
    pg_ctl -w -m fast stop
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
