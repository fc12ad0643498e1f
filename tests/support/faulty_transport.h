// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// A transport around another that does what buses do to drivers: at the n-th transfer on an endpoint something goes
// wrong. It also notes the headers of all frames that went out.
#ifndef SYSTOLE_FAULTY_TRANSPORT_H
#define SYSTOLE_FAULTY_TRANSPORT_H

#include "systole_spec.h"
#include "transport.h"

enum faulty_kind {
    FAULTY_NONE,
    FAULTY_STALL,        // the transfer ends with a stall
    FAULTY_BABBLE,       // ... with a babble
    FAULTY_SHORT,        // its last 8 bytes are missing
    FAULTY_LOST,         // IN: what came is thrown away, the transfer stays
    FAULTY_BYTE,         // byte `position` is inverted (OUT: before the device sees it)
    FAULTY_SILENT,       // from now on nothing moves until the device is reset
    FAULTY_UNPLUG,       // the device leaves the bus and comes back in boot
    FAULTY_GONE_FOREVER, // it does not come back
};

struct faulty_fault {
    enum faulty_kind kind;
    uint8_t endpoint;
    uint32_t skip;     // transfers before it
    uint32_t times;    // that it happens
    uint32_t position; // FAULTY_BYTE
};

struct faulty_proxy;
struct faulty_transport {
    struct systole_transport transport; // first
    struct systole_transport *inner;
    struct faulty_fault fault;
    uint32_t happened;
    bool silent, gone;
    struct faulty_proxy *proxies;
    uint32_t outstanding;
    uint32_t detaches, resets;
    struct systole_frame_header frames[256]; // that went out, in order
    uint32_t frame_count;
    uint8_t header[16];
    size_t header_size;
    uint64_t payload_left;
};

struct faulty_transport *faulty_transport_create(struct systole_transport *inner);

#endif
