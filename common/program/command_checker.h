// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Whether one command by itself is what the hardware accepts.
#ifndef SYSTOLE_COMMAND_CHECKER_H
#define SYSTOLE_COMMAND_CHECKER_H

#include <stdbool.h>
#include <stddef.h>

#include "systole_spec.h"

// Opcode and unit, every field's bounds by the generated tables, zeros behind the last field, and what binds fields to
// one another and to the target. False: `text` says which field and why. Windows and tokens are the program's.
bool systole_command_check(const struct systole_target *target, const struct systole_command *command, char *text,
                           size_t size);

// A field's value, sign-extended.
int64_t systole_field_value(const struct systole_command *command, const struct systole_field *field);

#endif
