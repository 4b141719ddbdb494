/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of offload/ on a device that fails: at every call of the driver, once and for good. Sums are
 * right, or there are none; nothing is left behind. */
#include "kernels/cuda.h"
#include "offload/offload.h"
#include "tests/fake_cuda.h"
#include "tests/ref_support.h"

enum { E = 3, N = 70, K = 50, SLOTS = 40 };

typedef struct sums {
    double value[SLOTS][N], mass[SLOTS][N];
    int visits[SLOTS][N];
} sums;

static void collect(void *ctx, const mp_gemm_tile *tile) {
    sums *s = ctx;
    for (int64_t i = 0; i < tile->count; i++)
        for (int64_t n = 0; n < tile->n; n++) {
            s->value[tile->slot[i]][tile->n0 + n] = tile->value[i * tile->n + n];
            s->mass[tile->slot[i]][tile->n0 + n] = tile->mass[i * tile->n + n];
            s->visits[tile->slot[i]][tile->n0 + n]++;
        }
}

static mp_inputs in; /* x and w1 of the problem */
static int32_t ids[SLOTS];
static int64_t rows[SLOTS];
static mp_gemm_problem problem;
static sums expected;

static int make_problem(void **state) {
    (void)state;
    rng r = {1};
    in.t[MP_X] = allocated_tensor(MP_BF16, SLOTS, K, 0);
    in.t[MP_W1] = allocated_tensor(MP_BF16, E, N, K);
    for (int64_t i = 0; i < SLOTS * K; i++) mp_encode(MP_BF16, in.t[MP_X].data, i, random_unit(&r));
    for (int64_t i = 0; i < E * N * K; i++) mp_encode(MP_BF16, in.t[MP_W1].data, i, random_unit(&r));
    for (int t = 0; t < SLOTS; t++) {
        ids[t] = (int32_t)random_below(&r, E + 1) - 1;
        rows[t] = t;
    }
    problem = (mp_gemm_problem){.a = {.codes = &in.t[MP_X]},
                                .a_row = rows,
                                .w = {.codes = &in.t[MP_W1]},
                                .topk_ids = ids,
                                .slots = SLOTS};
    return (int)mp_gemm_float64(&mp_engine_plain, &problem, true, collect, &expected, NULL);
}

static int free_problem(void **state) {
    (void)state;
    mp_inputs_destroy(&in);
    return 0;
}

static void expect_sums(const sums *s) {
    for (int t = 0; t < SLOTS; t++)
        for (int n = 0; n < N; n++) {
            assert_int_equal(s->visits[t][n], expected.visits[t][n]);
            if (!s->visits[t][n]) continue;
            assert_true(fabs(s->value[t][n] - expected.value[t][n]) <= 1e-13 * expected.mass[t][n]);
            assert_true(fabs(s->mass[t][n] - expected.mass[t][n]) <= 1e-13 * expected.mass[t][n]);
        }
}

static const char *name_of(mp_offload *offload) {
    const mp_engine *engine = mp_offload_engine(offload);
    return engine->name(engine);
}

/* What comes of the same GEMM twice, the second time with what was kept, where call `failing` fails. A device
 * that failed once computes the next GEMM. */
static mp_status compute(int failing, bool lost, mp_error *err) {
    mp_offload *offload = NULL;
    fake.calls = 0;
    fake.failing = failing;
    fake.lost = lost;
    mp_status status = mp_offload_open(4, &offload, err);
    if (status == MP_OK) mp_offload_begin(offload, &in);
    for (int i = 0; i < 2 && offload; i++) {
        mp_error own = {0};
        sums *s = allocated(1, sizeof *s);
        const mp_status next = mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &own);
        if (next == MP_OK) expect_sums(s);
        if (status != MP_OK && !lost) assert_int_equal(next, MP_OK);
        if (next != MP_OK) *err = own;
        if (next != MP_OK) status = next;
        free(s);
    }
    mp_offload_close(offload);
    fake.failing = -1;
    fake.lost = false;
    return status;
}

static void every_call_may_fail(void **state) {
    (void)state;
    mp_error err = {0};
    assert_int_equal(compute(-1, false, &err), MP_OK);
    const int calls = fake.calls;
    assert_true(calls > 40);
    assert_int_equal(fake.live, 0);
    int refused = 0;
    for (int lost = 0; lost < 2; lost++)
        for (int n = 0; n < calls; n++) {
            err = (mp_error){0};
            const mp_status status = compute(n, lost, &err);
            /* what gives memory back cannot fail in a way that matters */
            if (status != MP_OK) refused++;
            if (status != MP_OK && status != MP_EDEVICE && status != MP_EUNSUPPORTED)
                fail_msg("call %d: %d, %s", n, status, err.text);
            if (status != MP_OK && (err.text[0] == '\0' || err.status != status))
                fail_msg("call %d: status %d without its message", n, status);
            assert_int_equal(fake.live, 0);
        }
    assert_true(refused > calls);
}

static size_t no_room(void) {
    return ((size_t)1 << 30) - ((size_t)74 << 20);
}

/* The CPU computes what the device has no room for, and the name says so until the next case. */
static void without_memory_the_cpu_computes(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *offload;
    sums *s = allocated(1, sizeof *s);
    assert_int_equal(mp_offload_open(4, &offload, &err), MP_OK);
    assert_true(mp_offload_is_fast(offload));
    mp_offload_begin(offload, &in);
    fake.used = no_room;
    const int launched = fake.launched;
    assert_int_equal(mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &err), MP_OK);
    expect_sums(s);
    assert_int_equal(fake.launched, launched);
    assert_non_null(strstr(name_of(offload), "too small"));
    fake.used = NULL;
    mp_offload_begin(offload, &in);
    assert_null(strstr(name_of(offload), "too small"));
    memset(s, 0, sizeof *s);
    assert_int_equal(mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &err), MP_OK);
    expect_sums(s);
    assert_true(fake.launched > launched);
    mp_offload_close(offload);
    free(s);
}

static void lose_gemms(const char *entry, const void *params) {
    if (strcmp(entry, "decode") == 0) fake.right(entry, params);
}

/* Kernels that do nothing leave NaN, and that is seen. */
static void kernels_that_do_nothing_are_found(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *offload;
    sums *s = allocated(1, sizeof *s);
    fake.execute = lose_gemms;
    assert_int_equal(mp_offload_open(4, &offload, &err), MP_OK);
    assert_int_equal(mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &err),
                     MP_EDEVICE);
    assert_non_null(strstr(err.text, "the judge on the device is wrong"));
    for (int t = 0; t < SLOTS; t++)
        for (int n = 0; n < N; n++) assert_true(!s->visits[t][n] || isnan(s->value[t][n]));
    fake.execute = fake.right;
    mp_offload_close(offload);
    free(s);
}

/* At rest the device holds nothing of the judge's, and inputs are uploaded once until then. */
static void at_rest_nothing_is_held(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *offload;
    sums *s = allocated(1, sizeof *s);
    assert_int_equal(mp_offload_open(4, &offload, &err), MP_OK);
    mp_offload_begin(offload, &in);
    assert_int_equal(mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &err), MP_OK);
    const size_t bytes = fake.bytes;
    const int live = fake.live;
    assert_int_equal(mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &err), MP_OK);
    assert_int_equal(fake.bytes, bytes);
    assert_int_equal(fake.live, live);
    mp_offload_rest(offload);
    /* what is left: the context, a stream, two events, two modules, and two landings on the host */
    assert_int_equal(fake.live, 8);
    mp_offload_close(offload);
    assert_int_equal(fake.live, 0);
    free(s);
}

/* What is lent is read where it lies, in windows too, and nothing of it travels; until the offload rests. A
 * loan that holds other numbers than the host is found by the CPU's rows. */
static void what_is_lent_is_read_where_it_lies(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *offload;
    sums *s = allocated(1, sizeof *s);
    const size_t w1_bytes = mp_tensor_bytes(&in.t[MP_W1]), x_bytes = mp_tensor_bytes(&in.t[MP_X]);
    char *there = aligned_alloc(64, (w1_bytes + x_bytes + 127) / 64 * 64),
         *x = there + (w1_bytes + 63) / 64 * 64;
    memcpy(there, in.t[MP_W1].data, w1_bytes);
    memcpy(x, in.t[MP_X].data, x_bytes);
    assert_int_equal(mp_offload_open(4, &offload, &err), MP_OK);
    mp_offload_begin(offload, &in);
    size_t before = fake.uploaded;
    assert_int_equal(mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &err), MP_OK);
    const size_t all = fake.uploaded - before;
    mp_offload_rest(offload);
    mp_offload_lend(offload, &in.t[MP_W1], there);
    mp_offload_lend(offload, &in.t[MP_X], x);
    memset(s, 0, sizeof *s);
    before = fake.uploaded;
    assert_int_equal(mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &err), MP_OK);
    expect_sums(s);
    assert_int_equal(fake.uploaded - before, all - w1_bytes - x_bytes);
    /* windows: experts from `first` on; the second expert lies at no multiple of 16, and is uploaded */
    for (int first = 1; first < E; first++) {
        mp_tensor window = in.t[MP_W1];
        window.dim[0] -= first;
        window.data = (char *)window.data + (size_t)first * (w1_bytes / E);
        mp_gemm_problem of_window = problem;
        int32_t later[SLOTS];
        for (int t = 0; t < SLOTS; t++) later[t] = ids[t] < first ? -1 : ids[t] - first;
        of_window.w.codes = &window;
        of_window.topk_ids = later;
        memset(s, 0, sizeof *s);
        before = fake.uploaded;
        if (mp_gemm_float64(mp_offload_engine(offload), &of_window, true, collect, s, &err) != MP_OK)
            fail_msg("%s", err.text);
        assert_int_equal(fake.uploaded - before >= mp_tensor_bytes(&window), first == 1);
        for (int t = 0; t < SLOTS; t++)
            for (int n = 0; n < N && ids[t] >= first; n++)
                assert_true(fabs(s->value[t][n] - expected.value[t][n]) <= 1e-13 * expected.mass[t][n]);
    }
    for (int64_t i = 0; i < E * N; i++) mp_encode(MP_BF16, there, i * K, 1000);
    assert_int_equal(mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &err),
                     MP_EDEVICE);
    mp_offload_rest(offload);
    before = fake.uploaded;
    memset(s, 0, sizeof *s);
    assert_int_equal(mp_gemm_float64(mp_offload_engine(offload), &problem, true, collect, s, &err), MP_OK);
    expect_sums(s);
    assert_int_equal(fake.uploaded - before, all);
    mp_offload_close(offload);
    free(there);
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_may_fail), cmocka_unit_test(without_memory_the_cpu_computes),
        cmocka_unit_test(kernels_that_do_nothing_are_found), cmocka_unit_test(at_rest_nothing_is_held),
        cmocka_unit_test(what_is_lent_is_read_where_it_lies)};
    return cmocka_run_group_tests(tests, make_problem, free_problem);
}
