#!/bin/sh
# kernel.c to ../static/codec/kernel.wasm, and kernel-relaxed.wasm for browsers that have relaxed SIMD; Debian 12: apt
# install clang-19 lld-19 (14 makes slow code). The results are committed, with the hash of what they were made from, so
# that a test sees when one was changed without the other.
set -eu
cd "$(dirname "$0")"
object=$(mktemp)
trap 'rm -f "$object"' EXIT
build() {
  name=$1 && shift
  "${CLANG:-clang-19}" --target=wasm32 -std=c11 -O3 -ffp-contract=off "$@" -fvisibility=hidden -Wall -Wextra -Werror \
    -c -o "$object" kernel.c
  "${WASM_LD:-wasm-ld-19}" --no-entry --export-dynamic --export=__heap_base --import-memory -z stack-size=65536 --strip-all \
    -o "../static/codec/$name.wasm" "$object"
}
build kernel -msimd128
build kernel-relaxed -msimd128 -mrelaxed-simd
cat kernel.c conv.h winograd.h build.sh | sha256sum | cut -c 1-64 > kernel.sha256
wc -c ../static/codec/kernel*.wasm
