#!/usr/bin/env bash
# quantbenchx 0.3.0: a package made to judge quants in GGUF files takes none that exists.
#
# `profile_gguf` compares the first four bytes, read with the lowest first, to the number 0x46475547; those of GGUF, read so, are
# 0x46554747. Every file, llama.cpp's and gguf-py's alike, is "Not a GGUF file", before a tensor is looked at.
# Guessed before: it reads the file, and takes its word for the quant's name.
#
# Seen: QuantbenchError "Not a GGUF file (magic: 0x46554747)" for a file that gguf 0.19.0 wrote and reads.
# Exits 1 when the file is read, or gguf cannot read it. Needs python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --target "$work/x" quantbenchx==0.3.0 gguf==0.19.0 2>/dev/null
PYTHONPATH="$work/x" WORK=$work python3 - <<'PY'
import os, sys
import gguf, numpy
import quantbenchx
path = os.environ["WORK"] + "/one.gguf"
writer = gguf.GGUFWriter(path, "llama")
writer.add_block_count(1)
writer.add_tensor("blk.0.attn_norm.weight", numpy.ones(8, dtype=numpy.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
print("gguf reads", [tensor.name for tensor in gguf.GGUFReader(path).tensors])
try:
    quantbenchx.profile_gguf(path)
except quantbenchx.QuantbenchError as error:
    print("quantbenchx:", error)
    sys.exit("magic: 0x46554747" not in str(error))
sys.exit("quantbenchx reads the file now")
PY
