"""Add the full-text search over segments; 0008 fills it with the transcripts that exist already."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STEMMERS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish",
    "hi": "hindi", "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian",
    "lt": "lithuanian", "ne": "nepali", "nl": "dutch", "no": "norwegian", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
    "yi": "yiddish",
}  # fmt: skip
"""Stemmers of PostgreSQL by ISO 639-1 code; words of other languages are compared as they are spelled."""
UNSPACED = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
"""Characters of scripts that write no spaces: each one counts as a word."""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for stemmer in sorted(STEMMERS.values(), key="english".__ne__):  # others use that of English, too
        _create_configuration(stemmer)
    _create_segments()
    _create_words()
    _create_trigger()
    _create_search()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP FUNCTION search_transcripts")
    op.execute("DROP TRIGGER index_segments ON transcription_results")
    op.execute("DROP FUNCTION index_segments(), index_segments(uuid, jsonb, text)")
    op.execute("DROP VIEW current_transcripts")
    op.execute("DROP TABLE transcript_segments, transcript_words")
    op.execute("DROP INDEX ix_transcription_results_current")
    op.execute(
        "DROP FUNCTION similar_words, trigrams, search_configuration, separate_query, separate_characters"
    )
    for kind in ("CONFIGURATION", "DICTIONARY"):
        for stemmer in STEMMERS.values():
            op.execute(f"DROP TEXT SEARCH {kind} spoken_{stemmer}")


def _create_configuration(stemmer: str) -> None:
    """Create a configuration without stop words: people search for phrases as they were spoken."""
    name = f"spoken_{stemmer}"
    op.execute(f"CREATE TEXT SEARCH DICTIONARY {name} (TEMPLATE = snowball, LANGUAGE = {stemmer})")
    op.execute(f"CREATE TEXT SEARCH CONFIGURATION {name} (COPY = pg_catalog.{stemmer})")
    for old in {stemmer, "english"}:
        op.execute(
            f"ALTER TEXT SEARCH CONFIGURATION {name} ALTER MAPPING REPLACE {old}_stem WITH spoken_{old}"
        )


def _create_segments() -> None:
    cases = "".join(f" WHEN '{code}' THEN 'spoken_{name}'::regconfig" for code, name in STEMMERS.items())
    op.execute(f"""
        CREATE FUNCTION search_configuration(language text) RETURNS regconfig IMMUTABLE PARALLEL SAFE
        RETURN CASE language{cases} ELSE 'pg_catalog.simple'::regconfig END
    """)
    op.execute(f"""
        CREATE FUNCTION separate_characters(passage text) RETURNS text IMMUTABLE PARALLEL SAFE
        RETURN regexp_replace(passage, '({UNSPACED})', chr(31) || '\\1' || chr(31), 'g')
    """)
    op.execute(f"""
        CREATE FUNCTION separate_query(wanted text) RETURNS text IMMUTABLE PARALLEL SAFE
        RETURN separate_characters(CASE WHEN wanted LIKE '%"%' THEN wanted
            ELSE regexp_replace(wanted, '({UNSPACED}+)', '"\\1"', 'g') END)
    """)
    op.execute("""
        CREATE TABLE transcript_segments (
            result_id uuid NOT NULL,
            number integer NOT NULL,
            start_time double precision NOT NULL,
            end_time double precision NOT NULL,
            speaker text,
            language varchar(20) NOT NULL,
            confidence double precision,
            text text NOT NULL,
            search tsvector NOT NULL,
            CONSTRAINT pk_transcript_segments PRIMARY KEY (result_id, number),
            CONSTRAINT fk_transcript_segments_result_id_transcription_results FOREIGN KEY (result_id)
                REFERENCES transcription_results (id) ON DELETE CASCADE
        )
    """)
    # Entries that are not merged into the index yet are scanned by every search: there may be few.
    op.execute(
        "CREATE INDEX ix_transcript_segments_search ON transcript_segments USING gin (search)"
        " WITH (gin_pending_list_limit = 512)"
    )
    op.execute("CREATE INDEX ix_transcript_segments_language ON transcript_segments (language)")
    op.execute("CREATE INDEX ix_transcript_segments_confidence ON transcript_segments (confidence)")
    op.execute(
        "CREATE INDEX ix_transcription_results_current ON transcription_results"
        " (media_file_id) INCLUDE (id, parent_result_id, pipeline_version, version)"
    )
    # Of the results of the newest recognition, the one that was processed furthest.
    op.execute("""
        CREATE VIEW current_transcripts AS
        SELECT DISTINCT ON (result.media_file_id) result.media_file_id, result.id AS result_id
        FROM transcription_results AS result
        LEFT JOIN transcription_results AS parent ON parent.id = result.parent_result_id
        LEFT JOIN transcription_results AS root ON root.id = parent.parent_result_id
        ORDER BY result.media_file_id, coalesce(root.version, parent.version, result.version) DESC,
                 result.pipeline_version DESC, result.version DESC
    """)


def _create_words() -> None:
    """Create the vocabulary, in which words similar to a mistyped one are found by their trigrams."""
    op.execute("""
        CREATE FUNCTION trigrams(word text) RETURNS text[] IMMUTABLE PARALLEL SAFE
        RETURN ARRAY(SELECT DISTINCT substr('  ' || word || ' ', n, 3)
                     FROM generate_series(1, length(word) + 1) AS n)
    """)
    op.execute("""
        CREATE TABLE transcript_words (
            word text NOT NULL,
            trigrams text[] NOT NULL,
            CONSTRAINT pk_transcript_words PRIMARY KEY (word)
        )
    """)
    op.execute("CREATE INDEX ix_transcript_words_trigrams ON transcript_words USING gin (trigrams)")
    op.execute("""
        CREATE FUNCTION similar_words(wanted text)
        RETURNS TABLE (wanted_word text, word text, similarity double precision)
        LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
            SELECT asked.lexeme, near.word, near.similarity
            FROM unnest(to_tsvector('pg_catalog.simple', wanted)) AS asked,
            LATERAL (
                SELECT known.word,
                       shared.count::float / (cardinality(known.trigrams)
                           + cardinality(trigrams(asked.lexeme)) - shared.count) AS similarity
                FROM transcript_words AS known,
                LATERAL (SELECT count(*) FROM unnest(known.trigrams) AS trigram
                         WHERE trigram = ANY(trigrams(asked.lexeme))) AS shared
                WHERE known.trigrams && trigrams(asked.lexeme)
                  AND abs(length(known.word) - length(asked.lexeme)) <= 2
                ORDER BY 2 DESC, 1
                LIMIT 5
            ) AS near
            WHERE near.similarity >= 0.3
        $$
    """)


def _create_trigger() -> None:
    """Create the trigger by which segments are searchable as soon as their transcript is stored."""
    op.execute("""
        CREATE FUNCTION index_segments(result uuid, segments jsonb, transcript_language text) RETURNS void
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO transcript_segments
                (result_id, number, start_time, end_time, speaker, language, confidence, text, search)
            SELECT result, number - 1, (segment ->> 'start')::float, (segment ->> 'end')::float,
                   segment ->> 'speaker', spoken.language, (segment ->> 'confidence')::float,
                   segment ->> 'text',
                   to_tsvector(search_configuration(spoken.language),
                               separate_characters(segment ->> 'text'))
            FROM jsonb_array_elements(segments) WITH ORDINALITY AS each (segment, number),
            LATERAL (SELECT coalesce(segment ->> 'language', transcript_language, '') AS language) AS spoken
            WHERE segment ->> 'text' <> ''
            ON CONFLICT DO NOTHING;
            -- In order, so that two transactions that add the same words cannot wait for each other.
            INSERT INTO transcript_words (word, trigrams)
            SELECT lexeme, trigrams(lexeme)
            FROM (SELECT DISTINCT lexeme
                  FROM jsonb_array_elements(segments) AS segment,
                       unnest(to_tsvector('pg_catalog.simple', segment ->> 'text'))
                  WHERE length(lexeme) BETWEEN 3 AND 40) AS said
            WHERE NOT EXISTS (SELECT FROM transcript_words WHERE word = lexeme)
            ORDER BY lexeme
            ON CONFLICT DO NOTHING;
        END $$
    """)
    op.execute("""
        CREATE FUNCTION index_segments() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            DELETE FROM transcript_segments WHERE TG_OP = 'UPDATE' AND result_id = NEW.id;
            PERFORM index_segments(NEW.id, NEW.segments, NEW.content ->> 'language');
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER index_segments AFTER INSERT OR UPDATE OF segments, content ON transcription_results
        FOR EACH ROW EXECUTE FUNCTION index_segments()
    """)


def _create_search() -> None:
    """Create the search that the command line calls: the tables behind it may change."""
    op.execute("""
        CREATE FUNCTION search_transcripts(
            wanted text, most integer DEFAULT 20, is_similar boolean DEFAULT false,
            only_owner text DEFAULT NULL, only_language text DEFAULT NULL, only_speaker text DEFAULT NULL,
            since timestamptz DEFAULT NULL, min_confidence double precision DEFAULT NULL,
            every_version boolean DEFAULT false)
        RETURNS TABLE (
            media_id uuid, file_name text, pipeline_version text, version integer,
            start_time double precision, end_time double precision, speaker text, language text,
            confidence double precision, passage text, rank real)
        LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
            WITH RECURSIVE languages (language) AS (
                (SELECT language FROM transcript_segments ORDER BY language LIMIT 1)
                UNION ALL
                SELECT (SELECT each.language FROM transcript_segments AS each
                        WHERE each.language > languages.language ORDER BY each.language LIMIT 1)
                FROM languages WHERE languages.language IS NOT NULL
            ),
            parsed AS (
                SELECT language,
                       CASE WHEN is_similar
                            THEN (SELECT coalesce(string_agg('(' || words || ')', ' & '), '')
                                  FROM (SELECT string_agg(quote_literal(word), ' | ') AS words
                                        FROM similar_words(wanted) GROUP BY wanted_word) AS alternatives)
                       END AS alternatives,
                       separate_query(wanted) AS phrase
                FROM languages WHERE language IS NOT NULL AND coalesce(language = only_language, true)
            ),
            queries AS (
                SELECT query, array_agg(language) AS languages
                FROM (SELECT language,
                             CASE WHEN is_similar
                                  THEN to_tsquery(search_configuration(language), alternatives)
                                  ELSE websearch_to_tsquery(search_configuration(language), phrase)
                             END AS query
                      FROM parsed) AS each
                WHERE numnode(query) > 0
                GROUP BY query
            ),
            matches AS (
                SELECT segment.result_id, segment.number, query
                FROM queries, transcript_segments AS segment
                WHERE segment.search @@ query AND segment.language = ANY(languages)
                UNION ALL
                SELECT segment.result_id, segment.number, NULL
                FROM transcript_segments AS segment
                WHERE wanted IS NULL AND segment.confidence >= min_confidence
            ),
            ranked AS (
                SELECT result.media_file_id, job.task -> 'media' ->> 'file_name' AS file_name,
                       result.pipeline_version, result.version, result.created_at, segment.*, query,
                       coalesce(ts_rank_cd(segment.search, query), 0) AS rank
                FROM matches
                JOIN transcript_segments AS segment USING (result_id, number)
                JOIN transcription_results AS result ON result.id = segment.result_id
                JOIN transcription_jobs AS job ON job.id = result.job_id
                WHERE (every_version OR result.id IN (SELECT result_id FROM current_transcripts))
                  AND coalesce(job.owner = only_owner, true)
                  AND coalesce(segment.language = only_language, true)
                  AND (only_speaker IS NULL OR segment.speaker = only_speaker)
                  AND (min_confidence IS NULL OR segment.confidence >= min_confidence)
                  AND (since IS NULL OR result.created_at >= since)
                LIMIT 2000
            )
            SELECT media_file_id, file_name, pipeline_version, version, start_time, end_time, speaker,
                   language, confidence,
                   replace(replace(
                       CASE WHEN query IS NULL THEN text ELSE ts_headline(
                           search_configuration(language), separate_characters(text), query,
                           'HighlightAll=true, StartSel=' || chr(2) || ', StopSel=' || chr(3)) END,
                       chr(31), ''), chr(3) || chr(2), ''),
                   rank
            FROM (SELECT * FROM ranked
                  ORDER BY rank DESC, created_at DESC, media_file_id, start_time LIMIT most) AS best
            ORDER BY rank DESC, created_at DESC, media_file_id, start_time
        $$
    """)
