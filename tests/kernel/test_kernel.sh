#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# The driver against a real kernel: QEMU, in software emulation, boots Debian's own with its xHCI, usbcore and usbfs; the
# devices are served by this machine, through usbredir and through USB/IP. usage: test_kernel.sh FOLDER
# BENCH=1 also measures. FOLDER keeps the guest's log.
. "$(dirname "$0")/../cli/cli_testing.sh"
folder=$1
here=$(dirname "$0")
limit=${KERNEL_LIMIT:-240} # seconds for the guest, from power on to power off
servers=
trap 'for s in $servers; do kill "$s" 2>"$work/none"; done; rm -rf "$work"' EXIT

if [ "$(uname -m)" != x86_64 ]; then
    skip "the guest is an x86-64 machine, this is $(uname -m)"
    finish kernel
fi
if ! qemu-system-x86_64 -device help 2>/dev/null | grep -q '"usb-redir"'; then
    skip "no QEMU with the device usb-redir here (packages qemu-system-x86, qemu-system-common)"
    finish kernel
fi
for tool in busybox cpio depmod strip; do
    if [ ! -x "$(PATH=$PATH:/sbin command -v $tool)" ]; then
        skip "no $tool here to make the guest with"
        finish kernel
    fi
done

# ---- What is run: programs, inputs and the outputs that are right.
mkdir "$work/payload"
models="kws_int8 hello_world_int8 ad01_int8 str_ww_int8 resnet8_int8 vww_96_int8 person_detect_int8 mobilenet_v2_224_int8"
if [ -d "$shared/models" ]; then
    for m in $models; do
        holds "compile $m" "$SYSTOLE" compile "$shared/models/$m/model.tflite" -o "$work/payload/$m.systole"
        cp "$shared/models/$m/seed1/input0.bin" "$work/payload/$m.input0.bin"
        cp "$shared/models/$m/seed1/output0.bin" "$work/payload/$m.output0.bin"
    done
else
    # The CPU runtime is the judge where the conformance data are not.
    echo "no conformance data in $shared: the digits of the example instead"
    models=digits
    holds "compile digits" "$SYSTOLE" compile examples/digits/digits_int8.tflite -o "$work/payload/digits.systole"
    tail -c 64 examples/digits/pictures/3.pgm >"$work/payload/digits.input0.bin"
    holds "run digits on the CPU" "$SYSTOLE" run examples/digits/digits_int8.tflite --device cpu \
        --input "$work/payload/digits.input0.bin" --output-dir "$work/cpu"
    cp "$work/cpu/output0.bin" "$work/payload/digits.output0.bin"
fi
printf '%s\n' $models >"$work/payload/models"

# ---- The devices. A clean one, one with faults and one whose server is killed, each way.
echo "at 12 out unplug 400" >"$work/faults"
serve() { # NAME ARGUMENTS...
    local name=$1 tries=100
    shift
    "$SYSTOLE" serve "$@" >"$work/$name.out" 2>"$work/$name.err" &
    servers="$servers $!"
    until grep -q '^listening on ' "$work/$name.out"; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ] || ! kill -0 $! 2>"$work/none"; then
            cat "$work/$name.err"
            return 1
        fi
        sleep 0.05
    done
}
holds "serve usbredir" serve redir usbredir --socket "$work/redir"
holds "serve usbredir with faults" serve redir_faulty usbredir --socket "$work/redir_faulty" --faults "$work/faults"
holds "serve usbredir, to be killed" serve redir_victim usbredir --socket "$work/redir_victim"
redir_victim=${servers##* }
rtl_device=()
before=$servers
if serve redir_rtl usbredir --socket "$work/redir_rtl" --device rtl >"$work/held"; then
    pass
    rtl_device=(-chardev "socket,id=redir_rtl,path=$work/redir_rtl" -device usb-redir,chardev=redir_rtl,bus=bus.0,port=4)
else
    servers=$before
    if grep -q 'no Verilated model' "$work/held"; then
        skip "the RTL behind usbredir: $(cat "$work/held")"
    else
        fail "serve usbredir with the RTL: $(cat "$work/held")"
    fi
fi
holds "serve usbip" serve usbip usbip --listen 127.0.0.1:0
holds "serve usbip with faults" serve usbip_faulty usbip --listen 127.0.0.1:0 --faults "$work/faults"
holds "serve usbip, to be killed" serve usbip_victim usbip --listen 127.0.0.1:0
usbip_victim=${servers##* }
disown "$redir_victim" "$usbip_victim" # bash would tell of their end
port_of() { sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$work/$1.out"; }
cat >"$work/payload/settings" <<SETTINGS
usbip_port=$(port_of usbip)
usbip_faulty_port=$(port_of usbip_faulty)
usbip_victim_port=$(port_of usbip_victim)
bench=${BENCH:-}
rtl=${rtl_device:+yes}
devices=$((3 + ${#rtl_device[@]} / 4))
SETTINGS

# ---- The guest.
"$here/build_guest.sh" "$folder" "$SYSTOLE" "$FORWARDER" "$BENCH_USB" "$work/payload" 2>"$work/err"
status=$?
if [ "$status" -eq 77 ]; then
    skip "$(cat "$work/err")"
    finish kernel
fi
holds "the guest is made" test "$status" -eq 0
log=$folder/guest.log
start=$SECONDS
: >"$log"
kill_victim() { # NAME PROCESS: when the guest asks for it
    local until=$((SECONDS + limit))
    until grep -q "^KILL $1" "$log" || [ $SECONDS -ge $until ]; do sleep 0.1; done
    kill -9 "$2"
}
kill_victim redir_victim "$redir_victim" &
killers=$!
kill_victim usbip_victim "$usbip_victim" &
killers="$killers $!"
timeout --kill-after=5 "$limit" qemu-system-x86_64 -M q35 -accel tcg -cpu qemu64 -m 1024 -smp 1 -display none -nodefaults \
    -no-user-config -no-reboot -serial "file:$log" -kernel "$folder/kernel" -initrd "$folder/initramfs" \
    -append "console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check" \
    -device qemu-xhci,id=bus \
    -chardev "socket,id=redir,path=$work/redir" -device usb-redir,chardev=redir,bus=bus.0,port=1 \
    -chardev "socket,id=redir_faulty,path=$work/redir_faulty" -device usb-redir,chardev=redir_faulty,bus=bus.0,port=2 \
    -chardev "socket,id=redir_victim,path=$work/redir_victim" -device usb-redir,chardev=redir_victim,bus=bus.0,port=3 \
    "${rtl_device[@]}" -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= >"$work/out" 2>"$work/err" </dev/null
status=$?
tr -d '\r' <"$log" >"$work/log"
echo "the guest ran for $((SECONDS - start)) s; its log is $log"
holds "QEMU ends by the guest's power off" test "$status" -eq 0
holds "the guest came to its end" grep -qx 'END OF TESTS' "$work/log"
while read -r verdict text; do
    case $verdict in
    PASS) pass ;;
    FAIL) fail "$text" ;;
    MEASURED) echo "$text" ;;
    esac
done < <(grep -E '^(PASS|FAIL|MEASURED) ' "$work/log")
grep -A 5 '^FAIL ' "$work/log"
# What the kernel itself says about it.
enumerated() { [ "$(grep -c "^KERNEL .* $1: New USB device found, idVendor=1209, idProduct=$2" "$work/log")" -ge "$3" ]; }
for way in 2 4; do
    holds "the kernel enumerated the boot personality (bus $way)" enumerated "usb $way-1" 0001 1
    holds "the kernel enumerated the application (bus $way)" enumerated "usb $way-1" 0002 1
    holds "and both again after the replug (bus $way)" enumerated "usb $way-2" 0002 2
    holds "which it saw go (bus $way)" grep -q "^KERNEL .* usb $way-2: USB disconnect" "$work/log"
done
for name in redir_faulty usbip_faulty; do
    holds "the fault struck ($name)" grep -q 'systole: fault: unplug' "$work/$name.err"
done
kill $killers 2>"$work/none"
for s in $servers; do
    [ "$s" != "$redir_victim" ] && [ "$s" != "$usbip_victim" ] || continue
    kill "$s"
    holds "a server ends in peace" wait "$s"
done
servers=
finish kernel
