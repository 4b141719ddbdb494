/* SPDX-License-Identifier: Apache-2.0 */
#include "golden/tree.h"

#include <stdlib.h>
#include <string.h>

#define P MP_TREE_P

/* x mod p of any x: 2^61 is 1. */
static uint64_t reduced(uint64_t x) {
    x = (x & P) + (x >> 61);
    return x >= P ? x - P : x;
}

static uint64_t product(uint64_t a, uint64_t b) {
    const unsigned __int128 x = (unsigned __int128)a * b;
    return reduced((uint64_t)(x & P) + (uint64_t)(x >> 61));
}

static uint64_t sum(uint64_t a, uint64_t b) {
    return reduced(a + b);
}

static uint64_t minus(uint64_t a, uint64_t b) {
    return a >= b ? a - b : a + P - b;
}

/* a^(p-2): Fermat. */
static uint64_t inverse(uint64_t a) {
    uint64_t result = 1;
    for (uint64_t exponent = P - 2; exponent > 0; exponent >>= 1) {
        if (exponent & 1) result = product(result, a);
        a = product(a, a);
    }
    return result;
}

mp_tree mp_tree_shape(int64_t rows) {
    mp_tree tree = {.rows = rows,
                    .group_rows = MP_TREE_GROUP,
                    .groups = (rows + MP_TREE_GROUP - 1) / MP_TREE_GROUP,
                    .words = MP_TREE_WORDS};
    while (2 * tree.words * tree.groups * (int64_t)sizeof *tree.node <= MP_TREE_BYTES &&
           2 * tree.words <= MP_TREE_GROUP)
        tree.words *= 2;
    return tree;
}

mp_status mp_tree_start(mp_tree *tree, mp_error *err) {
    const size_t words = (size_t)tree->groups * (size_t)tree->words;
    tree->node = calloc(words ? words : 1, sizeof *tree->node);
    return tree->node ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for the digests of %zu words", words);
}

void mp_tree_free(mp_tree *tree) {
    free(tree->node);
    tree->node = NULL;
}

void mp_tree_add(mp_tree *tree, int64_t row, uint64_t digest) {
    uint64_t *node = tree->node + row / tree->group_rows * tree->words;
    const uint64_t x = (uint64_t)(row % tree->group_rows) + 1;
    uint64_t term = reduced(digest);
    for (int j = 0; j < tree->words; j++) {
        node[j] = sum(node[j], term);
        term = product(term, x);
    }
}

void mp_tree_add_rows(mp_tree *tree, int64_t first, int64_t count, const uint64_t *digest,
                      const uint8_t *left_out) {
    for (int64_t i = 0; i < count; i++)
        if (!mp_is_left_out(left_out, first + i)) mp_tree_add(tree, first + i, digest[i]);
}

bool mp_tree_same_shape(const mp_tree *a, const mp_tree *b) {
    return a->rows == b->rows && a->group_rows == b->group_rows && a->words == b->words;
}

/* The locator of a sequence of `words` syndromes (Massey, Shift-register synthesis and BCH decoding, IEEE
 * Trans. IT-15, 1969): c[0] = 1, and sum over i of c[i] * s[n-i] = 0 for all n from its degree on. Its roots
 * are the inverses of the rows. c, last and copy have words+1 entries. Returns the degree. */
static int locate(const uint64_t *s, int words, uint64_t *c, uint64_t *last, uint64_t *copy) {
    const size_t bytes = ((size_t)words + 1) * sizeof *c;
    int degree = 0, shift = 1;
    uint64_t last_discrepancy = 1;
    memset(c, 0, bytes);
    memset(last, 0, bytes);
    c[0] = last[0] = 1;
    for (int n = 0; n < words; n++, shift++) {
        uint64_t discrepancy = s[n];
        for (int i = 1; i <= degree; i++) discrepancy = sum(discrepancy, product(c[i], s[n - i]));
        if (discrepancy == 0) continue;
        const uint64_t factor = product(discrepancy, inverse(last_discrepancy));
        memcpy(copy, c, bytes);
        for (int i = 0; i + shift <= words; i++) c[i + shift] = minus(c[i + shift], product(factor, last[i]));
        if (2 * degree > n) continue;
        degree = n + 1 - degree;
        memcpy(last, copy, bytes);
        last_discrepancy = discrepancy;
        shift = 0;
    }
    return degree;
}

/* Whether row x (from 1) is one of the locator's: x^degree * c(1/x) = 0. */
static bool is_root(const uint64_t *c, int degree, uint64_t x) {
    uint64_t value = 0;
    for (int i = 0; i <= degree; i++) value = sum(product(value, x), c[i]);
    return value == 0;
}

/* The rows of one group, or that they are too many. scratch: 3 * (words + 1). */
static void compare_group(const mp_tree *tree, int64_t group, const uint64_t *difference, uint64_t *scratch,
                          const mp_tree_visit *visit) {
    const int words = tree->words, most = words / 2;
    const int64_t first = group * tree->group_rows,
                  rows = tree->rows - first < tree->group_rows ? tree->rows - first : tree->group_rows;
    uint64_t *c = scratch;
    const int degree = locate(difference, words, c, c + words + 1, c + 2 * (words + 1));
    int64_t roots = 0;
    for (int64_t i = 0; i < rows && degree <= most; i++) roots += is_root(c, degree, (uint64_t)i + 1);
    if (degree > most || roots != degree) {
        visit->group(visit->ctx, first, first + rows - 1, most);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        if (is_root(c, degree, (uint64_t)i + 1)) visit->row(visit->ctx, first + i);
}

mp_status mp_tree_compare(const mp_tree *a, const mp_tree *b, const mp_tree_visit *visit, mp_error *err) {
    const size_t words = (size_t)a->words;
    uint64_t *difference = malloc((words + 3 * (words + 1)) * sizeof *difference);
    if (!difference) return mp_fail(err, MP_EMEMORY, "no memory for %zu words", words);
    for (int64_t g = 0; g < a->groups; g++) {
        const uint64_t *in_a = a->node + g * a->words, *in_b = b->node + g * b->words;
        if (memcmp(in_a, in_b, words * sizeof *in_a) == 0) continue;
        for (size_t j = 0; j < words; j++) difference[j] = minus(in_b[j], in_a[j]);
        compare_group(a, g, difference, difference + words, visit);
    }
    free(difference);
    return MP_OK;
}
