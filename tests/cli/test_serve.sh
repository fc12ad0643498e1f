#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# `systole serve usbip` and `usbredir` on real sockets: what they listen to, who gets which device, how they end. What
# they say stands in hw_model/test_bus_servers, whole kernels behind them in `make test-kernel`.
. "$(dirname "$0")/cli_testing.sh"
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

# start ARGUMENTS...: its address is then in $address.
start() {
    local tries=100
    : >"$work/server.out" # nothing of the server before
    "$SYSTOLE" serve "$@" >"$work/server.out" 2>"$work/server.err" &
    server=$!
    until address=$(sed -n 's/^listening on //p' "$work/server.out") && [ -n "$address" ]; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ]; then
            cat "$work/server.err"
            return 1
        fi
        sleep 0.05
    done
}
stop() { # SIGNAL
    kill -"$1" "$server" && wait "$server"
    local status=$?
    server=
    return $status
}

cat >"$work/usbip.py" <<'EOF_PYTHON'
"""Lists, imports, reads the device descriptor of the second device, and asks for one that is taken."""
import socket
import struct
import sys

host, port = sys.argv[1].rsplit(":", 1)


def connect():
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.settimeout(10)
    return connection


def receive(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, "the server closed the connection"
        data += part
    return data


def ended(connection):
    return connection.recv(1) == b""


def import_device(name):
    connection = connect()
    connection.sendall(struct.pack(">HHI32s", 0x0111, 0x8003, 0, name))
    code, status = struct.unpack(">xxHI", receive(connection, 8))
    assert code == 3
    return connection, status


listing = connect()
listing.sendall(struct.pack(">HHI", 0x0111, 0x8005, 0))
assert struct.unpack(">HHII", receive(listing, 12)) == (0x0111, 5, 0, 2)
names = [receive(listing, 312 + 4)[256:260].rstrip(b"\0") for _ in range(2)]
assert names == [b"1-1", b"1-2"], names
assert ended(listing)

second, status = import_device(b"1-2")
assert status == 0
device = receive(second, 312)
assert struct.unpack_from(">IIIHH", device, 288) == (1, 3, 5, 0x1209, 1)
setup = struct.pack("<BBHHH", 0x80, 6, 0x0100, 0, 18)
second.sendall(struct.pack(">IIIIIIIIII", 1, 21, 1 << 16 | 3, 1, 0, 0, 18, 0, 0, 0) + setup)
reply = struct.unpack(">IIIIIiIIIIII", receive(second, 48))
assert reply[:2] == (3, 21) and reply[5:7] == (0, 18), reply
assert receive(second, 18)[8:12] == b"\x09\x12\x01\x00"

taken, status = import_device(b"1-2")
assert status == 2 and ended(taken)
nonsense = connect()
nonsense.sendall(b"GET / HTTP/1.1\r\n\r\n")
try:
    assert ended(nonsense)
except ConnectionResetError:
    pass
first, status = import_device(b"1-1")
assert status == 0
EOF_PYTHON
holds "serve usbip" start usbip --listen 127.0.0.1:0 --devices 2
holds "two devices over USB/IP" timeout 20 python3 "$work/usbip.py" "$address"
expect 2 "$SYSTOLE" serve usbip --listen "$address"
holds "SIGTERM ends it well" stop TERM

cat >"$work/usbredir.py" <<'EOF_PYTHON'
"""Says hello and is told of the device; a second peer is sent away while there is one device."""
import socket
import struct
import sys


def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(sys.argv[1])
    return connection


def packet(connection):
    header = b""
    while len(header) < 12:
        header += connection.recv(12 - len(header))
    kind, length, _ = struct.unpack("<III", header)
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return kind, body


first = connect()
assert packet(first)[0] == 0
first.sendall(struct.pack("<III64sI", 0, 68, 0, b"test", 1 << 1 | 1 << 4))
kinds = [packet(first) for _ in range(3)]
assert [kind for kind, _ in kinds] == [4, 5, 1], kinds
assert struct.unpack_from("<BBBBHH", kinds[2][1]) == (3, 0, 0, 0, 0x1209, 1)
assert connect().recv(1) == b""
EOF_PYTHON
holds "serve usbredir" start usbredir --socket "$work/socket"
holds "a device over usbredir" timeout 20 python3 "$work/usbredir.py" "$work/socket"
expect 2 timeout 20 "$SYSTOLE" serve usbredir --socket "$work/socket" # somebody listens there
holds "SIGTERM ends that one well, too" stop TERM
holds "its socket is gone" test ! -e "$work/socket"

holds "serve usbredir, to be killed" start usbredir --socket "$work/socket"
kill -9 "$server" && wait "$server" 2>"$work/none"
holds "the socket of a killed server is left" test -S "$work/socket"
holds "serve usbredir in its place" start usbredir --socket "$work/socket"
holds "SIGTERM ends it" stop TERM

expect 2 "$SYSTOLE" serve usbip --listen nowhere
expect 2 "$SYSTOLE" serve usbip --listen 127.0.0.1:99999
expect 2 "$SYSTOLE" serve usbredir --socket "$work/no/such/folder"
expect 2 "$SYSTOLE" serve usbredir --socket "$work/socket" --listen 127.0.0.1:0
expect 2 "$SYSTOLE" serve usbredir --devices 0
expect 2 "$SYSTOLE" serve usbip -- true
expect 2 "$SYSTOLE" serve fuse --listen 127.0.0.1:0 -- true
expect 2 "$SYSTOLE" serve somehow
finish cli/test_serve
