#!/bin/sh
# Whether clang makes fuzzers here; says so when it does not.
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
if echo '#include <stddef.h>
int LLVMFuzzerTestOneInput(const unsigned char *b, size_t n); int LLVMFuzzerTestOneInput(const unsigned char *b, size_t n) { return b && n ? 0 : 0; }' |
    clang -x c -fsanitize=fuzzer,address,undefined -o "$out" - 2>/dev/null; then
    exit 0
fi
echo "skipped: fuzzers: clang does not link -fsanitize=fuzzer here; its compiler-rt (libclang-rt-dev) is missing"
exit 1
