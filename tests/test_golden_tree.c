/* SPDX-License-Identifier: Apache-2.0 */
/* golden/tree.c: from a few words a group the rows that differ are told, and where they are too many, that
 * they are. */
#include "golden/left_out.h"
#include "golden/put.h"
#include "golden/store.h"
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

/* ---- in a file ---- */

enum { ROWS = 600 };
static mp_trace large;

static int enter_with_tree(void **state) {
    large = (mp_trace){.block_size_m = 16};
    random_state = 5;
    if (enter(state)) return -1;
    large.t[MP_OUT] = random_tensor(MP_BF16, 2, ROWS, 10, 1);
    record(path, 0, &large, 0);
    return 0;
}

static int leave_with_tree(void **state) {
    free_trace(&large);
    return leave(state);
}

static hid_t open_to_change(const char *dataset, hid_t *file) {
    *file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    return dataset ? H5Dopen2(*file, dataset, H5P_DEFAULT) : H5I_INVALID_HID;
}

static void close_changed(hid_t file, hid_t set) {
    if (set >= 0) H5Dclose(set);
    H5Fclose(file);
}

/* Two rows, one in each group. */
static void a_stored_tree_tells_rows(void **state) {
    (void)state;
    mp_golden_difference diff[MP_TENSOR_COUNT];
    assert_int_equal(compare(0, &large, diff), 1);
    assert_true(diff[0].stored && diff[0].digest && diff[0].differing_rows == 0);
    ((uint16_t *)large.t[MP_OUT].data)[511 * 10 + 9] ^= 1;
    ((uint16_t *)large.t[MP_OUT].data)[512 * 10] ^= 0x8000;
    compare(0, &large, diff);
    assert_int_equal(diff[0].differing_rows, 2);
    assert_int_equal(diff[0].first_rows[0], 511);
    assert_int_equal(diff[0].first_rows[1], 512);
    assert_int_equal(diff[0].crowded_groups, 0);
    for (int64_t i = 0; i < 512 * 10; i++) ((uint16_t *)large.t[MP_OUT].data)[i] ^= 1;
    char text[MP_GOLDEN_DIFFERENCE_TEXT_MAX];
    compare(0, &large, diff);
    assert_int_equal(diff[0].crowded_groups, 1);
    mp_golden_difference_text(&diff[0], text);
    assert_non_null(
        strstr(text, "out: 1 of 600 rows differ (row 512) and more than 128 of rows 0..511 (stored"));
}

/* The first format had a digest for each of any number of rows. */
static void digests_of_the_first_format_are_read(void **state) {
    (void)state;
    uint64_t digests[ROWS];
    mp_golden_difference diff[MP_TENSOR_COUNT];
    mp_golden *golden, *copy;
    char other[256];
    hid_t file, group;
    for (int64_t r = 0; r < ROWS; r++) digests[r] = mp_tensor_row_digest(&large.t[MP_OUT], r);
    open_to_change(NULL, &file);
    group = H5Gopen2(file, CASE, H5P_DEFAULT);
    assert_true(H5Ldelete(group, "out.tree", H5P_DEFAULT) >= 0 && H5Adelete(group, "root") >= 0 &&
                H5Adelete(file, "root") >= 0 && H5Adelete(file, "format_version") >= 0);
    OK(mp_put_digests(group, "out", &large.t[MP_OUT], digests, NULL, &err));
    OK(mp_h5_write_integers(file, "format_version", &(int64_t){1}, 1, &err));
    H5Gclose(group);
    close_changed(file, H5I_INVALID_HID);
    compare(0, &large, diff);
    assert_true(diff[0].stored && diff[0].digest && diff[0].differing_rows == 0);
    ((uint16_t *)large.t[MP_OUT].data)[333 * 10] ^= 1;
    compare(0, &large, diff);
    assert_true(diff[0].differing_rows == 1 && diff[0].first_rows[0] == 333);
    OK(mp_golden_open(path, &golden, &err));
    assert_false(mp_golden_at(golden, 0)->has_root);
    snprintf(other, sizeof other, "%s/copy.h5", directory);
    OK(mp_golden_create(other, &who, 0, &copy,
                        &err)); /* its shape is not the case's: no copy is made of it */
    assert_int_equal(mp_golden_copy_case(copy, golden, mp_golden_at(golden, 0), &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "stored as bf16[600,10]; the case has bf16[4,10]"));
    assert_int_equal(mp_golden_commit(copy, &err), MP_EIO);
    mp_golden_close(golden);
}

/* Sorted layout: what lies behind the slots is padding, and may be anything; so may the row of a filtered slot,
 * unless the contract says zeros. */
static void rows_without_a_result_do_not_count(void **state) {
    (void)state;
    mp_case c = mp_case_default();
    mp_trace trace;
    mp_inputs in;
    mp_golden *golden;
    mp_golden_difference diff[MP_TENSOR_COUNT];
    mp_contract contract = mp_contract_weakest();
    uint8_t *left_out;
    int count;
    OK(mp_case_parse(&c, "M=300 E=4 topk=2 K=16 N=8 layout=sorted", &err));
    OK(mp_inputs_create(&c, &in, &err));
    OK(mp_trace_create(&c, 16, MP_POISON_A, &trace, &err));
    int32_t *sorted = trace.t[MP_SORTED_TOKEN_IDS].data, *ids = in.t[MP_TOPK_IDS].data;
    for (int64_t i = 0; i < mp_tensor_count(&trace.t[MP_SORTED_TOKEN_IDS]); i++)
        sorted[i] = i < 600 ? (int32_t)i : 600;
    ids[7] = -1;
    for (int zero = 0; zero < 2; zero++) {
        contract.filtered[MP_GATE_UP] = zero ? MP_ROW_ZERO : MP_ROW_ANYTHING;
        OK(mp_rows_left_out(&c, &contract, &trace, &in, MP_CACHE1, &left_out, &err));
        assert_non_null(left_out);
        for (int64_t r = 0; r < mp_tensor_rows(&trace.t[MP_CACHE1]); r++)
            assert_int_equal(mp_is_left_out(left_out, r), r >= 600 || (r == 7 && !zero));
        free(left_out);
    }
    OK(mp_rows_left_out(&c, &contract, &trace, &in, MP_OUT, &left_out, &err));
    assert_null(left_out);
    OK(mp_golden_create(path, &who, 0, &golden, &err));
    OK(mp_golden_write(golden, &c, &contract, "", &trace, &in, &err));
    OK(mp_golden_commit(golden, &err));
    OK(mp_golden_open(path, &golden, &err));
    OK(mp_golden_check(golden, &err));
    memset(mp_tensor_row(&trace.t[MP_CACHE1], 601), 1, 16);
    OK(compare_with(golden, &c, &trace, diff, &count));
    for (int i = 0; i < count; i++) assert_true(diff[i].differing_rows == 0 && diff[i].crowded_groups == 0);
    memset(mp_tensor_row(&trace.t[MP_CACHE1], 599), 1, 16);
    OK(compare_with(golden, &c, &trace, diff, &count));
    for (int i = 0; i < count; i++)
        assert_int_equal(diff[i].differing_rows, strcmp(diff[i].tensor, "cache1") == 0);
    mp_golden_close(golden);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
}

static void expect_refusal(const char *because) {
    mp_golden *golden;
    mp_golden_difference diff[MP_TENSOR_COUNT];
    const mp_case c = case_with_seed(0);
    int count;
    OK(mp_golden_open(path, &golden, &err));
    assert_int_equal(compare_with(golden, &c, &large, diff, &count), MP_EINPUT);
    if (!strstr(err.text, because)) fail_msg("expected '%s' in: %s", because, err.text);
    mp_golden_close(golden);
}

/* What a stranger may write in the place of a tree. */
static void forged_trees_are_refused(void **state) {
    (void)state;
    static uint64_t words[2][256];
    static const uint8_t bits[76] = {1};
    hid_t file, set, group;
    const int64_t sizes_of[] = {0, 4097};
    const char *const because[] = {"attribute 'group_rows' is 0; expected 1 to 4096",
                                   "attribute 'group_rows' is 4097; expected 1 to 4096"};
    for (int i = 0; i < 2; i++) {
        set = open_to_change(CASE "/out.tree", &file);
        assert_true(H5Adelete(set, "group_rows") >= 0);
        OK(mp_h5_write_integers(set, "group_rows", &sizes_of[i], 1, &err));
        close_changed(file, set);
        expect_refusal(because[i]);
    }
    set = open_to_change(CASE "/out.tree", &file);
    assert_true(H5Adelete(set, "group_rows") >= 0);
    OK(mp_h5_write_integers(set, "group_rows", &(int64_t){100}, 1, &err));
    close_changed(file, set);
    expect_refusal("a tree of 2 groups of 256 words; expected 6 groups of 2 to 512 words of uint64");
    record(path, 0, &large, 0);
    set = open_to_change(CASE "/out.tree", &file);
    assert_true(H5Dread(set, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, words) >= 0);
    words[1][3] = MP_TREE_P;
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, words) >= 0);
    close_changed(file, set);
    expect_refusal("word 259 of the stored tree is 2305843009213693951; expected less than 2^61 - 1");
    record(path, 0, &large, 0);
    open_to_change(NULL, &file);
    group = H5Gopen2(file, CASE, H5P_DEFAULT);
    OK(mp_put_left_out(group, "out", 8 * 76, bits, &err));
    H5Gclose(group);
    close_changed(file, H5I_INVALID_HID);
    expect_refusal("out.left_out: expected 75 bytes of uint8 in one axis");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(words_are_weighted_sums),
        cmocka_unit_test(one_row_is_named),
        cmocka_unit_test(as_many_as_half_the_words),
        cmocka_unit_test(rows_left_out_count_for_nothing),
        cmocka_unit_test_setup_teardown(a_stored_tree_tells_rows, enter_with_tree, leave_with_tree),
        cmocka_unit_test_setup_teardown(digests_of_the_first_format_are_read, enter_with_tree,
                                        leave_with_tree),
        TEST(rows_without_a_result_do_not_count),
        cmocka_unit_test_setup_teardown(forged_trees_are_refused, enter_with_tree, leave_with_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
