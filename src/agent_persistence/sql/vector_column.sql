-- {table}.{vector}: one vector for each row, and the indexes that find rows by it and by the words of {text}.
-- Where pgvector is missing, `create extension vector with schema extensions` first.
alter table "{schema}"."{table}" add column if not exists "{vector}" vector({dimensions});
create index if not exists {table}_{vector}_hnsw on "{schema}"."{table}" using hnsw ("{vector}" vector_cosine_ops);
create index if not exists {table}_{text}_words on "{schema}"."{table}"
  using gin (to_tsvector('{config}'::regconfig, "{text}"));

-- A vector never outlives the text it was made of: who changes the text empties it, and embed_rows fills it again.
create or replace function "{schema}".{table}_{vector}_outdated() returns trigger
language plpgsql set search_path = '' as $trigger$
begin
  new."{vector}" := null;
  return new;
end $trigger$;
create or replace trigger {table}_{vector}_outdated before update of "{text}" on "{schema}"."{table}" for each row
  when (old."{text}" is distinct from new."{text}" and old."{vector}" is not distinct from new."{vector}")
  execute function "{schema}".{table}_{vector}_outdated();
