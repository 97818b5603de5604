"""Credentials that were never valid, put together here so that no scanner of secrets takes these files for a leak."""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_letters, ascii_uppercase, digits

from faker import Faker


def token(fake: Faker) -> str:
    """A key, a token, a private key, or a URL with a password."""
    random = fake.random

    def some(count: int, letters: str = ascii_letters + digits) -> str:
        return "".join(random.choices(letters, k=count))

    def json_part() -> str:
        return "eyJ" + some(random.randint(20, 60), ascii_letters + digits + "-_")

    made: tuple[Callable[[], str], ...] = (
        lambda: f"{json_part()}.{json_part()}.{some(43)}",
        lambda: "sb_" + f"secret_{some(22)}_{some(8)}",
        lambda: "sk-" + some(48),
        lambda: "sk-" + f"proj-{some(random.randint(40, 120), ascii_letters + digits + '_-')}x",
        lambda: "sk-" + f"ant-api03-{some(93, ascii_letters + digits + '_-')}AA",
        lambda: random.choice(("AKI", "ASI")) + "A" + some(16, ascii_uppercase + digits),
        lambda: "gh" + random.choice("posur") + "_" + some(36),
        lambda: "github_" + f"pat_{some(22)}_{some(59)}",
        lambda: "xox" + random.choice("baprs") + f"-{some(12, digits)}-{some(12, digits)}-{some(24)}",
        lambda: "-----BEGIN " + "PRIVATE KEY-----\n" + f"{some(64)}\n" * 3 + "-----END " + "PRIVATE KEY-----",
        lambda: "{}://{}:{}@{}:5432/{}".format(
            random.choice(("postgresql", "mysql", "redis", "amqp", "https")), fake.user_name(),
            some(random.randint(4, 20)), fake.domain_name(), fake.lexify("????"),
        ),
    )  # fmt: skip
    return str(random.choice(made)())


def password(fake: Faker) -> str:
    """A password as generators make them, or a word with digits and a sign."""
    random = fake.random
    word = fake.lexify("??????").capitalize()
    made = (
        fake.password(length=random.randint(8, 24)),
        fake.password(length=12, special_chars=False),
        f"{word}{random.randint(10, 9999)}{random.choice('!?.-#')}x",
        fake.sha1()[:20],
    )
    return str(random.choice(made))
