"""Links under which the files of samples are put: signed, for one sample, type and file name each.

A file is checked and belongs to its sample when its ``PUT`` is answered: nothing waits to be taken up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from tintype_studio.errors import Forbidden, TintypeError
from tintype_studio.identity.key_rows import works
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.multisensor.file_types import FileType, file_type
from tintype_studio.multisensor.population import Populated, Population
from tintype_studio.multisensor.staging import Staged
from tintype_studio.storage.database import Database
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import api_keys

LINK_SECONDS = 24 * 3600
"""How long a link takes its file: a client may need a day for what it announced at once."""

_OP = "sample"


@dataclass(frozen=True, slots=True)
class FileSlot:
    """What a link allows."""

    principal: Principal
    """Whoever asked for it, in the call that did."""
    row_id: int
    sample_id: str
    kind: FileType
    filename: str


class SampleLinks:
    """Makes links, and takes what is put under them. Thread-safe."""

    def __init__(self, database: Database, signer: Signer, population: Population) -> None:
        self._db = database
        self._signer = signer
        self._population = population
        self.uploading = population.uploading
        """To be entered while files come in one after the other."""

    def tokens(self, principal: Principal, populated: Populated) -> dict[str, str]:
        """Tokens for ``PUT /_sample/{token}`` by type, one for each file that is to come."""
        return {
            kind: self._signer.token(
                {
                    "op": _OP,
                    "row": populated.row_id,
                    "id": populated.id,
                    "type": kind,
                    "name": filename,
                    "org": principal.organization_id,
                    "of": principal.organization_uuid,
                    "tier": principal.tier,
                    "key": principal.key_id,
                    "by": principal.key_uuid,
                    "call": principal.call_id or "",
                    "session": principal.session or "",
                    "tool": principal.tool or "",
                },
                LINK_SECONDS,
            )
            for kind, filename in populated.expected.items()
        }

    def slot(self, token: str) -> FileSlot:
        """What a link allows; ``Forbidden`` (``invalid_link``) when it is none or has expired."""
        claims = self._signer.claims(token)
        if claims is None or claims.get("op") != _OP:
            raise Forbidden(
                "This link is invalid or has expired.",
                code="invalid_link",
                fix="Send the sample again, with its UUID, for a fresh link; each works for a day.",
            )
        principal = Principal(
            organization_id=int(claims["org"]),
            organization_uuid=str(claims["of"]),
            key_id=int(claims["key"]),
            key_uuid=str(claims["by"]),
            key_name="",
            key_prefix="",
            role=Role.MEMBER,
            tier=str(claims["tier"]),
            call_id=str(claims["call"]) or None,
            session=str(claims["session"]) or None,
            tool=str(claims["tool"]) or None,
        )
        return FileSlot(
            principal,
            int(claims["row"]),
            str(claims["id"]),
            file_type(str(claims["type"])),
            str(claims["name"]),
        )

    def receive(self, slot: FileSlot, data: bytes) -> bool:
        """Take the file of a link; False when the sample has these bytes already.

        Raises as ``Population.stage`` and ``Population.attach``; nothing is recorded then.
        """
        (done,) = self.receive_many([(slot, data)])
        if isinstance(done, TintypeError):
            raise done
        return done

    def receive_many(self, arrived: Sequence[tuple[FileSlot, bytes]]) -> list[bool | TintypeError]:
        """As ``receive``, of many at a time: one transaction instead of one for each."""
        done: list[bool | TintypeError] = []
        wanted: list[tuple[Principal, int, str, Staged]] = []
        places: list[int] = []
        able = self._able({slot.principal.key_id for slot, _data in arrived})
        for place, (slot, data) in enumerate(arrived):
            try:
                if slot.principal.key_id not in able:
                    raise _key_gone()
                staged = self._population.stage(data, slot.kind.name, slot.filename)
            except TintypeError as error:
                done.append(error)
                continue
            done.append(False)
            places.append(place)
            wanted.append((slot.principal, slot.row_id, slot.sample_id, staged))
        if wanted:
            for place, outcome in zip(places, self._population.attach_many(wanted), strict=True):
                done[place] = outcome
        return done

    def _able(self, keys: set[int]) -> set[int]:
        """Those of the keys that still work and may write: a link lives no longer than what asked for it."""
        query = sa.select(api_keys.c.id, api_keys.c.is_active, api_keys.c.expires_at, api_keys.c.role).where(
            api_keys.c.id.in_(keys)
        )
        with self._db.read() as connection:
            rows = connection.execute(query).mappings().all()
        return {row["id"] for row in rows if works(row) and Role(row["role"]).covers(Role.MEMBER)}


def _key_gone() -> Forbidden:
    return Forbidden(
        "The key that asked for this link works no more.",
        code="invalid_link",
        fix="Send the sample again with a key that works, for a fresh link.",
    )
