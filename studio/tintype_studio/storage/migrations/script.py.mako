"""${message}"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
${imports if imports else ""}

from tintype_studio.storage.tables import UtcDateTime

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Revert."""
    ${downgrades if downgrades else "pass"}
