/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void append(mp_text *t, const char *piece, size_t length) {
    if (t->lost) return;
    if (t->capacity - t->length <= length) {
        const size_t capacity = 2 * t->capacity + length + 1;
        char *larger = realloc(t->data, capacity);
        if (!larger) {
            t->lost = true;
            return;
        }
        t->data = larger;
        t->capacity = capacity;
    }
    memcpy(t->data + t->length, piece, length);
    t->length += length;
    t->data[t->length] = '\0';
}

void mp_text_vadd(mp_text *t, const char *format, va_list args) {
    char *piece = NULL;
    const int length = vasprintf(&piece, format, args);
    if (length < 0)
        t->lost = true;
    else
        append(t, piece, (size_t)length);
    if (length >= 0) free(piece);
}

void mp_text_add(mp_text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    mp_text_vadd(t, format, args);
    va_end(args);
}

const char *mp_text_get(const mp_text *t) {
    return t->lost ? MP_TEXT_LOST : t->data ? t->data : "";
}

char *mp_text_steal(mp_text *t) {
    char *data = t->lost ? NULL : t->data ? t->data : strdup("");
    if (t->lost) free(t->data);
    *t = (mp_text){0};
    return data;
}

void mp_text_free(mp_text *t) {
    free(t->data);
    *t = (mp_text){0};
}

size_t mp_utf8_character(const char *text, unsigned *code) {
    static const unsigned smallest[] = {0, 0, 0x80, 0x800, 0x10000}; /* below, a shorter form exists */
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] == 0) return 0;
    const size_t length = p[0] < 0x80 ? 1 : p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC0 ? 2 : 0;
    if (length == 0 || p[0] >= 0xF8) return 0;
    unsigned c = length == 1 ? p[0] : p[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0; /* the final NUL stops here, too */
        c = c << 6 | (p[i] & 0x3Fu);
    }
    if (c < smallest[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
    if (code) *code = c;
    return length;
}

/* ---- words of a shell ---- */

/* Characters that mean nothing to any shell, wherever they stand in a word. */
static bool is_plain(const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
    return word[0] != '\0' && word[strspn(word, plain)] == '\0';
}

/* What single quotes can hold on one line of UTF-8. */
static bool is_printable(const char *word) {
    unsigned code;
    for (size_t n; *word; word += n)
        if ((n = mp_utf8_character(word, &code)) == 0 || code < 0x20 || (code >= 0x7F && code < 0xA0))
            return false;
    return true;
}

void mp_text_add_word(mp_text *t, const char *word) {
    if (is_plain(word)) {
        append(t, word, strlen(word));
    } else if (is_printable(word)) {
        append(t, "'", 1);
        for (const char *p = word; *p; p++) append(t, *p == '\'' ? "'\\''" : p, *p == '\'' ? 4 : 1);
        append(t, "'", 1);
    } else {
        append(t, "$'", 2);
        for (const char *p = word; *p; p++)
            if (*p == '\'' || *p == '\\' || (unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7F)
                mp_text_add(t, "\\%03o", (unsigned char)*p);
            else
                append(t, p, 1);
        append(t, "'", 1);
    }
}

void mp_text_fit(char *to, size_t size, const char *format, ...) {
    mp_text text = {0};
    va_list args;
    va_start(args, format);
    mp_text_vadd(&text, format, args);
    va_end(args);
    const char *from = mp_text_get(&text);
    size_t end = strlen(from);
    const bool fits = end < size;
    if (!fits) end = size - sizeof "...";
    while (!fits && end > 0 && ((unsigned char)from[end] & 0xC0) == 0x80) end--; /* within a character */
    memcpy(to, from, end);
    memcpy(to + end, fits ? "" : "...", fits ? 1 : sizeof "...");
    mp_text_free(&text);
}

/* ---- sets ---- */

const char *mp_texts_vadd(mp_texts *set, const char *format, va_list args) {
    if (set->count == set->capacity) {
        const size_t capacity = 2 * set->capacity + 8;
        char **larger = realloc(set->text, capacity * sizeof *larger);
        if (!larger) return MP_TEXT_LOST;
        set->text = larger;
        set->capacity = capacity;
    }
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0) return MP_TEXT_LOST;
    return set->text[set->count++] = text;
}

const char *mp_texts_add(mp_texts *set, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = mp_texts_vadd(set, format, args);
    va_end(args);
    return text;
}

void mp_texts_free(mp_texts *set) {
    for (size_t i = 0; i < set->count; i++) free(set->text[i]);
    free(set->text);
    *set = (mp_texts){0};
}
