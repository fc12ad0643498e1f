// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// JSON files, and text from outside (names in models, paths) that need not be the UTF-8 that JSON is written in.
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

// Bytes of the UTF-8 character at `text`; 0: there is none. Jansson judges.
static size_t character_length(const char *text, size_t left) {
    for (size_t length = 1; length <= 4 && length <= left; length++) {
        json_t *character = json_stringn(text, length);
        if (character != NULL) {
            json_decref(character);
            return length;
        }
    }
    return 0;
}

json_t *cli_json_text(const char *text) {
    static const char replacement[] = "\xEF\xBF\xBD"; // U+FFFD
    json_t *value = json_string(text);
    if (value != NULL) {
        return value;
    }
    size_t left = strlen(text), written = 0;
    char *mended = malloc(left * (sizeof replacement - 1) + 1);
    if (mended == NULL) {
        return json_null();
    }
    while (left > 0) {
        size_t length = character_length(text, left);
        if (length != 0) {
            memcpy(mended + written, text, length);
            written += length;
        } else {
            memcpy(mended + written, replacement, sizeof replacement - 1);
            written += sizeof replacement - 1;
            length = 1;
        }
        text += length;
        left -= length;
    }
    value = json_stringn(mended, written);
    free(mended);
    return value;
}

enum systole_status cli_write_json(const char *path, const json_t *value, struct systole_diagnostic *diagnostic) {
    char *text = json_dumps(value, JSON_INDENT(1));
    if (text == NULL) {
        return systole_fail(diagnostic, SYSTOLE_OUT_OF_MEMORY, path, "", "no memory for the file");
    }
    size_t length = strlen(text);
    text[length] = '\n'; // in place of the terminator
    enum systole_status status = cli_write_file(path, text, length + 1, diagnostic);
    free(text);
    return status;
}
