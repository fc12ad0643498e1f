#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# run --record and replay: the same conversation again gives the same bytes, in process, over USB and after faults; a changed byte is
# named; tshark reads the file.
. "$(dirname "$0")/cli_testing.sh"
model=examples/digits/digits_int8.tflite

expect 0 "$SYSTOLE" run "$model" --repeat 3 --output-dir "$work/plain"
expect 0 "$SYSTOLE" run "$model" --repeat 3 --record "$work/model.pcap" --output-dir "$work/recorded"
holds "recording changes no result" cmp "$work/plain/output0.bin" "$work/recorded/output0.bin"
for i in 1 2 3; do
    expect 0 "$SYSTOLE" replay "$work/model.pcap"
done
holds "it says what was compared" grep -qE '^model: .*: [0-9]+ control requests and [0-9]+ transfers, [0-9]+ bytes out and [0-9]+ in are as recorded' "$work/out"
expect 1 "$SYSTOLE" replay "$work/model.pcap" --target systole32
holds "the difference is named" grep -qE '^systole: error: request .*: byte [0-9]+ of [0-9]+ is 0x[0-9a-f]{2}, recorded was 0x[0-9a-f]{2} \(.*, record [0-9]+\)' "$work/err"

# A byte of a result: the last data that came on bulk IN.
python3 - "$work/model.pcap" "$work/changed.pcap" <<'PYTHON'
import struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
at, last = 24, None
while at < len(data):
    size = struct.unpack_from("<I", data, at + 8)[0]
    kind, endpoint, captured = data[at + 24], data[at + 26], struct.unpack_from("<I", data, at + 52)[0]
    if kind == ord("C") and endpoint == 0x81 and captured > 20:
        last = at + 16 + 64 + 20
    at += 16 + size
data[last] ^= 1
open(sys.argv[2], "wb").write(data)
PYTHON
expect 1 "$SYSTOLE" replay "$work/changed.pcap"
holds "a changed result is named" grep -qE '^systole: error: endpoint 0x81: byte 20 of [0-9]+ is ' "$work/err"

# With faults, and the recoveries from them.
printf 'at 2 event corrupt\nat 3 in wrong_tag\nat 9 data unplug 10\nat 12 in stall\n' >"$work/script"
"$SYSTOLE" run "$model" --repeat 5 --faults "$work/script" --record "$work/faults.pcap" >"$work/out" 2>"$work/err"
holds "faults happened" grep -q 'fault: unplug' "$work/err"
holds "they happen again" sh -c "'$SYSTOLE' replay '$work/faults.pcap' --faults '$work/script' 2>/dev/null"
expect 1 "$SYSTOLE" replay "$work/faults.pcap"

if "$SYSTOLE" serve fuse -- true >"$work/out" 2>"$work/err"; then
    expect 0 "$SYSTOLE" serve fuse -- "$SYSTOLE" run "$model" --device usb --repeat 2 --record "$work/usb.pcap"
    expect 0 "$SYSTOLE" replay "$work/usb.pcap"
    expect 0 "$SYSTOLE" serve fuse -- "$SYSTOLE" replay "$work/usb.pcap" --device usb
    expect 0 "$SYSTOLE" serve fuse -- "$SYSTOLE" replay "$work/model.pcap" --device usb
else
    skip "a device on a FUSE bus: $(cat "$work/err")"
fi

expect 2 "$SYSTOLE" run "$model" --record "$work/no/such/folder"
expect 2 "$SYSTOLE" run "$model" --device cpu --record "$work/cpu.pcap"
[ -e /dev/full ] && expect 2 "$SYSTOLE" run "$model" --record /dev/full
expect 2 "$SYSTOLE" replay "$work/no-such-file"
expect 2 "$SYSTOLE" replay "$model"
expect 3 "$SYSTOLE" replay "$work/model.pcap" --device usb:999
head -c 5000 "$work/model.pcap" >"$work/cut.pcap"
expect 2 "$SYSTOLE" replay "$work/cut.pcap"

if command -v tshark >/dev/null; then
    records() { tshark -r "$work/model.pcap" -Y "$1" -T fields -e "${2:-frame.number}" 2>"$work/tshark"; }
    holds "tshark reads every record" test "$(records frame | wc -l)" -gt 50
    holds "and finds none malformed" test "$(records _ws.malformed | wc -l)" -eq 0
    holds "both personalities" test "$(records usb.idProduct usb.idProduct | sort -u | tr '\n' ' ')" = "0x0001 0x0002 "
    holds "every endpoint" test "$(records usb usb.endpoint_address | sort -u | tr '\n' ' ')" = "0x00 0x01 0x80 0x81 0x82 0x83 "
    holds "the results" test "$(records "usb.endpoint_address == 0x81 && usb.urb_type == 'C' && usb.data_len > 0" | wc -l)" -eq 3
else
    skip "tshark is not installed"
fi
finish cli/test_record
