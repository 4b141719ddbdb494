/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of any length that live and die together. No text is ever cut. Where memory runs out a text reads
 * MP_TEXT_LOST, and says so instead of half of something. */
#ifndef MOEPARITY_TEXTS_H
#define MOEPARITY_TEXTS_H

#include <stdarg.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MP_TEXT_LOST "(no memory for this text)"

/* Starts zeroed. */
typedef struct mp_texts {
    char **text;
    size_t count, capacity;
} mp_texts;

/* A new text of the set, never NULL; valid until the set is freed. */
const char *mp_texts_add(mp_texts *set, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *mp_texts_vadd(mp_texts *set, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
void mp_texts_free(mp_texts *set); /* empty again */

#ifdef __cplusplus
}
#endif

#endif
