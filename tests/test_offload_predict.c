/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of the prediction on a device, whose kernel is the CPU's definition here: operands, scales,
 * slots and epilogue come together, and no failure of the device becomes a prediction. */
#include "cases/scheme.h"
#include "offload/confirm.h"
#include "offload/device/sums_params.h"
#include "offload/offload.h"
#include "ref/engine.h"
#include "ref/predict/scaling.h"
#include "ref/predict/tensorcore.h"
#include "tests/fake_cuda.h"
#include "tests/ref_support.h"

#include "base/bits.h"

enum { E = 3, N = 70, K = 128, SLOTS = 40, ROWS = 60, GROUP = 64, MAX_K = 128 };

/* Plain: bf16 with a bias and router weights. Scaled: e4m3, a scale for GROUP terms, of w for 32 columns. */
typedef struct problem {
    bool scaled;
    mp_tensor a, w, a_scale, w_scale, bias, expected;
    int64_t a_row[SLOTS], out_row[SLOTS];
    int32_t ids[SLOTS];
    float weights[SLOTS];
    mp_gemm_problem gemm;
    mp_epilogue epilogue;
    mp_gemm_contract contract;
    const mp_scheme *scheme;
} problem;

static problem problems[2], *current; /* current: whose sums a launch is about */
static uint32_t flipped;              /* of every sum: a kernel that is wrong */
static bool lost;                     /* a kernel that does nothing */

static void fill(rng *r, const mp_tensor *t) {
    for (int64_t i = 0; i < mp_tensor_count(t); i++) mp_encode(t->dtype, t->data, i, random_unit(r));
}

static void make(problem *p, bool scaled) {
    const mp_dtype codes = scaled ? MP_E4M3 : MP_BF16;
    rng r = {scaled};
    int64_t order[ROWS];
    mp_tc_model m;
    assert_true(
        mp_tc_find(90, MP_TC_MMA, scaled ? MP_TC_E4M3 : MP_TC_BF16, scaled ? MP_TC_E4M3 : MP_TC_BF16, &m));
    *p = (problem){.scaled = scaled,
                   .a = allocated_tensor(codes, SLOTS, K, 0),
                   .w = allocated_tensor(codes, E, N, K),
                   .a_scale = allocated_tensor(MP_FP32, SLOTS, K / GROUP, 0),
                   .w_scale = allocated_tensor(MP_FP32, E, (N + 31) / 32, K / GROUP),
                   .bias = allocated_tensor(MP_BF16, E, N, 0),
                   .expected = allocated_tensor(MP_BF16, ROWS, N, 0),
                   .scheme = &mp_schemes[scaled ? MP_SCHEME_FP8_BLOCK : MP_SCHEME_NONE]};
    fill(&r, &p->a);
    fill(&r, &p->w);
    fill(&r, &p->a_scale);
    fill(&r, &p->w_scale);
    fill(&r, &p->bias);
    random_order(&r, p->a_row, SLOTS);
    random_order(&r, order, ROWS);
    for (int t = 0; t < SLOTS; t++) {
        p->ids[t] = (int32_t)random_below(&r, E + 1) - 1;
        p->out_row[t] = t % 10 == 9 ? -1 : order[t];
        p->weights[t] = (float)random_unit(&r);
    }
    p->gemm = (mp_gemm_problem){.a = {.codes = &p->a, .block_rows = 1, .block_columns = GROUP},
                                .a_row = p->a_row,
                                .w = {.codes = &p->w, .block_rows = 32, .block_columns = GROUP},
                                .topk_ids = p->ids,
                                .slots = SLOTS};
    if (scaled) p->gemm.a.scale = &p->a_scale;
    if (scaled) p->gemm.w.scale = &p->w_scale;
    if (!scaled) p->epilogue = (mp_epilogue){.bias = &p->bias, .weights = p->weights};
    p->contract = (mp_gemm_contract){.accumulator = MP_ACC_TENSOR_CORE,
                                     .group = m.group,
                                     .fraction_bits = m.fraction_bits,
                                     .result_fraction_bits = m.result_fraction_bits,
                                     .zero_exponent = m.zero_exponent,
                                     .k_order = scaled ? MP_K_BY_PAIRS : MP_K_ASCENDING,
                                     .split_k = 1,
                                     .promotion = scaled ? GROUP : 0,
                                     .scaling = scaled ? MP_SCALING_PRODUCT_FMA : MP_SCALING_ANY};
    assert_int_equal(mp_predict_scaled_gemm(&p->contract, p->scheme, MP_BF16, &p->gemm, &p->epilogue,
                                            p->out_row, &p->expected, NULL),
                     MP_OK);
}

static void drop(problem *p) {
    mp_tensor *const all[] = {&p->a, &p->w, &p->a_scale, &p->w_scale, &p->bias, &p->expected};
    for (size_t i = 0; i < COUNT(all); i++) mp_tensor_free(all[i]);
}

/* ---- the kernel ---- */

static float dot(const mp_sums_params *p, int64_t a_row, int64_t w_row, int64_t first, int64_t end) {
    const size_t size = current->scaled ? 1 : 2;
    const char *a = (const char *)fake_memory(p->a) + (size_t)(a_row * K) * size,
               *w = (const char *)fake_memory(p->w) + (size_t)(w_row * K) * size;
    const mp_tc_input input = current->scaled ? MP_TC_E4M3 : MP_TC_BF16;
    uint32_t x[MAX_K] = {0}, y[MAX_K] = {0};
    mp_tc_model m;
    mp_tc_find(90, MP_TC_MMA, input, input, &m);
    for (int64_t k = first; k < end; k++) {
        memcpy(&x[k - first], a + (size_t)k * size, size);
        memcpy(&y[k - first], w + (size_t)k * size, size);
    }
    return mp_float_of_bits(mp_tc_dot(&m, end - first, x, y, 0));
}

static float sum_of(const mp_sums_params *p, int64_t a_row, int64_t w_row) {
    if (!current->scaled) return dot(p, a_row, w_row, 0, K);
    const float *a = (const float *)fake_memory(p->a_scale) + a_row * p->scales,
                *w = (const float *)fake_memory(p->w_scale) + w_row * p->scales;
    float sum = 0;
    for (int64_t i = 0; i * p->part_terms < K; i++)
        sum = fmaf(dot(p, a_row, w_row, i * p->part_terms, (i + 1) * p->part_terms), a[i] * w[i], sum);
    return sum;
}

/* How a comparison is wrong. */
enum { RIGHT, ALL_EQUAL, NOTHING, OWN_BITS, FIRST_COLUMNS, ANOTHER_ROW } confirms;

static void confirm(mp_confirm_params p) {
    mp_confirmed_row *to = fake_memory(p.confirmed);
    for (long long i = 0; i < p.rows.count && confirms != NOTHING; i++) {
        to[i] = (mp_confirmed_row){0};
        if (confirms == ANOTHER_ROW) p.sums = p.sums + (i == 1 ? 4 * N : 0);
        for (long long j = 0; j < (confirms == FIRST_COLUMNS ? p.rows.width - 8 : p.rows.width); j++)
            mp_confirm_element(&p, i, j, &to[i]);
        if (confirms == FIRST_COLUMNS) to[i].equal += 8;
        if (confirms == ALL_EQUAL) to[i].equal = p.rows.width;
        if (confirms == OWN_BITS) to[i].equal = p.rows.width, to[i].got = to[i].predicted;
    }
}

static void execute(const char *entry, const void *params) {
    const mp_sums_params *p = params;
    if (strcmp(entry, "confirm_gemm") == 0) confirm(*(const mp_confirm_params *)params);
    if (strcmp(entry, "sums") != 0) return;
    const mp_sums_tile *tile = fake_memory(p->tile);
    const long long *row = fake_memory(p->a_row);
    float *sums = fake_memory(p->sums);
    bool some[E] = {false};
    int tiles = 0; /* all are launched at once, and an expert has one: it has fewer slots than a tile */
    for (int t = 0; t < SLOTS; t++) {
        if (current->ids[t] < 0 || some[current->ids[t]]) continue;
        some[current->ids[t]] = true;
        tiles++;
    }
    for (int t = 0; t < tiles && !lost; t++)
        for (int64_t r = tile[t].first; r < tile[t].first + tile[t].count; r++)
            for (int64_t n = 0; n < p->n; n++) {
                const float sum = sum_of(p, row[r], tile[t].expert * p->n + n);
                sums[(r - p->first_position) * p->n + n] = mp_float_of_bits(mp_bits_of_float(sum) ^ flipped);
            }
}

/* ---- tests ---- */

/* The current problem's prediction, [ROWS, N]; a device that was opened is closed again. */
static mp_status predict(const mp_tensor *out, mp_error *err) {
    mp_offload *offload = NULL;
    mp_status status = mp_offload_open(4, &offload, err);
    if (status == MP_OK) {
        const mp_engine *engine = mp_offload_engine(offload);
        mp_offload_begin(offload, NULL);
        status = engine->predict_gemm(engine, &current->contract, current->scheme, MP_BF16, &current->gemm,
                                      &current->epilogue, current->out_row, out, err);
    }
    mp_offload_close(offload);
    assert_int_equal(fake.live, 0);
    return status;
}

static void the_prediction_is_the_cpus(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(problems); i++) {
        mp_tensor out = allocated_tensor(MP_BF16, ROWS, N, 0);
        mp_error err = {0};
        current = &problems[i];
        if (predict(&out, &err) != MP_OK) fail_msg("%s", err.text);
        assert_true(same_memory(&out, &current->expected)); /* rows without a slot included */
        mp_tensor_free(&out);
    }
}

/* A kernel whose bits are others, and one that does nothing. */
static void a_wrong_kernel_is_found(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(problems); i++)
        for (int what = 0; what < 2; what++) {
            mp_tensor out = allocated_tensor(MP_BF16, ROWS, N, 0);
            mp_error err = {0};
            current = &problems[i];
            flipped = what ? 0 : 0x10000;
            lost = what;
            assert_int_equal(predict(&out, &err), MP_EDEVICE);
            assert_non_null(strstr(err.text, "a GEMM predicted on "));
            assert_non_null(strstr(err.text, ", by the CPU "));
            mp_tensor_free(&out);
        }
    flipped = 0;
    lost = false;
}

static mp_status confirmed(const mp_tensor *got, bool *equal, mp_error *err) {
    mp_offload *offload = NULL;
    mp_status status = mp_offload_open(4, &offload, err);
    *equal = false;
    if (status == MP_OK) {
        const mp_engine *engine = mp_offload_engine(offload);
        mp_offload_begin(offload, NULL);
        *equal = true;
        status = engine->confirm_gemm(engine, &current->contract, current->scheme, MP_BF16, &current->gemm,
                                      &current->epilogue, current->out_row, got, equal, err);
    }
    mp_offload_close(offload);
    assert_int_equal(fake.live, 0);
    return status;
}

/* One code of any row that is stored makes the difference, in its last bit too; rows of no slot may hold
 * anything. */
static void equal_bits_are_confirmed_and_no_others(void **state) {
    (void)state;
    rng r = {3};
    for (size_t i = 0; i < COUNT(problems); i++) {
        mp_error err = {0};
        bool equal = false, stored[ROWS] = {false};
        mp_tensor *got = &problems[i].expected;
        current = &problems[i];
        assert_int_equal(confirmed(got, &equal, &err), MP_OK);
        assert_true(equal);
        for (int t = 0; t < SLOTS; t++)
            if (current->ids[t] >= 0 && current->out_row[t] >= 0) stored[current->out_row[t]] = true;
        for (int row = 0; row < ROWS; row++) {
            const int64_t at = row * N + random_below(&r, N);
            const uint64_t code = mp_code_at(got->dtype, got->data, at);
            mp_put_code(got->dtype, got->data, at, code ^ 1u << random_below(&r, 16));
            if (confirmed(got, &equal, &err) != MP_OK) fail_msg("%s", err.text);
            assert_int_equal(equal, !stored[row]);
            mp_put_code(got->dtype, got->data, at, code);
        }
    }
}

/* Wrong sums that are stored, and comparisons that do not compare: nothing is confirmed. */
static void a_wrong_confirmation_is_found(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(problems); i++) {
        mp_error err = {0};
        bool equal = true;
        current = &problems[i];
        mp_tensor got = allocated_tensor(MP_BF16, ROWS, N, 0);
        flipped = 0x10000;
        assert_int_equal(predict(&got, &err), MP_EDEVICE); /* which leaves what it predicted */
        assert_int_equal(confirmed(&got, &equal, &err), MP_EDEVICE);
        assert_non_null(strstr(err.text, "a GEMM found equal on "));
        flipped = 0;
        for (confirms = ALL_EQUAL; confirms <= ANOTHER_ROW; confirms++) {
            equal = true;
            const mp_status status = confirmed(&current->expected, &equal, &err);
            print_message("comparison %d: %s\n", (int)confirms, status == MP_OK ? "not equal" : err.text);
            assert_false(equal);
            if (confirms == ALL_EQUAL || confirms == OWN_BITS || confirms == FIRST_COLUMNS)
                assert_int_equal(status, MP_EDEVICE);
        }
        confirms = RIGHT;
        mp_tensor_free(&got);
    }
}

/* Of a first piece that is smaller than others, and whose rows are not all stored. */
static void canaries_are_in_the_first_piece(void **state) {
    (void)state;
    mp_offload *o = NULL;
    mp_gemm_tasks tasks;
    mp_row_block *blocks;
    int64_t count;
    int with = 0;
    mp_error err = {0};
    current = &problems[0];
    assert_int_equal(mp_offload_open(4, &o, &err), MP_OK);
    mp_offload_begin(o, NULL);
    assert_int_equal(mp_gemm_tasks_create(&current->gemm, &tasks, &err), MP_OK);
    assert_int_equal(mp_row_blocks(&tasks, &blocks, &count, &err), MP_OK);
    for (int64_t rows = 1; rows < 20; rows++) {
        mp_confirmation c = {.got = &current->expected, .rows = SLOTS, .first_rows = rows};
        assert_int_equal(
            mp_confirmation_begin(o, &c, &tasks, blocks, count, &current->epilogue, current->out_row, &err),
            MP_OK);
        for (int k = 0; k < c.canaries; k++) assert_in_range(c.canary[k], 0, rows - 1);
        with += c.canaries == MP_CANARIES;
        mp_confirmation_end(&c);
    }
    assert_true(with > 0);
    free(blocks);
    mp_gemm_tasks_destroy(&tasks);
    mp_offload_close(o);
    assert_int_equal(fake.live, 0);
}

static void every_call_may_fail(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(problems); i++) {
        mp_tensor first = allocated_tensor(MP_BF16, ROWS, N, 0);
        const bool looks = i % 2; /* at what is stored; else it predicts */
        bool equal;
        current = &problems[i / 2];
        fake.calls = 0;
        assert_int_equal(looks ? confirmed(&current->expected, &equal, NULL) : predict(&first, NULL), MP_OK);
        mp_tensor_free(&first);
        const int calls = fake.calls;
        int refused = 0;
        assert_true(calls > 40);
        for (int n = 0; n < 2 * calls; n++) {
            mp_tensor out = allocated_tensor(MP_BF16, ROWS, N, 0);
            mp_error err = {0};
            fake.calls = 0;
            fake.failing = n % calls;
            fake.lost = n >= calls;
            equal = true;
            const mp_status status =
                looks ? confirmed(&current->expected, &equal, &err) : predict(&out, &err);
            fake.failing = -1;
            fake.lost = false;
            refused += status != MP_OK;
            if (status == MP_OK) assert_true(looks ? equal : same_memory(&out, &current->expected));
            if (status != MP_OK && looks) assert_false(equal);
            if (status != MP_OK && status != MP_EDEVICE && status != MP_EUNSUPPORTED)
                fail_msg("call %d: %d, %s", n, status, err.text);
            if (status != MP_OK && err.text[0] == '\0') fail_msg("call %d: no message", n);
            mp_tensor_free(&out);
        }
        assert_true(refused > calls);
    }
}

static size_t no_room(void) {
    return ((size_t)1 << 30) - ((size_t)1 << 20);
}

static void without_memory_nothing_is_predicted(void **state) {
    (void)state;
    mp_tensor out = allocated_tensor(MP_BF16, ROWS, N, 0), before = allocated_tensor(MP_BF16, ROWS, N, 0);
    mp_error err = {0};
    current = &problems[0];
    fake.used = no_room;
    assert_int_equal(predict(&out, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "it has room for "));
    assert_true(same_memory(&out, &before));
    fake.used = NULL;
    mp_tensor_free(&out);
    mp_tensor_free(&before);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_prediction_is_the_cpus),
                                       cmocka_unit_test(a_wrong_kernel_is_found),
                                       cmocka_unit_test(equal_bits_are_confirmed_and_no_others),
                                       cmocka_unit_test(canaries_are_in_the_first_piece),
                                       cmocka_unit_test(a_wrong_confirmation_is_found),
                                       cmocka_unit_test(every_call_may_fail),
                                       cmocka_unit_test(without_memory_nothing_is_predicted)};
    fake.execute = execute;
    make(&problems[0], false);
    make(&problems[1], true);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    drop(&problems[0]);
    drop(&problems[1]);
    return failed;
}
