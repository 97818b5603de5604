"""PostgREST's OpenAPI description of the eight tables, as it was before 14.8 and as it is since (OpenAPI.hs)."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

Form: TypeAlias = Literal["before 14.8", "since 14.8"]
FORMS: tuple[Form, ...] = ("before 14.8", "since 14.8")

_BUSINESS: dict[str, dict[str, str]] = {
    "clients": {
        "id": "uuid! pk gen_random_uuid()",
        "name": "text!",
        "email": "text",
        "plan": "text free",
        "budget": "numeric",
        "is_active": "boolean! true",
        "tags": "text[]",
        "metadata": "jsonb",
        "created_at": "timestamp with time zone! now()",
        "updated_at": "timestamp with time zone! now()",
    },
    "campaigns": {
        "id": "uuid! pk gen_random_uuid()",
        "client_id": "uuid clients",
        "name": "text!",
        "status": "text! draft",
        "daily_limit": "integer 50",
        "starts_on": "date",
        "settings": "jsonb",
        "created_at": "timestamp with time zone! now()",
    },
    "leads": {
        "id": "uuid! pk gen_random_uuid()",
        "client_id": "uuid clients",
        "campaign_id": "uuid campaigns",
        "email": "text!",
        "first_name": "text",
        "last_name": "text",
        "phone": "text",
        "company": "text",
        "status": "text! new",
        "score": "numeric",
        "is_qualified": "boolean false",
        "tags": "text[]",
        "custom": "jsonb",
        "notes": "text",
        "last_contacted_at": "timestamp with time zone",
        "created_at": "timestamp with time zone! now()",
    },
    "conversations": {
        "id": "uuid! pk gen_random_uuid()",
        "lead_id": "uuid leads",
        "channel": "text email",
        "subject": "text",
        "opened": "boolean",
        "created_at": "timestamp with time zone! now()",
    },
    "messages": {
        "id": "bigint! pk",
        "conversation_id": "uuid! conversations",
        "role": "text!",
        "content": "text",
        "tokens": "integer",
        "cost": "numeric",
        "created_at": "timestamp with time zone! now()",
    },
    "sequences": {
        "id": "bigint! pk",
        "campaign_id": "uuid campaigns",
        "step": "integer!",
        "delay_hours": "integer 24",
        "template": "text",
        "created_at": "timestamp with time zone! now()",
    },
    "staging_leads": {
        "id": "bigint! pk",
        "email": "text",
        "raw": "jsonb",
        "source": "text",
        "status": "text new",
        "created_at": "timestamp with time zone! now()",
    },
    "inquiries": {
        "id": "bigint! pk",
        "email": "text",
        "body": "text",
        "handled": "boolean false",
        "created_at": "timestamp with time zone! now()",
    },
}
"""By table and column: the type, `!` for NOT NULL, then `pk`, the table of a foreign key, or the default as shown."""
_JSON_TYPES = {"boolean": "boolean", "smallint": "integer", "integer": "integer", "bigint": "integer"}
_JSON_TYPES |= {"numeric": "number", "text[]": "array"}
_FORMATS = {"smallint": "int32", "integer": "int32", "bigint": "int64"}
_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "50": 50, "24": 24}


def business(form: Form) -> dict[str, Any]:
    """The description of the eight tables of the reference schema."""
    return {"swagger": "2.0", "definitions": {name: definition(told, form) for name, told in _BUSINESS.items()}}


def definition(columns: dict[str, str], form: Form) -> dict[str, Any]:
    """The description of one table."""
    return {
        "type": "object",
        "required": [name for name, told in columns.items() if "!" in told],
        "properties": {name: _property(told, form) for name, told in columns.items()},
    }


def _property(told: str, form: Form) -> dict[str, Any]:
    words = told.replace("timestamp with time zone", "timestamptz").replace("!", "").split()
    name = words[0].replace("timestamptz", "timestamp with time zone")
    shown: dict[str, Any] = {"format": _FORMATS.get(name, name) if form == "since 14.8" else name}
    if name != "jsonb":
        shown["type"] = _JSON_TYPES.get(name, "string")
    for word in words[1:]:
        if word == "pk":
            shown["description"] = "Note:\nThis is a Primary Key.<pk/>"
        elif word in _BUSINESS:
            target = f"This is a Foreign Key to `{word}.id`.<fk table='{word}' column='id'/>"
            shown["description"] = "\n".join([shown.get("description", "Note:"), target])
        else:
            shown["default"] = _CONSTANTS.get(word, word)
    return shown
