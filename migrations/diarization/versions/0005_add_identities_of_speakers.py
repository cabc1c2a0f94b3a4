"""Add who a speaker is and who decided it, refused suggestions, and several voiceprints for each person."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE files ADD COLUMN identity_version integer NOT NULL DEFAULT 0")
    op.execute("CREATE INDEX ix_files_owner ON files (owner)")
    op.execute(
        "ALTER TABLE user_profiles ADD COLUMN consent boolean NOT NULL DEFAULT false, "
        "ADD COLUMN version integer NOT NULL DEFAULT 1, "
        "ADD COLUMN updated_by varchar(200), "
        "ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now()"
    )
    # No release has read or written this column: the voiceprints of a person are rows of speaker_profiles.
    op.execute("ALTER TABLE user_profiles DROP COLUMN embeddings")
    op.execute(
        "CREATE UNIQUE INDEX uq_user_profiles_owner_display_name ON user_profiles (owner, display_name) "
        "NULLS NOT DISTINCT"
    )
    op.execute("DROP INDEX uq_speaker_profiles_user_id_name")
    op.execute(
        "ALTER TABLE speakers ADD COLUMN state varchar(20) NOT NULL DEFAULT 'unknown', "
        "ADD COLUMN decided_by varchar(200), ADD COLUMN decided_at timestamptz, "
        "ADD COLUMN turns jsonb NOT NULL DEFAULT '[]', "
        "ADD CONSTRAINT ck_speakers_state CHECK (state IN ('unknown', 'suggested', 'confirmed'))"
    )
    op.execute("UPDATE speakers SET state = 'suggested' WHERE user_profile_id IS NOT NULL")
    op.execute(
        "CREATE UNIQUE INDEX uq_speakers_meeting_id_user_profile_id ON speakers "
        "(meeting_id, user_profile_id) WHERE user_profile_id IS NOT NULL"
    )
    op.create_table(
        "refused_matches",
        sa.Column("speaker_id", sa.Uuid, nullable=False),
        sa.Column("user_profile_id", sa.Uuid, nullable=False),
        sa.Column("refused_by", sa.String(200), nullable=False),
        _now("refused_at"),
        sa.PrimaryKeyConstraint("speaker_id", "user_profile_id", name="pk_refused_matches"),
        sa.ForeignKeyConstraint(
            ["speaker_id"], ["speakers.id"], name="fk_refused_matches_speaker_id_speakers", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_profile_id"],
            ["user_profiles.id"],
            name="fk_refused_matches_user_profile_id_user_profiles",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_refused_matches_user_profile_id", "refused_matches", ["user_profile_id"])
    op.create_table(
        "identity_decisions",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("decision", sa.String(30), nullable=False),
        sa.Column("user_profile_id", sa.Uuid, nullable=False),
        sa.Column("speaker_id", sa.Uuid),
        sa.Column("other_profile_id", sa.Uuid),
        sa.Column("score", sa.Float),
        sa.Column("decided_by", sa.String(200), nullable=False),
        sa.Column("event_id", sa.String(200)),
        _now("decided_at"),
        sa.PrimaryKeyConstraint("id", name="pk_identity_decisions"),
    )
    op.create_index("ix_identity_decisions_user_profile_id", "identity_decisions", ["user_profile_id"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("identity_decisions")
    op.drop_table("refused_matches")
    op.execute("DROP INDEX uq_speakers_meeting_id_user_profile_id")
    op.execute(
        "ALTER TABLE speakers DROP COLUMN state, DROP COLUMN decided_by, "
        "DROP COLUMN decided_at, DROP COLUMN turns"
    )
    # Fails as long as a person has several voiceprints.
    op.execute(
        "CREATE UNIQUE INDEX uq_speaker_profiles_user_id_name ON speaker_profiles (user_id, name) "
        "NULLS NOT DISTINCT"
    )
    op.execute("DROP INDEX uq_user_profiles_owner_display_name")
    op.execute("ALTER TABLE user_profiles ADD COLUMN embeddings jsonb NOT NULL DEFAULT '[]'")
    op.execute(
        "ALTER TABLE user_profiles DROP COLUMN consent, DROP COLUMN version, DROP COLUMN updated_by, "
        "DROP COLUMN updated_at"
    )
    op.execute("DROP INDEX ix_files_owner")
    op.execute("ALTER TABLE files DROP COLUMN identity_version")


def _now(name: str) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
