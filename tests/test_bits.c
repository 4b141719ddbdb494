/* SPDX-License-Identifier: Apache-2.0 */
/* The bits oracle on faults of one bit: what it sees, and which of them float64 alone lets pass. */
#include "harness/progress.h"
#include "ref/predict/scaling.h"
#include "ref/predict/tensorcore.h"
#include "tests/bench_support.h"
#include "tests/core_support.h"

#include <stdio.h>

enum { L = 16, F = 25 };

typedef enum fault { HONEST, NEAREST, SWAPPED, DROPPED, HALF_UP, FAULT_COUNT } fault;
static const char *const fault_names[FAULT_COUNT] = {"none", "accumulator rounded to nearest",
                                                     "two k groups swapped", "one k group dropped",
                                                     "bf16 rounding half up"};

static float dot(const double *a, const double *w, int64_t groups, fault kind) {
    const core unit = {L, F};
    double c = 0;
    for (int64_t g = 0; g < groups; g++) {
        int64_t from = g;
        if (kind == SWAPPED && (g == 3 || g == 4)) from = 7 - g;
        if (kind == DROPPED && g == groups - 1) continue;
        const double sum = core_sum(unit, MP_BF16, a + from * L, w + from * L, L, c);
        c = kind == NEAREST ? (double)(float)sum : truncate_to_float(sum);
    }
    return (float)c;
}

static void store(const mp_tensor *out, int64_t index, float value, fault kind) {
    if (kind != HALF_UP) {
        mp_encode(out->dtype, out->data, index, (double)value);
        return;
    }
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    ((uint16_t *)out->data)[index] =
        (uint16_t)((bits + 0x8000) >> 16); /* a tie goes away from zero instead of to even */
}

static void promise(mp_contract *contract, mp_bits_promise bits) {
    for (int s = 0; s < MP_STAGE_COUNT; s++) contract->promise[s].bits = bits;
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
        double a[1024], w[1024];
        mp_decode_row(c->dtype, in->t[MP_X].data, t / c->topk * c->K, c->K, a);
        for (int64_t n = 0; n < width; n++) {
            mp_decode_row(c->dtype, in->t[MP_W1].data, (ids[t] * width + n) * c->K, c->K, w);
            store(cache1, t * width + n, dot(a, w, c->K / L, kind), kind);
        }
    }
    mp_slot_map map;
    assert_int_equal(mp_slot_map_create(c, trace->t, &map, &err), MP_OK);
    mp_tensor tensors[MP_TENSOR_COUNT];
    mp_all_tensors(in, trace, tensors);
    const mp_stage_call call = {.c = c, .t = tensors, .block_size_m = bm, .map = &map};
    mp_prediction honest = {.contract = &contract};
    assert_int_equal(mp_predict_stage_act(&honest, &call, &err), MP_OK);
    assert_int_equal(mp_predict_stage_down(&honest, &call, &err), MP_OK);
    assert_int_equal(mp_predict_stage_combine(&honest, &call, &err), MP_OK);
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
    assert_int_equal(mp_config_resolve(&c, NULL, &config, &err), MP_OK);
    mp_contract contract = mp_host_contract(&c);
    promise(&contract, MP_BITS_REQUIRED);
    print_message("%-32s %10s %8s %7s %6s %6s\n", "fault", "differing", "ulps", "output", "bits", "f64");
    for (int kind = HONEST; kind < FAULT_COUNT; kind++) {
        mp_trace trace;
        mp_verdict *v = malloc(sizeof *v);
        mp_verdict_init(v);
        run_with(&c, &in, config.up.block_size_m, (fault)kind, &trace);
        assert_int_equal(mp_judge(&c, &contract, NULL, &in, &trace, MP_POISON_A, &mp_engine_plain, v, &err),
                         MP_OK);
        assert_int_equal(mp_judge_bits(&c, &contract, &config, &in, &trace, &mp_engine_plain, v, &err),
                         MP_OK);
        const bool bits = v->check[MP_CHECK_BITS].answer == MP_FAILED,
                   f64 = v->check[MP_CHECK_BOUND].answer == MP_FAILED;
        print_message("%-32s %10lld %8lld %7lld %6s %6s   %s\n", fault_names[kind],
                      (long long)v->stage[MP_GATE_UP].mispredicted, (long long)v->stage[MP_GATE_UP].max_ulps,
                      (long long)v->end_to_end.mispredicted, bits ? "seen" : "-", f64 ? "seen" : "-",
                      v->check[MP_CHECK_BITS].text);
        assert_int_equal(bits, kind != HONEST);
        assert_int_equal(f64, f64_sees[kind]);
        /* end to end: against an honest run from the inputs */
        mp_trace honest;
        int64_t reached = 0;
        assert_int_equal(mp_host_run(&c, &in, config.up.block_size_m, MP_POISON_A, &honest, &err), MP_OK);
        for (int64_t i = 0; i < c.M * c.K; i++)
            reached += ((uint16_t *)honest.t[MP_OUT].data)[i] != ((uint16_t *)trace.t[MP_OUT].data)[i];
        assert_int_equal(v->end_to_end.predicted, c.M * c.K);
        assert_int_equal(v->end_to_end.mispredicted, reached);
        if (kind == HONEST) assert_int_equal(reached, 0);
        if (kind == DROPPED)
            assert_true(reached > 0); /* the others may vanish in the roundings that follow */
        mp_trace_destroy(&honest);
        for (int s = MP_ACT; s < MP_STAGE_COUNT;
             s++) { /* the stages behind it are judged from what they got */
            assert_true(v->stage[s].predicted > 0 || !mp_case_has_stage(&c, (mp_stage)s));
            assert_int_equal(v->stage[s].mispredicted, 0);
        }
        mp_trace_destroy(&trace);
        mp_verdict_free(v);
        free(v);
    }
    mp_inputs_destroy(&in);
}

/* Judges a host run of the case whose tensor `drop` was not left (MP_TENSOR_COUNT: none); *v starts zeroed.
 */
static mp_status judge_host(const char *text, mp_bits_promise bits, int drop, mp_verdict *v, mp_error *err) {
    mp_case c = mp_case_default();
    mp_inputs in;
    mp_config config;
    mp_trace trace;
    mp_verdict_free(v);
    assert_int_equal(mp_case_parse(&c, text, err), MP_OK);
    assert_int_equal(mp_inputs_create(&c, &in, err), MP_OK);
    assert_int_equal(mp_config_resolve(&c, NULL, &config, err), MP_OK);
    mp_contract contract = mp_host_contract(&c);
    promise(&contract, bits);
    assert_int_equal(mp_host_run(&c, &in, config.up.block_size_m, MP_POISON_A, &trace, err), MP_OK);
    if (drop < MP_TENSOR_COUNT) mp_tensor_free(&trace.t[drop]);
    mp_status status = mp_judge(&c, &contract, NULL, &in, &trace, MP_POISON_A, &mp_engine_plain, v, err);
    if (status == MP_OK)
        status = mp_judge_bits(&c, &contract, &config, &in, &trace, &mp_engine_plain, v, err);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

/* Equal bits say what was compared, and what was not. */
static void the_text_says_what_was_predicted(void **state) {
    (void)state;
    mp_error err = {0};
    mp_verdict *v = calloc(1, sizeof *v);
    const mp_check_result *bits = &v->check[MP_CHECK_BITS];
    assert_int_equal(judge_host("M=4 E=4 topk=2 K=64 N=32", MP_BITS_REQUIRED, MP_TENSOR_COUNT, v, &err),
                     MP_OK);
    assert_int_equal(bits->answer, MP_PASSED);
    assert_string_equal(bits->text, "");
    assert_int_equal(
        judge_host("M=4 E=4 topk=4 K=64 N=32 fused_sum=1", MP_BITS_REQUIRED, MP_TENSOR_COUNT, v, &err),
        MP_OK);
    assert_int_equal(bits->answer, MP_PASSED);
    assert_non_null(strstr(bits->text, "down and combine are not predicted"));
    assert_int_equal(judge_host("M=4 E=4 topk=2 K=64 N=32", MP_BITS_REPORTED, MP_TENSOR_COUNT, v, &err),
                     MP_OK);
    assert_int_equal(bits->answer, MP_NOT_JUDGED);
    assert_string_equal(bits->text,
                        "reported: all 1536 equal"); /* 8 slots * (2*32 + 32 + 64) + 4 tokens * 64 */
    assert_int_equal(
        judge_host("M=4 E=4 topk=4 K=64 N=32 fused_sum=1", MP_BITS_REPORTED, MP_TENSOR_COUNT, v, &err),
        MP_OK);
    assert_string_equal(
        bits->text,
        "reported: all 1536 equal; down and combine are not predicted (the order of additions is not fixed)");
    mp_verdict_free(v);
    free(v);
}

/* What is not exposed is predicted through: the stages between two tensors that are there are one span, and
 * one bit in its last tensor is seen. */
static void hidden_tensors_are_predicted_through(void **state) {
    (void)state;
    static const char *const texts[] = {"M=4 E=4 topk=2 K=64 N=32 bias=1",
                                        "M=4 E=4 topk=2 K=64 N=32 layout=sorted",
                                        "M=4 E=4 topk=2 K=64 N=32 filter=0.3 layout=masked",
                                        "M=4 E=4 topk=2 K=64 N=32 filter=0.5 mode=no_combine"};
    mp_verdict *v = calloc(1, sizeof *v);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (int id = MP_CACHE1; id < MP_TENSOR_COUNT; id++) {
            mp_error err = {0};
            if (judge_host(texts[i], MP_BITS_REQUIRED, id, v, &err) != MP_OK) fail_msg("%s", err.text);
            for (int k = 0; k < MP_CHECK_COUNT; k++)
                if (v->check[k].answer == MP_FAILED)
                    fail_msg("%s without %s: %s", texts[i], mp_tensor_name((mp_tensor_id)id),
                             v->check[k].text);
            assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_PASSED);
        }
    mp_verdict_free(v);
    free(v);
}

/* Engines that predict gate_up, and nothing else: as the CPU does, and by one bit wrong. */
static int engine_calls;
static mp_status predict_gate_up(const mp_engine *self, const mp_gemm_contract *contract,
                                 const mp_scheme *scheme, mp_dtype dtype, const mp_gemm_problem *problem,
                                 const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                                 mp_error *err) {
    (void)self;
    if (problem->w.codes->dim[1] != 2 * 16) return mp_fail(err, MP_EUNSUPPORTED, "not this one");
    engine_calls++;
    return mp_predict_scaled_gemm(contract, scheme, dtype, problem, epilogue, out_row, out, err);
}
static mp_status predict_wrong(const mp_engine *self, const mp_gemm_contract *contract,
                               const mp_scheme *scheme, mp_dtype dtype, const mp_gemm_problem *problem,
                               const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                               mp_error *err) {
    const mp_status status =
        predict_gate_up(self, contract, scheme, dtype, problem, epilogue, out_row, out, err);
    if (status == MP_OK) ((uint16_t *)out->data)[3 * 32 + 5] ^= 1;
    return status;
}

/* What the engine predicts is its own, the rest the CPU's. Where the subject differs the CPU predicts that
 * too, so that an engine's mistake is no fault of the subject's. */
static void an_engine_predicts_what_it_can(void **state) {
    (void)state;
    static const struct {
        mp_status (*predict)(const mp_engine *, const mp_gemm_contract *, const mp_scheme *, mp_dtype,
                             const mp_gemm_problem *, const mp_epilogue *, const int64_t *, const mp_tensor *,
                             mp_error *);
        bool faulty; /* the subject */
        mp_status status;
    } of[] = {{predict_gate_up, false, MP_OK},
              {predict_gate_up, true, MP_OK},
              {predict_wrong, false, MP_EDEVICE},
              {predict_wrong, true, MP_EDEVICE}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        const mp_engine engine = {.name = mp_engine_plain.name,
                                  .gemm_float64 = mp_engine_plain.gemm_float64,
                                  .predict_gemm = of[i].predict};
        mp_error err = {0};
        bench b;
        mp_verdict *v = malloc(sizeof *v);
        mp_verdict_init(v);
        engine_calls = 0;
        open_bench(&b, "M=4 E=4 topk=2 K=64 N=16");
        assert_int_equal(predict(&b), MP_OK);
        if (of[i].faulty) ((uint16_t *)b.trace.t[MP_CACHE1].data)[7 * 32] ^= 1;
        assert_int_equal(mp_judge_bits(&b.c, &b.contract, &b.config, &b.in, &b.trace, &engine, v, &err),
                         of[i].status);
        assert_true(engine_calls > 0);
        if (of[i].status == MP_OK) {
            assert_int_equal(v->stage[MP_GATE_UP].predicted, 4 * 2 * 2 * 16);
            assert_int_equal(v->stage[MP_GATE_UP].mispredicted, of[i].faulty);
            assert_int_equal(v->stage[MP_DOWN].predicted, 4 * 2 * 64);
            assert_int_equal(v->check[MP_CHECK_BITS].answer, of[i].faulty ? MP_FAILED : MP_PASSED);
        } else {
            assert_non_null(strstr(err.text, "gate_up, row 3, column 5 of cache1: predicted as "));
        }
        close_bench(&b);
        mp_verdict_free(v);
        free(v);
    }
}

/* The combine alone in fp64: codes of opposite sign are further apart than int64_t counts. */
static void distances_saturate(void **state) {
    (void)state;
    bench b;
    open_bench(&b, "scope=combine dtype=fp64 M=1 topk=1 K=1");
    *(double *)b.in.t[MP_CACHE3].data = 0x1p1000;
    assert_int_equal(predict(&b), MP_OK);
    *(double *)b.trace.t[MP_OUT].data = -0x1p1000;
    const mp_verdict *v = bits_of(&b);
    assert_int_equal(v->stage[MP_COMBINE].mispredicted, 1);
    assert_true(v->stage[MP_COMBINE].max_ulps == INT64_MAX - 1);
    close_bench(&b);
}

/* act(gate) may be zero within its error; times Inf that is Inf or NaN, whichever float64 came to: of gelu, 1
 * + erf is 6e-14 at -7.5, and 0 at -9, where the product is NaN in float64 itself. */
static void zero_times_infinity_is_either(void **state) {
    (void)state;
    static const struct {
        float gate, up, stored;
        bool right;
    } e[] = {
        {-9, INFINITY, NAN, true},          {-9, INFINITY, -INFINITY, true}, {-9, INFINITY, INFINITY, false},
        {-9, INFINITY, 0, false},           {-9, -INFINITY, INFINITY, true}, {-7.5f, INFINITY, NAN, true},
        {-7.5f, INFINITY, -INFINITY, true}, {1, INFINITY, NAN, false},       {1, INFINITY, INFINITY, true},
        {0, INFINITY, NAN, true},           {0, INFINITY, INFINITY, false},  {-9, NAN, -INFINITY, false},
    };
    for (size_t i = 0; i < sizeof e / sizeof *e; i++) {
        bench b;
        open_bench(&b, "scope=act M=1 topk=1 N=1 dtype=fp32 act=gelu");
        memcpy(b.in.t[MP_CACHE1].data, (float[]){e[i].gate, e[i].up}, 8);
        assert_int_equal(predict(&b), MP_OK);
        *(float *)b.trace.t[MP_CACHE2].data = e[i].stored;
        const mp_verdict *v = verdict_of(&b);
        if ((v->check[MP_CHECK_BOUND].answer == MP_PASSED) != e[i].right)
            fail_msg("gelu(%g)*%g = %g: %s", (double)e[i].gate, (double)e[i].up, (double)e[i].stored,
                     v->check[MP_CHECK_BOUND].text);
        close_bench(&b);
    }
}

/* ---- every layout, mode and scope: what is compared, and how a difference is told ---- */

static void start(bench *b, const char *text) {
    open_bench(b, text);
    assert_int_equal(predict(b), MP_OK);
    if (b->c.scope != MP_SCOPE_COMBINE) map_slots(b);
}

static void add_to_code(const mp_tensor *t, int64_t index, int steps) {
    if (mp_dtype_size(t->dtype) == 2)
        ((uint16_t *)t->data)[index] = (uint16_t)(((uint16_t *)t->data)[index] + steps);
    else
        ((uint32_t *)t->data)[index] += (uint32_t)steps;
}

static int32_t expert_of(const bench *b, int64_t slot) {
    return ((const int32_t *)b->in.t[MP_TOPK_IDS].data)[slot];
}

/* The tensor a stage leaves, and the place of its last element that is compared. */
static mp_tensor *left_by(bench *b, mp_stage stage, int64_t *index) {
    const int64_t slots = mp_case_slots(&b->c);
    int64_t slot = slots - 1;
    while (stage == MP_ACT && expert_of(b, slot) < 0) slot--;
    mp_tensor *t = &b->trace.t[stage == MP_GATE_UP                                        ? MP_CACHE1
                               : stage == MP_ACT                                          ? MP_CACHE2
                               : stage == MP_DOWN && mp_case_has_stage(&b->c, MP_COMBINE) ? MP_CACHE3
                                                                                          : MP_OUT];
    *index = stage == MP_GATE_UP || stage == MP_ACT ? (b->map.cache_row[slot] + 1) * t->dim[1] - 1
                                                    : mp_tensor_count(t) - 1;
    return t;
}

static void every_element_is_compared_once(void **state) {
    (void)state;
    static const char *const texts[] = {
        "M=6 E=4 topk=2 K=64 N=32 filter=0.4",
        "M=6 E=4 topk=2 K=64 N=32 filter=0.4 layout=sorted",
        "M=6 E=4 topk=2 K=64 N=32 filter=0.4 mode=no_combine",
        "M=6 E=4 topk=2 K=64 N=32 mode=inplace dtype=fp32",
        "M=6 E=4 topk=1 K=64 N=32 dtype=fp16",
        "M=6 topk=2 N=32 filter=0.4 scope=act",
        "M=6 topk=2 K=64 filter=0.4 scope=combine",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        bench b;
        start(&b, texts[i]);
        const mp_case *c = &b.c;
        const int64_t slots = mp_case_slots(c);
        int64_t valid = 0;
        for (int64_t t = 0; t < slots; t++) valid += expert_of(&b, t) >= 0;
        const bool all = c->scope == MP_SCOPE_ALL, direct = all && !mp_case_has_stage(c, MP_COMBINE);
        const int64_t expected[MP_STAGE_COUNT] = {[MP_GATE_UP] = all ? slots * 2 * c->N : 0,
                                                  [MP_ACT] = c->scope != MP_SCOPE_COMBINE ? valid * c->N : 0,
                                                  [MP_DOWN] = all ? slots * c->K : 0,
                                                  [MP_COMBINE] =
                                                      c->scope == MP_SCOPE_ACT || direct ? 0 : c->M * c->K};
        const int64_t outputs = all ? mp_tensor_count(&b.trace.t[MP_OUT]) : 0;
        const mp_verdict *v = bits_of(&b);
        assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_PASSED);
        for (int s = 0; s < MP_STAGE_COUNT; s++) {
            assert_int_equal(v->stage[s].predicted, expected[s]);
            assert_int_equal(v->stage[s].mispredicted, 0);
        }
        assert_int_equal(v->end_to_end.predicted, outputs);
        assert_int_equal(v->end_to_end.mispredicted, 0);

        for (int s = MP_GATE_UP; s < MP_STAGE_COUNT; s++) { /* one step in the last element of each stage */
            if (expected[s] == 0) continue;
            int64_t index;
            const mp_tensor *t = left_by(&b, (mp_stage)s, &index);
            add_to_code(t, index, 1);
            v = bits_of(&b);
            assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_FAILED);
            assert_int_equal(v->stage[s].mispredicted, 1);
            assert_int_equal(v->stage[s].max_ulps, 1);
            for (int before = 0; before < s; before++) assert_int_equal(v->stage[before].mispredicted, 0);
            assert_int_equal(v->end_to_end.predicted, outputs);
            if (all)
                assert_int_equal(
                    v->end_to_end.mispredicted,
                    t == &b.trace.t[MP_OUT]); /* the others have not reached the output of this trace */
            add_to_code(t, index, -1);
        }
        for (int64_t t = 0; expected[MP_ACT] > 0 && t < slots;
             t++) /* what filtered slots hold is no output of the activation */
            if (expert_of(&b, t) < 0) add_to_code(&b.trace.t[MP_CACHE2], b.map.cache_row[t] * c->N, 1);
        assert_int_equal(bits_of(&b)->stage[MP_ACT].mispredicted, 0);
        close_bench(&b);
    }
}

/* Where the block of sorted_token_ids lies that holds the slot. */
static int64_t block_of(const bench *b, int64_t slot, int64_t first, int64_t chunk) {
    const mp_tensor *t = &b->trace.t[MP_SORTED_TOKEN_IDS];
    const int32_t *sorted = mp_tensor_row(t, chunk);
    for (int64_t i = 0; i < t->dim[1]; i++)
        if (sorted[i] == slot - first) return i / b->config.up.block_size_m;
    fail_msg("slot %d is not there", (int)slot);
    return -1;
}

static void expect_text(const bench *b, const char *format, ...) {
    char expected[300];
    va_list args;
    va_start(args, format);
    vsnprintf(expected, sizeof expected, format, args);
    va_end(args);
    const char *text = bits_of(b)->check[MP_CHECK_BITS].text;
    if (strncmp(text, expected, strlen(expected)) != 0)
        fail_msg("'%s' does not begin with '%s'", text, expected);
}

static void note_predicted(void *ctx, const char *stage, const char *what) {
    if (strcmp(what, "predict") == 0) strcat(strcat(ctx, stage), " ");
}

static void it_tells_which_stage_it_predicts(void **state) {
    (void)state;
    char told[256] = "";
    bench b;
    start(&b, "M=4 topk=2 K=32 N=16 act=silu");
    mp_progress_listen(note_predicted, told);
    bits_of(&b);
    mp_progress_listen(NULL, NULL);
    close_bench(&b);
    assert_string_equal(told, "gate_up act down combine ");
}

static void the_first_difference_is_located(void **state) {
    (void)state;
    static const char *const texts[] = {
        "M=40 E=3 topk=2 K=128 N=64 tile=16x32x32x1x4x3 tile_down=16x64x32x1x4x3",
        "M=40 E=3 topk=2 K=128 N=64 tile=16x32x32x1x4x3 tile_down=16x64x32x1x4x3 layout=sorted"};
    const int64_t slot = 67, column = 100;
    bench b;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        start(&b, texts[i]);
        const int64_t block = block_of(&b, slot, 0, 0);
        const mp_tensor *cache1 = &b.trace.t[MP_CACHE1], *cache3 = &b.trace.t[MP_CACHE3],
                        *out = &b.trace.t[MP_OUT];
        const int64_t at = b.map.cache_row[slot] * 128 + column;
        ((uint16_t *)cache1->data)[at] = 0x3F80;
        const mp_verdict *v = bits_of(&b);
        assert_true(v->stage[MP_GATE_UP].mispredicted == 1);
        assert_string_equal(v->begins, "begins in gate_up: one row, column 100");
        expect_text(&b, "gate_up: token 33 slot 1 column 100, expert %d, tile %d x 3: 1 (3F80) instead of ",
                    expert_of(&b, slot), (int)block);
        close_bench(&b);

        start(&b, texts[i]);
        ((uint16_t *)b.trace.t[MP_CACHE2].data)[b.map.cache_row[slot] * 64 + 9] = 0x3F80;
        expect_text(&b, "act: token 33 slot 1 column 9, expert %d: 1 (3F80) instead of ",
                    expert_of(&b, slot));
        close_bench(&b);

        start(&b, texts[i]);
        ((uint16_t *)cache3->data)[slot * 128 + column] = 0x4000;
        expect_text(&b, "down: token 33 slot 1 column 100, expert %d, tile %d x 1: 2 (4000) instead of ",
                    expert_of(&b, slot), (int)block);
        close_bench(&b);

        start(&b, texts[i]);
        ((uint16_t *)out->data)[33 * 128 + column] = 0x4000;
        expect_text(&b, "combine: token 33 column 100: 2 (4000) instead of ");
        assert_string_equal(bits_of(&b)->begins, "begins in combine: one row, column 100");
        close_bench(&b);
    }
    start(&b, "M=65540 E=2 topk=2 K=16 N=16 path=chunked"); /* the second chunk counts its slots from 0 */
    const int64_t late = 2 * 65538 + 1;
    ((uint16_t *)b.trace.t[MP_CACHE1].data)[late * 32 + 3] = 0x3F80;
    expect_text(&b, "gate_up: token 65538 slot 1 column 3, expert %d, tile %d x 0 of chunk 1: 1 (3F80) ",
                expert_of(&b, late), (int)block_of(&b, late, 2 * 65536, 1));
    close_bench(&b);
}

static void differences_are_counted_and_measured(void **state) {
    (void)state;
    bench b;
    start(&b, "M=4 E=4 topk=2 K=64 N=32");
    uint16_t *cache1 = b.trace.t[MP_CACHE1].data;
    add_to_code(&b.trace.t[MP_CACHE1], 3, 5);
    add_to_code(&b.trace.t[MP_CACHE1], 7, 1);
    const mp_verdict *v = bits_of(&b);
    assert_int_equal(v->stage[MP_GATE_UP].mispredicted, 2);
    assert_int_equal(v->stage[MP_GATE_UP].max_ulps, 5);
    assert_non_null(strstr(v->check[MP_CHECK_BITS].text, "; 2 of 512 elements differ, by at most 5 ulp"));
    cache1[11] = 0x7FFF;
    v = bits_of(&b);
    assert_int_equal(v->stage[MP_GATE_UP].mispredicted, 3);
    assert_true(v->stage[MP_GATE_UP].max_ulps == INT64_MAX);

    promise(&b.contract, MP_BITS_REPORTED); /* told, and no failure */
    v = bits_of(&b);
    assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_NOT_JUDGED);
    assert_non_null(strstr(v->check[MP_CHECK_BITS].text, "elements differ"));
    assert_null(strstr(v->check[MP_CHECK_BITS].text, "all "));
    close_bench(&b);
}

/* A sorted layout without one of its slots: nobody knows where that slot's rows are. */
static void rows_that_are_not_known_are_not_judged(void **state) {
    (void)state;
    bench b;
    start(&b, "M=4 E=4 topk=2 K=64 N=32 layout=sorted");
    int32_t *sorted = b.trace.t[MP_SORTED_TOKEN_IDS].data;
    sorted[0] = (int32_t)mp_case_slots(&b.c);
    const mp_verdict *v = bits_of(&b);
    assert_int_equal(v->check[MP_CHECK_BITS].answer, MP_NOT_JUDGED);
    assert_string_equal(v->check[MP_CHECK_BITS].text, "the rows of the caches are not known");
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_one_bit_fault_is_seen),
        cmocka_unit_test(the_text_says_what_was_predicted),
        cmocka_unit_test(hidden_tensors_are_predicted_through),
        cmocka_unit_test(an_engine_predicts_what_it_can),
        cmocka_unit_test(distances_saturate),
        cmocka_unit_test(zero_times_infinity_is_either),
        cmocka_unit_test(every_element_is_compared_once),
        cmocka_unit_test(it_tells_which_stage_it_predicts),
        cmocka_unit_test(the_first_difference_is_located),
        cmocka_unit_test(differences_are_counted_and_measured),
        cmocka_unit_test(rows_that_are_not_known_are_not_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
