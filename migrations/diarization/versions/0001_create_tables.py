"""Create the delivery tables, the job table, meetings, speakers and voice profiles."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_delivery_tables()
    _create_job_table()
    op.create_table(
        "files",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content_fp", sa.String(128)),
        sa.Column("mime", sa.String(100)),
        sa.Column("duration", sa.Float),
        sa.Column("size", sa.BigInteger),
        sa.Column("owner", sa.String(200)),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_sha256", "files", ["sha256"])
    op.create_index("ix_files_content_fp", "files", ["content_fp"])
    op.create_table(
        "meetings",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("file_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("language", sa.String(10)),
        sa.Column("engine", sa.String(50)),
        sa.Column("model_used", sa.String(200)),
        sa.Column("speaker_count", sa.Integer),
        sa.Column("reason", sa.String(100)),
        _now("created_at"),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_meetings"),
        sa.ForeignKeyConstraint(
            ["file_id"], ["files.id"], name="fk_meetings_file_id_files", ondelete="CASCADE"
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed')", name="ck_meetings_status"
        ),
        sa.CheckConstraint("speaker_count >= 0", name="ck_meetings_speaker_count"),
    )
    op.create_index("ix_meetings_file_id", "meetings", ["file_id"])
    op.create_index("ix_meetings_status", "meetings", ["status"])
    op.create_index("uq_meetings_file_id_version", "meetings", ["file_id", "version"], unique=True)
    op.create_index(
        "uq_meetings_file_id_open",
        "meetings",
        ["file_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('pending', 'processing')"),
    )
    op.create_table(
        "user_profiles",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("embeddings", postgresql.JSONB, server_default="[]", nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_user_profiles"),
    )
    op.create_index("ix_user_profiles_owner", "user_profiles", ["owner"])
    op.create_table(
        "speaker_profiles",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.String(200)),
        sa.Column("user_profile_id", sa.Uuid),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("characteristics", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("embedding", sa.Text, nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("dim", sa.Integer, nullable=False),
        sa.Column("sample_count", sa.Integer, server_default="0", nullable=False),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_speaker_profiles"),
        sa.ForeignKeyConstraint(
            ["user_profile_id"],
            ["user_profiles.id"],
            name="fk_speaker_profiles_user_profile_id_user_profiles",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("dim > 0", name="ck_speaker_profiles_dim"),
        sa.CheckConstraint("sample_count >= 0", name="ck_speaker_profiles_sample_count"),
    )
    for column in ("name", "user_id", "user_profile_id"):
        op.create_index(f"ix_speaker_profiles_{column}", "speaker_profiles", [column])
    op.create_index(
        "uq_speaker_profiles_user_id_name",
        "speaker_profiles",
        ["user_id", "name"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "speakers",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("meeting_id", sa.Uuid, nullable=False),
        sa.Column("cluster_id", sa.String(50), nullable=False),
        sa.Column("user_profile_id", sa.Uuid),
        sa.Column("confidence", sa.Float),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("embedding", sa.Text),
        sa.Column("model_id", sa.String(200)),
        sa.Column("dim", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_speakers"),
        sa.ForeignKeyConstraint(
            ["meeting_id"], ["meetings.id"], name="fk_speakers_meeting_id_meetings", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_profile_id"],
            ["user_profiles.id"],
            name="fk_speakers_user_profile_id_user_profiles",
            ondelete="SET NULL",
        ),
        sa.CheckConstraint("confidence BETWEEN -1 AND 1", name="ck_speakers_confidence"),
        sa.CheckConstraint("seconds >= 0", name="ck_speakers_seconds"),
    )
    op.create_index("ix_speakers_meeting_id", "speakers", ["meeting_id"])
    op.create_index("ix_speakers_user_profile_id", "speakers", ["user_profile_id"])
    op.create_index(
        "uq_speakers_meeting_id_cluster_id", "speakers", ["meeting_id", "cluster_id"], unique=True
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("meeting_id", sa.Uuid, nullable=False),
        sa.Column("type", sa.String(50), nullable=False),
        sa.Column("s3_key", sa.String(500), nullable=False),
        sa.Column("meta", postgresql.JSONB, server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
        sa.ForeignKeyConstraint(
            ["meeting_id"], ["meetings.id"], name="fk_artifacts_meeting_id_meetings", ondelete="CASCADE"
        ),
        sa.CheckConstraint(
            "type IN ('transcript.md', 'transcript.vtt', 'transcript.srt', 'summary.json', "
            "'speakers.json', 'turns.rttm')",
            name="ck_artifacts_type",
        ),
    )
    op.create_index("ix_artifacts_meeting_id", "artifacts", ["meeting_id"])
    op.create_table(
        "cache",
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("ttl", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("key", name="pk_cache"),
    )
    op.create_index("ix_cache_ttl", "cache", ["ttl"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in (
        "cache",
        "artifacts",
        "speakers",
        "speaker_profiles",
        "user_profiles",
        "meetings",
        "files",
        "diarization_jobs",
        "dead_letters",
        "outbox",
        "inbox",
    ):
        op.drop_table(table)


def _create_delivery_tables() -> None:
    op.create_table(
        "inbox",
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("event_id", sa.String(200), nullable=False),
        _now("received_at"),
        sa.PrimaryKeyConstraint("source", "event_id", name="pk_inbox"),
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"])
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", postgresql.JSONB, nullable=False),
        _now("created_at"),
        sa.Column("published_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
    )
    op.create_index("ix_outbox_waiting", "outbox", ["seq"], postgresql_where=sa.text("published_at IS NULL"))
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", postgresql.JSONB, nullable=False),
        sa.Column("reason", sa.String(100), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        _now("parked_at"),
        sa.Column("replayed_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letters"),
    )
    op.create_index("ix_dead_letters_topic", "dead_letters", ["topic"])
    op.create_index("ix_dead_letters_parked_at", "dead_letters", ["parked_at"])
    op.create_index(
        "uq_dead_letters_coordinates", "dead_letters", ["topic", "partition", "offset"], unique=True
    )


def _create_job_table() -> None:
    op.create_table(
        "diarization_jobs",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("media_file_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.String(50), nullable=False),
        sa.Column("dedupe_key", sa.String(300)),
        sa.Column("status", sa.String(20), server_default="pending", nullable=False),
        sa.Column("priority", sa.Integer, server_default="0", nullable=False),
        sa.Column("task", postgresql.JSONB, nullable=False),
        sa.Column("cause", postgresql.JSONB),
        sa.Column("model_config", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("processing_options", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("progress", sa.Float, server_default="0", nullable=False),
        _now("run_at"),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("completed_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("processing_time", sa.Float),
        sa.Column("error_reason", sa.String(100)),
        sa.Column("error_message", sa.Text),
        sa.Column("retry_count", sa.Integer, server_default="0", nullable=False),
        sa.Column("max_retries", sa.Integer, server_default="3", nullable=False),
        sa.Column("lease_token", sa.Uuid),
        sa.Column("lease_expires_at", sa.TIMESTAMP(timezone=True)),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_diarization_jobs"),
        sa.UniqueConstraint("dedupe_key", name="uq_diarization_jobs_dedupe_key"),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'retrying', 'completed', 'failed')",
            name="ck_diarization_jobs_status",
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name="ck_diarization_jobs_progress"),
    )
    op.create_index("ix_diarization_jobs_media_file_id", "diarization_jobs", ["media_file_id"])
    op.create_index("ix_diarization_jobs_status", "diarization_jobs", ["status"])
    op.create_index(
        "ix_diarization_jobs_claim",
        "diarization_jobs",
        [sa.text("priority DESC"), "run_at", "id"],
        postgresql_where=sa.text("status IN ('pending', 'retrying', 'processing')"),
    )


def _now(name: str) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
