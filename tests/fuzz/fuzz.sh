#!/usr/bin/env bash
# Runs every fuzzer for SECONDS on what it has found so far, its seeds, and the findings of the past. What a fuzzer finds
# lies in BUILD/findings/; it goes into tests/fuzz/seeds/ with the repair.
# usage: tests/fuzz/fuzz.sh BUILD SECONDS
set -u
build=$1 seconds=$2
here=$(dirname "$0")
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
mkdir -p "$build/seeds" "$build/findings" "$build/log"
CK_FORK=no "$build/write_corpus" "$build/seeds" || exit 1

fuzz() {
    local name=$1 log=$build/log/$1
    local corpus=("$build/corpus/$name")
    mkdir -p "${corpus[0]}"
    for folder in "$build/seeds/$name" "$here/seeds/$name"; do
        [ -d "$folder" ] && corpus+=("$folder")
    done
    "$build/fuzz_$name" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -verbosity=1 -artifact_prefix="$build/findings/$name-" "${corpus[@]}" >"$log" 2>&1 </dev/null
    local status=$?
    local runs seeds
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    seeds=$(ls "${corpus[@]:1}" | grep -vc '^$\|:$')
    printf 'fuzz_%-10s %10s executions, %4s seeds, %s\n' "$name" "${runs:-0}" "$seeds" \
        "$([ $status -eq 0 ] && echo no finding || echo "FAILED (status $status), $log:")"
    if [ $status -ne 0 ]; then
        grep -a -E -A10 'ERROR: |runtime error|^tests/fuzz/[^ ]*: |SUMMARY|Test unit written' "$log" | head -60 | sed 's/^/    /'
        return 1
    fi
}

failed=0
running=()
for program in "$build"/fuzz_*; do
    [ -x "$program" ] || continue
    fuzz "${program##*/fuzz_}" &
    running+=($!)
    if [ "${#running[@]}" -ge 2 ]; then
        wait "${running[0]}" || failed=1
        running=("${running[@]:1}")
    fi
done
for pid in "${running[@]}"; do
    wait "$pid" || failed=1
done
exit $failed
