"""A schema as PostgREST's OpenAPI description has it."""

from __future__ import annotations

from dataclasses import replace

from agent_persistence.backends.exact_json import read_json
from agent_persistence.backends.postgrest.failures import parse_error
from agent_persistence.backends.postgrest.rendering import render_openapi
from agent_persistence.backends.transport.messages import Response
from agent_persistence.cli.rest import Rest
from agent_persistence.exceptions import AdapterError, ConfigurationError
from agent_persistence.schema.registry import Schema

REMEDY = (
    "hosted Supabase shows them to a secret key only: set SUPABASE_SERVICE_KEY to one,"
    " or read the database's catalogues with --kind postgres and DATABASE_URL"
)


async def described_schema(rest: Rest, db_schema: str = "public") -> Schema:
    """The tables that the server describes, or AdapterError where it has none, or none for this key."""
    asked = render_openapi()
    if db_schema != "public":
        asked = replace(asked, headers=(*asked.headers, ("Accept-Profile", db_schema)))
    response = await rest.ask(asked)
    if not 200 <= response.status < 300:
        raise parse_error(response, "schema pull", "the OpenAPI description")
    schema = read_description(response)
    if schema is None:
        raise AdapterError("the server's OpenAPI description has no tables", status=response.status, hint=REMEDY)
    return schema


def read_description(response: Response) -> Schema | None:
    """The tables that the response describes; None where it describes none."""
    try:
        document = read_json(response.body)
    except ValueError:
        return None
    if response.status != 200 or not isinstance(document, dict) or not document.get("definitions"):
        return None
    try:
        return Schema.from_openapi(document)
    except ConfigurationError:
        return None
