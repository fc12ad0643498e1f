#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# make install: the examples build against what was installed with pkg-config alone and read digits, with the shared library,
# the static one, and from Python; nothing lies outside DESTDIR; uninstall leaves nothing; only public names are exported;
# every command has its man page and its completion.
. "$(dirname "$0")/cli_testing.sh"
build=$(dirname "$(dirname "$SYSTOLE")")
prefix=$work/usr
models=$(ls -d "$build"/rtl/systole16/systole_rtl.so 2>/dev/null)
unset MAKEFLAGS MAKELEVEL
make=(make -s "BUILD=$build" "RTL_INSTALLED=$models")

# Into a prefix of its own, to be used.
expect 0 "${make[@]}" install PREFIX="$prefix"
[ -e "$prefix/bin/systole" ] || finish cli/test_install
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
unset SYSTOLE_RTL_PATH
holds "pkg-config knows the version" test "$(pkg-config --modversion systole)" = "$("$prefix/bin/systole" --version | cut -d ' ' -f 2)"
cp examples/hello.c "$work/hello.c"
# shellcheck disable=SC2046
holds "hello.c builds" sh -c "cd '$work' && cc -std=c11 -Wall -Wextra -Wpedantic -Werror hello.c -o hello $(pkg-config --cflags --libs systole)"
holds "hello.c builds statically" sh -c "cd '$work' && cc hello.c -o hello_static $(pkg-config --cflags systole) \
    '$prefix/lib/libsystole.a' $(sed -n 's/^Libs.private: //p' "$prefix/lib/pkgconfig/systole.pc") $(pkg-config --libs libusb-1.0 jansson)"
holds "the headers are C++, too" sh -c "echo '#include <systole/systole.h>
int main() { return systole_version() == nullptr; }' | c++ -x c++ -Wall -Wextra -Werror - -o '$work/hello_cc' $(pkg-config --cflags --libs systole)"
model=examples/digits/digits_int8.tflite
says() { # DIGIT COMMAND...
    local digit=$1
    shift
    expect 0 "$@" && holds "$*: a $digit" grep -q ": a $digit, in" "$work/out"
}
export LD_LIBRARY_PATH=$prefix/lib
for digit in 2 7; do
    for device in cpu model ${models:+rtl}; do
        says $digit "$work/hello" "$model" "examples/digits/pictures/$digit.pgm" "$device"
    done
    says $digit "$work/hello_static" "$model" "examples/digits/pictures/$digit.pgm" model
    says $digit examples/hello.py "$model" "examples/digits/pictures/$digit.pgm"
done
holds "hello.py says what is wrong" sh -c "! examples/hello.py '$model' examples/digits/pictures/1.pgm gpu 2>'$work/told' && grep -q 'unknown device' '$work/told'"
for hello in "$work/hello" examples/hello.py; do
    holds "$hello refuses another model" sh -c "! '$hello' examples/digits/digits_float.tflite examples/digits/pictures/1.pgm cpu 2>'$work/told' && grep -q 'another input or output (MODEL)' '$work/told'"
done
expect 0 "$SYSTOLE" compile "$model" -o "$work/small.systole"
says 4 "$work/hello" "$work/small.systole" examples/digits/pictures/4.pgm model
expect 0 "$SYSTOLE" compile "$model" --target systole32 -o "$work/large.systole"
holds "a program for another target is refused" sh -c "'$work/hello' '$work/large.systole' examples/digits/pictures/4.pgm 2>'$work/told'; test \$? -eq 3 && grep -q 'device mismatch' '$work/told'"
[ -n "$models" ] && expect 0 "$prefix/bin/systole" run "$model" --device rtl
if "$SYSTOLE" serve fuse -- true >/dev/null 2>&1; then
    says 5 "$SYSTOLE" serve fuse -- "$work/hello" "$model" examples/digits/pictures/5.pgm usb
else
    skip "hello on a USB bus: no FUSE here"
fi
unset LD_LIBRARY_PATH

# What was installed.
nm -D --defined-only "$prefix/lib/libsystole.so" | awk '$2 == "T" { sub("@.*", "", $3); print $3 }' | LC_ALL=C sort >"$work/exported"
grep -oh 'systole_[a-z0-9_]*(' "$prefix"/include/systole/*.h | tr -d '(' | LC_ALL=C sort -u >"$work/declared"
holds "what is declared is exported, and nothing else" diff "$work/declared" "$work/exported"
nm -g --defined-only "$prefix/lib/libsystole.a" 2>/dev/null | awk '$2 == "T" { print $3 }' | LC_ALL=C sort >"$work/exported"
holds "by the static library, too" diff "$work/declared" "$work/exported"
holds "no other data or code" sh -c "! nm -g --defined-only '$prefix/lib/libsystole.a' 2>/dev/null | grep -q ' [BDRW] '"
soname=$(objdump -p "$prefix/lib/libsystole.so" | sed -n 's/ *SONAME *//p')
holds "soname $soname leads to the library" test "$(readlink "$prefix/lib/$soname")" = "libsystole.so.$(pkg-config --modversion systole)"
holds "the udev rule names both personalities" grep -q '"1209".*"0001|0002".*uaccess' "$prefix/lib/udev/rules.d/60-systole.rules"
"$SYSTOLE" --help | sed -n 's/^  \([a-z]*\) .*/\1/p' >"$work/commands"
holds "there are commands" grep -qx run "$work/commands"
while read -r command; do
    page=$prefix/share/man/man1/systole-$command.1
    holds "$command has a page" grep -q "^.SH NAME" "$page"
    for option in $("$SYSTOLE" "$command" --help | sed -n 's/^  \(-., \)\{0,1\}--\([a-z-]*\).*/\2/p'); do
        holds "$page tells of --$option" grep -qF -e "$(sed 's/-/\\-/g' <<<"--$option")" "$page"
    done
done <"$work/commands"
if command -v man >/dev/null && command -v groff >/dev/null; then
    holds "man reads them without a warning" sh -c "test -z \"\$(LC_ALL=C.UTF-8 MANROFFSEQ= man --warnings -l '$prefix'/share/man/man1/*.1 2>&1 >/dev/null)\""
fi
complete_line() { # WORDS...: what bash would offer for the last one
    bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _systole; printf "%s\n" "${COMPREPLY[@]}"' - \
        "$prefix/share/bash-completion/completions/systole" "$@"
}
holds "completion of commands" test "$(complete_line systole ver)" = verify
holds "completion of options" test "$(complete_line systole run --all)" = --all-tensors
holds "completion of devices" test "$(complete_line systole run --device rt)" = rtl
holds "completion of devices that a command takes" test "$(complete_line systole serve --device '' | tr '\n' ' ')" = "model rtl "
holds "completion of targets" test "$(complete_line systole run --target systole3)" = systole32
holds "completion of files" test "$(complete_line systole run LICEN)" = LICENSE

expect 0 "${make[@]}" uninstall PREFIX="$prefix"
holds "uninstall leaves no file" test -z "$(find "$prefix" ! -type d)"

# Below DESTDIR and nowhere else: not even the system's folders are touched.
mkdir "$work/system"
find /usr/local ! -type d 2>/dev/null | LC_ALL=C sort >"$work/before_local"
touch "$work/stamp"
expect 0 "${make[@]}" install DESTDIR="$work/system"
find /usr /etc /lib /var /opt -xdev -newer "$work/stamp" -path '*systole*' 2>/dev/null >"$work/after"
holds "nothing of ours in the system's folders" test ! -s "$work/after"
holds "nothing in /usr/local" sh -c "find /usr/local ! -type d 2>/dev/null | LC_ALL=C sort | diff '$work/before_local' -"
holds "all below DESTDIR/usr/local" sh -c "test -z \"\$(find '$work/system' ! -type d ! -path '$work/system/usr/local/*')\" && test -x '$work/system/usr/local/bin/systole'"
holds "no file names DESTDIR" sh -c "! grep -rIl '$work' '$work/system'"
expect 0 "${make[@]}" uninstall DESTDIR="$work/system"
holds "uninstall leaves no file below DESTDIR" test -z "$(find "$work/system" ! -type d)"
finish cli/test_install
