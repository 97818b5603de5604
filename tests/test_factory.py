"""The factories: where adapters and services meet."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from agent_persistence import (
    AsyncPersistenceService,
    ConfigurationError,
    InMemoryAdapter,
    PersistenceAgent,
    PersistenceConfig,
    ReadOnlyPersistenceFacade,
    RetryPolicy,
    Schema,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    create_persistence_agent,
    create_readonly_rag_facade,
    metrics,
    persistence_agent,
)
from agent_persistence.schema_registry import Column, Table
from agent_persistence.testing import reset_memory
from tests.doubles import RecordingAdapter, shown

pytestmark = pytest.mark.anyio
FACTORIES: list[Callable[..., Any]] = [create_persistence_agent, create_readonly_rag_facade]
EIGHT = {"campaigns", "clients", "conversations", "leads", "messages", "sequences", "staging_leads", "inquiries"}
OTHER = Schema({"notes": Table({"id": Column("bigint"), "text": Column("text")})})
SECRET = "sb_secret_do_not_show"


@pytest.fixture(params=FACTORIES, ids=lambda factory: factory.__name__)
def factory(request: pytest.FixtureRequest) -> Callable[..., Any]:
    made: Callable[..., Any] = request.param
    return made


# What is refused, before anything is made


@pytest.mark.parametrize("value", [None, " "])
def test_a_database_that_is_not_named_names_the_variable(
    value: str | None, factory: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the way without a server."""
    if value is not None:
        monkeypatch.setenv("DATABASE_URL", value)
    with pytest.raises(ConfigurationError, match=r'DATABASE_URL.*kind="memory"'):
        factory("postgres")


def test_the_database_is_the_one_of_the_environment_or_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No word of it but the host is shown."""
    url = "postgresql://me:pa55word@127.0.0.1:5999/crm"
    config = PersistenceConfig(database_url=SecretStr(url))
    assert "127.0.0.1:5999" in repr(create_persistence_agent("postgres", config=config).service._adapter)
    monkeypatch.setenv("DATABASE_URL", url)
    told = repr(create_persistence_agent("postgres").service._adapter)
    assert "127.0.0.1:5999" in told
    assert "pa55word" not in f"{told}{config!r}{PersistenceConfig.from_env()!r}"


@pytest.mark.parametrize("kind", ["sqlite", "", "Memory", "SUPABASE", None, 5, ["memory"]], ids=shown)
def test_an_unknown_kind_is_refused_with_the_known_ones(kind: Any, factory: Callable[..., Any]) -> None:
    """Nothing falls back to memory by itself."""
    with pytest.raises(ConfigurationError, match=r"'supabase'.*'memory'"):
        factory(kind)


@pytest.mark.parametrize(
    ("environ", "named", "not_named"),
    [
        ({}, ["SUPABASE_URL", "SUPABASE_SERVICE_KEY", "SUPABASE_KEY"], []),
        ({"SUPABASE_SERVICE_KEY": SECRET}, ["SUPABASE_URL"], ["SUPABASE_KEY"]),
        ({"SUPABASE_URL": "https://p.supabase.co"}, ["SUPABASE_SERVICE_KEY", "SUPABASE_KEY"], ["SUPABASE_URL"]),
        ({"SUPABASE_URL": " ", "SUPABASE_KEY": ""}, ["SUPABASE_URL", "SUPABASE_KEY"], []),
    ],
    ids=["neither", "key without url", "url without key", "blank"],
)
def test_missing_credentials_name_the_variables_and_the_way_without(
    environ: dict[str, str],
    named: list[str],
    not_named: list[str],
    factory: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message says which variables are missing and offers kind="memory"; it shows no key."""
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        factory()
    message = str(caught.value)
    assert all(name in message for name in [*named, 'kind="memory"'])
    assert not any(name in message for name in [*not_named, SECRET])


@pytest.mark.parametrize(
    "url", ["p.supabase.co", "ftp://p.supabase.co", "https://", "http://evil.example", "https://p.supabase.co/?x=1"]
)
def test_a_malformed_url_is_refused_at_construction(url: str, factory: Callable[..., Any]) -> None:
    """No request is needed to find out."""
    config = PersistenceConfig(supabase_url=url, supabase_key=SecretStr(SECRET))
    with pytest.raises(ConfigurationError) as caught:
        factory(config=config)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "meant"), [("polcy", "policy"), ("retri", "retry"), ("middlewares", "middleware"), ("audits", "audit")]
)
def test_an_unknown_option_is_refused_with_the_one_that_was_meant(
    option: str, meant: str, factory: Callable[..., Any]
) -> None:
    """A misspelt safety option must not be ignored."""
    with pytest.raises(ConfigurationError, match=f"{option}.*did you mean {meant}"):
        factory("memory", **{option: None})


def test_an_unknown_option_like_nothing_known_lists_the_options(factory: Callable[..., Any]) -> None:
    """The caller need not look them up; what the factory decides is not among them."""
    with pytest.raises(ConfigurationError, match=r"unknown option 'zzzzzz'; options are actor, audit") as caught:
        factory("memory", zzzzzz=1)
    assert "owns_adapter" not in str(caught.value)


def test_a_table_list_and_a_policy_exclude_each_other() -> None:
    """Both say what is allowed."""
    with pytest.raises(ConfigurationError, match="tables= and policy="):
        create_persistence_agent("memory", tables=["leads"], policy=TablePolicy.default())


@pytest.mark.parametrize("tables", ["leads", ["Leads"], [""], ["public.leads"], [None]], ids=shown)
def test_a_table_list_holds_names_of_tables(tables: Any) -> None:
    """A bare str is not read letter by letter; a name that is no plain one must be declared."""
    with pytest.raises(ConfigurationError, match=r"tables|must be declared in the schema"):
        create_persistence_agent("memory", tables=tables)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("adapter", InMemoryAdapter()),
        ("config", PersistenceConfig()),
        ("policy", TablePolicy.default()),
        ("retry", False),
        ("audit", print),
        ("schema", Schema()),
    ],
)
def test_beside_a_service_nothing_else_may_be_configured(option: str, value: Any, factory: Callable[..., Any]) -> None:
    """What is passed beside it would be ignored, so that it is refused."""
    with pytest.raises(ConfigurationError, match=f"leave out.*{option}"):
        factory(service=AsyncPersistenceService(InMemoryAdapter()), **{option: value})


@pytest.mark.parametrize("tables", [["leads"], []], ids=shown)
def test_beside_a_service_no_table_list_may_be_given(tables: list[str]) -> None:
    """Also not an empty one."""
    with pytest.raises(ConfigurationError, match="tables"):
        create_persistence_agent(service=AsyncPersistenceService(InMemoryAdapter()), tables=tables)


@pytest.mark.parametrize(
    "options",
    [
        {"merge_defaults": True},
        {"merge_defaults": True, "service": True},
        {"kind": "nonsense", "service": True},
    ],
    ids=shown,
)
def test_an_option_that_would_be_ignored_is_refused(options: dict[str, Any]) -> None:
    """`merge_defaults` without tables, and either of these beside a service."""
    if "service" in options:
        options = options | {"service": AsyncPersistenceService(InMemoryAdapter())}
    with pytest.raises(ConfigurationError):
        create_persistence_agent(**{"kind": "memory", **options})


@pytest.mark.parametrize(
    "options", [{"config": 5}, {"adapter": 5}, {"service": 5}, {"tables": 5}, {"policy": []}], ids=shown
)
def test_an_argument_of_the_wrong_type_is_refused(options: dict[str, Any]) -> None:
    """With a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError):
        create_persistence_agent("memory", **options)


# What is allowed


@pytest.mark.parametrize(
    ("options", "read", "write"),
    [
        ({}, EIGHT, EIGHT - {"clients", "campaigns"}),
        ({"tables": ["custom", "clients"]}, {"custom", "clients"}, {"custom"}),
        (
            {"tables": ["custom", "clients"], "merge_defaults": True},
            EIGHT | {"custom"},
            EIGHT - {"clients", "campaigns"} | {"custom"},
        ),
        ({"tables": []}, set(), set()),
        ({"tables": iter(["custom"])}, {"custom"}, {"custom"}),
        ({"policy": TablePolicy(read=frozenset({"a"}), write=frozenset({"b"}))}, {"a"}, {"b"}),
        ({"config": PersistenceConfig(allowed_tables=frozenset({"leads"}))}, {"leads"}, {"leads"}),
    ],
    ids=["defaults", "tables", "merged", "empty", "iterator", "policy", "config"],
)
def test_what_an_agent_may_touch(options: dict[str, Any], read: set[str], write: set[str]) -> None:
    """`tables` stands where PERSIST_ALLOWED_TABLES stands; it makes no governance table writable."""
    policy = create_persistence_agent("memory", **options).service.policy
    assert policy.read == read
    assert policy.write == write


def test_explicit_lists_beat_a_table_list() -> None:
    """PERSIST_READ_TABLES and PERSIST_WRITE_TABLES are whole lists, whatever `tables` says."""
    config = PersistenceConfig(read_tables=frozenset({"leads"}), write_tables=frozenset({"clients"}))
    policy = create_persistence_agent("memory", config=config, tables=["custom"]).service.policy
    assert policy.read == {"leads"}
    assert policy.write == {"clients"}


@pytest.mark.parametrize("factory_", FACTORIES)
async def test_the_environment_decides_unless_a_config_is_given(
    factory_: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config stands for the environment as a whole."""
    monkeypatch.setenv("PERSIST_READ_TABLES", "messages")
    with pytest.raises(TableNotAllowedError):
        await factory_("memory").query("leads")
    await factory_("memory", config=PersistenceConfig()).query("leads")


def test_a_table_of_the_list_may_be_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tables` stands where PERSIST_ALLOWED_TABLES stands, so that its names are known to PERSIST_WRITE_DENY."""
    monkeypatch.setenv("PERSIST_WRITE_DENY", "custom")
    policy = create_persistence_agent("memory", tables=["custom", "leads"]).service.policy
    assert policy.write == {"leads"}


# Who shares what, and who closes what


async def test_a_facade_reads_what_an_agent_wrote() -> None:
    """kind="memory" is one store a process, and its rows outlive the agent that wrote them."""
    async with create_persistence_agent("memory") as agent:
        row = await agent.write("leads", {"email": "a@x.io"})
    async with create_readonly_rag_facade("memory") as facade:
        assert await facade.query("leads", {"email": "a@x.io"}) == [row]
    reset_memory()
    assert await create_readonly_rag_facade("memory").query("leads") == []


async def test_an_adapter_of_ones_own_is_private() -> None:
    """`InMemoryAdapter()` shares nothing, with kind="memory" neither."""
    await create_persistence_agent("memory").write("leads", {"email": "a@x.io"})
    for other in (InMemoryAdapter(), InMemoryAdapter()):
        assert await create_persistence_agent("memory", adapter=other).query("leads") == []


def test_a_differing_schema_of_the_shared_store_raises(factory: Callable[..., Any]) -> None:
    """Whoever comes second would find rows that break its rules; after a reset anyone may choose."""
    create_persistence_agent("memory")
    with pytest.raises(ConfigurationError, match="another schema"):
        factory("memory", schema=OTHER)
    reset_memory()
    factory("memory", schema=OTHER)


async def test_a_facade_over_a_service_shares_it() -> None:
    """The policy and the adapter are the service's own."""
    adapter = RecordingAdapter()
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read=frozenset({"leads"})))
    facade = create_readonly_rag_facade(service=service)
    assert create_persistence_agent(service=service).service is service
    await facade.query("leads")
    with pytest.raises(TableNotAllowedError):
        await facade.query("clients")
    assert adapter.verbs == ["query"]


async def test_an_adapter_or_service_passed_in_is_left_open(factory: Callable[..., Any]) -> None:
    """Everybody closes only what they made."""
    adapter = RecordingAdapter()
    async with factory("memory", adapter=adapter):
        pass
    async with factory(service=AsyncPersistenceService(adapter, owns_adapter=True)):
        pass
    assert adapter.closed == 0


async def test_an_adapter_made_by_the_factory_is_closed_with_the_agent(
    factory: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing may be repeated."""
    closed: list[SupabaseAdapter] = []

    async def aclose(self: SupabaseAdapter) -> None:
        closed.append(self)

    monkeypatch.setattr(SupabaseAdapter, "aclose", aclose)
    config = PersistenceConfig(supabase_url="https://p.supabase.co", supabase_key=SecretStr(SECRET))
    async with factory(config=config) as made:
        await made.aclose()
    assert len(closed) == 2
    assert SECRET not in repr(closed[0])
    assert SECRET not in repr(vars(closed[0]))


async def test_service_options_reach_the_service() -> None:
    """Here a policy of retries, an actor and a registry."""
    registry, actors = metrics.Metrics(), list[str | None]()
    adapter = RecordingAdapter(failures=[ConnectionError()])
    agent = create_persistence_agent(
        "memory",
        adapter=adapter,
        retry=RetryPolicy(attempts=2),
        metrics=registry,
        actor="worker",
        audit=lambda event: actors.append(event.actor),
        random=lambda: 0.0,
    )
    await agent.query("leads")
    assert (adapter.verbs, actors, set(registry.snapshot())) == (["query"] * 2, ["worker"], {"query"})


# The document's paths


def test_the_documents_paths_resolve() -> None:
    """`service.PersistenceAdapter` and the agent's own factory are where the document says."""
    from agent_persistence import service

    assert service.PersistenceAdapter.__name__ == "PersistenceAdapter"
    assert (service.AsyncPersistenceService, service.ReadOnlyPersistenceFacade) == (
        AsyncPersistenceService,
        ReadOnlyPersistenceFacade,
    )
    assert inspect.signature(persistence_agent.create_persistence_agent) == inspect.signature(create_persistence_agent)


async def test_the_agents_own_factory_delegates() -> None:
    """Both make the same agent."""
    agent = persistence_agent.create_persistence_agent("memory", tables=["custom"], merge_defaults=True, actor="x")
    assert isinstance(agent, PersistenceAgent)
    assert agent.service.policy.read == EIGHT | {"custom"}
    with pytest.raises(ConfigurationError, match="tables= and policy="):
        persistence_agent.create_persistence_agent("memory", tables=["a"], policy=TablePolicy.default())


@pytest.mark.parametrize(
    ("variable", "transport"),
    [
        ({}, "AutomaticPool"),
        ({"PERSIST_TRANSPORT": "httpx"}, "HttpcorePool"),
        ({"PERSIST_TRANSPORT": "httptools"}, "HttptoolsPool"),
    ],
)
def test_the_environment_chooses_the_transport(variable: dict[str, str], transport: str) -> None:
    """The event loop does unless PERSIST_TRANSPORT says otherwise."""
    config = PersistenceConfig.from_env({"SUPABASE_URL": "https://p.supabase.co", "SUPABASE_KEY": SECRET, **variable})
    adapter: Any = create_persistence_agent(config=config).service._adapter
    assert type(adapter._http).__name__ == transport


def test_the_earlier_name_of_a_transport_is_taken_and_told_of() -> None:
    """Where the adapter is made."""
    settings = {"SUPABASE_URL": "https://p.supabase.co", "SUPABASE_KEY": SECRET, "PERSIST_TRANSPORT": "aiohttp"}
    with pytest.warns(DeprecationWarning, match='called "httptools"'):
        create_persistence_agent(config=PersistenceConfig.from_env(settings))


def test_a_transport_that_does_not_exist_is_refused() -> None:
    """The error names those that do."""
    with pytest.raises(ConfigurationError, match="'auto', 'httpx', 'httptools' or"):
        PersistenceConfig.from_env({"PERSIST_TRANSPORT": "curl"})
