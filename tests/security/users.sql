-- Rows that belong to whoever inserts them, as a Supabase project would have it; auth.uid() is the hosted one's.
create or replace function auth.uid() returns uuid stable language sql as $$ select coalesce(
  nullif(current_setting('request.jwt.claim.sub', true), ''),
  nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
drop table leads cascade;
create table leads (
  id uuid primary key default gen_random_uuid(), owner text not null default auth.uid()::text, topic uuid not null,
  body text, created_at timestamptz not null default now(), unique (id, owner));
create index on leads (topic);
alter table leads enable row level security;
create policy own on leads to authenticated
  using (owner = (select auth.uid())::text) with check (owner = (select auth.uid())::text);
create function who() returns uuid stable language sql as $$ select auth.uid() $$;
