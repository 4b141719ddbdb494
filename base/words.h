/* SPDX-License-Identifier: Apache-2.0 */
/* Words that somebody mistyped. */
#ifndef MP_BASE_WORDS_H
#define MP_BASE_WORDS_H

#include <stddef.h>

/* The one of `count` words that takes the fewest edits (a character inserted, removed or replaced; case is
 * ignored) to become `word`, the first of several; NULL where each takes more than `most`, or is nothing but
 * edits. Words of more than 31 characters are never near. */
const char *mp_nearest_word(const char *word, const char *const *words, size_t count, size_t most);

#endif
