#include "base/printable.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 character at s, and its code point; 0 when there is none: RFC 3629, so without overlong
 * forms, surrogates and what is above U+10FFFF. The NUL at the end of a text continues no character. */
static size_t character_length(const unsigned char *s, uint32_t *code) {
    static const struct {
        unsigned char mask, lead; /* of the first byte */
        uint32_t least;           /* a smaller code point has a shorter form */
    } forms[] = {{0x80, 0x00, 0}, {0xE0, 0xC0, 0x80}, {0xF0, 0xE0, 0x800}, {0xF8, 0xF0, 0x10000}};
    for (size_t tail = 0; tail < sizeof forms / sizeof *forms; tail++) {
        if ((s[0] & forms[tail].mask) != forms[tail].lead) continue;
        *code = s[0] & (uint32_t)(unsigned char)~forms[tail].mask;
        for (size_t i = 1; i <= tail; i++) {
            if ((s[i] & 0xC0) != 0x80) return 0;
            *code = *code << 6 | (s[i] & 0x3F);
        }
        const bool surrogate = *code >= 0xD800 && *code <= 0xDFFF;
        return *code >= forms[tail].least && *code <= 0x10FFFF && !surrogate ? tail + 1 : 0;
    }
    return 0;
}

/* C0, DEL and C1; line and paragraph separators; marks that turn the direction of what follows. */
static bool is_control(uint32_t code) {
    return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x061C || code == 0x200E ||
           code == 0x200F || (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

size_t mp_text_printable(const char *text, char *out, size_t size) {
    size_t used = 0, last = 0; /* last: where "..." still fits */
    if (size == 0) return 0;
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        uint32_t code = 0;
        char piece[8];
        const size_t length = character_length(s, &code);
        if (length > 0 && !is_control(code))
            snprintf(piece, sizeof piece, "%.*s", (int)length, (const char *)s);
        else if (*s == '\n' || *s == '\r' || *s == '\t')
            snprintf(piece, sizeof piece, "\\%c", *s == '\n' ? 'n' : *s == '\r' ? 'r' : 't');
        else
            snprintf(piece, sizeof piece, "\\x%02x", *s);
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
