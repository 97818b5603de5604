"""What PostgreSQL and PostgREST say of a failure, as far as it may be repeated, and what helps against it. Pure."""

from __future__ import annotations

import re
from typing import Final

from agent_persistence.exceptions import AdapterError, AuthenticationError, RowSecurityError
from agent_persistence.query.identifiers import is_identifier

_COLUMN: Final = re.compile(r"""(?:column "|the '|column (?:\w+\.)?)(\w+)(?:"|' column| does not exist)""")
_NAME: Final = r'"?[\w$.?*() ,\[\]]{1,100}"?'
_WORDS: Final = {
    "23502": (
        "a NOT NULL column has no value",
        r'null value in column "\w+" of relation "\w+" violates not-null constraint',
    ),
    "23503": (
        "a foreign key is violated",
        r'(insert or update|update or delete) on table "\w+" violates foreign key constraint "\w+"( on table "\w+")?',
    ),
    "23505": ("a unique value exists already", r'duplicate key value violates unique constraint "\w+"'),
    "23P01": ("an exclusion is violated", r'conflicting key value violates exclusion constraint "\w+"'),
    "23514": ("a check is violated", r'new row for relation "\w+" violates check constraint "\w+"'),
    "22P02": (
        "a value is not valid input for its type",
        r"invalid input syntax for type [a-z ]+|invalid input value for enum \w+",
    ),
    "22003": ("a number is out of its type's range", r"[a-z ]+ out of range"),
    "22001": ("a text is too long", r"value too long for type [a-z ]+\(\d+\)"),
    "22007": ("a value is not valid input for its type", r"invalid input syntax for type [a-z ]+"),
    "22008": (
        "a date or time is out of range",
        r"(date/time field value|interval field value|timestamp|interval|date|time) out of range( for [a-z ]+)?",
    ),
    "22P05": ("a text holds a character that cannot be stored", "unsupported Unicode escape sequence"),
    "22000": (
        "a value is refused",
        r"expected \d{1,5} dimensions, not \d{1,5}|different (vector|halfvec|sparsevec) dimensions \d{1,5} and \d{1,5}",
    ),
    "2201B": (
        "a regular expression is not valid",
        (
            r"invalid regular expression: ((parentheses \(\)|brackets \[\]|braces \{\}) not balanced"
            r"|invalid (repetition count\(s\)|character range|escape \\ sequence|backreference number|character class"
            r"|collating element|embedded option)|quantifier operand invalid|regular expression is too complex)"
        ),
    ),
    "25006": (
        "the transaction is read-only",
        r"cannot execute ([A-Z]+( [A-Z]+)*|[a-z_]+\(\)) in a read-only transaction",
    ),
    "42501": (
        "not allowed for the role of the key",
        r'permission denied for [a-z ]+ \w+|new row violates row-level security policy( "[\w ]+")? for table "\w+"',
    ),
    "42703": ("a column does not exist", rf"column {_NAME}( of relation {_NAME})? does not exist"),
    "42804": (
        "a value is not of its column's type",
        (
            rf'column "\w+" is of type {_NAME} but (default )?expression is of type {_NAME}'
            rf"|argument of [A-Z ]{{1,30}} must be (of )?type {_NAME}, not type {_NAME}"
        ),
    ),
    "428C9": (
        "a column takes no value",
        r'cannot insert a non-DEFAULT value into column "\w+"|column "\w+" can only be updated to DEFAULT',
    ),
    "42P01": ("a table does not exist", rf"relation {_NAME} does not exist"),
    "42P10": (
        "no unique constraint on these columns",
        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
    ),
    "42883": ("no such function or operator", r"(function|operator) [\w$.,() =~*<>!@&|\[\]]{1,100} does not exist"),
    "55000": (
        "an object is not in the state that this needs",
        (
            r'cannot (insert into|update|delete from) view "\w+"|materialized view "\w+" has not been populated'
            r'|cannot (update|delete from) table "\w+" because it does not have a replica identity and publishes \w+'
            r'|currval of sequence "\w+" is not yet defined in this session'
        ),
    ),
    "42809": (
        "an object is of another kind than this needs",
        r'cannot change materialized view "\w+"',
    ),
    "57014": ("the statement was cancelled", "canceling statement due to (statement timeout|user request)"),
    "AP003": ("the unit of work is not understood", r"[a-z ]{1,80}"),
    "PGRST102": ("the request's body is refused", r"[\w ,']{1,100}"),
    "PGRST116": ("not exactly one row", r"[\w ,()]{1,100}"),
    "PGRST124": ("more rows than max_affected", r"[\w -]{1,100}"),
    "PGRST202": ("no such function", rf"Could not find the function {_NAME} .{{0,60}}in the schema cache"),
    "PGRST203": (
        "several functions fit",
        r'Could not choose the best candidate function between: [\w$., ()\[\]=>"]{1,400}',
    ),
    "PGRST204": ("no such column", r"Could not find the '\w+' column of '\w+' in the schema cache"),
    "PGRST205": ("no such table", r"Could not find the table '[\w.]+' in the schema cache"),
}
"""By code: our words, and the form of PostgreSQL's or PostgREST's own message, which holds names and no values.

A trigger may raise any text under any code, so that only a message of exactly this form is repeated.
"""


def described(code: str, message: str, *, error_texts: bool = False) -> str:
    """PostgreSQL's or PostgREST's own message where it is known to hold names alone, else our words for the code.

    `error_texts` lets pass what the database's author wrote, in a RAISE of plpgsql, whatever that holds.
    """
    if error_texts and message and (code == "P0001" or code.startswith("PT")):
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message[:_LONGEST_TEXT])
    words, form = _WORDS.get(code, ("the server's text is left out, because it may hold row content", ""))
    own = re.match(form, message) if form else None
    return own.group() if own and (own.end() == len(message) or message[own.end()] == ":") else words


def named_column(text: str) -> str | None:
    """The column that a message of `described` names."""
    found = _COLUMN.search(text)
    return found and found[1]


def error_class(code: str | None, status: int | None, message: str) -> type[AdapterError]:
    """The class of a refusal that says nothing of a constraint.

    PostgREST answers 401 to what the anonymous role may not do, too: signing in may help.
    https://docs.postgrest.org/en/v14/references/errors.html
    """
    if code == "42501" and "row-level security" in message:
        return RowSecurityError
    unknown_user = status == 401 or code in ("PGRST301", "PGRST302", "PGRST303", "28000", "28P01")
    return AuthenticationError if unknown_user else AdapterError


_LONGEST_TEXT: Final = 500
_PRIVILEGE: Final = {
    "write": "SELECT, INSERT",
    "batch_write": "SELECT, INSERT",
    "upsert": "SELECT, INSERT, UPDATE",
    "upsert_many": "SELECT, INSERT, UPDATE",
    "update": "SELECT, UPDATE",
    "delete": "SELECT, DELETE",
    "bulk_write": "INSERT",
}
WRITING_VERBS: Final = frozenset(_PRIVILEGE)


def remedy_of(code: str, message: str, verb: str, table: str) -> str | None:
    """What helps against the code, where that is known."""
    if code == "57014" and "statement timeout" in message:
        return "the statement ran into a statement_timeout: the role's own, or that of the call's deadline"
    if code in ("55000", "42809") and "view" in message:
        return "write to the tables that it reads, or give a plain view INSTEAD OF triggers"
    if code != "42501":
        return _REMEDIES.get(code)
    named = table if is_identifier(table) else '"' + table.replace('"', '""') + '"'
    if "row-level security" in message:
        text = f"a row-level security policy of {table} refuses this row for the role of the key"
        return text + _RETURNED if verb in ("write", "batch_write") else text
    right = f"EXECUTE ON FUNCTION {named}" if verb == "call" else f"{_PRIVILEGE.get(verb, 'SELECT')} ON {named}"
    return f"the role of the key lacks a right; grant it with: GRANT {right} TO <role>;"


_RETURNED: Final = (
    "; where the role may insert the row and not see it, nothing can be returned: use bulk_write, or leave the table"
    " out of the read list of the TablePolicy"
)
NO_UNIQUE_RULE: Final = (
    "it takes a unique constraint or index on exactly these columns, of the whole table: an index with WHERE or on an"
    " expression is none. In place of lower(email) make a generated column unique; in place of WHERE deleted_at IS NULL"
    " update the row, and write it where there was none"
)
_RELOAD: Final = "if it was just made or changed, run: notify pgrst, 'reload schema'"
_REMEDIES: Final = {
    "23505": "to change the row that exists, use upsert with on_conflict",
    "42P10": NO_UNIQUE_RULE,
    "57014": "it was cancelled: by an administrator, by a caller that went away, or by a timeout",
    "25006": "a function in call only reads; one that writes is named in call_write",
    "428C9": "the database makes this value itself; leave the column out",
    "PGRST202": _RELOAD,
    "PGRST203": "rename an argument or the function, so that the names of the arguments decide",
    "PGRST204": _RELOAD,
    "PGRST205": _RELOAD,
    "40001": "the transaction met a concurrent one; trying again is safe",
    "40P01": "the transaction met a deadlock; trying again is safe",
    "53300": "the database has no connections left",
    "PGRST000": "the server cannot reach its database",
    "PGRST001": "the server lost its database during the request",
    "PGRST002": "the server cannot read its database's schema yet",
    "PGRST003": "the server's pool of database connections is exhausted",
    "PGRST301": "the access token is not valid for this project",
    "PGRST303": "the access token is not valid; it may have expired",
}
