#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Makes what the guest boots: Debian's kernel, as the package linux-image-amd64 names it, and an initramfs with the
# command, its libraries, the kernel's modules and the folder PAYLOAD. Packages are downloaded once and only unpacked.
# usage: build_guest.sh FOLDER SYSTOLE FORWARDER BENCH PAYLOAD
# Leaves FOLDER/kernel and FOLDER/initramfs. Status 77: Debian's packages cannot be had here; stderr says why.
set -eu
folder=$1 systole=$2 forwarder=$3 bench=$4 payload=$5
here=$(cd "$(dirname "$0")" && pwd)
modules="xhci_pci virtio_pci virtio_net vhci_hcd"

cannot() {
    echo "$*" >&2
    exit 77
}
find_package() { find "$folder" -maxdepth 1 -name "$1_*.deb" | sort | tail -n 1; }

# ---- Packages.
mkdir -p "$folder"
kernel_package() {
    apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1
}
package=$(kernel_package)
if [ -z "$package" ] && [ "$(id -u)" = 0 ]; then # a machine whose lists are empty
    apt-get -qq update >&2 || true
    package=$(kernel_package)
fi
[ -n "$package" ] || cannot "no package linux-image-amd64 is known to apt-get; try apt-get update"
for p in "$package" usbip; do
    if [ -z "$(find_package "$p")" ]; then
        (cd "$folder" && apt-get -q download "$p" >download.log 2>&1) ||
            cannot "the package $p cannot be downloaded: $(tail -n 1 "$folder/download.log")"
    fi
done
if [ "$(cat "$folder/unpacked" 2>/dev/null)" != "$package" ]; then
    rm -rf "$folder/packages" "$folder/kernel" "$folder/unpacked"
    mkdir -p "$folder/packages"
    dpkg-deb -x "$(find_package usbip)" "$folder/packages"
    dpkg-deb --fsys-tarfile "$(find_package "$package")" | tar -x -C "$folder/packages"
    [ -d "$folder/packages/lib/modules" ] || ln -s usr/lib "$folder/packages/lib"
    "$here/unpack_kernel.py" "$folder"/packages/boot/vmlinuz-* "$folder/kernel" ||
        cp "$folder"/packages/boot/vmlinuz-* "$folder/kernel"
    /sbin/depmod -b "$folder/packages" "${package#linux-image-}"
    echo "$package" >"$folder/unpacked"
fi

# ---- The initramfs.
tree=$folder/tree
rm -rf "$tree"
mkdir -p "$tree"/{bin,dev,proc,sys,run/udev,tmp,modules,usr/share/hwdata,usr/share/misc,var/run,outputs}
cp /bin/busybox "$tree/bin/busybox"
cp "$systole" "$folder/packages/usr/sbin/usbip" "$tree/bin/"
cp "$forwarder" "$tree/bin/uevent_forwarder"
cp "$bench" "$tree/bin/bench_usb"
touch "$tree/usr/share/hwdata/usb.ids" "$tree/usr/share/misc/usb.ids" # usbip wants one
for program in "$tree"/bin/{systole,usbip,uevent_forwarder,bench_usb}; do
    strip --strip-debug "$program"
    ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p'
done | sort -u | while read -r library; do
    mkdir -p "$tree$(dirname "$library")"
    cp -L "$library" "$tree$library"
done
# In the order in which they are loaded.
number=10
for module in $modules; do
    /sbin/modprobe -d "$folder/packages" -S "$(cat "$folder/unpacked" | sed 's/^linux-image-//')" --show-depends "$module" |
        sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
    name=$(basename "$file")
    case $name in
    *.xz) xz -dc "$file" >"$tree/modules/$number-${name%.xz}" ;;
    *.zst) zstd -qdc "$file" >"$tree/modules/$number-${name%.zst}" ;;
    *) cp "$file" "$tree/modules/$number-$name" ;;
    esac
    strip --strip-debug "$tree/modules/$number-${name%.[xz]*}"
    number=$((number + 1))
done
cp "$here/guest_init.sh" "$tree/init"
cp -r "$payload" "$tree/payload"
(cd "$tree" && find . | cpio -o -H newc --quiet) >"$folder/initramfs"
