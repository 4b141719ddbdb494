/* SPDX-License-Identifier: Apache-2.0 */
/* golden/: what is recorded comes back bit for bit, and every difference is found and described. */
#include "cases/graph_tables.h"
#include "golden/files.h"
#include "cases/case_tools.h"
#include "tests/golden_support.h"

#include <math.h>

static void round_trip_keeps_every_bit(void **state) {
    (void)state;
    mp_trace trace = random_trace(1);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    record(path, 5, &trace, SIZE_MAX);

    mp_golden *golden;
    OK(mp_golden_open(path, &golden, &err));
    assert_memory_equal(mp_golden_provenance(golden), &who, sizeof who);
    assert_int_equal(mp_golden_fill_version(golden), MP_FILL_VERSION);
    char expected[MP_CASE_TEXT_MAX], contract[MP_CONTRACT_TEXT_MAX];
    mp_contract weakest = mp_contract_weakest();
    mp_case c = case_with_seed(5);
    mp_case_text(&c, expected, sizeof expected);
    assert_int_equal(mp_golden_count(golden), 1);
    const mp_golden_entry *entry = mp_golden_at(golden, 0);
    assert_string_equal(entry->name, expected);
    assert_int_equal(mp_case_compare(&entry->c, &c), 0);
    assert_ptr_equal(mp_golden_find(golden, expected), entry);
    assert_null(mp_golden_find(golden, "M=1 topk=1 act=silu"));
    assert_null(mp_golden_at(golden, 1));
    mp_contract_text(&weakest, contract, sizeof contract);
    assert_string_equal(entry->contract, contract);
    assert_string_equal(entry->config, "default");
    assert_int_equal(entry->block_size_m, 16);
    assert_true(mp_golden_same_contract(entry, &weakest));
    weakest.gate_up.promotion = 64; /* another arithmetic, under a text that need not say it */
    assert_false(mp_golden_same_contract(entry, &weakest));
    mp_golden_close(golden);

    assert_int_equal(compare(5, &trace, diff), RECORDED);
    for (int i = 0; i < RECORDED; i++) {
        assert_true(diff[i].stored);
        assert_false(diff[i].digest || diff[i].shape_differs);
        assert_string_equal(diff[i].tensor, mp_tensor_name(recorded_ids[i]));
        assert_int_equal(diff[i].rows, mp_tensor_rows(&trace.t[recorded_ids[i]]));
        assert_int_equal(diff[i].differing_rows, 0);
        assert_int_equal(diff[i].differing, 0);
        assert_true(diff[i].max_abs == 0.0);
    }
    free_trace(&trace);
}

/* Any single bit of any tensor, flipped, is one differing element in one row, whatever the format. */
static void one_flipped_bit_is_one_difference(void **state) {
    (void)state;
    mp_trace trace = random_trace(2);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    for (int digests = 0; digests < 2; digests++) {
        record(path, 0, &trace, digests ? 0 : SIZE_MAX);
        for (int i = 0; i < RECORDED; i++) {
            mp_tensor *t = &trace.t[recorded_ids[i]];
            int64_t index = (int64_t)(next_random() >> 1) % mp_tensor_count(t);
            uint8_t *byte = (uint8_t *)t->data + (size_t)index * mp_dtype_size(t->dtype);
            *byte = (uint8_t)(*byte ^ 0x80 >> (i % 8));
            assert_int_equal(compare(0, &trace, diff), RECORDED);
            for (int k = 0; k < RECORDED; k++) {
                assert_int_equal(diff[k].digest, digests);
                assert_int_equal(diff[k].differing_rows, k == i);
                assert_int_equal(diff[k].differing, k == i && !digests);
            }
            assert_int_equal(diff[i].first_rows[0], index / mp_tensor_row_length(t));
            *byte = (uint8_t)(*byte ^ 0x80 >> (i % 8));
        }
    }
    free_trace(&trace);
}

/* Tensors of formats that HDF5 has no number for, and of those that share a byte: of every rank, in full and
 * as digests, in one chunk and in several. */
static void small_formats_are_stored_and_compared(void **state) {
    (void)state;
    static const mp_dtype dtypes[] = {MP_I8, MP_U8, MP_UE8M0, MP_I4, MP_U4, MP_E2M1};
    const int64_t shapes[][3] = {{10, 1, 1}, {7, 6, 1}, {3, 5, 4}, {3000, 1000, 1}, {3, 3000000, 1}};
    const int ranks[] = {1, 2, 3, 2, 2};
    mp_golden_difference diff[MP_TENSOR_COUNT];
    random_state = 20;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        for (int s = 0; s < 5; s++) {
            if (s > 2 && dtypes[i] != MP_E2M1) continue;
            mp_trace trace = {.block_size_m = 16};
            mp_tensor *t = &trace.t[MP_OUT];
            *t = random_tensor(dtypes[i], ranks[s], shapes[s][0], shapes[s][1], shapes[s][2]);
            const int64_t count = mp_tensor_count(t), changed = count - 2;
            assert_int_equal(8 * (int64_t)mp_tensor_bytes(t), count * mp_dtype_bits(dtypes[i]));
            for (int digests = 0; digests < 2; digests++) {
                record(path, 0, &trace, digests ? 0 : SIZE_MAX);
                assert_int_equal(compare(0, &trace, diff), 1);
                assert_true(diff[0].stored && !diff[0].shape_differs && diff[0].differing_rows == 0);
                const uint64_t was = mp_code_at(dtypes[i], t->data, changed);
                mp_put_code(dtypes[i], t->data, changed, was ^ 1);
                compare(0, &trace, diff);
                assert_int_equal(diff[0].differing_rows, 1);
                assert_int_equal(diff[0].first_rows[0], changed / mp_tensor_row_length(t));
                assert_int_equal(diff[0].differing, digests ? 0 : 1);
                if (!digests) {
                    assert_int_equal(diff[0].first_index[ranks[s] - 1], mp_tensor_row_length(t) - 2);
                    assert_true(diff[0].first_was == was && diff[0].first_is == (was ^ 1));
                }
                mp_put_code(dtypes[i], t->data, changed, was);
            }
            free_trace(&trace);
        }
    }
    mp_trace odd = {.block_size_m = 16};
    odd.t[MP_OUT] = mp_tensor_shape(MP_E2M1, 2, 4, 3, 1);
    assert_int_equal(mp_tensor_alloc(&odd.t[MP_OUT], MP_POISON_A, &err), MP_EINTERNAL);
}

static void figures_of_a_difference(void **state) {
    (void)state;
    mp_trace trace = {.block_size_m = 16};
    trace.t[MP_CACHE3] = mp_tensor_shape(MP_BF16, 3, 20, 2, 4);
    OK(mp_tensor_alloc(&trace.t[MP_CACHE3], 0, &err));
    mp_golden_difference diff[MP_TENSOR_COUNT];
    record(path, 0, &trace, SIZE_MAX);

    uint16_t *data = trace.t[MP_CACHE3].data;
    data[(3 * 2 + 1) * 4 + 2] = 0x3FC0; /* 1.5 at [3,1,2] */
    data[(9 * 2 + 0) * 4 + 0] = 0xC000; /* -2 */
    assert_int_equal(compare(0, &trace, diff), 1);
    assert_int_equal(diff[0].differing_rows, 2);
    assert_int_equal(diff[0].differing, 2);
    assert_int_equal(diff[0].first_rows[0], 7);
    assert_int_equal(diff[0].first_rows[1], 18);
    assert_true(diff[0].max_abs == 2.0);
    assert_string_equal(diff[0].first, "[3,1,2]: 0 (0x0000) -> 1.5 (0x3fc0)");

    data[(5 * 2 + 0) * 4 + 0] =
        0x7FC0; /* a NaN stays the maximum, although a larger finite difference follows */
    compare(0, &trace, diff);
    assert_true(isnan(diff[0].max_abs));

    memset(data, 0, mp_tensor_bytes(&trace.t[MP_CACHE3]));
    data[0] = 0x8000; /* -0 is another bit pattern at distance 0 */
    compare(0, &trace, diff);
    assert_int_equal(diff[0].differing, 1);
    assert_true(diff[0].max_abs == 0.0);

    for (int64_t i = 0; i < mp_tensor_count(&trace.t[MP_CACHE3]); i++)
        data[i] = 0x3F80; /* more rows than are listed */
    compare(0, &trace, diff);
    assert_int_equal(diff[0].differing_rows, 40);
    assert_int_equal(diff[0].differing, 160);
    for (int i = 0; i < 8; i++) assert_int_equal(diff[0].first_rows[i], i);
    free_trace(&trace);
}

/* Rows of many chunks, and rows larger than a chunk: a tensor of rank 1 is a single row. */
static void large_tensors_are_compared_to_their_end(void **state) {
    (void)state;
    const int64_t shapes[][3] = {{300000, 1, 1}, {900, 700, 1}, {3, 300000, 1}, {5, 3, 100000}};
    const int ranks[] = {1, 2, 2, 3};
    for (int s = 0; s < 4; s++) {
        mp_trace trace = {.block_size_m = 16};
        mp_tensor *t = &trace.t[MP_OUT];
        *t = mp_tensor_shape(MP_FP32, ranks[s], shapes[s][0], shapes[s][1], shapes[s][2]);
        OK(mp_tensor_alloc(t, 0, &err));
        mp_golden_difference diff[MP_TENSOR_COUNT];
        int64_t count = mp_tensor_count(t), length = mp_tensor_row_length(t);
        float *data = t->data;
        for (int64_t i = 0; i < count; i++) data[i] = (float)i;
        record(path, 0, &trace, SIZE_MAX);
        assert_int_equal(compare(0, &trace, diff), 1);
        assert_int_equal(diff[0].differing, 0);
        for (int64_t i = 0; i < count; i += length)
            data[i + (i / length * 977 + length - 1) % length] += 3.0f; /* one element in every row */
        compare(0, &trace, diff);
        assert_int_equal(diff[0].differing_rows, count / length);
        assert_int_equal(diff[0].differing, count / length);
        assert_true(diff[0].max_abs == 3.0);
        free_trace(&trace);
    }
}

static void digest_threshold(void **state) {
    (void)state;
    mp_trace trace = random_trace(3);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    size_t bytes = mp_tensor_bytes(&trace.t[MP_CACHE3]);
    for (size_t below = 0; below < 2; below++) { /* "more than digest_above bytes" */
        record(path, 0, &trace, bytes - below);
        compare(0, &trace, diff);
        assert_int_equal(diff[OF_CACHE3].digest, below);
    }
    free_trace(&trace);
}

static void other_shapes_and_missing_things(void **state) {
    (void)state;
    mp_trace trace = random_trace(4);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    mp_tensor absent = trace.t[MP_CACHE1];
    trace.t[MP_CACHE1].data = NULL;
    for (int digests = 0; digests < 2; digests++) {
        record(path, 0, &trace, digests ? 0 : SIZE_MAX);
        mp_trace other = trace;
        other.t[MP_CACHE1] = absent;
        other.t[MP_OUT].dim[0] = 2;
        other.t[MP_CACHE3].dtype = MP_FP16;
        other.t[MP_CACHE2].data = NULL; /* a tensor that the trace does not expose is left out */
        assert_int_equal(compare(0, &other, diff), RECORDED - 1);
        assert_string_equal(diff[3].tensor, "cache1");
        assert_false(diff[3].stored);
        assert_string_equal(diff[4].tensor, "cache3");
        assert_true(diff[4].stored && diff[4].shape_differs);
        assert_string_equal(diff[4].first, "bf16[4,2,10] -> fp16[4,2,10]");
        assert_true(diff[5].stored && diff[5].shape_differs);
        assert_string_equal(diff[5].first, "fp16[4,10] -> fp16[2,10]");
    }
    mp_golden *golden;
    mp_case c = case_with_seed(99);
    mp_tensor_set stored, expected = 0;
    int count;
    OK(mp_golden_open(path, &golden, &err));
    for (int i = 0; i < RECORDED; i++)
        if (i != OF_CACHE1) expected |= MP_IN_SET(recorded_ids[i]);
    OK(mp_golden_tensors(golden, CASE, &stored, &err)); /* as digests */
    assert_int_equal(stored, expected);
    assert_int_equal(mp_golden_tensors(golden, "M=99", &stored, &err), MP_EINPUT);
    assert_int_equal(compare_with(golden, &c, &trace, diff, &count), MP_EINPUT);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "seed=99"));
    mp_golden_close(golden);
    trace.t[MP_CACHE1] = absent;
    free_trace(&trace);
}

static void append_line(void *ctx, const char *line) {
    strcat(ctx, line);
    strcat(ctx, "\n");
}

/* A file that could not be opened again is not begun: the text is refused, the golden as it was. */
static void texts_that_cannot_be_read_are_not_written(void **state) {
    (void)state;
    static char long_text[4097], longest[4096];
    memset(long_text, 'x', sizeof long_text - 1);
    memset(longest, 'x', sizeof longest - 1);
    const char *const refused[] = {"64x64\n", "\033[1m", "\377", long_text};
    mp_trace trace = planned_trace(5);
    mp_golden *golden;
    OK(mp_golden_create(path, &who, SIZE_MAX, &golden, &err));
    const mp_case c = case_with_seed(1);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_int_equal(mp_golden_write(golden, &c, any_contract(), refused[i], &trace, NULL, &err),
                         MP_EINPUT);
    assert_non_null(strstr(err.text, "4096 bytes"));
    OK(mp_golden_write(golden, &c, any_contract(), longest, &trace, NULL, &err));
    OK(mp_golden_commit(golden, &err));
    OK(mp_golden_open(path, &golden, &err));
    assert_string_equal(mp_golden_at(golden, 0)->config, longest);
    mp_golden_close(golden);
    free_trace(&trace);
}

static void cases_keep_their_order_and_occur_once(void **state) {
    (void)state;
    mp_trace trace = planned_trace(5);
    mp_golden *golden;
    mp_inputs inputs = {0};
    inputs.t[MP_X] = random_tensor(MP_BF16, 2, 4, 10, 1);
    inputs.t[MP_TOPK_IDS] = random_tensor(MP_I32, 2, 4, 2, 1);
    OK(mp_golden_create(path, &who, SIZE_MAX, &golden, &err));
    const int64_t seeds[] = {30, 4, 12, 100};
    for (int i = 0; i < 4; i++) {
        mp_case c = case_with_seed(seeds[i]);
        if (i == 2) mp_golden_store_inputs(golden);
        OK(mp_golden_write(golden, &c, any_contract(), "", &trace, &inputs, &err));
        assert_int_equal(mp_golden_write(golden, &c, any_contract(), "", &trace, NULL, &err), MP_EINPUT);
    }
    OK(mp_golden_commit(golden, &err));
    OK(mp_golden_open(path, &golden, &err));
    for (size_t i = 0; i < 4; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "seed=%lld", (long long)seeds[i]);
        assert_non_null(strstr(mp_golden_at(golden, i)->name, expected));
    }
    char lines[2048] = "";
    OK(mp_golden_list(golden, append_line, lines, &err));
    mp_golden_close(golden);
    const char *with = strstr(lines, ", with inputs\n");
    assert_true(with && strstr(lines, "seed=12: ") < with && with < strstr(lines, "seed=100: "));
    mp_tensor_free(&inputs.t[MP_X]);
    mp_tensor_free(&inputs.t[MP_TOPK_IDS]);
    free_trace(&trace);
}

static void same_content_gives_same_bytes(void **state) {
    (void)state;
    mp_trace trace = random_trace(6);
    char *first, *second;
    size_t first_size, second_size;
    record(path, 0, &trace, 200);
    read_whole(&first, &first_size);
    sleep(1); /* a time stamp would differ */
    record(path, 0, &trace, 200);
    read_whole(&second, &second_size);
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first, second, first_size);
    free(first);
    free(second);
    free_trace(&trace);
}

#define AS_DIGESTS " (stored as digests of rows: record with a larger --digest-above to see elements)"

/* What one file of a pair is made with. */
typedef struct recording {
    const mp_contract *contract;
    const char *config;
    const mp_trace *trace;
    const mp_inputs *inputs;
    bool store_inputs;
} recording;

static void record_as(const char *file, recording r) {
    mp_golden *golden;
    mp_case c = case_with_seed(0);
    OK(mp_golden_create(file, &who, SIZE_MAX, &golden, &err));
    if (r.store_inputs) mp_golden_store_inputs(golden);
    OK(mp_golden_write(golden, &c, r.contract, r.config, r.trace, r.inputs, &err));
    OK(mp_golden_commit(golden, &err));
}

/* The digest is that of the inputs, with or without their tensors; a file of before has none. */
static void inputs_are_known_by_their_digest(void **state) {
    (void)state;
    mp_case c = case_with_seed(0);
    mp_trace trace = planned_trace(18);
    mp_inputs inputs;
    OK(mp_inputs_create(&c, &inputs, &err));
    for (int how = 0; how < 3; how++) {
        mp_golden *golden;
        record_as(path, (recording){any_contract(), "", &trace, how == 0 ? NULL : &inputs, how == 2});
        OK(mp_golden_open(path, &golden, &err));
        const mp_golden_entry *entry = mp_golden_at(golden, 0);
        assert_int_equal(entry->has_inputs_digest, how > 0);
        if (how > 0) assert_true(entry->inputs_digest == mp_inputs_digest(&inputs));
        OK(mp_golden_check(golden, &err));
        mp_golden_close(golden);
    }
    mp_inputs_destroy(&inputs);
    free_trace(&trace);
}

static void texts_of_differences(void **state) {
    (void)state;
    char text[MP_GOLDEN_DIFFERENCE_TEXT_MAX];
    mp_golden_difference d = {.tensor = "out", .rows = 32, .first = "bf16[4,10] -> bf16[3,10]"};
    mp_golden_difference_text(&d, text);
    assert_string_equal(text, "out: not stored");
    d.stored = d.shape_differs = true;
    mp_golden_difference_text(&d, text);
    assert_string_equal(text, "out: bf16[4,10] -> bf16[3,10]");
    d.shape_differs = false;
    d.differing_rows = 8;
    for (int i = 0; i < 8; i++) d.first_rows[i] = 3 * i;
    mp_golden_difference_text(&d, text);
    assert_string_equal(text, "out: 8 of 32 rows differ (rows 0,3,6,9,12,15,18,21)");
    d.differing_rows = 9;
    mp_golden_difference_text(&d, text);
    assert_string_equal(text, "out: 9 of 32 rows differ (rows 0,3,6,9,12,15,18,21,...)");
    d.digest = true;
    mp_golden_difference_text(&d, text);
    assert_string_equal(text, "out: 9 of 32 rows differ (rows 0,3,6,9,12,15,18,21,...)" AS_DIGESTS);
}

/* The longest text fits into the size that the header names. */
static void no_number_is_cut(void **state) {
    (void)state;
    char text[MP_GOLDEN_DIFFERENCE_TEXT_MAX];
    mp_golden_difference d = {.rows = INT64_MAX, .differing_rows = INT64_MAX, .stored = true, .digest = true};
    memset(d.tensor, 't', sizeof d.tensor - 1);
    for (int i = 0; i < 8; i++) d.first_rows[i] = INT64_MAX - i;
    mp_golden_difference_text(&d, text);
    assert_string_equal(text + strlen(text) - strlen(AS_DIGESTS), AS_DIGESTS);
}

/* Where the first difference is and what it is, as numbers: of every rank, in full and as digests. */
static void the_first_difference_as_numbers(void **state) {
    (void)state;
    mp_trace trace = random_trace(19);
    mp_golden_difference diff[MP_TENSOR_COUNT];
    for (int digests = 0; digests < 2; digests++)
        for (int i = 0; i < RECORDED; i++) {
            mp_tensor *t = &trace.t[recorded_ids[i]];
            const int64_t row = mp_tensor_rows(t) / 2, element = mp_tensor_row_length(t) - 1;
            const int64_t index[MP_MAX_RANK] = {t->rank == 3   ? row / t->dim[1]
                                                : t->rank == 2 ? row
                                                               : element,
                                                t->rank == 3 ? row % t->dim[1] : element, element};
            record(path, 0, &trace, digests ? 0 : SIZE_MAX);
            const uint64_t was = mp_code_at(t->dtype, mp_tensor_row(t, row), element);
            ((uint8_t *)mp_tensor_row(t, row))[(size_t)element * mp_dtype_size(t->dtype)] ^= 0x24;
            compare(0, &trace, diff);
            assert_int_equal(diff[i].dtype, t->dtype);
            assert_int_equal(diff[i].rank, t->rank);
            for (int axis = 0; axis + 1 < t->rank; axis++)
                assert_int_equal(diff[i].first_index[axis], index[axis]);
            assert_int_equal(diff[i].first_index[t->rank - 1], digests ? -1 : element);
            assert_true(diff[i].first_was == (digests ? 0 : was));
            assert_true(diff[i].first_is == (digests ? 0 : was ^ 0x24));
            assert_int_equal(diff[i].first[0] == '\0', digests);
        }
    free_trace(&trace);
}

/* Numbers as another reader of the file sees them. */
static void h5dump_prints_numbers(void **state) {
    (void)state;
    if (system("h5dump --version > /dev/null 2>&1") != 0) skip();
    const struct {
        mp_dtype dtype;
        const char *printed;
    } formats[] = {
        {MP_BF16, "1, -2.5, 0.15625, -inf, 9.18355e-41"}, {MP_FP16, "1, -2.5, 0.15625, -inf, 5.96046e-08"},
        {MP_E5M2, "1, -2.5, 0.15625, -inf, 1.52588e-05"}, {MP_E4M3, "1, -2.5, 0.15625, 240, 0.00195312"},
        {MP_FP32, "1, -2.5, 0.15625, -inf, 1.4013e-45"},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        mp_trace trace = {.block_size_m = 16};
        mp_tensor *t = &trace.t[MP_OUT];
        *t = mp_tensor_shape(formats[i].dtype, 1, 5, 1, 1);
        OK(mp_tensor_alloc(t, 0, &err));
        double values[] = {1.0, -2.5, 0.15625, formats[i].dtype == MP_E4M3 ? 240.0 : (double)-INFINITY};
        for (int k = 0; k < 4; k++) mp_encode(t->dtype, t->data, k, values[k]);
        *((uint8_t *)t->data + 4 * mp_dtype_size(t->dtype)) = 1; /* the smallest subnormal */
        record(path, 0, &trace, SIZE_MAX);
        char command[256], output[4096] = "";
        snprintf(command, sizeof command, "h5dump -y -w 200 -d '/" CASE "/out' %s", path);
        FILE *pipe = popen(command, "r");
        assert_non_null(pipe);
        output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
        assert_int_equal(pclose(pipe), 0);
        if (strstr(output, formats[i].printed) == NULL)
            fail_msg("expected %s in:\n%s", formats[i].printed, output);
        free_trace(&trace);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(round_trip_keeps_every_bit),
        TEST(one_flipped_bit_is_one_difference),
        TEST(small_formats_are_stored_and_compared),
        TEST(figures_of_a_difference),
        TEST(large_tensors_are_compared_to_their_end),
        TEST(digest_threshold),
        TEST(other_shapes_and_missing_things),
        TEST(texts_that_cannot_be_read_are_not_written),
        TEST(cases_keep_their_order_and_occur_once),
        TEST(same_content_gives_same_bytes),
        TEST(inputs_are_known_by_their_digest),
        TEST(texts_of_differences),
        TEST(no_number_is_cut),
        TEST(the_first_difference_as_numbers),
        TEST(h5dump_prints_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
