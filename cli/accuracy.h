// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// `systole verify --labels`: how often a classifier is right over a data set, and how often two give the same answer.
#ifndef SYSTOLE_CLI_ACCURACY_H
#define SYSTOLE_CLI_ACCURACY_H

#include "cli.h"

// Runs the model of the arguments, and the one of `against` on the CPU, over all samples; prints a table and writes the
// report. SYSTOLE_MISMATCH: more than `within` points below the other's best class accuracy.
enum systole_status cli_verify_accuracy(const struct cli_arguments *arguments, struct systole_diagnostic *diagnostic);

#endif
