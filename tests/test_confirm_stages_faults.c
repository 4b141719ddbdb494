/* SPDX-License-Identifier: Apache-2.0 */
/* A device that compares something else than was asked, and says that all is equal: of a right trace, it is
 * found out by the rows that the CPU predicts, or by those with another code. */
#include "cases/deferred.h"
#include "harness/judge/judge_bits.h"
#include "harness/verdict_make.h"
#include "moeparity/preset.h"
#include "offload/device/confirm_act.h"
#include "offload/device/confirm_combine.h"
#include "offload/device/confirm_quant.h"
#include "tests/fake_cuda.h"
#include "tests/screen_support.h"

#include <stdio.h>

static int planted;

/* What is told of rows where the device lies: all are equal, whatever it has made. */
static void claim(mp_confirmed_row *found, long long rows, long long n) {
    for (long long r = 0; r < rows; r++) {
        found[r].equal = n;
        found[r].got = found[r].predicted;
    }
    planted++;
}

#define ACT(name, change)                                                                               \
    static void name(const char *entry, const void *params) {                                           \
        mp_confirm_act_params p;                                                                        \
        if (strcmp(entry, "confirm_act") != 0) {                                                        \
            fake.right(entry, params);                                                                  \
            return;                                                                                     \
        }                                                                                               \
        memcpy(&p, params, sizeof p);                                                                   \
        change;                                                                                         \
        fake.right(entry, &p);                                                                          \
        claim(fake_memory(p.confirmed), ((const mp_confirm_act_params *)params)->rows.slots, p.rows.N); \
    }
ACT(anything_is_equal, (void)0)
/* Nothing lies behind the last slot, nor behind the last token. */
ACT(gate_of_the_next_element, p.rows.slots--; p.rows.cache1 += 2)
ACT(up_for_gate, p.rows.slots--; p.rows.cache1 += (unsigned long long)(2 * p.rows.N))
ACT(up_of_the_next_element, p.rows.slots--; p.rows.up++)
ACT(another_function, p.act = MP_ACT_GELU)
ACT(without_up, p.gated = 0)
ACT(gates_are_rounded, p.rows.rounds_gate = !p.rows.rounds_gate)
ACT(another_limit, p.limit *= 2)
ACT(one_is_added, p.added = 1)
ACT(another_format, p.rows.got_format.precision--)

#define COMBINE(name, change)                                                                                \
    static void name(const char *entry, const void *params) {                                                \
        mp_confirm_combine_params p;                                                                         \
        if (strcmp(entry, "confirm_combine") != 0) {                                                         \
            fake.right(entry, params);                                                                       \
            return;                                                                                          \
        }                                                                                                    \
        memcpy(&p, params, sizeof p);                                                                        \
        change;                                                                                              \
        fake.right(entry, &p);                                                                               \
        claim(fake_memory(p.confirmed), ((const mp_confirm_combine_params *)params)->rows.tokens, p.rows.K); \
    }
COMBINE(any_sum_is_equal, (void)0)
COMBINE(terms_of_the_next_column, p.rows.tokens--; p.rows.terms += 2)
COMBINE(without_weights, p.rows.weights = 0)
COMBINE(without_the_shared_output, p.rows.shared = 0)
COMBINE(a_slot_is_left_out, p.rows.topk--)
COMBINE(another_scale, p.rsf *= 1 + 0x1p-10f)
COMBINE(the_sum_is_rounded, p.round_sum = !p.round_sum)
COMBINE(rounded_before_the_shared_output, p.round_before_shared = !p.round_before_shared)

#define QUANT(name, change)                                                                    \
    static void name(const char *entry, const void *params) {                                  \
        mp_confirm_quant_params p;                                                             \
        if (strcmp(entry, "confirm_quant") != 0) {                                             \
            fake.right(entry, params);                                                         \
            return;                                                                            \
        }                                                                                      \
        memcpy(&p, params, sizeof p);                                                          \
        change;                                                                                \
        fake.right(entry, &p);                                                                 \
        claim(fake_memory(p.confirmed), ((const mp_confirm_quant_params *)params)->rows.count, \
              p.rows.width);                                                                   \
    }
QUANT(any_code_is_equal, (void)0)
QUANT(the_number_behind, p.rows.count--; p.rows.from += 2)
QUANT(the_code_behind, p.rows.count--; p.rows.codes++)
QUANT(the_row_behind, p.rows.count--; p.rows.row += sizeof(int64_t))
QUANT(the_factor_behind, p.rows.count--; p.factors += sizeof(float))
QUANT(groups_of_all_columns, p.rows.group = p.rows.width)
QUANT(times_the_factor, p.how = MP_CODES_E4M3_TIMES)
QUANT(another_code, p.how = MP_CODES_INT8_OVER)

/* Those of the row behind. */
static void rows_are_shifted(const char *entry, const void *params) {
    fake.right(entry, params);
    if (strcmp(entry, "confirm_act") != 0) return;
    const mp_confirm_act_params *p = params;
    mp_confirmed_row *found = fake_memory(p->confirmed);
    memmove(found, found + 1, (size_t)(p->rows.slots - 1) * sizeof *found);
    planted++;
}

static void nothing_is_compared(const char *entry, const void *params) {
    if (strcmp(entry, "confirm_act") != 0) {
        fake.right(entry, params);
        return;
    }
    const mp_confirm_act_params *p = params;
    mp_confirmed_row *found = fake_memory(p->confirmed);
    for (long long t = 0; t < p->rows.slots; t++) found[t] = (mp_confirmed_row){.equal = p->rows.N};
    planted++;
}

static const struct {
    const char *name, *text;
    void (*execute)(const char *entry, const void *params);
} faults[] = {
#define OF_ACT "M=33 topk=2 E=4 K=48 N=70 act=silu_clamp limit=0.3"
#define OF_SUM "M=33 topk=3 E=6 K=70 N=16 apply_router_weight_in_combine=1 filter=0.4 shared=add rsf=0.3"
#define FAULT(text, name) \
    { #name, text, name }
    FAULT(OF_ACT, anything_is_equal),   FAULT(OF_ACT, gate_of_the_next_element),
    FAULT(OF_ACT, up_for_gate),         FAULT(OF_ACT, up_of_the_next_element),
    FAULT(OF_ACT, another_function),    FAULT(OF_ACT, without_up),
    FAULT(OF_ACT, gates_are_rounded),   FAULT(OF_ACT, another_limit),
    FAULT(OF_ACT, one_is_added),        FAULT(OF_ACT, another_format),
    FAULT(OF_ACT, rows_are_shifted),    FAULT(OF_ACT, nothing_is_compared),
    FAULT(OF_SUM, any_sum_is_equal),    FAULT(OF_SUM, terms_of_the_next_column),
    FAULT(OF_SUM, without_weights),     FAULT(OF_SUM, without_the_shared_output),
    FAULT(OF_SUM, a_slot_is_left_out),  FAULT(OF_SUM, another_scale),
    FAULT(OF_SUM, the_sum_is_rounded),  FAULT(OF_SUM, rounded_before_the_shared_output),
#define OF_CODES "M=33 topk=2 E=4 K=256 N=256 quant=fp8-block"
    FAULT(OF_CODES, any_code_is_equal), FAULT(OF_CODES, the_number_behind),
    FAULT(OF_CODES, the_code_behind),   FAULT(OF_CODES, the_row_behind),
    FAULT(OF_CODES, the_factor_behind), FAULT(OF_CODES, groups_of_all_columns),
    FAULT(OF_CODES, times_the_factor),  FAULT(OF_CODES, another_code),
};

static mp_status judge_the_bits(mp_verdict *v, mp_error *err) {
    mp_engine engine = *mp_offload_engine(offload);
    engine.predict_gemm = NULL;
    engine.confirm_gemm = NULL;
    mp_verdict_init(v);
    mp_offload_begin(offload, &f.in);
    return mp_judge_bits(&f.c, &contract, NULL, &f.in, &trace, &engine, v, err);
}

static void every_fault_is_found_out(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(faults); i++) {
        mp_verdict v;
        mp_error err = {0};
        start(faults[i].text);
        contract = mp_contract_of_architecture(MP_HOST_ARCHITECTURE, &f.c);
        if (judge_the_bits(&v, &err)) fail_msg("%s", err.text);
        assert_int_equal(v.check[MP_CHECK_BITS].answer, MP_PASSED);
        mp_verdict_free(&v);
        fake.execute = faults[i].execute;
        planted = 0;
        const mp_status status = judge_the_bits(&v, &err);
        fake.execute = fake.right;
        mp_verdict_free(&v);
        print_message("%s: %s\n", faults[i].name, err.text);
        assert_true(planted > 0);
        assert_int_equal(status, MP_EDEVICE);
        assert_non_null(strstr(err.text, "bits looked at"));
        stop();
    }
}

/* The prediction, or a failure that is told, whatever call of the driver fails. */
static void every_call_of(const char *text) {
    mp_verdict v;
    mp_error err = {0};
    int refused = 0;
    start(text);
    contract = mp_contract_of_architecture(MP_HOST_ARCHITECTURE, &f.c);
    fake.calls = 0;
    assert_int_equal(judge_the_bits(&v, &err), MP_OK);
    const int calls = fake.calls;
    mp_verdict_free(&v);
    for (int n = 0; n < calls; n++) {
        err = (mp_error){0};
        fake.calls = 0;
        fake.failing = n;
        const mp_status status = judge_the_bits(&v, &err);
        fake.failing = -1;
        if (status == MP_OK) assert_int_equal(v.check[MP_CHECK_BITS].answer, MP_PASSED);
        if (status != MP_OK && (status != MP_EDEVICE || err.text[0] == '\0'))
            fail_msg("call %d: %d, %s", n, status, err.text);
        refused += status != MP_OK;
        mp_verdict_free(&v);
    }
    print_message("%d of %d calls are told\n", refused, calls);
    assert_true(refused > calls / 2);
    stop();
}

static void every_call_may_fail(void **state) {
    (void)state;
    every_call_of("M=9 topk=2 E=3 K=40 N=24 shared=add");
    every_call_of("M=9 topk=2 E=3 K=40 N=24 quant=fp8-channel");
}

/* Activations that nobody has on the host are made there for what looks at rows again; the device has
 * them. */
static void what_is_deferred_is_made(void **state) {
    (void)state;
    static const char *const texts[] = {
        "K=512 N=64 quant=fp8-block", "K=512 N=64 quant=nvfp4", "K=512 N=64 quant=fp8-tensor",
        "K=512 N=64 quant=fp8-channel lora_adapters=2 lora_rank=8", "N=256 quant=fp8-block scope=quant_act"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        mp_verdict v;
        mp_error err = {0};
        mp_inputs later;
        int deferred = 0;
        char text[120];
        snprintf(text, sizeof text, "M=700 topk=2 E=4 seed=3 %s", texts[i]);
        start(text);
        contract = mp_contract_of_architecture(MP_HOST_ARCHITECTURE, &f.c);
        if (mp_inputs_create_deferring(&f.c, 1, &later, &err)) fail_msg("%s", err.text);
        for (int bits = 0; bits < 2; bits++) {
            mp_verdict_init(&v);
            mp_offload_begin(offload, &later);
            for (int id = 0; id < MP_TENSOR_COUNT; id++)
                if (later.t[id].maker) mp_offload_lend(offload, &later.t[id], f.in.t[id].data), deferred++;
            mp_engine engine = *mp_offload_engine(offload);
            engine.predict_gemm = NULL;
            engine.confirm_gemm = NULL;
            if (bits ? mp_judge_bits(&f.c, &contract, NULL, &later, &trace, &engine, &v, &err)
                     : mp_judge(&f.c, &contract, NULL, &later, &trace, MP_POISON_A, &engine, &v, &err))
                fail_msg("%s: %s", texts[i], err.text);
            assert_int_equal(v.check[bits ? MP_CHECK_BITS : MP_CHECK_BOUND].answer, MP_PASSED);
            mp_verdict_free(&v);
            mp_offload_begin(offload, NULL);
        }
        assert_true(deferred > 0);
        mp_inputs_destroy(&later);
        stop();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_fault_is_found_out),
                                       cmocka_unit_test(every_call_may_fail),
                                       cmocka_unit_test(what_is_deferred_is_made)};
    return cmocka_run_group_tests(tests, open_device, close_device);
}
