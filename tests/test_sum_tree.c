/* SPDX-License-Identifier: Apache-2.0 */
/* harness/infer/sum_tree.c: the trees of sums that are known, revealed from what the sums give. */
#include "harness/infer/sum_tree.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef float sum_fn(const float *v, int n);

static float ascending(const float *v, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += v[i];
    return sum;
}

static float ascending_fma(const float *v, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum = fmaf(v[i], 1, sum);
    return sum;
}

static float descending(const float *v, int n) {
    float sum = 0;
    for (int i = n - 1; i >= 0; i--) sum += v[i];
    return sum;
}

static float pairwise(const float *v, int n) {
    return n == 1 ? v[0] : pairwise(v, n / 2) + pairwise(v + n / 2, n / 2);
}

static float eight_lanes(const float *v, int n) {
    float s[8] = {0};
    for (int i = 0; i < n; i++) s[i % 8] += v[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static float eight_lanes_in_order(const float *v, int n) {
    float s[8] = {0};
    for (int i = 0; i < n; i++) s[i % 8] += v[i];
    return ascending(s, 8);
}

static float two_halves(const float *v, int n) {
    return ascending(v, n / 2) + ascending(v + n / 2, n / 2);
}

/* Eight at once with the sum before them: exact, but for what is far below the largest. */
static float eight_at_once(const float *v, int n) {
    double sum = 0;
    for (int i = 0; i < n; i += 8) {
        double largest = fabs(sum), next = 0;
        for (int k = i; k < i + 8; k++) largest = fmax(largest, fabs((double)v[k]));
        for (int k = i; k < i + 8; k++) next += fabs((double)v[k]) < largest * 0x1p-25 ? 0 : (double)v[k];
        next += fabs(sum) < largest * 0x1p-25 ? 0 : sum;
        sum = next;
    }
    return (float)sum;
}

/* No name: the last one first, and then a mixture. */
static float odd(const float *v, int n) {
    return n == 4 ? (v[3] + v[0]) + (v[1] + v[2]) : NAN;
}

static mp_sum_tree tree_of(sum_fn *sum, int n) {
    mp_sum_tree tree = {.n = n};
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            float v[MP_TREE_LEAVES];
            for (int k = 0; k < n; k++) v[k] = 1;
            v[i] = 0x1p60f;
            v[j] = -0x1p60f;
            tree.meet[i][j] = tree.meet[j][i] = n - (int)sum(v, n);
        }
    return tree;
}

static void expect_tree(sum_fn *sum, int n, const char *expected) {
    char text[1024];
    const mp_sum_tree tree = tree_of(sum, n);
    assert_true(mp_sum_tree_text(&tree, text, sizeof text));
    assert_string_equal(text, expected);
}

static void known_sums_are_revealed(void **state) {
    (void)state;
    expect_tree(ascending, 8, "sequential, ascending");
    expect_tree(ascending, 32, "sequential, ascending");
    expect_tree(ascending_fma, 32, "sequential, ascending");
    expect_tree(descending, 32, "sequential, descending");
    expect_tree(pairwise, 32, "pairwise, neighbours first");
    expect_tree(pairwise, 8, "pairwise, neighbours first");
    expect_tree(eight_lanes, 32, "8 lanes (k mod 8), each ascending; the lanes: ((0+4)+(2+6))+((1+5)+(3+7))");
    expect_tree(eight_lanes_in_order, 32,
                "8 lanes (k mod 8), each ascending; the lanes: one after the other");
    expect_tree(two_halves, 32, "2 parts of k, each ascending; the parts: 0+1");
    expect_tree(eight_at_once, 32, "ascending, 8 at once with the sum before them");
    expect_tree(eight_at_once, 8, "all 8 at once");
    expect_tree(odd, 4, "(0+3)+(1+2)");
}

/* 0 meets 1 below 2, and 1 meets 2 below 2: then 0 would meet 2 there, too. */
static void what_is_no_tree_is_none(void **state) {
    (void)state;
    char text[1024];
    mp_sum_tree tree = tree_of(ascending, 4);
    assert_true(mp_sum_tree_is_one(&tree));
    tree.meet[0][1] = tree.meet[1][0] = 2;
    tree.meet[1][2] = tree.meet[2][1] = 2;
    tree.meet[0][2] = tree.meet[2][0] = 4;
    assert_false(mp_sum_tree_is_one(&tree));
    assert_false(mp_sum_tree_text(&tree, text, sizeof text));
    tree = tree_of(ascending, 4);
    tree.meet[0][1] = tree.meet[1][0] = 9; /* more than there are */
    assert_false(mp_sum_tree_is_one(&tree));
    tree = (mp_sum_tree){.n = 0};
    assert_false(mp_sum_tree_is_one(&tree));
}

/* A text that is too short is cut, and ends. */
static void a_short_text_ends(void **state) {
    (void)state;
    char text[8];
    const mp_sum_tree tree = tree_of(eight_lanes, 32);
    assert_true(mp_sum_tree_text(&tree, text, sizeof text));
    assert_int_equal(strlen(text), 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_sums_are_revealed),
                                       cmocka_unit_test(what_is_no_tree_is_none),
                                       cmocka_unit_test(a_short_text_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
