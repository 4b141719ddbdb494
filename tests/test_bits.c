/* The bits oracle on faults of one bit: what it sees, and which of them float64 alone lets pass. */
#include "cases/inputs.h"
#include "harness/judge.h"
#include "harness/judge_bits.h"
#include "kernels/config.h"
#include "ref/host.h"
#include "ref/host_stages.h"
#include "ref/pipeline.h"
#include "ref/tensorcore.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { L = 16, F = 25 };

/* One step of the tensor core on values (finite, nothing subnormal), written apart from ref/tensorcore.c: the cut terms are integers in units of 2^(e_max-F). */
static float step(const float *a, const float *b, float c, bool nearest) {
    int e_max = -133;
    for (int i = 0; i < L; i++) {
        const int e = a[i] == 0 || b[i] == 0 ? -133 : ilogbf(a[i]) + ilogbf(b[i]);
        if (e > e_max) e_max = e;
    }
    if (c != 0 && ilogbf(c) > e_max) e_max = ilogbf(c);
    double sum = trunc(ldexp((double)c, F - e_max));
    for (int i = 0; i < L; i++) sum += trunc(ldexp((double)a[i] * (double)b[i], F - e_max));
    const double exact = ldexp(sum, e_max - F);
    float result = (float)exact; /* to nearest */
    if (!nearest && fabs((double)result) > fabs(exact)) result = nextafterf(result, 0);
    return result == 0 ? 0.0f : result;
}

typedef enum fault { HONEST, NEAREST, SWAPPED, DROPPED, HALF_UP, FAULT_COUNT } fault;
static const char *const fault_names[FAULT_COUNT] = {"none", "accumulator rounded to nearest", "two k groups swapped", "one k group dropped",
                                                     "bf16 rounding half up"};

static float dot(const float *a, const float *w, int64_t groups, fault kind) {
    float c = 0;
    for (int64_t g = 0; g < groups; g++) {
        int64_t from = g;
        if (kind == SWAPPED && (g == 3 || g == 4)) from = 7 - g;
        if (kind == DROPPED && g == groups - 1) continue;
        c = step(a + from * L, w + from * L, c, kind == NEAREST);
    }
    return c;
}

static void store(const mp_tensor *out, int64_t index, float value, fault kind) {
    if (kind != HALF_UP) {
        mp_encode(out->dtype, out->data, index, (double)value);
        return;
    }
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    ((uint16_t *)out->data)[index] = (uint16_t)((bits + 0x8000) >> 16); /* a tie goes away from zero instead of to even */
}

/* An honest run whose gate_up was done with the fault, the later stages following from it honestly. */
static void run_with(const mp_case *c, const mp_inputs *in, int bm, fault kind, mp_trace *trace) {
    mp_error err = {0};
    const mp_contract contract = mp_host_contract(c);
    assert_int_equal(mp_host_run(c, in, bm, MP_POISON_A, trace, &err), MP_OK);
    mp_tensor *cache1 = &trace->t[MP_CACHE1];
    const int64_t width = mp_case_w1_rows(c), slots = mp_case_slots(c);
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
#pragma omp parallel for
    for (int64_t t = 0; t < slots; t++) {
        float a[1024], w[1024];
        mp_decode_row_f32(c->dtype, in->t[MP_X].data, t / c->topk * c->K, c->K, a);
        for (int64_t n = 0; n < width; n++) {
            mp_decode_row_f32(c->dtype, in->t[MP_W1].data, (ids[t] * width + n) * c->K, c->K, w);
            store(cache1, t * width + n, dot(a, w, c->K / L, kind), kind);
        }
    }
    mp_slot_map map;
    assert_int_equal(mp_slot_map_create(c, trace, &map, &err), MP_OK);
    assert_int_equal(mp_host_activation(c, ids, map.cache_row, cache1, &trace->t[MP_CACHE2], &err), MP_OK);
    const mp_gemm_problem down = mp_down_problem(in, &trace->t[MP_CACHE2], map.cache_row, slots);
    const mp_epilogue epilogue = mp_down_epilogue(c, in);
    assert_int_equal(mp_host_gemm_stage(&contract, &down, &epilogue, NULL, &trace->t[MP_CACHE3], &err), MP_OK);
    assert_int_equal(mp_host_combine(c, &trace->t[MP_CACHE3], &trace->t[MP_OUT], &err), MP_OK);
    free(map.memory);
}

/* Ties of float32 at bf16 are one element in 65,536: enough tokens for some of them. */
static void every_one_bit_fault_is_seen(void **state) {
    (void)state;
    const bool f64_sees[FAULT_COUNT] = {[DROPPED] = true};
    mp_case c = mp_case_default();
    mp_inputs in;
    mp_config config;
    mp_error err = {0};
    assert_int_equal(mp_case_parse(&c, "M=256 topk=2 K=128 N=256 act=silu", &err), MP_OK);
    assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
    assert_int_equal(mp_config_resolve(&c, "", &config, &err), MP_OK);
    mp_contract contract = mp_host_contract(&c);
    contract.bits = MP_BITS_REQUIRED;
    print_message("%-32s %10s %8s %6s %6s\n", "fault", "differing", "ulps", "bits", "f64");
    for (int kind = HONEST; kind < FAULT_COUNT; kind++) {
        mp_trace trace;
        mp_verdict *v = calloc(1, sizeof *v);
        run_with(&c, &in, config.up.block_size_m, (fault)kind, &trace);
        assert_int_equal(mp_judge(&c, &contract, &in, &trace, MP_POISON_A, MP_ENGINE_PLAIN, v, &err), MP_OK);
        assert_int_equal(mp_judge_bits(&c, &contract, &config, &in, &trace, v, &err), MP_OK);
        const bool bits = v->check[MP_CHECK_BITS].answer == MP_FAILED, f64 = v->check[MP_CHECK_BOUND].answer == MP_FAILED;
        print_message("%-32s %10lld %8lld %6s %6s   %s\n", fault_names[kind], (long long)v->stage[MP_GATE_UP].mispredicted, (long long)v->stage[MP_GATE_UP].max_ulps,
                      bits ? "seen" : "-", f64 ? "seen" : "-", v->check[MP_CHECK_BITS].text);
        assert_int_equal(bits, kind != HONEST);
        assert_int_equal(f64, f64_sees[kind]);
        for (int s = MP_ACT; s < MP_STAGE_COUNT; s++) { /* the stages behind it are judged from what they got */
            assert_true(v->stage[s].predicted > 0);
            assert_int_equal(v->stage[s].mispredicted, 0);
        }
        mp_trace_destroy(&trace);
        free(v);
    }
    mp_inputs_destroy(&in);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_one_bit_fault_is_seen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
