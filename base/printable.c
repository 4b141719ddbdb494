/* SPDX-License-Identifier: Apache-2.0 */
#include "base/printable.h"

#include "base/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* C0, DEL and C1; line and paragraph separators; marks that turn the direction of what follows. */
static bool is_control(unsigned code) {
    return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x061C || code == 0x200E ||
           code == 0x200F || (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

size_t mp_text_printable(const char *text, char *out, size_t size) {
    size_t used = 0, last = 0; /* last: where "..." still fits */
    if (size == 0) return 0;
    for (const char *s = text; *s;) {
        unsigned code = 0;
        char piece[8];
        const size_t length = mp_utf8_character(s, &code);
        if (length > 0 && !is_control(code))
            snprintf(piece, sizeof piece, "%.*s", (int)length, s);
        else if (*s == '\n' || *s == '\r' || *s == '\t')
            snprintf(piece, sizeof piece, "\\%c", *s == '\n' ? 'n' : *s == '\r' ? 'r' : 't');
        else
            snprintf(piece, sizeof piece, "\\x%02x", (unsigned char)*s);
        const size_t added = strlen(piece);
        if (used + added >= size) {
            used = last;
            while (used < last + 3 && used + 1 < size) out[used++] = '.';
            break;
        }
        memcpy(out + used, piece, added);
        used += added;
        if (used + 3 < size) last = used;
        s += length > 0 && !is_control(code) ? length : 1;
    }
    out[used] = '\0';
    return used;
}
