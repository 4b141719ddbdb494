/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of any length, which grow piece by piece. No text is cut without saying so. Where memory runs out a
 * text reads MP_TEXT_LOST, and says so instead of half of something. */
#ifndef MP_BASE_TEXT_H
#define MP_BASE_TEXT_H

#include "moeparity/texts.h"

#include <stdbool.h>

/* Starts zeroed: the empty text. */
typedef struct mp_text {
    char *data; /* NULL: empty */
    size_t length, capacity;
    bool lost; /* a piece found no memory */
} mp_text;

/* Appends; arguments may point into the text itself. */
void mp_text_add(mp_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mp_text_vadd(mp_text *text, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
/* Appends one word of a POSIX shell, quoted where it has to be: what the shell makes of it is `word`. Control
 * characters and what is not UTF-8 become $'\ooo' (POSIX 2024; bash, zsh), so that the text stays one line of
 * UTF-8. */
void mp_text_add_word(mp_text *text, const char *word);
/* The text, never NULL; valid until the next change. */
const char *mp_text_get(const mp_text *text);
/* The text as a string that the caller frees, NULL where memory ran out; *text is empty again. */
char *mp_text_steal(mp_text *text);
void mp_text_free(mp_text *text); /* empty again */

/* Writes a text into `size` bytes, 4 or more. One that is longer is cut behind a whole character, and ends
 * with "...". Arguments may point into `to`. */
void mp_text_fit(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Length of the valid UTF-8 character at `text` (RFC 3629: no overlong forms, no surrogates), 0 where there
 * is none; *code, which may be NULL, becomes the character. */
size_t mp_utf8_character(const char *text, unsigned *code);

#endif
