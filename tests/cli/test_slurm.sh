#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# The job array of a sweep under Slurm: a controller and one node of our own on loopback, with private key, configuration,
# state and sockets in one temporary folder; ended by their process ids. The results are those of a sweep without Slurm.
. "$(dirname "$0")/cli_testing.sh"
PATH=$PATH:/usr/sbin
for tool in munged slurmctld slurmd sbatch; do
    command -v $tool >/dev/null && continue
    [ -z "${SYSTOLE_NEED_SLURM:-}" ] || fail "$tool is missing"
    skip "$tool is not installed (\`make test-slurm\` installs Slurm)"
    finish cli/test_slurm
done

daemons=()
stop_daemons() {
    local i pid
    for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
        kill "${daemons[$i]}" 2>/dev/null
        for pid in {1..50}; do kill -0 "${daemons[$i]}" 2>/dev/null && sleep 0.1 || break; done
        kill -KILL "${daemons[$i]}" 2>/dev/null
        wait "${daemons[$i]}" 2>/dev/null
    done
    daemons=()
}
trap 'stop_daemons; rm -rf "$work"' EXIT
# start NAME COMMAND...: a daemon in the foreground, its output in $work/NAME.log.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    daemons+=($!)
}
# until_holds SECONDS COMMAND...
until_holds() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >"$work/out" 2>"$work/err"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}
free_ports=$(python3 -c 'import socket
s = [socket.socket() for _ in range(2)]
for x in s: x.bind(("127.0.0.1", 0))
print(*[x.getsockname()[1] for x in s])')
read -r controller_port node_port <<<"$free_ports"
host=$(hostname -s)
user=$(id -un)
mkdir "$work/munge" "$work/state" "$work/spool"
head -c 1024 /dev/urandom >"$work/munge/key"
chmod 600 "$work/munge/key"
export SLURM_CONF=$work/slurm.conf
cat >"$SLURM_CONF" <<CONF
ClusterName=systole
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc)
PartitionName=all Nodes=$host Default=YES MaxTime=10 State=UP
CONF
start munged munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" \
    --pid-file="$work/munge/pid" --log-file="$work/munge/log" --seed-file="$work/munge/seed"
until_holds 20 test -S "$work/munge/socket" || fail "munged does not start: $(tail -n 3 "$work/munged.log" "$work/munge/log")"
start slurmctld slurmctld -D -i -f "$SLURM_CONF"
start slurmd slurmd -D -f "$SLURM_CONF"
if ! until_holds 60 sh -c "sinfo -h -o %T | grep -q '^idle$'"; then
    fail "the node does not become idle: $(sinfo 2>&1; tail -n 5 "$work/slurmctld.log" "$work/slurmd.log")"
    finish cli/test_slurm
fi
pass

# A folder whose name wants quoting.
folder="$work/it's a study"
mkdir "$folder"
cp examples/digits/digits_int8.tflite "$folder/digits.tflite"
cat >"$folder/study.json" <<'JSON'
{"models": ["digits.tflite"], "rows": [8, 16], "taps": [1, 3], "scratchpad_bytes": [65536, 524288, 8388608]}
JSON
expect 0 "$SYSTOLE" sweep "$folder/study.json" -o "$work/local.csv"
expect 0 "$SYSTOLE" sweep "$folder/study.json" -o "$folder/array.csv" --slurm "$folder/array.sh"
sort "$work/local.csv" >"$work/wanted"
# array_ended JOB; states JOB: of its tasks, each once. `sbatch --wait` would look ever more seldom.
array_ended() { [ -z "$(squeue -h -j "$1")" ]; }
states() { scontrol -o show job "$1" | grep -o 'JobState=[A-Z]*' | sort -u; }
# submit STATE: until the array has ended; that is the state of all its tasks.
submit() {
    local job
    job=$(sbatch --parsable "$folder/array.sh")
    holds "the array ends" until_holds 120 array_ended "$job"
    holds "all tasks are $1" test "$(states "$job")" = "JobState=$1"
}
# compare TEXT: every point is there, once, as without Slurm.
compare() {
    sort "$folder/array.csv" >"$work/got"
    holds "$1: the results of a local sweep" diff "$work/wanted" "$work/got"
    holds "$1: nobody complains" test ! -e "$folder/array.csv.errors"
}
submit COMPLETED
compare "first"
sed -i '4,9d' "$folder/array.csv"
submit COMPLETED
compare "what is missing"
expect 0 "$SYSTOLE" sweep "$folder/study.json" -o "$folder/array.csv"
holds "the sweep finds all done" grep -q '12 points, 0 of them now' "$work/out"
holds "and draws" test -s "$folder/array.svg"
# A task that cannot write ends badly and says why.
echo 'another file' >"$folder/array.csv"
submit FAILED
holds "each says why" test "$(grep -c '^point [0-9]*: systole: error: .*something else' "$folder/array.csv.errors")" -eq 12
stop_daemons
holds "nothing is left running" test -z "$(pgrep -f "$work" | grep -v "^$$\$")"
finish cli/test_slurm
