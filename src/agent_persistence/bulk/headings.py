"""Which column of a table a heading of a file means. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

_MEANINGS: Final[dict[str, str]] = {
    "email": "email e-mail email_address e-mail_address mail work_email primary_email business_email contact_email"
    " e_mail_1_value e-mail-adresse mailadresse correo correo_electronico courriel",
    "first_name": "first_name firstname given_name forename vorname prenom nombre",
    "last_name": "last_name lastname surname family_name nachname familienname nom apellido apellidos",
    "name": "name full_name contact_name account_name company_name firmenname kundenname",
    "phone": "phone phone_number telephone mobile mobile_phone mobile_phone_number work_phone work_direct_phone"
    " corporate_phone telefon telefonnummer handy tel telefono",
    "company": "company company_name organization organisation organization_name account account_name company_account"
    " employer firma unternehmen associated_company company_name_for_emails entreprise empresa",
    "status": "status lead_status stage lifecycle_stage state",
    "score": "score lead_score points hubspot_score rating punkte",
    "notes": "notes note description comments comment bemerkung bemerkungen notizen remarks",
    "tags": "tags labels keywords tag schlagworte",
    "created_at": "created_at created create_date created_date date_created creation_date connected_on erstellt_am"
    " angelegt_am",
    "updated_at": "updated_at updated last_modified_date last_modified modified_at",
    "last_contacted_at": "last_contacted_at last_contacted last_contact last_activity_date last_contact_date"
    " letzter_kontakt",
    "budget": "budget amount annual_revenue revenue",
    "plan": "plan subscription_plan tier",
    "is_active": "is_active active aktiv enabled",
    "is_qualified": "is_qualified qualified qualifiziert",
    "content": "content message text body",
    "subject": "subject title betreff",
    "channel": "channel source_channel",
    "source": "source lead_source quelle original_source",
}
_COLUMNS: Final[dict[str, list[str]]] = {}
for _column, _names in _MEANINGS.items():
    for _name in _names.split():
        _COLUMNS.setdefault(re.sub(r"[^a-z0-9]+", "_", _name), []).append(_column)
_LETTERS: Final = str.maketrans({"ß": "ss", "ä": "ae", "ö": "oe", "ü": "ue", "ø": "o", "ł": "l"})


def plain(heading: str) -> str:
    """The heading as a column would be named: `First Name` is `first_name`, `createdAt` is `created_at`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", heading)
    folded = unicodedata.normalize("NFKD", apart.lower().translate(_LETTERS)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", folded).strip("_")


def matches(headings: Iterable[str], columns: Iterable[str]) -> dict[str, str]:
    """By heading the column that it means: the one of its name, else one that such a heading usually means.

    No column is meant twice: a heading of the column's own name goes before others, and of these the first.
    """
    known = list(columns)
    given = list(headings)
    found: dict[str, str] = {}
    for step in (_same, _alike, _usual):
        for heading in given:
            column = None if heading in found else step(heading, known)
            if column is not None and column not in found.values():
                found[heading] = column
    return {heading: found[heading] for heading in given if heading in found}


def _same(heading: str, columns: list[str]) -> str | None:
    return heading if heading in columns else None


def _alike(heading: str, columns: list[str]) -> str | None:
    bare = plain(heading)
    by_letters: Mapping[str, str] = {name.replace("_", ""): name for name in columns}
    return bare if bare in columns else by_letters.get(bare.replace("_", "")) if bare else None


def _usual(heading: str, columns: list[str]) -> str | None:
    meant = (*_COLUMNS.get(plain(heading), ()), *_COLUMNS.get(plain(heading.lower()), ()))
    return next((name for name in meant if name in columns), None)
