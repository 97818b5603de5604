-- {match}: the keys of the rows whose vectors are nearest by cosine, as Supabase's match_documents. It runs with the
-- caller's rights, row-level security included, and cannot write. The index is scanned on until enough rows hold the
-- conditions: without hnsw.iterative_scan a filter may leave none of the nearest forty. A vector of zeros has no
-- direction, and is not found.
select '[0]'::vector; -- loads pgvector: before, only a superuser may name its settings
create or replace function "{schema}".{match}(
  query_embedding vector({dimensions}),{tenant_argument}
  match_threshold double precision default null,
  match_count integer default 10
) returns table ("{key}" {key_type}, similarity double precision)
language sql stable security invoker set search_path = '' set hnsw.iterative_scan = 'relaxed_order'
begin atomic
  with nearest as materialized (
    select d."{key}" as key, d."{vector}" <=> {match}.query_embedding as distance
    from "{schema}"."{table}" d
    where d."{vector}" is not null{tenant_of_match}
    order by d."{vector}" <=> {match}.query_embedding
    limit greatest({match}.match_count, 0)
  )
  select n.key, 1 - n.distance from nearest n
  where n.distance <> 'NaN' and ({match}.match_threshold is null or 1 - n.distance > {match}.match_threshold)
  order by n.distance, n.key;
end;
