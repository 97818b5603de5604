"""Values that a word before them makes a password or a key: `password: …`, `api_key=…`, `"token": "…"`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_PASSWORDS: Final = (
    r"password|passwd|passwort|passphrase|passcode|kennwort|pwd|(?<![A-Za-z])(?:pass|pw)(?![A-Za-z])|contraseña|contrasena|"
    r"senha|has[lł]o|пароль|şifre|parola|wachtwoord|lösenord|mot\ de\ passe|motdepasse|パスワード|비밀번호|密码|密碼"
)
_KEYS: Final = (
    r"secret|token|(?:api|secret|access|private|account|signing|encryption|service[\ _-]?role)[\ _-]?key|"
    r"access[\ _-]?key[\ _-]?id|api[\ _-]?schlüssel|clé\ api|clave\ api|chiave\ api"
)
_HINTS: Final = (
    *("pass", "pwd", "pw", "wort", "contrase", "senha", "hasł", "haslo", "парол", "ifre", "parol", "wacht", "lösen"),
    *("パスワ", "비밀", "密", "secret", "token", "key", "schlüssel", "api"),
)
"""In lower case; a text without any of them, which is quickly seen, holds no such word."""
_NAME: Final = re.compile(
    rf"""
    (?:(?P<password>{_PASSWORDS})|(?P<key>{_KEYS}))\d?
    (?:
      [\\"'\]]{{0,3}}\s{{0,3}} (?P<sign>:=|=>|==?|:(?!:|//)|(?<=\S)>) \s{{0,3}}
      | (?P<verb>\s{{1,3}}(?:is|ist|lautet|est|es|è|é|jest|to|это|-)\s{{1,3}} | \s?(?:は|是|는|은)\s?)
      | (?P<flag>(?<=[a-z])\s{{1,3}})
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FLAG: Final = re.compile(r"(?:^|\s)--(?:[a-z]{1,20}-){0,3}[a-z]{1,20}\s{1,3}$")
_VALUE: Final = re.compile(
    r"""
    \\"(?P<escaped>[^"\\\n]++)\\" | "(?P<double>(?:[^"\\\n]|\\.)++)" | '(?P<single>[^'\n]++)'
    | ["']?(?P<bare>
        (?: [^\s"'<>`&;,\u3000-\u9fff\uac00-\ud7a3]
          | &(?![\w-]{1,40}=) | [;,](?=[^\s"'<>`])(?![\w-]{1,40}=) | [<>](?!/) )++ )
    """,
    re.VERBOSE,
)
_HIDDEN: Final = re.compile(
    r"<|\$?\{|%\(|\[|\$[A-Z_]+\b|%s\b|\*{3,}|•|x{3,}\b|\.{3}|…|your\b|your[_-]|[a-z][a-z0-9+.-]{1,20}://|sb_publishable_|pk_",
    re.IGNORECASE,
)
"""What stands for a secret, is public, or says where it is found."""
_CODE: Final = re.compile(
    r"[A-Za-z_.]+[(\[][A-Za-z_.()\[\]|]*|[A-Za-z_.]+\[\d+\][\w.)]*|[A-Za-z_]+(?:\.[A-Za-z_]+)+(?:\(.*)?\)*|"
    r"\w+\([a-z_]+\)(?:\.[a-z_]+(?:\(\))?)+\)*"
)
"""Names, calls and types of a program, where a secret would be reported otherwise."""
_MADE: Final = re.compile(r"\d|[a-zß-ÿ][A-Z]|[A-Z]{2}[a-z]|[!@#$%^&*+=?~|\\(){}\[\]:;]")
_STRONG: Final = re.compile(r"\d|[!@#$%^&*+=?~]")
_CAMEL_CASE: Final = re.compile(r"(?:[A-Z]?[a-z]+)(?:[A-Z][a-z]+)+")
_MEASURE: Final = re.compile(r"\d+(?:[-./:T]\d+)+[A-Za-z]{0,3}")
_ENDS: Final = re.compile(r"[\"'`\])}\\]{0,3}[ \t]{0,8}(?:[\n\r,;|<]|\Z)")
_STATES: Final = (
    "absent active blank changed confidential correct default deleted disabled empty enabled encrypted enter "
    "expired expires expiring field forgot forgotten generated given hashed hidden incorrect input invalid length "
    "lost mandatory masked match mismatch missing must need needed never nil none null optional plain please "
    "private protected public redacted rejected removed renewed required reset revoked rotated same saved secure "
    "sent set stale strong true false typing undefined unique unknown unset updated used user valid value verified "
    "weak wrong ändern abgelaufen erforderlich falsch fehlt gelöscht geändert gesperrt gesetzt gültig leer "
    "pflichtfeld ungültig unbekannt vergessen zurückgesetzt expiré manquant obligatoire oublié requis caducada "
    "incorrecta obligatoria olvidada requerida scaduta errata obbligatoria dimenticata wymagane nieprawidłowe "
    "expirada incorreta obrigatória esquecida неверный обязательно забыт истёк gerekli yanlış unutuldu bool boolean "
    "bytes char integer number object string text varchar"
)
_NO_SECRETS: Final = frozenset(_STATES.split())
"""What is said of a secret, and types of fields, in the languages of the words before it."""
_NAMES_ONE: Final = re.compile(r"pass|pwd|secret|token|kennwort", re.IGNORECASE)
_FEWEST: Final = {"password": 4, "key": 8}
_LONG_WORD: Final = 16
_FEWEST_AFTER_A_VERB: Final = 6


def assigned_values(text: str) -> Iterator[tuple[int, int]]:
    """Where the values stand, without quotes and without the sentence's punctuation."""
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return
    done = 0
    for name in _NAME.finditer(text):
        if name.start() < done or _HIDDEN.match(text, name.end()):
            continue
        value = _VALUE.match(text, name.end())
        if not value or (name["sign"] == ">" and not text.startswith("</", value.end())):
            continue
        if name["flag"] and not _FLAG.search(text[max(0, name.start() - 80) : name.end()]):
            continue
        start, end = value.span(value.lastgroup or 0)
        end -= len(text[start:end]) - len(text[start:end].rstrip(".,;:"))
        if _is_secret(
            text[start:end], name, ends=end < value.end("bare") or _ENDS.match(text, value.end()) is not None
        ):
            done = value.end()
            yield start, end


def _is_secret(value: str, name: re.Match[str], *, ends: bool) -> bool:
    is_password = name["password"] is not None
    core = value.strip("?!()[]{}*_`")
    if len(core) < _FEWEST["password" if is_password else "key"] or _CODE.fullmatch(value):
        return False
    if core.casefold() in _NO_SECRETS or _HIDDEN.match(value):
        return False
    sets = name["sign"] in ("=", ":=", "=>", "==")
    words = core.split()
    if len(words) > 1:
        return sets or any(len(word) > _FEWEST_AFTER_A_VERB and is_made(word) for word in words)
    if not name["sign"]:
        return len(value) >= _FEWEST_AFTER_A_VERB and _STRONG.search(core) is not None and not _MEASURE.fullmatch(core)
    if is_made(core):
        return is_password or not _MEASURE.fullmatch(core)
    return _is_word_for(core, is_password=is_password, sets=sets, ends=ends)


def _is_word_for(word: str, *, is_password: bool, sets: bool, ends: bool) -> bool:
    """Whether a word of letters alone is a secret: a password that nothing follows, or a long one for a key."""
    if not is_password:
        return sets and len(word) >= _LONG_WORD and word.isalnum()
    if "_" in word or _NAMES_ONE.search(word):
        return False
    return sets or ends


def is_made(text: str) -> bool:
    """Whether the text has digits, signs or capitals inside, as words and names of classes have not."""
    return _MADE.search(text) is not None and not _CAMEL_CASE.fullmatch(text)
