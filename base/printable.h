/* SPDX-License-Identifier: Apache-2.0 */
/* Text from strangers - files, names, devices - on its way to a terminal, a report or a message. */
#ifndef MP_BASE_PRINTABLE_H
#define MP_BASE_PRINTABLE_H

#include <stddef.h>

/* Copies `text` into out, which has `size` bytes, as something that is safe to print. Control characters
 * become \n, \r, \t or \xNN for each byte, and so do the characters of Unicode that break or turn lines
 * unseen; a byte that is not UTF-8 becomes \xNN. What does not fit ends in "...", never within a character or
 * an escape. Text without such characters stays as it is, a backslash too, so that doing it twice is doing it
 * once. Returns the length written, less than size (0 for size 0). `out` must not overlap `text`. */
size_t mp_text_printable(const char *text, char *out, size_t size);

#endif
