#!/usr/bin/env bash
# wordllama 0.4.0.post1: load(disable_download=True) does not find the tokenizer that its own wheel brings.
#
# Expected: the wheel holds the weights and the tokenizer of the default model, so that loading it needs no network:
# load(disable_download=True) returns the model.
# Seen: FileNotFoundError, "Tokenizer file … not found in project root or cache, and downloads are disabled.": it looks
# in a folder `tokenizer`, and the wheel has `tokenizers`. Without the option the file is downloaded.
#
# Ends with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
python=$folder/venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check wordllama==0.4.0.post1

cd "$folder"
"$python" - "$folder/cache" <<'PY'
import sys
from pathlib import Path

import wordllama

packed = Path(wordllama.__file__).parent / "tokenizers" / "l2_supercat_tokenizer_config.json"
print(f"the wheel has the tokenizer: {packed.exists()}")
try:
    wordllama.WordLlama.load(cache_dir=Path(sys.argv[1]), disable_download=True)
except FileNotFoundError as error:
    print(error)
    raise SystemExit(0 if packed.exists() else 1)
print("it was found")
raise SystemExit(1)
PY
