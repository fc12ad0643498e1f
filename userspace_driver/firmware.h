// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The boot personality's side of the life cycle: sending a firmware image by DFU 1.1, and going back for another.
#ifndef SYSTOLE_FIRMWARE_H
#define SYSTOLE_FIRMWARE_H

#include "transport.h"

// The device must be in its boot personality; it leaves the bus when this succeeds. DEVICE_MISMATCH: it refuses the
// image's content; other failures are of the conversation, and the same image may be sent again.
enum systole_status systole_firmware_download(struct systole_transport *transport, const uint8_t *image, size_t size,
                                              uint32_t timeout_ms, struct systole_diagnostic *diagnostic);
// Application personality: asks the device to come back as boot.
enum systole_status systole_firmware_detach(struct systole_transport *transport, uint32_t timeout_ms);

#endif
