"""Class counts of labels that were there before they were counted."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tintype_studio.storage.migrate import HEAD, MIGRATIONS
from tintype_studio.storage.search_tables import sample_classes


def test_labels_from_before_the_migration_are_counted_by_it(
    gallery: Any, photos: dict[str, Any], boxes: Any
) -> None:
    studio = gallery.studio
    several = gallery.add(photos["cat"], "several.jpg")
    studio.documents.save(gallery.owner, several.id, boxes(3, "dog"))
    studio.documents.save(gallery.owner, several.id, boxes(2, "cat") + boxes(1, "Straße"))
    cleared = gallery.add(photos["cat"], "cleared.jpg", quality=50)
    studio.documents.save(gallery.owner, cleared.id, boxes(1, "cat"))
    studio.documents.save(gallery.owner, cleared.id, [])
    gallery.add(photos["cat"], "never.jpg", quality=60)

    def counts() -> set[tuple[int, str, int]]:
        with studio.database.read() as connection:
            return {tuple(row) for row in connection.execute(sa.select(sample_classes))}

    expected = {(several.row_id, "cat", 2), (several.row_id, "Straße", 1)}
    assert counts() == expected
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    for verb, revision in ((command.downgrade, "0004"), (command.upgrade, HEAD)):
        with studio.database.write() as connection:
            config.attributes["connection"] = connection
            verb(config, revision)
    assert counts() == expected
