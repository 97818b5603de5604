-- Several writes as one transaction, applied once: agent_persistence_apply in "{api}", which PostgREST is to serve, and
-- the ledger in "{schema}", which it is not to. Run it as the owner of the tables, again if you like.
--
-- The function runs with the rights of who calls it, row-level security included. It takes plain statements over the
-- tables of "{api}" alone: their names are quoted by the database, and values are JSON or quoted texts.
create schema if not exists "{schema}";

create or replace function "{schema}".caller() returns text
language plpgsql stable set search_path = '' as $caller$
begin
  return pg_catalog.concat_ws(' ', current_user::text,
    nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::json->>'sub');
end $caller$;
comment on function "{schema}".caller() is 'Who calls: the role, and the subject of the token.';

-- What was applied, by the key that came with it. Who finds the key here gets the result, and nothing is applied again.
create table if not exists "{schema}".ledger (
  key uuid constraint ledger_pkey primary key,
  owner text not null default "{schema}".caller(),
  digest text not null,
  result json not null,
  created_at timestamptz not null default pg_catalog.now());
create index if not exists ledger_created_at on "{schema}".ledger (created_at);
alter table "{schema}".ledger enable row level security;
drop policy if exists own on "{schema}".ledger;
create policy own on "{schema}".ledger
  using (owner = (select "{schema}".caller())) with check (owner = (select "{schema}".caller()));

-- Forgets entries that are older than asked, as many as asked at most, and of those that the caller may see.
create or replace function "{schema}".prune(older_than interval default '{keep}', at_most integer default 1000)
returns bigint language sql volatile security invoker set search_path = '' as $prune$
  with gone as (
    delete from "{schema}".ledger where ctid = any (array(
      select ctid from "{schema}".ledger where created_at < pg_catalog.now() - older_than
      order by created_at limit at_most for update skip locked))
    returning 1)
  select pg_catalog.count(*) from gone
$prune$;

-- A value of an earlier result, [operation, row, column], as JSON.
create or replace function "{schema}".told(reference json, results json[]) returns json
language plpgsql immutable set search_path = '' as $told$
declare
  told json := results[(reference->>0)::integer + 1]->((reference->>1)::integer)->(reference->>2);
begin
  if told is null then
    raise exception using errcode = 'AP003', message = 'a reference names no earlier result';
  end if;
  return told;
end $told$;

-- A filter as SQL: every name quoted as a name, every value as a text.
create or replace function "{schema}".condition(term json, target regclass, results json[]) returns text
language plpgsql stable set search_path = '' as $condition$
declare
  operator text := term->>'is';
  named text := pg_catalog.quote_ident(term->>'column');
  value text := pg_catalog.quote_nullable(term->>'value');
  config text := coalesce(pg_catalog.quote_literal(term->>'config') || '::regconfig, ', '');
begin
  if term->'all' is not null or term->'any' is not null then
    return (
      select '(' || coalesce(pg_catalog.string_agg("{schema}".condition(one, target, results),
        case when term->'all' is not null then ' and ' else ' or ' end order by n), (term->'all' is not null)::text) || ')'
      from pg_catalog.json_array_elements(coalesce(term->'all', term->'any')) with ordinality as terms(one, n));
  elsif term->'not' is not null then
    return '(not ' || "{schema}".condition(term->'not', target, results) || ')';
  end if;
  select '(' || named || pg_catalog.string_agg(
      case step->>0 when '->' then ' -> ' when '->>' then ' ->> ' end
      || case when step->>1 ~ '^-?[0-9]{{1,9}}$' then step->>1 else pg_catalog.quote_literal(step->>1) end, '' order by n) || ')'
    into named from pg_catalog.json_array_elements(coalesce(term->'steps', '[]')) with ordinality as steps(step, n)
    having pg_catalog.count(*) > 0
  union all select named where coalesce(pg_catalog.json_array_length(term->'steps'), 0) = 0;
  if term->'from' is not null then
    value := pg_catalog.quote_nullable("{schema}".told(term->'from', results)#>>'{{}}');
  end if;
  value := '(' || case operator
    when 'eq' then named || ' = ' || value
    when 'ne' then named || ' <> ' || value
    when 'gt' then named || ' > ' || value
    when 'gte' then named || ' >= ' || value
    when 'lt' then named || ' < ' || value
    when 'lte' then named || ' <= ' || value
    when 'in' then named || ' = any (' || value || ')'
    when 'not_in' then 'not ' || named || ' = any (' || value || ')'
    when 'like' then named || ' like ' || value
    when 'ilike' then named || ' ilike ' || value
    when 'match' then named || ' ~ ' || value
    when 'imatch' then named || ' ~* ' || value
    when 'is_null' then named || ' is null'
    when 'not_null' then named || ' is not null'
    when 'is_true' then named || ' is true'
    when 'is_false' then named || ' is false'
    when 'contains' then named || ' @> ' || value
    when 'contained_by' then named || ' <@ ' || value
    when 'overlaps' then named || ' && ' || value
    when 'adjacent' then named || ' -|- ' || value
    when 'text_search' then
      case when term->'steps' is null and exists (
        select from pg_catalog.pg_attribute a where a.attrelid = target and a.attname = term->>'column'
          and a.atttypid = 'pg_catalog.tsvector'::regtype)
      then named else 'to_tsvector(' || config || named || ')' end
      || ' @@ ' || case term->>'kind' when 'plain' then 'plainto_tsquery' when 'phrase' then 'phraseto_tsquery'
        when 'websearch' then 'websearch_to_tsquery' when 'tsquery' then 'to_tsquery' end
      || '(' || config || value || ')'
  end || ')';
  if value is null then
    raise exception using errcode = 'AP003', message = 'a filter is not understood';
  end if;
  return value;
end $condition$;

-- The table of this name; nothing else that a schema holds.
create or replace function "{schema}".target(name text) returns regclass
language plpgsql stable set search_path = '' as $target$
declare
  target regclass := (select c.oid::regclass from pg_catalog.pg_class c
    where c.relnamespace = '"{api}"'::regnamespace and c.relname = name and c.relkind in ('r', 'p', 'v', 'm', 'f'));
begin
  if target is null then
    raise exception using errcode = '42P01',
      message = pg_catalog.format('relation "%s.%s" does not exist', '{api}', name);
  end if;
  return target;
end $target$;

-- Names as a list of SQL, null for none.
create or replace function "{schema}".named(columns json, form text default '%I') returns text
language plpgsql immutable set search_path = '' as $named$
begin
  return (
    select pg_catalog.string_agg(pg_catalog.format(form, name), ', ' order by n)
    from pg_catalog.json_array_elements_text(columns) with ordinality as names(name, n));
end $named$;

-- The records with values of earlier results in the places that `references` names, [record, column, reference] each.
create or replace function "{schema}".filled(records json, refer json, results json[]) returns json
language plpgsql stable set search_path = '' as $filled$
begin
  if refer is null then
    return records;
  end if;
  return (
    select pg_catalog.json_agg((
      select pg_catalog.json_object_agg(key, value) from (
        select key, value from pg_catalog.json_each(record)
        union all
        select one->>1, "{schema}".told(one->2, results) from pg_catalog.json_array_elements(refer) as one
        where (one->>0)::integer = n - 1) as columns) order by n)
    from pg_catalog.json_array_elements(records) with ordinality as rows(record, n));
end $filled$;

-- What each column is set to: what was given for it, or what `compute` says is made of that and of what is there. The
-- functions take numbers alone, and jsonb alone, where the operators would do something else with other types; the last
-- one refuses a document that is no object.
create or replace function "{schema}".settings(columns json, compute json) returns text
language plpgsql immutable set search_path = '' as $settings$
begin
  if exists (select from pg_catalog.json_each_text(compute) where coalesce(value not in ('+', '||'), true)) then
    raise exception using errcode = 'AP003', message = 'a change is not understood';
  end if;
  return (
    select pg_catalog.string_agg(pg_catalog.format(case compute->>name
      when '+' then 'case when sign(agent_persistence_given.%1$I) is not null'
        ' then agent_persistence_old.%1$I + agent_persistence_given.%1$I end'
      when '||' then 'case jsonb_typeof(agent_persistence_old.%1$I) when ''object'''
        ' then agent_persistence_old.%1$I || agent_persistence_given.%1$I'
        ' else coalesce((select value from jsonb_each(agent_persistence_old.%1$I)), agent_persistence_given.%1$I) end'
      else 'agent_persistence_given.%1$I' end, name), ', ' order by n)
    from pg_catalog.json_array_elements_text(columns) with ordinality as names(name, n));
end $settings$;

-- The text of an insert whose records are $1. Records of different keys take defaults, which `values` alone knows.
create or replace function "{schema}".insertion(operation json, records json, target regclass, of_table text) returns text
language plpgsql stable set search_path = '' as $insertion$
declare
  columns json := operation->'columns';
  merged text := "{schema}".named(operation->'on_conflict');
  named text := coalesce("{schema}".named(columns), '');
  source text := 'select ' || named || pg_catalog.format(case pg_catalog.json_array_length(records)
    when 1 then ' from pg_catalog.json_populate_record(null::%s, $1->0)'
    else ' from pg_catalog.json_populate_recordset(null::%s, $1)' end, of_table);
begin
  if (operation->>'uneven')::boolean then
    select 'values ' || pg_catalog.string_agg('(' || (
        select pg_catalog.string_agg(case when record->name is null then 'default' else pg_catalog.format(
          '(pg_catalog.json_populate_record(null::%s, $1->%s)).%I', of_table, n - 1, name) end, ', ' order by place)
        from pg_catalog.json_array_elements_text(columns) with ordinality as names(name, place)) || ')', ', ' order by n)
      into source from pg_catalog.json_array_elements(records) with ordinality as rows(record, n);
  end if;
  if operation->'on_conflict' is not null and merged is null then
    select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by k.n) into merged
      from pg_catalog.pg_index i, pg_catalog.unnest(i.indkey) with ordinality as k(attnum, n), pg_catalog.pg_attribute a
      where i.indrelid = target and i.indisprimary and a.attrelid = target and a.attnum = k.attnum;
  end if;
  return pg_catalog.format('insert into %s as agent_persistence_row', of_table)
    || case named when '' then ' ' else ' (' || named || ') ' end || source || coalesce(' on conflict (' || merged || ') do '
      || coalesce('update set ' || "{schema}".named(columns, '%1$I = excluded.%1$I'), 'nothing'), '');
end $insertion$;

-- The text of a call whose arguments are the columns of $1, of the one function of this name that takes them.
create or replace function "{schema}".calling(name text, arguments json) returns text
language plpgsql stable set search_path = '' as $calling$
declare
  given text[] := array(select pg_catalog.json_object_keys(arguments));
  called record;
  source text;
begin
  select p.oid, p.proretset, p.prorettype = 'pg_catalog.void'::regtype as nothing,
      r.typtype = 'c' or coalesce(p.proargmodes && '{{t,b,o}}', false) as rows,
      count(*) over () as fitting, taken.columns, taken.passed
    into called
    from pg_catalog.pg_proc p join pg_catalog.pg_type r on r.oid = p.prorettype
    cross join lateral (
      select coalesce(pg_catalog.array_agg(a.name order by a.n), array[]::text[]) as names,
        pg_catalog.string_agg(pg_catalog.format('%I %s', a.name, pg_catalog.format_type(a.type, null)), ', ' order by a.n)
          filter (where a.name = any (given)) as columns,
        pg_catalog.string_agg(pg_catalog.format('%s%I => agent_persistence_given.%I', case a.mode when 'v' then 'variadic ' else '' end,
          a.name, a.name), ', ' order by a.mode = 'v', a.n) filter (where a.name = any (given)) as passed
      from unnest(p.proargnames, coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargmodes)
        with ordinality as a(name, type, mode, n)
      where coalesce(a.mode, 'i') in ('i', 'b', 'v')) as taken
    where p.pronamespace = '"{api}"'::regnamespace and p.proname = name and p.prokind = 'f'
      and p.prorettype <> 'pg_catalog.trigger'::regtype and given <@ taken.names
      and taken.names[1:pg_catalog.cardinality(taken.names) - p.pronargdefaults] <@ given;
  if called.oid is null then
    raise exception using errcode = '42883',
      message = pg_catalog.format('function %s.%s(%s) does not exist', '{api}', name, pg_catalog.array_to_string(given, ', '));
  elsif called.fitting > 1 then
    raise exception using errcode = '42725', message = pg_catalog.format('function %s.%s is not unique', '{api}', name);
  end if;
  source := pg_catalog.format('%I.%I(%s)', '{api}', name, called.passed);
  return case when called.nothing then 'select null::json'
      when called.proretset then 'select coalesce(pg_catalog.json_agg(agent_persistence_told), ''[]'')'
      else 'select pg_catalog.to_json(agent_persistence_told)' end
    || ' from ' || coalesce('pg_catalog.json_to_record($1) as agent_persistence_given(' || called.columns || '), lateral ', '')
    || case when called.rows then '(select * from ' || source || ')' else source end || ' as agent_persistence_told';
end $calling$;

-- Applies the operations in order, all or none. A key that was applied before gives the result it had; one that was
-- applied with another digest is refused (AP002). Codes: AP001 not the number of rows that was expected, AP003 not
-- understood; any other is that of the statement. The hint names the operation.
create or replace function "{api}".agent_persistence_apply(unit json) returns json
language plpgsql volatile security invoker set search_path = {search_path} as $apply$
declare
  entry uuid := (unit->>'key')::uuid;
  caller text;
  known record;
  operation json;
  target regclass;
  named text;
  place integer := 0;
  statement text;
  given json;
  told json;
  affected bigint;
  results json[] := array[]::json[];
  counts bigint[] := array[]::bigint[];
  answer json;
  code text; words text; more text; rule text; of_table text; of_column text;
begin
  if entry is not null then
    caller := "{schema}".caller();
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(entry::text, 0));
    select l.digest, l.result into known from "{schema}".ledger l
      where l.key = entry and l.owner = caller;
    if found and known.digest is distinct from unit->>'digest' then
      raise exception using errcode = 'AP002', message = 'this key was applied with another content';
    elsif found then
      return known.result;
    end if;
  end if;
  begin
    for operation in select one from pg_catalog.json_array_elements(coalesce(unit->'operations', '[]')) as one loop
      if operation->>'verb' = 'call' then
        given := "{schema}".filled(pg_catalog.json_build_array(operation->'arguments'), operation->'refer', results)->0;
        statement := "{schema}".calling(operation->>'table', given);
        execute statement into told using given;
        results := results || pg_catalog.json_build_array(told);
        counts := counts || 1::bigint;
        place := place + 1;
        continue;
      end if;
      target := "{schema}".target(operation->>'table');
      named := pg_catalog.format('%I.%I', '{api}', operation->>'table');
      given := null;
      case operation->>'verb'
        when 'insert' then
          given := "{schema}".filled(operation->'records', operation->'refer', results);
          statement := "{schema}".insertion(operation, given, target, named);
        when 'update', 'compute' then
          given := "{schema}".filled(operation->'records', operation->'refer', results)->0;
          statement := pg_catalog.format('update %1$s as agent_persistence_old set (%2$s) ='
            ' (select %3$s from pg_catalog.json_populate_record(null::%1$s, $1) as agent_persistence_given)',
            named, "{schema}".named(operation->'columns'), "{schema}".settings(operation->'columns', operation->'compute'));
        when 'delete' then
          statement := pg_catalog.format('delete from %s', named);
        when 'require' then
          statement := pg_catalog.format('select from %s', named);
        else
          raise exception using errcode = 'AP003', message = 'an operation is not understood';
      end case;
      if operation->>'verb' <> 'insert' then
        statement := statement || ' where ' || "{schema}".condition(operation->'where', target, results);
      end if;
      if operation->>'verb' = 'require' then
        statement := statement || case when (operation->>'lock')::boolean then ' for no key update' else '' end;
        execute 'select ''[]''::json, pg_catalog.count(*) from (' || statement || ') as found' into told, affected;
      elsif coalesce(pg_catalog.json_array_length(operation->'returning'), 1) = 0 then
        execute statement using given;
        get diagnostics affected = row_count;
        told := '[]';
      elsif operation->>'verb' = 'insert' and pg_catalog.json_array_length(given) = 1 then  -- is planned in half the time
        execute statement || ' returning ' || coalesce('pg_catalog.json_build_object('
          || "{schema}".named(operation->'returning', '%1$L, %1$I') || ')', 'pg_catalog.to_json(agent_persistence_row)')
          into told using given;
        get diagnostics affected = row_count;
        told := case affected when 0 then '[]' else pg_catalog.json_build_array(told) end;
      else
        execute 'with agent_persistence_row as (' || statement || ' returning '
          || coalesce("{schema}".named(operation->'returning'), '*')
          || ') select coalesce(pg_catalog.json_agg(agent_persistence_row), ''[]''), pg_catalog.count(*) from agent_persistence_row'
          into told, affected using given;
      end if;
      if affected <> (operation->>'expect')::bigint or affected < (operation->>'at_least')::bigint
          or affected > (operation->>'at_most')::bigint then
        raise exception using errcode = 'AP001', message = affected || ' rows were found';
      end if;
      results := results || told;
      counts := counts || affected;
      place := place + 1;
    end loop;
  exception when others then
    get stacked diagnostics code = returned_sqlstate, words = message_text, more = pg_exception_detail,
      rule = constraint_name, of_table = table_name, of_column = column_name;
    raise exception using errcode = code, message = words, detail = more, constraint = rule, table = of_table,
      column = of_column, hint = 'operation ' || place;
  end;
  answer := pg_catalog.json_build_object('key', entry, 'results', results, 'counts', counts);
  if entry is not null then
    insert into "{schema}".ledger (key, owner, digest, result) values (entry, caller, unit->>'digest', answer)
      on conflict do nothing;
    if not found then
      raise exception using errcode = 'AP002', message = 'this key was applied with another content';
    end if;
    if pg_catalog.hashtext(entry::text) % 16 = 0 then
      perform "{schema}".prune('{keep}', 32);
    end if;
  end if;
  return answer;
end $apply$;

grant usage on schema "{schema}" to {roles};
grant select, insert, delete on "{schema}".ledger to {roles};
-- PostgreSQL demands the right to UPDATE for `for update skip locked`; only own entries are seen, and none is changed.
grant update (created_at) on "{schema}".ledger to {roles};
