/* SPDX-License-Identifier: Apache-2.0 */
/* Words: of a list that somebody wrote, and those that somebody mistyped. */
#ifndef MP_BASE_WORDS_H
#define MP_BASE_WORDS_H

#include "moeparity/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Calls take for each word of `words`, which blanks separate; it may change the word. An error ends it. */
mp_status mp_each_word(const char *words, void *ctx, mp_status (*take)(void *ctx, char *word, mp_error *err),
                       mp_error *err);

/* Whether `word` is one of the blank-separated words of `list`. */
bool mp_word_listed(const char *list, const char *word);

/* The one of `count` words that takes the fewest edits (a character inserted, removed or replaced; case is
 * ignored) to become `word`, the first of several; NULL where each takes more than `most`, or is nothing but
 * edits. Words of more than 31 characters are never near. */
const char *mp_nearest_word(const char *word, const char *const *words, size_t count, size_t most);

#endif
