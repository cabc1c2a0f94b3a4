-- Creates one login role and one schema per service; no service can read the tables of another. Safe to run again.
-- Passwords: run SET phonograph.passwords = '{"ingest": "…", …}' first; a role without one gets its name as password.
DO $roles$
DECLARE
    passwords jsonb := coalesce(nullif(current_setting('phonograph.passwords', true), ''), '{}')::jsonb;
    service text;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    FOREACH service IN ARRAY ARRAY[
        'ingest', 'analysis', 'transcription', 'diarization', 'tracklist', 'highlights', 'graph_sync'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service) THEN
            EXECUTE format('CREATE ROLE %I', service);
        END IF;
        EXECUTE format(
            'ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %L',
            service, coalesce(passwords ->> service, service)
        );
        EXECUTE format('ALTER ROLE %I SET search_path = %I', service, service);
        EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), service);
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', service, service);
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', service);
    END LOOP;
END
$roles$;
