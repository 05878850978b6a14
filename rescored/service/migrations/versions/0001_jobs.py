"""Jobs, which kept sounds each of them holds, and this machine's pace."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("job", sa.String(32), primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("timings", sa.Text, nullable=False),
    )
    op.create_index("jobs_of_owner", "jobs", ["owner", "asked_at"])
    op.create_index("jobs_by_state", "jobs", ["state", "asked_at"])
    op.create_table(
        "held_sounds",
        sa.Column("job", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
    )
    op.create_index("holders_of_sounds", "held_sounds", ["name"])
    op.create_table(
        "pace",
        sa.Column("stage", sa.String(255), primary_key=True),
        sa.Column("seconds_a_minute", sa.Float, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("pace")
    op.drop_table("held_sounds")
    op.drop_table("jobs")
