-- Only {roles} may execute {function}. Supabase lets anon, authenticated and service_role execute every new function.
do $grants$
declare
  overloaded regprocedure;
  granted oid;
begin
  for overloaded in select oid from pg_catalog.pg_proc
    where proname = '{function}' and pronamespace = '"{schema}"'::regnamespace
  loop
    for granted in select distinct acl.grantee from pg_catalog.pg_proc p, aclexplode(p.proacl) acl
      where p.oid = overloaded and acl.grantee not in (0, p.proowner)
    loop
      execute format('revoke all on function %s from %s', overloaded, granted::regrole);
    end loop;
    execute format('revoke all on function %s from public', overloaded);
    execute format('grant execute on function %s to {roles}', overloaded);
  end loop;
end $grants$;
