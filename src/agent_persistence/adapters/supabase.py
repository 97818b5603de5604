"""Supabase, and any other PostgREST: see `agent_persistence.backends.postgrest`."""

from agent_persistence.backends.postgrest.adapter import (
    AccessToken as AccessToken,
    SupabaseAdapter as SupabaseAdapter,
    Transport as Transport,
)
