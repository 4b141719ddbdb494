/* SPDX-License-Identifier: Apache-2.0 */
/* golden/tree.c: from a few words a group the rows that differ are told, and where they are too many, that
 * they are. */
#include "golden/tree.h"
#include "tests/golden_support.h"

/* What a comparison told. */
typedef struct told {
    int64_t row[8192], rows, first[64], last[64], groups;
    int more_than;
} told;

static void on_row(void *ctx, int64_t row) {
    told *t = ctx;
    assert_true(t->rows < 8192);
    t->row[t->rows++] = row;
}

static void on_group(void *ctx, int64_t first, int64_t last, int more_than) {
    told *t = ctx;
    assert_true(t->groups < 64);
    t->first[t->groups] = first;
    t->last[t->groups++] = last;
    t->more_than = more_than;
}

static mp_tree tree_of(int64_t rows, const uint64_t *digests, const uint8_t *left_out) {
    mp_tree tree = mp_tree_shape(rows);
    OK(mp_tree_start(&tree, &err));
    mp_tree_add_rows(&tree, 0, rows, digests, left_out);
    return tree;
}

static told *compare_digests(int64_t rows, const uint64_t *a, const uint64_t *b, const uint8_t *left_out) {
    static told t;
    memset(&t, 0, sizeof t);
    mp_tree in_a = tree_of(rows, a, left_out), in_b = tree_of(rows, b, left_out);
    assert_true(mp_tree_same_shape(&in_a, &in_b));
    OK(mp_tree_compare(&in_a, &in_b, &(mp_tree_visit){on_row, on_group, &t}, &err));
    mp_tree_free(&in_a);
    mp_tree_free(&in_b);
    return &t;
}

enum { MOST = 70000 };
static uint64_t before[MOST], after[MOST];

static void fill(int64_t rows) {
    for (int64_t r = 0; r < rows; r++) before[r] = after[r] = next_random();
}

static void sizes(void **state) {
    (void)state;
    const struct {
        int64_t rows, groups, bytes;
        int words;
    } expected[] = {{513, 2, 4096, 256},     {1024, 2, 4096, 256}, {4096, 8, 4096, 64},
                    {16384, 32, 4096, 16},   {32768, 64, 4096, 8}, {70000, 137, 8768, 8},
                    {560000, 1094, 70016, 8}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const mp_tree tree = mp_tree_shape(expected[i].rows);
        assert_int_equal(tree.group_rows, 512);
        assert_int_equal(tree.groups, expected[i].groups);
        assert_int_equal(tree.words, expected[i].words);
        assert_int_equal(tree.groups * tree.words * 8, expected[i].bytes);
    }
}

/* The words themselves, from their definition: others read them by it. */
static void words_are_weighted_sums(void **state) {
    (void)state;
    random_state = 1;
    fill(600);
    before[0] = UINT64_MAX; /* reduced: 2^64 - 1 = 7 mod 2^61 - 1 */
    const mp_tree tree = tree_of(600, before, NULL);
    for (int64_t g = 0; g < 2; g++) {
        for (int j = 0; j < 3; j++) {
            unsigned __int128 sum = 0;
            for (int64_t i = 0; i < 512 && g * 512 + i < 600; i++) {
                unsigned __int128 term = before[g * 512 + i] % MP_TREE_P;
                for (int k = 0; k < j; k++) term = term * (unsigned)(i + 1) % MP_TREE_P;
                sum = (sum + term) % MP_TREE_P;
            }
            assert_true(tree.node[g * tree.words + j] == (uint64_t)sum);
        }
    }
    mp_tree_free((mp_tree *)&tree);
}

/* One row of 70,000, wherever it is, and whatever bit of its digest. */
static void one_row_is_named(void **state) {
    (void)state;
    random_state = 2;
    fill(MOST);
    assert_int_equal(compare_digests(MOST, before, after, NULL)->rows, 0);
    const int64_t rows[] = {0, 1, 511, 512, 35000, 69631, 69632, 69999};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        after[rows[i]] ^= UINT64_C(1) << (i * 9 % 61);
        const told *t = compare_digests(MOST, before, after, NULL);
        assert_int_equal(t->rows, 1);
        assert_int_equal(t->row[0], rows[i]);
        assert_int_equal(t->groups, 0);
        after[rows[i]] = before[rows[i]];
    }
    after[5] = before[6]; /* two rows changed places */
    after[6] = before[5];
    const told *t = compare_digests(MOST, before, after, NULL);
    assert_true(t->rows == 2 && t->row[0] == 5 && t->row[1] == 6);
    after[5] = before[5];
    after[6] = before[6];
}

/* As many rows of each group as half its words are named, one more are counted as more; never others. */
static void as_many_as_half_the_words(void **state) {
    (void)state;
    random_state = 3;
    const int64_t sizes_of[] = {600, 4096, 40000};
    for (size_t s = 0; s < 3; s++) {
        const int64_t rows = sizes_of[s];
        const int most = mp_tree_shape(rows).words / 2;
        fill(rows);
        for (int count = 1; count <= most + 2; count += count < most ? (most + 2) / 3 : 1) {
            bool changed[512] = {false};
            memcpy(after, before, (size_t)rows * sizeof *after);
            for (int left = count; left > 0;) {
                const int64_t r = (int64_t)(next_random() % 512);
                if (changed[r]) continue;
                changed[r] = true;
                after[r] = next_random();
                left--;
            }
            after[rows - 1] ^= 1; /* another group, with one */
            const told *t = compare_digests(rows, before, after, NULL);
            if (count > most) {
                assert_int_equal(t->rows, 1);
                assert_int_equal(t->groups, 1);
                assert_true(t->first[0] == 0 && t->last[0] == 511 && t->more_than == most);
                continue;
            }
            assert_int_equal(t->groups, 0);
            assert_int_equal(t->rows, count + 1);
            for (int64_t i = 0, r = 0; r < 512; r++)
                if (changed[r]) assert_int_equal(t->row[i++], r);
            assert_int_equal(t->row[count], rows - 1);
        }
    }
}

/* Rows that hold no result may hold anything. */
static void rows_left_out_count_for_nothing(void **state) {
    (void)state;
    random_state = 4;
    uint8_t left_out[250] = {0};
    fill(2000);
    for (int64_t r = 3; r < 2000; r += 7) {
        left_out[r / 8] = (uint8_t)(left_out[r / 8] | 1 << (r % 8));
        after[r] = next_random();
    }
    after[1000] ^= 4;
    const told *t = compare_digests(2000, before, after, left_out);
    assert_int_equal(t->rows, 1);
    assert_int_equal(t->row[0], 1000);
    assert_int_equal(t->groups, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(words_are_weighted_sums),
        cmocka_unit_test(one_row_is_named),
        cmocka_unit_test(as_many_as_half_the_words),
        cmocka_unit_test(rows_left_out_count_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
