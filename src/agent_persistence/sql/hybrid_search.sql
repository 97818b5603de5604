-- {hybrid}: the rows that words and vectors find, by weighted reciprocal rank fusion, as Supabase's hybrid_search. Each
-- side gives twice as many rows as are asked for. query_text is a websearch_to_tsquery: words that must all be there,
-- "phrases", `or`, `-`.
select '[0]'::vector; -- loads pgvector: before, only a superuser may name its settings
create or replace function "{schema}".{hybrid}(
  query_text text,
  query_embedding vector({dimensions}),{tenant_argument}
  match_count integer default 10,
  full_text_weight double precision default 1,
  semantic_weight double precision default 1,
  rrf_k integer default 50
) returns table ("{key}" {key_type}, score double precision)
language sql stable security invoker set search_path = '' set hnsw.iterative_scan = 'relaxed_order'
begin atomic
  with words as materialized (
    select d."{key}" as key,
      ts_rank_cd(to_tsvector('{config}'::regconfig, d."{text}"), sought.query) as relevance
    from "{schema}"."{table}" d, websearch_to_tsquery('{config}'::regconfig, {hybrid}.query_text) as sought(query)
    where to_tsvector('{config}'::regconfig, d."{text}") @@ sought.query{tenant_of_hybrid}
    order by 2 desc, 1
    limit greatest({hybrid}.match_count, 0) * 2::bigint
  ), nearest as materialized (
    select d."{key}" as key, d."{vector}" <=> {hybrid}.query_embedding as distance
    from "{schema}"."{table}" d
    where d."{vector}" is not null{tenant_of_hybrid}
    order by d."{vector}" <=> {hybrid}.query_embedding
    limit greatest({hybrid}.match_count, 0) * 2::bigint
  ), full_text as (
    select w.key, row_number() over (order by w.relevance desc, w.key) as position from words w
  ), semantic as (
    select n.key, row_number() over (order by n.distance, n.key) as position from nearest n where n.distance <> 'NaN'
  )
  select coalesce(f.key, s.key),
    coalesce({hybrid}.full_text_weight / ({hybrid}.rrf_k + f.position), 0)
      + coalesce({hybrid}.semantic_weight / ({hybrid}.rrf_k + s.position), 0)
  from full_text f full join semantic s on s.key = f.key
  where (f.key is not null and {hybrid}.full_text_weight > 0) or (s.key is not null and {hybrid}.semantic_weight > 0)
  order by 2 desc, 1
  limit greatest({hybrid}.match_count, 0);
end;
