"""Alembic environment: runs on the connection that ``migrate`` hands over."""

from alembic import context

from tintype_studio.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
