/* SPDX-License-Identifier: Apache-2.0 */
/* LoRA on experts: the truth against plain loops, the families of adapters, and subjects that do not show
 * everything or have another arithmetic. */
#include "cases/fill.h"
#include "cases/lora.h"
#include "moeparity/preset.h"
#include "moeparity/run_case.h"
#include "ref/bounds.h"
#include "ref/contract_words.h"
#include "ref/engine.h"
#include "ref/pipeline.h"
#include "ref/predict/predict.h"
#include "tests/faulty.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define IN(name) MP_IN_SET(MP_##name)

static mp_case parsed(const char *text) {
    mp_case c = mp_case_default();
    mp_error err = {0};
    if (mp_case_parse(&c, text, &err) != MP_OK) fail_msg("%s: %s", text, err.text);
    return c;
}

static double at(const mp_tensor *t, int64_t i) {
    return mp_decode(t->dtype, t->data, i);
}

/* ---- the truth ---- */

/* One element of h of gate_up, and of what is added to gate or up, from its definition; expert by expert,
 * with an index for each axis. */
static double shrunk(const mp_case *c, const mp_tensor *in, const mp_tensor *a, int64_t row, int64_t l,
                     int64_t e, int64_t slices, int64_t i, int64_t k_count) {
    const int64_t experts = a->dim[0] / c->lora_adapters, factor = l * experts + (experts == 1 ? 0 : e);
    double sum = 0;
    for (int64_t k = 0; k < k_count; k++)
        sum += at(in, row * k_count + k) * at(a, (factor * slices * c->lora_rank + i) * k_count + k);
    return sum;
}

static void close_to(const mp_tensor *t, int64_t i, double want, const char *text) {
    const double got = at(t, i), room = 1e-13 * (1 + fabs(want));
    if (!(fabs(got - want) <= room + mp_half_ulp(t->dtype, want) * (1 + 1e-9)))
        fail_msg("%s: element %lld is %.17g instead of %.17g", text, (long long)i, got, want);
}

static void the_truth_is_the_definition(void **state) {
    (void)state;
    static const char *const texts[] = {
        "M=7 topk=2 E=3 K=24 N=12 lora_adapters=3 lora_rank=5",
        "M=7 topk=2 E=3 K=24 N=12 lora_adapters=3 lora_rank=5 act=swiglu_oai interleaved=1 dtype=fp16",
        "M=5 topk=1 E=3 K=24 N=12 lora_adapters=2 lora_rank=1 act=relu2 gated=0 dtype=fp32",
        "M=9 topk=3 E=4 K=24 N=12 lora_adapters=2 lora_rank=4 filter=0.4 lora_disabled=0.5 lora_outer=shared",
        "M=6 topk=2 E=4 K=24 N=12 lora_adapters=2 apply_router_weight_on_input=1 mode=no_combine"};
    for (size_t x = 0; x < COUNT(texts); x++) {
        const mp_case c = parsed(texts[x]);
        mp_inputs in;
        mp_trace trace;
        mp_error err = {0};
        assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
        assert_int_equal(mp_ref_run(&c, &in, 16, &mp_engine_plain, MP_POISON_A, &trace, &err), MP_OK);
        const int64_t S = mp_lora_slices(&c), r = c.lora_rank, topk = c.topk;
        const int32_t *ids = in.t[MP_TOPK_IDS].data, *token = in.t[MP_TOKEN_LORA].data,
                      *enabled = in.t[MP_ADAPTER_ENABLED].data;
        const mp_tensor *h1 = &trace.t[MP_LORA_H1], *h2 = &trace.t[MP_LORA_H2], *cache1 = &trace.t[MP_CACHE1],
                        *hooked1 = &trace.t[MP_CACHE1_HOOKED], *cache3 = &trace.t[MP_CACHE3],
                        *hooked3 = &trace.t[c.mode == MP_MODE_NO_COMBINE ? MP_OUT : MP_CACHE3_HOOKED];
        int touched = 0, kept = 0;
        for (int64_t t = 0; t < mp_case_slots(&c); t++) {
            const int64_t m = t / topk, l = token[m], e = ids[t];
            const bool has = l >= 0 && enabled[l] && e >= 0;
            touched += has;
            kept += !has;
            for (int64_t i = 0; i < S * r; i++)
                close_to(h1, t * S * r + i,
                         has ? shrunk(&c, &in.t[MP_X], &in.t[MP_LORA_A1], m, l, e, S, i, c.K) : 0, texts[x]);
            for (int64_t i = 0; i < r; i++)
                close_to(h2, t * r + i,
                         has ? shrunk(&c, &trace.t[MP_CACHE2], &in.t[MP_LORA_A2], t, l, e, 1, i, c.N) : 0,
                         texts[x]);
            for (int64_t s = 0; s < S; s++)
                for (int64_t n = 0; n < c.N; n++) {
                    const int64_t column = c.interleaved ? 2 * n + s : s * c.N + n, i = t * S * c.N + column;
                    double sum = 0;
                    for (int64_t k = 0; k < r && has; k++)
                        sum += at(h1, t * S * r + s * r + k) *
                               at(&in.t[MP_LORA_B1], ((l * c.E + e) * S * c.N + s * c.N + n) * r + k);
                    close_to(hooked1, i, at(cache1, i) + sum, texts[x]);
                }
            const int64_t outer = c.lora_outer == MP_LORA_OUTER_SHARED ? l : l * c.E + e;
            const bool weighed = c.mode != MP_MODE_NO_COMBINE && !c.apply_router_weight_on_input;
            for (int64_t k = 0; k < c.K; k++) {
                double sum = 0;
                for (int64_t i = 0; i < r && has; i++)
                    sum += at(h2, t * r + i) * at(&in.t[MP_LORA_B2], (outer * c.K + k) * r + i);
                if (weighed) sum *= (double)((const float *)in.t[MP_TOPK_WEIGHTS].data)[t];
                close_to(hooked3, t * c.K + k, at(cache3, t * c.K + k) + sum, texts[x]);
            }
        }
        assert_true(touched > 0 && kept > 0);
        mp_trace_destroy(&trace);
        mp_inputs_destroy(&in);
    }
}

/* ---- maps of tokens to adapters ---- */

static void expect_segments(const mp_case *c, const mp_inputs *in) {
    const int32_t *token = in->t[MP_TOKEN_LORA].data, *start = in->t[MP_SEG_INDPTR].data,
                  *slot = in->t[MP_REQ_TO_LORA].data;
    const int64_t n = in->t[MP_REQ_TO_LORA].dim[0];
    int64_t empty = 0;
    assert_int_equal(start[0], 0);
    assert_int_equal(start[n], c->M);
    for (int64_t i = 0; i < n; i++) {
        assert_true(start[i] <= start[i + 1]);
        empty += start[i] == start[i + 1];
        for (int32_t m = start[i]; m < start[i + 1]; m++) assert_int_equal(slot[i], token[m]);
    }
    assert_true(empty > 0);
}

/* Also of tokens that are chosen from a batch, and of another batch. */
static void segments_say_what_tokens_say(void **state) {
    (void)state;
    static const char *const families[] = {"mixed", "uniform", "one", "base", "empty", "requests"};
    for (size_t f = 0; f < COUNT(families); f++)
        for (int64_t M = 1; M < 40; M += 6) {
            char text[128];
            snprintf(text, sizeof text, "M=%lld K=16 N=16 lora_adapters=3 lora_map=segments lora_routing=%s",
                     (long long)M, families[f]);
            mp_case c = parsed(text);
            mp_inputs in, other;
            mp_error err = {0};
            int64_t rows[40];
            assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
            expect_segments(&c, &in);
            assert_int_equal(mp_inputs_other(&c, &in, SIZE_MAX, &other, &err), MP_OK);
            expect_segments(&c, &other);
            mp_inputs_destroy(&other);
            for (int64_t m = 0; m < M; m++) rows[m] = M - 1 - m;
            c.M = (M + 1) / 2;
            assert_int_equal(mp_inputs_select(&(mp_case){.M = M, .lora_adapters = 3, .lora_map = c.lora_map},
                                              &in, rows, c.M, &other, &err),
                             MP_OK);
            expect_segments(&c, &other);
            mp_inputs_destroy(&other);
            mp_inputs_destroy(&in);
        }
}

/* ---- judged ---- */

static mp_verdict verdict; /* large */

static const mp_verdict *judge(const fault *f, const char *contract, mp_tensor_set exposed,
                               const char *text) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    if (mp_matrix_add(&matrix, text, NULL, 0, &err) != MP_OK) fail_msg("%s: %s", text, err.text);
    mp_subject subject = faulty_open_under(f, contract, exposed);
    const mp_run_options options = {.subject = &subject, .settings.repeat = 2};
    mp_verdict_free(&verdict);
    mp_run_case(&matrix.rows[0], &options, &verdict);
    mp_subject_close(&subject);
    mp_matrix_free(&matrix);
    return &verdict;
}

static const struct {
    const char *name;
    mp_tensor_set tensors;
} exposures[] = {
    {"everything", 0},
    {"out alone", IN(OUT)},
    {"what was added to, and out", IN(CACHE1) | IN(CACHE2) | IN(CACHE3) | IN(OUT)},
    {"sums, and not what was shrunk", IN(CACHE1_HOOKED) | IN(CACHE2) | IN(CACHE3_HOOKED) | IN(OUT)},
    {"shrunk rows alone, and out", IN(LORA_H1) | IN(LORA_H2) | IN(OUT)},
    {"all but cache2",
     IN(CACHE1) | IN(LORA_H1) | IN(CACHE1_HOOKED) | IN(CACHE3) | IN(LORA_H2) | IN(CACHE3_HOOKED) | IN(OUT)}};

/* Stages whose outputs are not shown are judged and predicted through. */
static void a_right_subject_passes_whatever_it_exposes(void **state) {
    (void)state;
    static const fault nothing[] = {{.name = "nothing wrong"},
                                    {.name = "nothing wrong, bits required", .checks = CHECK(BITS)}};
    static const char *const ways[] = {"",
                                       " filter=0.4 lora_ranks=garbage lora_disabled=0.5",
                                       " dtype=fp16 act=swiglu_oai interleaved=1 data=special",
                                       " dtype=fp32 mode=inplace",
                                       " data=integer act=relu2 gated=0",
                                       " data=wide lora_outer=shared lora_map=segments",
                                       " data=overflow dtype=fp16",
                                       " topk=1",
                                       " data=unused filter=0.5",
                                       " data=unused filter=0.5 apply_router_weight_in_combine=1 rsf=2.5"};
    for (size_t e = 0; e < COUNT(exposures); e++)
        for (size_t w = 0; w < COUNT(ways); w++) {
            char text[256];
            snprintf(text, sizeof text, "M=5 E=4 K=96 N=72 lora_adapters=2 lora_rank=8%s", ways[w]);
            const mp_verdict *v = judge(&nothing[1], NULL, exposures[e].tensors, text);
            if (v->outcome != MP_PASS) fail_msg("%s, %s: %s", exposures[e].name, text, v->reason);
            assert_true(v->stage[MP_COMBINE].judged);
            if (exposures[e].tensors == 0) assert_true(v->stage[MP_SHRINK_DOWN].predicted > 0);
        }
}

/* ---- other arithmetic ---- */

static void must(mp_status status) {
    if (status != MP_OK) abort();
}

/* Stages first..last of the run anew, under fields over the host's contract. */
static void compute_under(const faulty_run *run, const char *fields, mp_stage first, mp_stage last) {
    mp_contract contract = mp_host_contract(run->c);
    mp_tensor t[MP_TENSOR_COUNT];
    mp_all_tensors(run->in, run->trace, t);
    must(mp_contract_set_words(&contract, fields, NULL));
    mp_prediction prediction = {.contract = &contract};
    const mp_executor executor = mp_predict_executor(&prediction);
    must(mp_execute(&executor, run->c, first, last, run->trace->block_size_m, t, NULL));
}

static void one_rounding(const faulty_run *run) {
    compute_under(run, "expand.add=one-rounding", MP_EXPAND_GATE_UP, MP_COMBINE);
}

static void zeros_added(const faulty_run *run) {
    compute_under(run, "expand.rows=plus-zero", MP_EXPAND_GATE_UP, MP_COMBINE);
}

/* Shrunk rows in float64, which nobody sees, and one rounding. */
static void pair_in_float64(const faulty_run *run, mp_tensor_id h, mp_stage shrinks, mp_stage expands) {
    mp_reference reference = {.engine = &mp_engine_plain};
    const mp_executor executor = mp_reference_executor(&reference);
    mp_tensor t[MP_TENSOR_COUNT], rows;
    mp_all_tensors(run->in, run->trace, t);
    rows = t[h];
    rows.dtype = MP_FP64;
    must(mp_tensor_alloc(&rows, 0, NULL));
    t[h] = rows;
    must(mp_execute(&executor, run->c, shrinks, expands, 16, t, NULL));
    mp_tensor_free(&rows);
}

static void rows_in_float32(const faulty_run *run) {
    pair_in_float64(run, MP_LORA_H1, MP_SHRINK_GATE_UP, MP_EXPAND_GATE_UP);
    compute_under(run, "", MP_ACT, MP_DOWN);
    pair_in_float64(run, MP_LORA_H2, MP_SHRINK_DOWN, MP_EXPAND_DOWN);
    compute_under(run, "", MP_COMBINE, MP_COMBINE);
}

/* Four parts of K, each rounded, and added in dtype. */
static void parts_rounded(const faulty_run *run) {
    enum { PARTS = 4 };
    const mp_tensor *h = &run->trace->t[MP_LORA_H1];
    const int64_t K = run->c->K;
    mp_tensor t[MP_TENSOR_COUNT], sum = copy_tensor(h), x = copy_tensor(&run->in->t[MP_X]);
    memset(sum.data, 0, mp_tensor_bytes(&sum));
    mp_all_tensors(run->in, run->trace, t);
    const mp_contract contract = mp_host_contract(run->c);
    mp_prediction prediction = {.contract = &contract};
    const mp_executor executor = mp_predict_executor(&prediction);
    t[MP_X] = x;
    for (int64_t part = 0; part < PARTS; part++) {
        for (int64_t i = 0; i < mp_tensor_count(&x); i++)
            mp_encode(x.dtype, x.data, i, i % K * PARTS / K == part ? at(&run->in->t[MP_X], i) : 0);
        must(mp_execute(&executor, run->c, MP_SHRINK_GATE_UP, MP_SHRINK_GATE_UP, 16, t, NULL));
        for (int64_t i = 0; i < mp_tensor_count(h); i++)
            mp_encode(sum.dtype, sum.data, i, at(&sum, i) + at(h, i));
    }
    memcpy(h->data, sum.data, mp_tensor_bytes(h));
    mp_tensor_free(&sum);
    mp_tensor_free(&x);
    compute_under(run, "", MP_EXPAND_GATE_UP, MP_COMBINE);
}

#define BITS_OF_ALL                                                                         \
    " shrink_gate_up.bits=required expand_gate_up.bits=required shrink_down.bits=required " \
    "expand_down.bits=required"
#define UNSEEN (IN(CACHE1) | IN(CACHE1_HOOKED) | IN(CACHE2) | IN(CACHE3) | IN(CACHE3_HOOKED) | IN(OUT))

/* Each is right under its own contract; under another its bits are wrong, or beyond their bound. */
static void other_arithmetic_is_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        void (*plant)(const faulty_run *run);
        const char *right, *wrong;
        mp_tensor_set exposed;
        mp_check fails;
    } rows[] = {
        {"one rounding", "M=5 E=4 K=96 N=72 lora_adapters=2", one_rounding,
         "expand.add=one-rounding" BITS_OF_ALL, "expand.add=rounded" BITS_OF_ALL, 0, MP_CHECK_BITS},
        {"two roundings", "M=5 E=4 K=96 N=72 lora_adapters=2", NULL, "expand.add=rounded" BITS_OF_ALL, NULL,
         0, MP_CHECK_BITS},
        {"zeros added", "M=9 N=72 lora_adapters=2 scope=expand_gate_up data=special", zeros_added,
         "expand.rows=plus-zero expand_gate_up.bits=required",
         "expand.rows=kept expand_gate_up.bits=required", 0, MP_CHECK_BITS},
        {"float32 rows", "M=5 E=4 K=96 N=72 lora_adapters=2", rows_in_float32,
         "expand.input=float32 expand.add=one-rounding shrink.accumulator=ieee-any-order "
         "expand.accumulator=ieee-any-order",
         "expand.input=stored" BITS_OF_ALL, UNSEEN, MP_CHECK_BITS},
        {"rounded parts", "M=5 E=4 K=96 N=72 lora_adapters=2", parts_rounded,
         "shrink.split_k=4 shrink.parts_rounded=1", "shrink.split_k=4", 0, MP_CHECK_BOUND},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const fault f = {.name = rows[i].name, .plant = rows[i].plant};
        const mp_verdict *v = judge(&f, rows[i].right, rows[i].exposed, rows[i].text);
        if (v->outcome != MP_PASS) fail_msg("%s: %s", rows[i].name, v->reason);
        if (!rows[i].wrong) continue;
        v = judge(&f, rows[i].wrong, rows[i].exposed, rows[i].text);
        if (v->outcome != MP_FAIL || v->check[rows[i].fails].answer != MP_FAILED)
            fail_msg("%s under another contract: %s %s", rows[i].name, mp_outcome_name(v->outcome),
                     v->reason);
    }
}

/* The presets of published kernels: what is predicted under each, and that two kernels' bits are one
 * kernel's. */
static void published_variants_have_presets(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool shrinks, expands;
    } rows[] = {{"sm_90", true, true},
                {"sm_90-lora-whole-add", true, true},
                {"sm_90-lora-one-kernel", true, true},
                {"sm_90-lora-small-batch", false, false},
                {"sm_90-lora-virtual-experts", true, true},
                {"sm_90-triton-lora-whole-add", true, true}};
    const mp_case c = parsed("M=4 lora_adapters=2");
    mp_contract plain;
    const char *why;
    assert_int_equal(mp_contract_preset("sm_90", &c, &plain, NULL), MP_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        mp_contract contract;
        mp_error err = {0};
        if (mp_contract_preset(rows[i].name, &c, &contract, &err) != MP_OK) fail_msg("%s", err.text);
        assert_string_equal(contract.preset, rows[i].name);
        assert_int_equal(mp_predictable(&contract, &c, MP_SHRINK_DOWN, &why), rows[i].shrinks);
        assert_int_equal(mp_predictable(&contract, &c, MP_EXPAND_DOWN, &why), rows[i].expands);
        const bool same = mp_contract_digest(&contract) == mp_contract_digest(&plain);
        assert_int_equal(same, i == 0 || strcmp(rows[i].name, "sm_90-lora-one-kernel") == 0);
    }
    assert_int_equal(mp_contract_preset("sm_90-lora-none", &c, &plain, NULL), MP_EINPUT);
}

/* The host under a preset computes by it, and is right; or says why it cannot. */
static void the_host_computes_by_each_variant(void **state) {
    (void)state;
    static const struct {
        const char *name, *skipped;
    } rows[] = {{"sm_90-lora-whole-add", NULL},
                {"sm_90-lora-one-kernel", NULL},
                {"sm_90-lora-virtual-experts", NULL},
                {"sm_90-lora-plan", NULL},
                {"sm_90-lora-small-batch", "an accumulator without a fixed order is not predicted"}};
    mp_matrix matrix = {0};
    mp_subject host;
    mp_error err = {0};
    mp_verdict *v = malloc(sizeof *v);
    assert_non_null(v);
    if (mp_matrix_load(&matrix, MP_MATRIX_FOLDER "/lora.yaml", &err) != MP_OK ||
        mp_matrix_select(&matrix, MP_SMOKE, NULL, &err) != MP_OK ||
        mp_subject_open("host", &host, &err) != MP_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t r = 0; r < matrix.count; r++) {
            const mp_run_options options = {.subject = &host, .settings = {.contract = rows[i].name}};
            mp_run_case(&matrix.rows[r], &options, v);
            if (v->outcome != (rows[i].skipped ? MP_SKIP : MP_PASS))
                fail_msg("%s, %s: %s: %s", rows[i].name, v->name, mp_outcome_name(v->outcome), v->reason);
            if (rows[i].skipped) assert_string_equal(v->reason, rows[i].skipped);
            mp_verdict_free(v);
        }
    mp_subject_close(&host);
    mp_matrix_free(&matrix);
    free(v);
}

/* A subject that does not compute by the contract that is named, and shows what that says is not stored. */
static void what_is_not_stored_is_not_shown(void **state) {
    (void)state;
    const mp_matrix_row row = {.c = parsed("M=4 K=32 N=16 lora_adapters=2")};
    mp_verdict *v = malloc(sizeof *v);
    mp_subject ref;
    assert_non_null(v);
    assert_int_equal(mp_subject_open("ref", &ref, NULL), MP_OK);
    mp_run_case(&row, &(mp_run_options){.subject = &ref, .settings = {.contract = "sm_90-lora-plan"}}, v);
    assert_int_equal(v->outcome, MP_CRASH);
    assert_non_null(strstr(v->reason, "ref exposes cache1_hooked, and its contract has act.input=float32"));
    mp_verdict_free(v);
    free(v);
    mp_subject_close(&ref);
}

/* Sums of small batches, in blocks of k as Triton makes them: lanes that are added pairwise in each block, or
 * once behind all. Both are within the bound of blocks, which is far below that of any order. */
static void small_batches_are_bounded_by_their_blocks(void **state) {
    (void)state;
    enum { K = 7168, BLOCK = 128 };
    static float product[K];
    const mp_case c = parsed("M=1 K=7168 lora_adapters=2 tile=16x32x128x1x4x3");
    mp_contract blocks, any;
    assert_int_equal(mp_contract_preset("sm_90-lora-small-batch", &c, &blocks, NULL), MP_OK);
    any = blocks;
    any.shrink.promotion = 0;
    const mp_sum_bound sharp = mp_gemm_bound(&blocks.shrink, MP_BF16, K, 1),
                       blunt = mp_gemm_bound(&any.shrink, MP_BF16, K, 1);
    assert_int_equal(blocks.shrink.promotion, BLOCK);
    assert_true(sharp.rel < 1.001 * (BLOCK + K / BLOCK) * 0x1p-24 && sharp.rel * 38 < blunt.rel);
    for (uint64_t trial = 0; trial < 200; trial++) {
        float lane[BLOCK] = {0}, chain = 0;
        double exact = 0, mass = 0;
        for (int k = 0; k < K; k++) {
            product[k] = (float)(mp_bits(trial, (uint64_t)k) >> 40) * (trial % 2 && k % 3 ? -1.0f : 1.0f);
            exact += (double)product[k];
            mass += fabs((double)product[k]);
        }
        for (int k = 0; k < K; k += BLOCK) {
            float sum[BLOCK];
            for (int i = 0; i < BLOCK; i++) sum[i] = product[k + i], lane[i] += product[k + i];
            for (int half = BLOCK / 2; half > 0; half /= 2)
                for (int i = 0; i < half; i++) sum[i] += sum[i + half];
            chain += sum[0];
        }
        for (int half = BLOCK / 2; half > 0; half /= 2)
            for (int i = 0; i < half; i++) lane[i] += lane[i + half];
        assert_true(fabs((double)chain - exact) <= sharp.rel * mass + sharp.abs);
        assert_true(fabs((double)lane[0] - exact) <= sharp.rel * mass + sharp.abs);
    }
    /* ones behind 2^24, one after the other: within the bound of any order alone */
    float ascending = 0x1p24f;
    double exact = 0x1p24;
    for (int k = 1; k < K; k++) ascending += 1, exact += 1;
    assert_true(fabs((double)ascending - exact) > sharp.rel * exact &&
                fabs((double)ascending - exact) <= blunt.rel * exact);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_truth_is_the_definition),
        cmocka_unit_test(segments_say_what_tokens_say),
        cmocka_unit_test(a_right_subject_passes_whatever_it_exposes),
        cmocka_unit_test(other_arithmetic_is_told_apart),
        cmocka_unit_test(published_variants_have_presets),
        cmocka_unit_test(the_host_computes_by_each_variant),
        cmocka_unit_test(what_is_not_stored_is_not_shown),
        cmocka_unit_test(small_batches_are_bounded_by_their_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
