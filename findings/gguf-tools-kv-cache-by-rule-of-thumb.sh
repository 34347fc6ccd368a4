#!/usr/bin/env bash
# modelinfo-cli 1.4.4 and clanker-gguf 1.2.0: how large they say a KV cache is, for files whose headers say how large it is.
#
# clanker-gguf has one number of bytes a token for all models: 2,048 MB at 8,192 tokens in q8_0, for SmolLM2-135M, whose cache takes 95.6 MiB in
# llama-server's log, and for Gemma 3 270M alike, and it plans layers on the card by that. modelinfo-cli reads heads and layers, and
# is right for models that attend to everything; of a model with a window (Gemma 3: 15 of 18 layers look back 512 tokens, and the
# header says so) it counts every layer whole: 144.0 MB in f16, where llama-server build 10068 takes 39. Its answer chooses a card.
# Guessed before: both right for SmolLM2, both too much for Gemma.
#
# Seen: clanker 2048 MB and 2048 MB; modelinfo 180.0 MB (right) and 144.0 MB (three or four times too much).
# Exits 1 when one of the four changes. Needs python3 with pip. The two files hold one tensor and the models' headers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/v"
"$work/v/bin/pip" install --quiet modelinfo-cli==1.4.4 clanker-gguf==1.2.0 gguf==0.19.0
cd "$work"
v/bin/python - <<'PY'
import gguf, numpy
def header(name, architecture, layers, width, heads, kv_heads, head, window=None):
    writer = gguf.GGUFWriter(name, architecture)
    writer.add_block_count(layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if window:
        writer.add_sliding_window(window)
    writer.add_tensor("output_norm.weight", numpy.ones(width, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
header("smollm2.gguf", "llama", 30, 576, 9, 3, 64)
header("gemma3.gguf", "gemma3", 18, 640, 4, 1, 256, window=512)
PY
cache() { grep -i 'KV cache' | grep -oE '[0-9]+(\.[0-9]+)? MB' | head -1; }
by_clanker="$(v/bin/clanker run smollm2.gguf 2>&1 | cache), $(v/bin/clanker run gemma3.gguf 2>&1 | cache)"
by_modelinfo="$(v/bin/modelinfo --context 8192 smollm2.gguf 2>&1 | cache), $(v/bin/modelinfo --context 8192 gemma3.gguf 2>&1 | cache)"
echo "SmolLM2-135M, Gemma 3 270M at 8,192 tokens: clanker-gguf (q8_0) $by_clanker; modelinfo-cli (f16) $by_modelinfo"
[ "$by_clanker" = "2048 MB, 2048 MB" ] && [ "$by_modelinfo" = "180.0 MB, 144.0 MB" ]
