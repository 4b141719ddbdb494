/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix units that nobody here has measured, AMD's and block-scaled ones: what is computed as their contract
 * says passes whatever it shows, its bits are reported and not required, and other units are seen. */
#include "moeparity/run_case.h"
#include "ref/contract_words.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

#include <stdio.h>

#define IN(name) MP_IN_SET(MP_##name)

/* A subject that promises one contract and computes by another. */
typedef struct unit {
    mp_subject host;
    const char *promised, *computed;
    mp_tensor_set exposes; /* 0: everything */
} unit;

static mp_contract read(const char *words, const mp_case *c) {
    mp_contract contract;
    mp_error err;
    if (mp_contract_of_words(words, c, &contract, &err)) fail_msg("%s", err.text);
    return contract;
}

static mp_status describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    unit *u = s->self;
    const mp_status status = u->host.describe(&u->host, c, offer, err);
    offer->contract = read(u->promised, c);
    if (u->exposes) offer->exposes &= u->exposes;
    return status;
}

/* What it does not show it makes for itself. */
static mp_status run(mp_subject *s, const mp_execution *e, mp_error *err) {
    unit *u = s->self;
    const mp_tensor_set hidden = mp_case_outputs(e->c) & ~e->offer->exposes;
    mp_offer offer = *e->offer;
    mp_execution execution = *e;
    mp_tensor t[MP_TENSOR_COUNT];
    mp_trace made;
    mp_status status =
        mp_trace_create_some(e->c, offer.config.up.block_size_m, hidden, MP_POISON_A, &made, err);
    memcpy(t, e->t, sizeof t);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (hidden & MP_IN_SET(id)) t[id] = made.t[id];
    offer.contract = read(u->computed, e->c);
    execution.offer = &offer;
    execution.t = t;
    if (status == MP_OK) status = u->host.run(&u->host, &execution, err);
    mp_trace_destroy(&made);
    return status;
}

static mp_verdict verdict; /* large */

static const mp_verdict *judged(const char *text, const char *promised, const char *computed,
                                mp_tensor_set exposes) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    unit u = {.promised = promised, .computed = computed, .exposes = exposes};
    if (mp_subject_open("host", &u.host, &err) || mp_matrix_add(&matrix, text, NULL, 0, &err))
        fail_msg("%s: %s", text, err.text);
    mp_subject subject = {.name = "unit", .self = &u, .describe = describe, .run = run};
    const mp_run_options options = {.subject = &subject, .settings.repeat = 1};
    mp_verdict_free(&verdict);
    mp_run_case(&matrix.rows[0], &options, &verdict);
    mp_subject_close(&u.host);
    mp_matrix_free(&matrix);
    return &verdict;
}

static int64_t mispredicted(const mp_verdict *v, int64_t *predicted) {
    int64_t count = 0;
    *predicted = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        count += v->stage[s].mispredicted;
        *predicted += v->stage[s].predicted;
    }
    return count;
}

static const struct {
    const char *preset, *cases[8];
} UNITS[] = {
    {"gfx908", {"", "dtype=fp16 data=special", "quant=int8-channel", "quant=int4-w4a16-zp"}},
    {"gfx90a",
     {"", "dtype=fp16", "dtype=fp16 data=special", "dtype=fp16 data=limits", "quant=int8-w8a16 dtype=fp16"}},
    {"gfx942",
     {"", "dtype=fp16 data=special", "quant=fp8-channel", "quant=fp8-block", "quant=mxfp8 data=codes"}},
    {"sm_100-block-scaled",
     {"", "quant=mxfp8", "quant=mxfp8 data=codes", "quant=nvfp4", "quant=nvfp4 data=codes",
      "quant=mxfp4-mxfp8", "quant=fp8-block-ue8m0", "quant=fp8-channel"}},
    {"sm_90", {"quant=nvfp4 data=codes"}}, /* measured, but for its scales that clip */
    {"sm_120-block-scaled",
     {"quant=mxfp8 data=special", "quant=nvfp4 data=wide filter=0.4", "quant=mxfp4-mxfp8"}},
};

static void what_is_promised_passes_whatever_is_shown(void **state) {
    (void)state;
    static const mp_tensor_set exposures[] = {0, IN(OUT), IN(CACHE1) | IN(OUT)};
    for (size_t i = 0; i < COUNT(UNITS); i++)
        for (size_t k = 0; k < COUNT(UNITS[i].cases) && UNITS[i].cases[k]; k++)
            for (size_t e = 0; e < COUNT(exposures); e++) {
                char text[128];
                int64_t predicted;
                snprintf(text, sizeof text, "M=3 E=4 topk=2 K=64 N=64 act=silu %s", UNITS[i].cases[k]);
                const mp_verdict *v = judged(text, UNITS[i].preset, UNITS[i].preset, exposures[e]);
                const bool measured = strcmp(UNITS[i].preset, "sm_90") == 0;
                if (v->outcome != MP_PASS || (v->check[MP_CHECK_BITS].answer == MP_PASSED) != measured)
                    fail_msg("%s under %s, exposure %zu: %s%s", text, UNITS[i].preset, e, v->reason,
                             v->check[MP_CHECK_BOUND].text);
                assert_int_equal(mispredicted(v, &predicted), 0);
                assert_true(predicted > 0);
            }
}

/* Another parameter, order or unit gives other bits, which are counted and fail nothing. */
static void another_unit_is_reported(void **state) {
    (void)state;
    static const struct {
        const char *text, *promised, *computed;
    } faults[] = {
        {"", "gfx908", "gfx908 gate_up.group=2"},
        {"", "gfx90a", "gfx90a gate_up.group=2"},
        {"", "gfx90a", "gfx942"},
        {"data=special", "gfx90a", "gfx90a gate_up.accumulator=pairwise"},
        {"", "gfx942", "gfx942 gate_up.fraction_bits=22"},
        {"", "gfx942", "gfx942 gate_up.group=4"},
        {"", "gfx942", "sm_90"},
        {"quant=fp8-block", "gfx942", "gfx942 gate_up.fraction_bits=17"},
        {"quant=mxfp8", "sm_100-block-scaled", "sm_100-block-scaled gate_up.fraction_bits=20"},
        {"quant=mxfp4-mxfp8", "sm_100-block-scaled", "sm_100-block-scaled gate_up.fraction_bits=18"},
        {"quant=nvfp4", "sm_120-block-scaled", "sm_120-block-scaled gate_up.fraction_bits=14"},
    };
    for (size_t i = 0; i < COUNT(faults); i++) {
        char text[128];
        int64_t predicted;
        snprintf(text, sizeof text, "M=20 E=4 topk=2 K=256 N=64 dtype=fp16 scope=gate_up act=silu %s",
                 faults[i].text);
        const mp_verdict *v = judged(text, faults[i].promised, faults[i].computed, 0);
        const int64_t other = mispredicted(v, &predicted);
        print_message("%s: %s for %s: %lld of %lld\n", faults[i].text, faults[i].computed, faults[i].promised,
                      (long long)other, (long long)predicted);
        if (v->check[MP_CHECK_BITS].answer == MP_FAILED || other == 0)
            fail_msg("%s for %s: %s", faults[i].computed, faults[i].promised, v->check[MP_CHECK_BITS].text);
        assert_true(predicted > 0);
    }
}

/* What is far from its unit is beyond the bound, and nvfp4 whose numbers were made before they were
 * multiplied is no sum in the unit. */
static void what_is_far_from_it_fails(void **state) {
    (void)state;
    static const struct {
        const char *text, *promised, *computed;
    } faults[] = {
        {"quant=nvfp4", "sm_100-block-scaled", "sm_90"},
        {"quant=nvfp4", "sm_90", "sm_100-block-scaled"},
        {"quant=mxfp8", "sm_100-block-scaled",
         "sm_100-block-scaled gate_up.fraction_bits=9 down.fraction_bits=9"},
        {"dtype=fp16", "gfx942", "gfx942 gate_up.fraction_bits=10 down.fraction_bits=10"},
    };
    for (size_t i = 0; i < COUNT(faults); i++) {
        char text[128];
        snprintf(text, sizeof text, "M=8 E=4 topk=2 K=256 N=64 act=silu %s", faults[i].text);
        const mp_verdict *v = judged(text, faults[i].promised, faults[i].computed, 0);
        if (v->outcome != MP_FAIL || v->check[MP_CHECK_BOUND].answer != MP_FAILED)
            fail_msg("%s for %s passes", faults[i].computed, faults[i].promised);
        assert_true(v->stage[MP_GATE_UP].failed > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_promised_passes_whatever_is_shown),
                                       cmocka_unit_test(another_unit_is_reported),
                                       cmocka_unit_test(what_is_far_from_it_fails)};
    return cmocka_run_group_tests_name("harness.units", tests, NULL, NULL);
}
