"""Sentences in twelve languages with personal values at known places, and with numbers that only look like them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from string import digits
from typing import Final

from faker import Faker

from tests.redaction.fake_credentials import password, token

KINDS: Final = ("email", "iban", "card", "ip", "phone", "credential")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence; `spans` are the kind, start and end of each personal value in it."""

    text: str
    spans: tuple[tuple[str, int, int], ...] = ()


CARRIERS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "en_US": {
        "phone": (
            "Call me at {} after lunch.",
            "{name}, {}",
            "My cell is {}, thanks!",
            "Reach {name} on {} or reply here.",
        ),
        "email": ("Write to {} please.", "{name} <{}>", "My address:{}."),
        "iban": ("Wire it to {} today.", "IBAN: {}"),
        "card": ("The card {} was declined.", "Visa no. {}, exp 12/28"),
        "ip": ("Login from {} failed.", "Blocked {}:8080 again."),
        "credential": (
            "Our key is {}, keep it.",
            "curl -H 'Authorization: Bearer {}' failed",
            "{name} pasted {} here.",
        ),
        "password": ("password: {}", "My password is {} by the way.", '{"user": "x", "password": "{}"}'),
        "none": (
            "Your order {order} ships on {date}.",
            "Invoice {invoice} over {amount} is due.",
            "Ticket #{number}: see {uuid}.",
        ),
    },
    "en_GB": {
        "phone": ("Ring me on {} tomorrow.", "{name} {}", "Tel: {}", "You can get {name} at {} until five."),
        "email": ("Email {} instead.", "cc {}; thanks", "({})"),
        "iban": ("Our account is {}.", "Please pay {} by Friday"),
        "card": ("Charged to {}.", "Card number {} expires 04/27."),
        "ip": ("Requests came from {}.", "ping {} timed out"),
        "credential": ("Use {} for now.", "I leaked {}!", "token {}"),
        "password": ("The login: jane, pw: {}", "api_key={}", "Password is {}, change it."),
        "none": (
            "Parcel {order} left on {date} at {time}.",
            "We owe {amount} on {invoice}.",
            "Build {version} of {date}.",
        ),
    },
    "de_DE": {
        "phone": ("Rufen Sie mich unter {} an.", "{name}, {}", "Tel. {}", "Sie erreichen {name}: {} bis 17:00 Uhr."),
        "email": ("Schreiben Sie an {}.", "E-Mail:{}", "{name} ({})"),
        "iban": ("Überweisung auf {} bitte.", "IBAN {}, danke"),
        "card": ("Die Karte {} ist abgelaufen.", "Kreditkarte: {}"),
        "ip": ("Zugriff von {} gesperrt.", "Server {}, Port 22"),
        "credential": ("Der Schlüssel {} ist neu.", "Bitte {} sperren."),
        "password": ("Passwort: {}", "Das Kennwort lautet {} und gilt.", "passwort={}"),
        "none": (
            "Rechnung {invoice} vom {date} über {amount}.",
            "Bestellung {order} kommt um {time}.",
            "Aktenzeichen {number}/{year}.",
        ),
    },
    "fr_FR": {
        "phone": ("Appelez-moi au {}.", "{name} - {}", "Tél. : {}", "Je suis joignable {} ce soir."),
        "email": ("Écrivez à {}, merci.", "Courriel : {}", "{name} [{}]"),
        "iban": ("Virement vers {}.", "Mon IBAN : {}"),
        "card": ("Ma carte {} ne passe pas.", "Carte : {}"),
        "ip": ("Connexion depuis {}.", "L'adresse {} est bloquée."),
        "credential": ("La clé est {}.", "Voici {} pour l'accès."),
        "password": ("Mot de passe : {}", "Le mot de passe est {}"),
        "none": (
            "Facture {invoice} du {date}, {amount}.",
            "Commande {order} expédiée à {time}.",
            "Dossier n° {number}.",
        ),
    },
    "es_ES": {
        "phone": ("Llámame al {} mañana.", "{name}, {}", "Teléfono: {}", "Estoy en el {} por la tarde."),
        "email": ("Escribe a {}.", "Correo:{}", "{name} <{}>"),
        "iban": ("Transfiere a {} hoy.", "IBAN {}"),
        "card": ("La tarjeta {} fue rechazada.", "Tarjeta: {}"),
        "ip": ("Acceso desde {}.", "Bloquea {}, por favor."),
        "credential": ("La clave es {}.", "Usa {} hoy."),
        "password": ("Contraseña: {}", "La contraseña es {} ahora."),
        "none": ("Factura {invoice} de {date} por {amount}.", "Pedido {order} a las {time}.", "Expediente {number}."),
    },
    "it_IT": {
        "phone": ("Chiamami al {}.", "{name}, {}", "Cell. {}", "Mi trova allo {} fino a sera."),
        "email": ("Scrivi a {}.", "Posta:{}", "{name} ({})"),
        "iban": ("Bonifico su {}.", "IBAN: {}"),
        "card": ("La carta {} è scaduta.", "Carta n. {}"),
        "ip": ("Accesso da {}.", "Il server {} non risponde."),
        "credential": ("La chiave è {}.", "Usa {} oggi."),
        "password": ("Password: {}", "La password è {}"),
        "none": ("Fattura {invoice} del {date}, {amount}.", "Ordine {order} alle {time}.", "Pratica {number}."),
    },
    "pl_PL": {
        "phone": ("Proszę dzwonić: {}.", "{name}, {}", "tel. {}", "Jestem pod {} do wieczora."),
        "email": ("Proszę pisać na {}.", "E-mail:{}", "{name} <{}>"),
        "iban": ("Przelew na {}.", "Konto {}"),
        "card": ("Karta {} wygasła.", "Numer karty: {}"),
        "ip": ("Logowanie z {}.", "Adres {} zablokowany."),
        "credential": ("Klucz to {}.", "Proszę użyć {} dzisiaj."),
        "password": ("Hasło: {}", "hasło={}"),
        "none": ("Faktura {invoice} z {date} na {amount}.", "Zamówienie {order} o {time}.", "Sprawa {number}."),
    },
    "pt_BR": {
        "phone": ("Me ligue no {}.", "{name}, {}", "Celular: {}", "Estou no {} até as 18:00."),
        "email": ("Escreva para {}.", "E-mail:{}", "{name} ({})"),
        "iban": ("Transferir para {}.", "IBAN {}"),
        "card": ("O cartão {} foi recusado.", "Cartão: {}"),
        "ip": ("Acesso de {}.", "Bloqueie {}, obrigado."),
        "credential": ("A chave é {}.", "Use {} hoje."),
        "password": ("Senha: {}", "senha={}"),
        "none": ("Fatura {invoice} de {date}, {amount}.", "Pedido {order} às {time}.", "Processo {number}."),
    },
    "ru_RU": {
        "phone": ("Позвоните мне: {}.", "{name}, {}", "Телефон {}", "Я на связи {} до вечера."),
        "email": ("Пишите на {}.", "Почта: {}", "{name} ({})"),
        "iban": ("Переведите на {}.", "Счёт {}"),
        "card": ("Карта {} просрочена.", "Номер карты: {}"),
        "ip": ("Вход с {}.", "Адрес {} заблокирован."),
        "credential": ("Ключ {} новый.", "Вот {} для входа."),
        "password": ("Пароль: {}", "пароль={}"),
        "none": ("Счёт {invoice} от {date} на {amount}.", "Заказ {order} в {time}.", "Дело {number}."),
    },
    "tr_TR": {
        "phone": ("Beni {} numarasından arayın.", "{name}, {}", "Tel: {}", "Akşama kadar {} hattındayım."),
        "email": ("{} adresine yazın.", "E-posta:{}", "{name} <{}>"),
        "iban": ("{} hesabına gönderin.", "IBAN {}"),
        "card": ("{} kartı reddedildi.", "Kart: {}"),
        "ip": ("{} adresinden giriş.", "Sunucu {} kapalı."),
        "credential": ("Anahtar {} yeni.", "Bugün {} kullanın."),
        "password": ("Şifre: {}", "Parola: {}"),
        "none": ("{date} tarihli {invoice} faturası {amount}.", "Sipariş {order}, saat {time}.", "Dosya {number}."),
    },
    "ja_JP": {
        "phone": ("電話は{}です。", "{name} {}", "携帯:{}", "{name}は{}にいます。"),
        "email": ("連絡先は{}です。", "メール：{}まで。", "{name}（{}）"),
        "iban": ("口座{}に送金。", "IBAN：{}"),
        "card": ("カード{}は無効です。", "カード番号：{}"),
        "ip": ("{}からのアクセス。", "サーバー{}が停止。"),
        "credential": ("キーは{}です。", "鍵：{}を使う。"),
        "password": ("パスワード：{}", "パスワードは {} です。"),
        "none": ("請求書{invoice}、{date}、{amount}。", "注文{order}は{time}に届く。", "案件{number}。"),
    },
    "ko_KR": {
        "phone": ("전화는 {}입니다.", "{name} {}", "휴대폰: {}", "저는 {}에 있습니다."),
        "email": ("{}로 보내 주세요.", "이메일:{}", "{name} ({})"),
        "iban": ("{}로 송금하세요.", "IBAN {}"),
        "card": ("카드 {}가 거절됨.", "카드 번호: {}"),
        "ip": ("{}에서 접속.", "서버 {}가 멈춤."),
        "credential": ("키는 {} 입니다.", "오늘 {} 사용."),
        "password": ("비밀번호: {}", "비밀번호는 {} 입니다."),
        "none": ("{date} 청구서 {invoice}, {amount}.", "주문 {order}, {time}.", "사건 {number}."),
    },
}  # fmt: skip
LOCALES: Final = tuple(CARRIERS)
_HARD_NEGATIVES: Final = (
    "{date} {time} {order} {amount}", "v{version}, build {epoch}", "{uuid}", "ISBN {isbn}", "SKU {sku} x {small}",
    "GPS {latitude}, {longitude}", "{year}-{year} / {year}", "{epoch}", "{epoch}000", "logo@2x.png", "@{word}",
    "{broken_iban}", "{broken_card}", "{small} x {small} mm, {small},5 %", "sha {hex}", "{number}", "EAN {ean}",
    "00:1A:{mac}", "std::{word}::{word}",
    "https://shop.example/p/{number}?page={small}", "§ {small}.{small}.{small}.{small}",
    "{word}: 100 000 000 {word}", "1 250 000,00 EUR", "T-{number}-{small}", "{word}@{word}", "PO {order} / {order}",
    "{build}", "version {build}", "{word} {build} {word}", "Chrome/{build}", "{kernel}", "{calendar}",
    "{date}/{date}", "{date} - {date}", "{spaced_date}", "{stamp}", "order no. {grouped}", "Bestellnummer: {grouped}",
    "invoice {grouped}", "order {parcel}",
    "git checkout {hex}", "data:image/png;base64,iVBORw0KGgo{base64}", "the password was changed", "sk-learn 1.{small}",
    "password: required field", "Password: must be at least {small} characters", "Bearer authentication of {word}",
    "the token is expired since {date}", "token: string", "password={variable}", "api_key=<{word}>",
    "max_tokens={number}", "Forgot your password? {word}",
    "sb_publishable_{hex}", "password: ********", "postgresql://localhost:5432/{word}", "{word}: digest sha256:{hex}",
    "git clone https://{word}.example/{word}.git", "https://{word}.example:8443/{word}?to={word}",
    "pip install sk-{word}-{word}-{word}-{word}", "secret santa: {word}", "password = get_password({word})",
    "connect(user={word}, password=settings.{word})", "Token count: {number}", "passport: {number}", "key: {word}",
    "AKIA is a prefix, {word}", "-----BEGIN CERTIFICATE----- {base64}", "password policy: {number}", "etag: {uuid}",
    "{word} {id}", "id={id}", "{small} {small} {small}",
    "({small}) {small}", "{id}-{small}", "{word}: {small}/{small}/{small}/{small}",
)  # fmt: skip

_WITHIN_URL: Final = re.compile(r"(\w+://)([^/]+)(/\w+)")
_LAST_DAY: Final = datetime(2026, 12, 31)  # noqa: DTZ001
_DATES: Final = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%y", "%Y/%m/%d", "%Y%m%d")
_AMOUNTS: Final = ("1.250.000,00 €", "$12,500.00", "£1,234,567", "12 500 zł", "₽ 1 200 300", "3.450.000 ₺")


def sentences(locale: str, count: int, *, seed: int = 0) -> Iterator[Sentence]:
    """`count` sentences of each kind, and as many of two sorts without any personal value."""
    fake = Faker(locale)
    fake.seed_instance(f"{locale}-{seed}")
    values = _values(fake)
    negatives = _negatives(fake)
    carriers = CARRIERS[locale]
    for number in range(count):
        for kind in KINDS:
            sort = "password" if kind == "credential" and number % 2 else kind
            templates = carriers[sort]
            yield _filled(templates[number // 2 % len(templates)], kind, values[sort](), fake)
        for template in (carriers["none"][number % 3], _HARD_NEGATIVES[number % len(_HARD_NEGATIVES)]):
            yield Sentence(f"{fake.sentence()} {_without_values(template, negatives)}")


def phone_numbers(locale: str, count: int) -> list[str]:
    """Numbers as they are written where the locale is."""
    fake = Faker(locale)
    fake.seed_instance(locale)
    return [fake.phone_number() for _ in range(count)]


def _filled(template: str, kind: str, value: str, fake: Faker) -> Sentence:
    before, after = template.replace("{name}", fake.name()).split("{}")
    before = f"{fake.sentence()} {before}"
    around = _WITHIN_URL.fullmatch(value)
    if around:
        before, value, after = before + around[1], around[2], around[3] + after
    return Sentence(before + value + after, ((kind, len(before), len(before) + len(value)),))


def _without_values(template: str, negatives: Mapping[str, Callable[[], str]]) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: negatives[name[1]](), template)


def _values(fake: Faker) -> Mapping[str, Callable[[], str]]:
    random = fake.random
    return {
        "phone": fake.phone_number,
        "email": lambda: random.choice((fake.email, fake.company_email, fake.safe_email))(),
        "iban": lambda: _grouped(fake.iban(), random.choice(("", " "))),
        "card": lambda: _grouped(fake.credit_card_number(), random.choice(("", " ", "-"))),
        "ip": lambda: random.choice((fake.ipv4, fake.ipv6))(),
        "credential": partial(token, fake),
        "password": partial(password, fake),
    }


def _negatives(fake: Faker) -> Mapping[str, Callable[[], str]]:
    random = fake.random

    def number(count: int) -> str:
        return "".join(random.choices(digits, k=count))

    def day(*forms: str) -> str:
        return fake.date(random.choice(forms), end_datetime=_LAST_DAY)

    return {
        "order": lambda: random.choice(("AB-26-", "ORD-", "#", "SO", "2026-")) + number(random.randint(4, 8)),
        "invoice": lambda: random.choice(("INV-2026-", "RE-", "F", "#", "2026/")) + number(random.randint(4, 6)),
        "date": lambda: day(*_DATES),
        "time": lambda: day("%H:%M", "%H:%M:%S"),
        "amount": lambda: random.choice(_AMOUNTS),
        "number": lambda: number(random.choice((5, 6, 7, 8))),
        "id": lambda: number(random.choice((9, 10, 11, 12, 14))),
        "epoch": lambda: str(random.randint(1_600_000_000, 1_799_999_999)),
        "version": lambda: ".".join(str(random.randint(0, 40)) for _ in range(random.choice((2, 3, 4)))),
        "build": lambda: ".".join(str(random.randint(0, most)) for most in (40, 30, 99_999, 9_999)),
        "kernel": lambda: "{}.{}.{}-{}.{}".format(*(random.randint(0, most) for most in (6, 20, 300, 2000, 2000))),
        "calendar": lambda: day("%Y.%m.%d", "%y.%m", "%Y.%m") + f".{random.randint(0, 99_999)}",
        "spaced_date": lambda: day("%d %m %Y", "%Y %m %d", "%d. %m. %Y"),
        "stamp": lambda: day("%Y-%m-%d-%H-%M-%S", "%Y-%m-%d_%H.%M.%S", "%Y-%m-%d %H-%M-%S"),
        "grouped": lambda: fake.numerify(random.choice(("###-###-####", "##-#####-###", "#### #### ####"))),
        "parcel": lambda: fake.numerify("###-#######-#######"),
        "base64": lambda: fake.pystr(40, 120),
        "variable": lambda: random.choice(("$PASSWORD", "None", "password", "null", "os.environ")),
        "uuid": fake.uuid4,
        "isbn": fake.isbn13,
        "ean": fake.ean13,
        "sku": lambda: f"{number(3)}-{fake.word()[:3]}-{number(4)}",
        "small": lambda: str(random.randint(1, 99)),
        "latitude": lambda: str(fake.latitude()),
        "longitude": lambda: str(fake.longitude()),
        "year": fake.year,
        "word": lambda: fake.lexify("?????"),
        "hex": lambda: fake.sha1(),
        "mac": lambda: fake.mac_address()[6:],
        "broken_iban": lambda: "DE" + random.choice(("12", "45", "77")) + "370400440532013000",
        "broken_card": lambda: _broken(fake.credit_card_number("mastercard")),
    }  # fmt: skip


def _grouped(text: str, separator: str) -> str:
    return separator.join(text[i : i + 4] for i in range(0, len(text), 4))


def _broken(card: str) -> str:
    """The number with another last digit, which Luhn's formula refuses."""
    return card[:-1] + str((int(card[-1]) + 1) % 10)
