"""Add the sum of an exported file, and the format RTTM."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "ALTER TABLE exports ADD COLUMN sha256 varchar(64), DROP CONSTRAINT ck_exports_format,"
        " ADD CONSTRAINT ck_exports_format"
        " CHECK (format IN ('json', 'txt', 'srt', 'vtt', 'md', 'summary', 'rttm'))"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DELETE FROM exports WHERE format = 'rttm'")
    op.execute(
        "ALTER TABLE exports DROP COLUMN sha256, DROP CONSTRAINT ck_exports_format,"
        " ADD CONSTRAINT ck_exports_format"
        " CHECK (format IN ('json', 'txt', 'srt', 'vtt', 'md', 'summary'))"
    )
