-- What a local database has before its first table: the roles, the rights and the functions that a hosted Supabase
-- project has, so that policies of row-level security that are written for one hold in the other; and pgvector.
create role anon nologin;

create role authenticated nologin;

create role service_role nologin bypassrls;

create role authenticator login noinherit;

grant anon, authenticated, service_role to authenticator;

create schema auth;

create schema extensions;

grant usage on schema public, auth, extensions to anon, authenticated, service_role;

alter default privileges in schema public grant all on tables to anon, authenticated, service_role;

alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;

alter default privileges in schema public grant all on functions to anon, authenticated, service_role;

create function auth.jwt() returns jsonb language sql stable
  as $$ select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb $$;

create function auth.uid() returns uuid language sql stable as $$ select (auth.jwt()->>'sub')::uuid $$;

create function auth.role() returns text language sql stable as $$ select auth.jwt()->>'role' $$;

create function auth.email() returns text language sql stable as $$ select auth.jwt()->>'email' $$;

create extension vector with schema extensions;

alter database postgres set search_path = "$user", public, extensions;

