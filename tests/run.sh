#!/usr/bin/env bash
# Runs test programs one after another, each with a time limit, and adds up their closing lines.
# usage: tests/run.sh LIMIT_SECONDS PROGRAM...
set -u
limit=$1
shift
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for program in "$@"; do
    start=$SECONDS
    timeout --kill-after=5 "$limit" "$program" >"$log" 2>&1 </dev/null
    status=$?
    last=$(grep -E '^[A-Za-z0-9_./-]+: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    if [ -n "$last" ]; then
        read -r p f s <<<"$(sed -E 's/^.*: ([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/' <<<"$last")"
    else
        p=0 f=0 s=0
    fi
    if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
        echo "$program: exit status $status (124: over its limit of $limit s)"
    fi
    if [ "$status" -eq 0 ] && [ -z "$last" ]; then
        f=1
        echo "$program: printed no closing line"
    fi
    if [ "$f" -ne 0 ]; then
        sed 's/^/    /' "$log"
    else
        grep '^skipped: ' "$log" | sed 's/^/    /'
    fi
    printf '%-56s %4d passed %3d failed %3d skipped %5d s\n' "${program##*/tests/}" "$p" "$f" "$s" $((SECONDS - start))
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
