#!/usr/bin/env bash
# llguidance 1.7.6 (the newest that vLLM 0.33.0 admits): with `multipleOf` no number below zero can be written.
#
# `{"type": "integer", "multipleOf": 5}` takes 10 and bars -10, also with a minimum of -20; without `multipleOf` the same minimum takes -5. vLLM
# hands every schema with a typed `multipleOf` to llguidance, whatever xgrammar holds by now, so a balance or an offset in
# steps comes out with the wrong sign and nothing says so. 1.9.1 takes -10. In both, a multiple of 0.25 has two digits behind the point or
# none: 0.50 and 1, but neither 0.5 nor 1.0, which models write. Guessed before: right, since llguidance refuses what it does not hold.
#
# Seen: 1.7.6 bars -10, 1.9.1 takes it; both take 0.50 and 1, and bar 0.5 and 1.0.
# Exits 1 when any of it changes. Needs python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 1.7.6 1.9.1; do
    python3 -m pip install --quiet --no-deps --target "$work/$version" "llguidance==$version" 2>/dev/null
done
cat >"$work/ask.py" <<'PY'
import json, llguidance
from llguidance._tokenizer import TokenizerWrapper
class Bytes:
    eos_token_id, bos_token_id, special_token_ids = 256, None, [256]
    tokens = [bytes([byte]) for byte in range(256)] + [b"<end>"]
    def __call__(self, text):
        return list(text if isinstance(text, bytes) else text.encode())
tokenizer = llguidance.LLTokenizer(TokenizerWrapper(Bytes()))
def takes(text, **schema):
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
    matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0)
    return bool(matcher.consume_tokens(list(text.encode())) and matcher.is_accepting())
whole = [takes(text, type="integer", multipleOf=5) for text in ("10", "-10", "11")]
bounded = [takes("-5", type="integer", minimum=-20), takes("-5", type="integer", minimum=-20, multipleOf=5)]
quarters = [takes(text, type="number", multipleOf=0.25) for text in ("0.50", "1", "0.5", "1.0")]
print(*(int(taken) for taken in whole + bounded + quarters))
PY
old=$(PYTHONPATH="$work/1.7.6" python3 "$work/ask.py") new=$(PYTHONPATH="$work/1.9.1" python3 "$work/ask.py")
echo "multiples of 5: 10, -10, 11; at least -20: -5 without and with multipleOf 5; quarters: 0.50, 1, 0.5, 1.0"
echo "1.7.6: $old"
echo "1.9.1: $new"
[ "$old" = "1 0 0 1 0 1 1 0 0" ] && [ "$new" = "1 1 0 1 1 1 1 0 0" ]
