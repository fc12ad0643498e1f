#!/usr/bin/env bash
# Runs test programs, as many at once as there are processors (TEST_JOBS), each with a time limit, and adds up their
# closing lines. What a program printed is shown when it failed; each line of the table comes when its program ends.
# usage: tests/run.sh LIMIT_SECONDS PROGRAM...
set -u
limit=$1
shift
jobs=${TEST_JOBS:-$(nproc)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# run_one NUMBER PROGRAM: prints the program's part at once and leaves its three sums in the folder.
run_one() {
    local program=$2 log=$folder/$1.log start=$SECONDS status last p=0 f=0 s=0
    timeout --kill-after=5 "$limit" "$program" >"$log" 2>&1 </dev/null
    status=$?
    last=$(grep -E '^[A-Za-z0-9_./-]+: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    if [ -n "$last" ]; then
        read -r p f s <<<"$(sed -E 's/^.*: ([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/' <<<"$last")"
    fi
    {
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
    } >"$folder/$1.out"
    echo "$p $f $s" >"$folder/$1.sum"
    flock "$folder" cat "$folder/$1.out"
    rm -f "$log"
}

number=0
for program in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    number=$((number + 1))
    run_one "$number" "$program" &
done
wait
passed=0 failed=0 skipped=0
for sum in "$folder"/*.sum; do
    [ -e "$sum" ] || continue
    read -r p f s <"$sum"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
[ "$(ls "$folder" | grep -c '\.sum$')" -eq "$#" ] || { echo "a test left no sums"; failed=$((failed + 1)); }
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
