"""Print a user's access token: `python -m tests.server.token --sub ada`, signed with SUPABASE_JWT_SECRET."""

import argparse
import json
import os
import sys
import time

from . import tokens

HOUR_S = 3600


def main(arguments: list[str]) -> int:
    """The exit status; the token was printed."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.token", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--sub", required=True, help="the user's id; auth.uid() takes a UUID alone")
    parser.add_argument("--role", default="authenticated", help="the database's role")
    parser.add_argument("--expires-in", type=int, default=HOUR_S, metavar="SECONDS", help="may be negative")
    parser.add_argument("--claims", type=json.loads, default={}, metavar="JSON", help="further claims, as an object")
    options = parser.parse_args(arguments)
    secret = os.environ.get("SUPABASE_JWT_SECRET")
    if not secret:
        parser.error("SUPABASE_JWT_SECRET is not set: run it below `python -m tests.server -- …`")
    expires = int(time.time()) + options.expires_in
    print(tokens.sign({"sub": options.sub, "role": options.role, "exp": expires, **options.claims}, secret))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
