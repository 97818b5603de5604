"""Sources that the guard must judge rightly: a line that breaks a rule ends in `#! AP00N`, every other one is clean."""

from __future__ import annotations

from typing import Final

CORPUS: Final[dict[str, str]] = {
    # ---- AP001: the adapter ----
    "a call": """
        from agent_persistence import SupabaseAdapter
        adapter = SupabaseAdapter(URL, KEY)  #! AP001
    """,
    "the other adapter": """
        from agent_persistence import PostgresAdapter
        from agent_persistence.adapters import postgres
        adapter = PostgresAdapter(DSN)  #! AP001
        adapter = postgres.PostgresAdapter(DSN)  #! AP001
    """,
    "an import alias": """
        from agent_persistence import SupabaseAdapter as Store
        adapter = Store(URL, KEY)  #! AP001
    """,
    "a module alias": """
        import agent_persistence as ap
        adapter = ap.SupabaseAdapter(URL, KEY)  #! AP001
    """,
    "a long attribute": """
        import agent_persistence.adapters.supabase
        adapter = agent_persistence.adapters.supabase.SupabaseAdapter(URL, KEY)  #! AP001
    """,
    "a relative import": """
        from ..adapters.supabase import SupabaseAdapter
        SupabaseAdapter(URL, KEY)  #! AP001
    """,
    "a star import": """
        from agent_persistence.adapters.supabase import *
        SupabaseAdapter(URL, KEY)  #! AP001
    """,
    "an import in a function": """
        def make():
            from agent_persistence import SupabaseAdapter as S
            return S(URL, KEY)  #! AP001
    """,
    "an assignment": """
        import agent_persistence
        Make = Store = agent_persistence.SupabaseAdapter
        Store(URL, KEY)  #! AP001
    """,
    "a tuple assignment": """
        from agent_persistence import InMemoryAdapter, SupabaseAdapter
        Memory, Real = InMemoryAdapter, SupabaseAdapter
        Memory()
        Real(URL, KEY)  #! AP001
    """,
    "a choice": """
        from agent_persistence import InMemoryAdapter, SupabaseAdapter
        (SupabaseAdapter if live else InMemoryAdapter)(*arguments)  #! AP001
    """,
    "a walrus": """
        import agent_persistence as ap
        (S := ap.SupabaseAdapter)(URL, KEY)  #! AP001
        S(URL, KEY)  #! AP001
    """,
    "a dict": """
        from agent_persistence import InMemoryAdapter, SupabaseAdapter
        KINDS = {"memory": InMemoryAdapter, "supabase": SupabaseAdapter}
        KINDS[kind](URL, KEY)  #! AP001
        for make in KINDS.values():
            make(URL, KEY)  #! AP001
    """,
    "partial": """
        import functools
        from functools import partial as bind
        from agent_persistence import SupabaseAdapter
        make = functools.partial(SupabaseAdapter, URL)  #! AP001
        make = bind(SupabaseAdapter, URL)  #! AP001
    """,
    "another caller": """
        from agent_persistence import SupabaseAdapter
        adapters = list(map(SupabaseAdapter, urls, keys))  #! AP001
        adapter = await anyio.to_thread.run_sync(SupabaseAdapter, URL, KEY)  #! AP001
    """,
    "a subclass": """
        from agent_persistence import SupabaseAdapter
        class Mine(SupabaseAdapter):
            pass
        class Deeper(Mine): ...
        Mine(URL, KEY)  #! AP001
        Deeper(URL, KEY)  #! AP001
    """,
    "getattr": """
        import agent_persistence
        getattr(agent_persistence, "Supabase" + "Adapter")(URL, KEY)  #! AP001
    """,
    "import_module": """
        from importlib import import_module
        import_module("agent_persistence").SupabaseAdapter(URL, KEY)  #! AP001
    """,
    "a default": """
        from agent_persistence import SupabaseAdapter
        def make(kind=SupabaseAdapter):
            return kind(URL, KEY)  #! AP001
    """,
    "an attribute of a class": """
        from agent_persistence import SupabaseAdapter
        class Wiring:
            adapter_class = SupabaseAdapter
            def make(self):
                return self.adapter_class(URL, KEY)  #! AP001
        Wiring.adapter_class(URL, KEY)  #! AP001
    """,
    "a lambda and a decorator": """
        from agent_persistence import SupabaseAdapter
        make = lambda: SupabaseAdapter(URL, KEY)  #! AP001
        @register(SupabaseAdapter(URL, KEY))  #! AP001
        def f(adapter=SupabaseAdapter(URL, KEY)): ...  #! AP001
    """,
    "a match statement": """
        from agent_persistence import SupabaseAdapter
        match kind:
            case "supabase":
                adapter = SupabaseAdapter(URL, KEY)  #! AP001
    """,
    "no construction": """
        from agent_persistence import SupabaseAdapter
        def f(adapter: SupabaseAdapter) -> SupabaseAdapter: ...
        assert isinstance(adapter, SupabaseAdapter)
        assert issubclass(kind, (SupabaseAdapter, int))
        adapter = cast("SupabaseAdapter", other)
        text = "SupabaseAdapter(url, key)"  # SupabaseAdapter(url, key)
        ADAPTERS = [SupabaseAdapter]
        SupabaseAdapter.__doc__.strip()
    """,
    "another class of this name": """
        class SupabaseAdapter: ...
        SupabaseAdapter()
    """,
    "a name that means something else by then": """
        from agent_persistence import InMemoryAdapter, SupabaseAdapter
        Store = SupabaseAdapter
        Store = InMemoryAdapter
        Store()
        def other(SupabaseAdapter):
            SupabaseAdapter(URL, KEY)
    """,
    # ---- AP002: the tables ----
    "every verb": """
        await agent.write("clients", {"name": "n"})  #! AP002
        await agent.batch_write("campaigns", records)  #! AP002
        await agent.bulk_write("campaigns", records)  #! AP002
        await agent.upsert("clients", record, ["id"])  #! AP002
        await agent.update("clients", changes, filters)  #! AP002
        await agent.delete("campaigns", {"id": 1})  #! AP002
    """,
    "any owner": """
        create_persistence_agent().write("clients", record)  #! AP002
        self.agents["crm"].service.write("clients", record)  #! AP002
        with create() as a: a.write("clients", record)  #! AP002
    """,
    "a keyword": """
        agent.write(table="clients", record=record)  #! AP002
        agent.write(record=record, table="clients")  #! AP002
        agent.write(**{"table": "clients", "record": record})  #! AP002
        agent.write(*("clients", record))  #! AP002
    """,
    "a constant": """
        TABLE = "clients"
        def save(agent, record):
            agent.write(TABLE, record)  #! AP002
    """,
    "an annotated constant": """
        TABLE: Final = "clients"
        agent.write(TABLE, record)  #! AP002
    """,
    "a constant of a class": """
        class Store:
            TABLE = "clients"
            def save(self, record):
                self.agent.write(self.TABLE, record)  #! AP002
            @classmethod
            def keep(cls, record):
                cls.agent.write(cls.TABLE, record)  #! AP002
        agent.write(Store.TABLE, record)  #! AP002
    """,
    "an enum": """
        class Tables(StrEnum):
            LEADS = "leads"
            CLIENTS = "clients"
        agent.write(Tables.CLIENTS, record)  #! AP002
        agent.write(Tables.CLIENTS.value, record)  #! AP002
        agent.write(Tables["CLIENTS"], record)  #! AP002
        agent.write(Tables("clients"), record)  #! AP002
        agent.write(Tables.LEADS, record)
    """,
    "put together": """
        PREFIX, NUMBER = "cli", 5
        agent.write(f"{PREFIX}ents", record)  #! AP002
        agent.write("cli" "ents", record)  #! AP002
        agent.write("camp" + "aigns", record)  #! AP002
        agent.write(" CLIENTS ".strip().lower(), record)  #! AP002
        agent.write(str("clients"), record)  #! AP002
        table = PREFIX
        table += "ents"
        agent.write(table, record)  #! AP002
        agent.write(f"{PREFIX!r}ents", record)
        agent.write(f"{NUMBER}clients", record)
    """,
    "a loop over a tuple": """
        for table in ("leads", "clients"):
            agent.write(table, record)  #! AP002
        for table in ["leads", "messages"]:
            agent.write(table, record)
    """,
    "a loop over a constant": """
        TABLES = ("leads",) + GOVERNED
        GOVERNED = ("clients",)
        ALL = ["leads", *GOVERNED]
        for table in sorted(ALL):
            agent.write(table, record)  #! AP002
        for number, table in enumerate(GOVERNED):
            agent.write(table, record)  #! AP002
        for table, record in zip(GOVERNED, records):
            agent.write(table, record)  #! AP002
    """,
    "a loop over pairs": """
        for table, record in [("leads", one), ("clients", two)]:
            agent.write(table, record)  #! AP002
        for table, records in {"clients": [one]}.items():
            agent.batch_write(table, records)  #! AP002
        for (_, (table, other)) in [(1, ("leads", "clients"))]:
            agent.write(table, record)
            agent.write(other, record)  #! AP002
    """,
    "a comprehension": """
        [agent.write(t, record) for t in ("leads", "clients")]  #! AP002
        {t: agent.write(t, record) for t in TABLES for TABLES in [("clients",)]}
        await gather(*(agent.write(t, r) for t, r in (("clients", one),)))  #! AP002
    """,
    "the package's own lists": """
        from agent_persistence.policy import BUSINESS_TABLES, GOVERNANCE_TABLES
        for table in GOVERNANCE_TABLES:
            agent.write(table, record)  #! AP002
        for table in sorted(BUSINESS_TABLES):
            agent.write(table, record)  #! AP002
    """,
    "an alias of the verb": """
        save = agent.write
        save("clients", record)  #! AP002
        save("leads", record)
        getattr(agent, "write")("clients", record)  #! AP002
    """,
    "a verb that others call": """
        from functools import partial
        save = partial(agent.write, "clients")  #! AP002
        partial(agent.write, table="clients")(record=record)  #! AP002
        group.start_soon(agent.write, "clients", record)  #! AP002
        portal.call(agent.read, "clients")
        loop.run_in_executor(None, agent.write, "clients", record)  #! AP002
        partial(agent.write, "leads")
    """,
    "bulk_import": """
        from agent_persistence import bulk_import
        await bulk_import(agent, "clients", path)  #! AP002
        await bulk_import(agent, "leads", path)
    """,
    "a typed table": """
        class Client(BaseModel):
            __tablename__: ClassVar[str] = "clients"
        clients = agent.table(Client)
        await clients.write(Client(name="n"))  #! AP002
        await agent.table(Model, "campaigns").delete({"id": 1})  #! AP002
        await clients.query()
        await agent.table(Lead).write(lead)
    """,
    "a raw query builder": """
        client.table("clients").insert({}).execute()  #! AP002
        client.from_("clients").update({}).eq("id", 1).execute()  #! AP002
        client.table("clients").select("*").execute()
        client.table("leads").insert({}).execute()
    """,
    "branches": """
        if urgent:
            table = "clients"
        else:
            table = "leads"
        agent.write(table, record)  #! AP002
        table = "leads"
        agent.write(table, record)
    """,
    "a table of the round before": """
        table = "leads"
        while True:
            agent.write(table, record)  #! AP002
            table = "clients"
    """,
    "try": """
        try:
            table = "clients"
        except KeyError:
            table = "leads"
        agent.write(table, record)  #! AP002
    """,
    "global": """
        table = "leads"
        def escalate():
            global table
            table = "clients"
        def save():
            agent.write(table, record)  #! AP002
    """,
    "reading": """
        await agent.read("clients", key)
        await agent.query("campaigns", {"status": "active"})
        await agent.count("clients")
        await agent.write("leads", {"client_id": 1, "notes": "clients"})
        await agent.update("leads", {"a": 1}, {"b": "campaigns"})
    """,
    "other things that write": """
        file.write("clients")
        digest.update("clients")
        redis.delete("clients", "campaigns")
        settings.update(clients=1, campaigns=2)
        print("clients", file=out)
        write("clients", record)
    """,
    "a name that is rebound": """
        table = "clients"
        rows = agent.query(table)
        table = "leads"
        agent.write(table, rows)
        def save(table):
            agent.write(table, rows)
        class A:
            target = "clients"
            def save(self):
                agent.write(target, rows)
    """,
    # ---- AP003: raw clients ----
    "create_client": """
        from supabase import create_client, acreate_client as make
        client = create_client(URL, KEY)  #! AP003
        client = await make(URL, KEY)  #! AP003
    """,
    "supabase by attribute": """
        import supabase
        client = supabase.create_client(URL, KEY)  #! AP003
        client = supabase.Client(URL, KEY)  #! AP003
        client = supabase.AsyncClient(URL, KEY)  #! AP003
        client = await supabase.AsyncClient.create(URL, KEY)  #! AP003
    """,
    "supabase inside": """
        from supabase._async.client import AsyncClient
        from supabase.client import Client as C
        AsyncClient(URL, KEY)  #! AP003
        C(URL, KEY)  #! AP003
    """,
    "postgrest": """
        import postgrest
        from postgrest import AsyncPostgrestClient, SyncPostgrestClient
        AsyncPostgrestClient(URL)  #! AP003
        SyncPostgrestClient(URL)  #! AP003
        postgrest.AsyncPostgrestClient(URL)  #! AP003
    """,
    "supabase by star": """
        from supabase import *
        create_client(URL, KEY)  #! AP003
        len(rows)
    """,
    "a partial of it": """
        from functools import partial
        from supabase import create_client
        make = partial(create_client, URL)  #! AP003
    """,
    "a subclass of a raw client": """
        from supabase import Client
        class Mine(Client): ...
        Mine(URL, KEY)  #! AP003
    """,
    "other clients": """
        from httpx import AsyncClient, Client
        from supabase import ClientOptions
        import supabase
        AsyncClient(); Client(); ClientOptions(); supabase.ClientOptions()
        stripe.Client(KEY); redis.create_client(URL)
        def f(client: supabase.Client) -> None: ...
        create_client(URL)
    """,
}
