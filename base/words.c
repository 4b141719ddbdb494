/* SPDX-License-Identifier: Apache-2.0 */
#include "base/words.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LONGEST = 31 };

mp_status mp_each_word(const char *words, void *ctx, mp_status (*take)(void *ctx, char *word, mp_error *err),
                       mp_error *err) {
    char *copy = strdup(words), *rest = copy;
    mp_status status = copy ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for '%.40s'", words);
    for (char *word; status == MP_OK && (word = strtok_r(rest, " \t\n", &rest));)
        status = take(ctx, word, err);
    free(copy);
    return status;
}

bool mp_word_listed(const char *list, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == 0)) return true;
    return false;
}

/* Levenshtein's distance, one row of the table at a time. */
static size_t edit_distance(const char *a, const char *b) {
    const size_t n = strlen(a), m = strlen(b);
    size_t row[LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return SIZE_MAX;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t above = row[j];
            size_t best = diagonal + (strncasecmp(a + i - 1, b + j - 1, 1) != 0);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[m];
}

const char *mp_nearest_word(const char *word, const char *const *words, size_t count, size_t most) {
    const char *nearest = NULL;
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        const size_t edits = edit_distance(word, words[i]);
        if (edits > most || edits >= fewest || edits >= strlen(word)) continue;
        nearest = words[i];
        fewest = edits;
    }
    return nearest;
}
