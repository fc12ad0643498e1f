#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# The guest's first and only process. The device is driven through the kernel's xHCI (what QEMU's usb-redir brings) and
# through its USB/IP; each line that begins with PASS, FAIL or MEASURED is for test_kernel.sh. What it needs to know
# (ports of the servers on the host, 10.0.2.2) stands in payload/settings.
export PATH=/bin LD_LIBRARY_PATH=/lib
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
. /payload/settings
say() {
    read -r up rest </proc/uptime
    echo "[$up s] $*"
}
check() { # TEXT COMMAND...
    local text=$1
    shift
    if "$@" >/tmp/log 2>&1; then
        echo "PASS $text"
    else
        echo "FAIL $text"
        tail -n 5 /tmp/log | sed 's/^/    /'
    fi
}
# wait_for COMMAND...: at most ten seconds, without a process for each look where COMMAND is the shell's.
wait_for() {
    local tries=200
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        usleep 50000
    done
}
has_product() { # PLACE PRODUCT
    local product=
    read -r product 2>/dev/null <"/sys/bus/usb/devices/$1/idProduct"
    [ "$product" = "$2" ]
}
is_gone() { ! [ -e "/sys/bus/usb/devices/$1" ]; }

run_models() { # WAY PLACE
    for model in $(cat /payload/models); do
        check "$1: outputs of $model equal the golden" run_model "$model" "$2"
    done
}
run_model() {
    rm -rf /outputs/*
    timeout 60 systole run "/payload/$1.systole" --device "usb:$2" --input "/payload/$1.input0.bin" --output-dir /outputs &&
        cmp /outputs/output0.bin "/payload/$1.output0.bin"
}
run_first() { # PLACE
    local model
    read -r model </payload/models
    run_model "$model" "$1"
}
# The device is pulled out in the midst of a transfer and plugged in again, by its fault script; the driver goes on. The
# repetitions end the run long after that.
run_unplugged() { # PLACE
    local model
    read -r model </payload/models
    run_model "$model" "$1" &&
        timeout 60 systole run "/payload/$model.systole" --device "usb:$1" --input "/payload/$model.input0.bin" --output-dir /outputs \
            --repeat 20 && cmp /outputs/output0.bin "/payload/$model.output0.bin"
}
# A client that goes on until its device fails: the server is killed, which test_kernel.sh does when it reads so.
start_victim() { # NAME PLACE
    local model
    read -r model </payload/models
    timeout 60 systole run "/payload/$model.systole" --device "usb:$2" --input "/payload/$model.input0.bin" \
        --repeat 1000000 >/tmp/victim 2>&1 &
    victim=$!
    sleep 2
    echo "KILL $1"
}
ends_with_3() {
    local status
    wait "$victim"
    status=$?
    echo "status $status"
    cat /tmp/victim
    [ "$status" = 3 ] && grep -q '^systole: error: ' /tmp/victim
}
measure() { # WAY PLACE
    timeout 60 bench_usb client "$2" 3 >/tmp/log 2>&1 && sed "s/^/MEASURED $1: /" /tmp/log || echo "FAIL $1: measured"
}
both_at_once() { # PLACE PLACE
    local model first second
    read -r model </payload/models
    timeout 60 systole run "/payload/$model.systole" --device "usb:$1" --input "/payload/$model.input0.bin" --output-dir /tmp/a \
        --repeat 5 &
    first=$!
    timeout 60 systole run "/payload/$model.systole" --device "usb:$2" --input "/payload/$model.input0.bin" --output-dir /tmp/b \
        --repeat 5 &
    second=$!
    wait $first && wait $second && cmp /tmp/a/output0.bin "/payload/$model.output0.bin" &&
        cmp /tmp/b/output0.bin "/payload/$model.output0.bin"
}

uevent_forwarder
mkdir -p /run/udev
touch /run/udev/control
for module in /modules/*; do
    insmod "$module" || echo "FAIL insmod $module"
done
say "modules loaded"

# ---- usbredir: QEMU's xHCI. The second device has a fault script.
check "usbredir: the kernel finds the boot personality" wait_for has_product 2-1 0001
check "usbredir: and the second device" wait_for has_product 2-2 0001
lists_all() {
    systole devices >/tmp/devices
    cat /tmp/devices
    [ "$(grep -c '1209:0001.*serial' /tmp/devices)" = "$devices" ]
}
check "usbredir: systole devices lists them" lists_all
start_victim redir_victim 2-3
run_models usbredir 2-1
check "usbredir: the server killed in mid-transfer is status 3 to the client" ends_with_3
check "usbredir: after its firmware the device is the application" has_product 2-1 0002
check "usbredir: unplugged in mid-transfer and replugged" run_unplugged 2-2
[ -z "$rtl" ] || check "usbredir: the RTL" run_first 2-4
check "usbredir: two devices at the same time" both_at_once 2-1 2-2
[ -z "$bench" ] || measure usbredir 2-1
say "usbredir done"

# ---- USB/IP: nothing plugs a device in again by itself, so a loop attaches whatever is not.
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
attached() { # PORT: its state in the kernel's table is 6, in use
    local hub port state rest
    while read -r hub port state rest; do
        [ "$port" = "$1" ] && [ "$state" = 006 ] && return 0
    done </sys/devices/platform/vhci_hcd.0/status
    return 1
}
keep_attached() { # PORT SERVER_PORT
    while :; do
        attached "$1" || usbip --tcp-port "$2" attach -r 10.0.2.2 -b 1-1 >/dev/null 2>&1
        usleep 50000
    done
}
check "usbip: the server lists the device" sh -c "usbip --tcp-port $usbip_port list -r 10.0.2.2 | tee /tmp/list; grep -q '1-1' /tmp/list"
first=$(awk '$1 == "ss" {print $2; exit}' /sys/devices/platform/vhci_hcd.0/status)
second=$((first + 1)) third=$((first + 2))
keep_attached "$first" "$usbip_port" &
check "usbip: the kernel finds the boot personality" wait_for has_product 4-1 0001
keep_attached "$second" "$usbip_faulty_port" &
check "usbip: and the second device" wait_for has_product 4-2 0001
keep_attached "$third" "$usbip_victim_port" &
attacher=$!
check "usbip: and the third" wait_for has_product 4-3 0001
start_victim usbip_victim 4-3
run_models usbip 4-1
check "usbip: the server killed in mid-transfer is status 3 to the client" ends_with_3
kill "$attacher"
check "usbip: after its firmware the device is the application" has_product 4-1 0002
check "usbip: unplugged in mid-transfer and attached again" run_unplugged 4-2
[ -z "$bench" ] || measure usbip 4-1
say "usbip done"

dmesg | grep -E 'usb|vhci|xhci' | sed 's/^/KERNEL /'
echo "END OF TESTS"
poweroff -f
