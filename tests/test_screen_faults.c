/* SPDX-License-Identifier: Apache-2.0 */
/* A device that measures something else than was asked, in one way at a time: whatever it says of a right
 * trace, it is found out. */
#include "offload/device/screen.h"
#include "offload/device/screen_act.h"
#include "offload/device/screen_combine.h"
#include "offload/device/screen_quant.h"
#include "tests/fake_cuda.h"
#include "tests/screen_support.h"

static int fault;

enum { SLOTS = 66, EXPERTS = 4 }; /* of both cases */

/* A copy of memory, `by` bytes before where it is said to lie: what is read beside it is zeros. */
static CUdeviceptr shifted(CUdeviceptr at, long long bytes, int by) {
    static char copy[1 << 20];
    assert_in_range(bytes + by, 1, sizeof copy);
    memset(copy, 0, sizeof copy);
    memcpy(copy, fake_memory(at), (size_t)bytes);
    return (CUdeviceptr)(uintptr_t)copy + (CUdeviceptr)by;
}

/* Bytes of the scales of so many rows. */
static long long scale_bytes(const mp_device_operand *o, long long matrices, long long rows) {
    return matrices * mp_device_blocks(rows, o->block_rows) * mp_device_blocks(o->length, o->block_columns) *
           (long long)sizeof(float);
}

/* What the device is told wrongly. */
static const char *mislead(mp_screen_params *p) {
    static const long long first_row[SLOTS];
    const long long got_bytes = SLOTS * p->rows.width * 2;
    switch (fault) {
    case 0: p->rows.got = shifted(p->rows.got, got_bytes, 2); return "another element";
    case 1: p->rows.got = shifted(p->rows.got, got_bytes, 2 * (int)p->rows.width); return "another row";
    case 2: p->rows.got = p->value; return "another tensor";
    case 3: p->rule.rel *= 1.5; return "a wider bound";
    case 4: p->rule.abs += 1e-6; return "a larger floor of the bound";
    case 5: p->stored.rounded = !p->stored.rounded; return "a store that does not round";
    case 6: p->stored.unit *= 2; return "another format";
    case 7: p->rows.bias = 0; return "no bias";
    case 8: p->rows.weighs = 0; return "no weights";
    case 9: p->mass = p->value; return "values for masses";
    case 20:
        p->w.scale = shifted(p->w.scale, scale_bytes(&p->w, EXPERTS, p->w.matrix_rows), 4);
        return "another scale of weights";
    case 21:
        p->a.scale = shifted(p->a.scale, scale_bytes(&p->a, 1, p->a.matrix_rows), 4);
        return "another scale of activations";
    case 22: p->a_row = (CUdeviceptr)(uintptr_t)first_row; return "the scales of the first row";
    case 23: p->rule.block *= 2; return "every other scale";
    case 24: p->rule.per_scale *= 1.01; return "more for each scale";
    default: return NULL;
    }
}

/* What it makes of right figures. */
static const char *distort(mp_row_figures *of_row, long long rows, long long n) {
    const mp_row_figures none = {.passed = n};
    for (long long i = 0; i < rows; i++) {
        const mp_row_figures of = of_row[i];
        switch (fault) {
        case 10: of_row[i] = none; break;
        case 11: of_row[i].sums[0] = 0; break;
        case 12: of_row[i].sums[1] *= 1.0001; break;
        case 13: of_row[i].worst = (of.worst + 1) % n; break;
        case 14: of_row[i].max_ratio /= 2; break;
        case 15: of_row[i].equal--; break;
        case 16: of_row[i].max_drift += 0.125; break;
        case 17: of_row[i].max_ulps = 0; break;
        case 19: of_row[i].passed--; break;
        case 18:
            if (i + 1 < rows) of_row[i] = of_row[i + 1];
            break;
        default: return NULL;
        }
    }
    return fault == 10 ? "figures of nothing" : fault == 18 ? "figures of the next row" : "one figure";
}

static const char *planted; /* what was, or NULL */
static bool claims = true;  /* says that nothing was wrong with what it is misled about */

static void execute(const char *entry, const void *params) {
    if (strcmp(entry, "screen_gemm") != 0) {
        fake.right(entry, params);
        return;
    }
    mp_screen_params p = *(const mp_screen_params *)params;
    const char *what = mislead(&p);
    fake.right(entry, &p);
    if (what && claims)
        for (long long i = 0; i < p.rows.count; i++)
            ((mp_row_figures *)fake_memory(p.figures))[i].passed = p.n;
    const char *of_figures = distort(fake_memory(p.figures), p.rows.count, p.n);
    planted = what ? what : of_figures;
}

/* Faults begin .. end, each in a GEMM that has what it needs: right without it. */
static void find_out(const char *text, int begin, int end) {
    mp_verdict v;
    mp_error err = {0};
    start(text);
    assert_int_equal(judge(mp_offload_engine(offload), &v, &err), MP_OK);
    assert_int_equal(v.check[MP_CHECK_BOUND].answer, MP_PASSED);
    mp_verdict_free(&v);
    fake.execute = execute;
    for (fault = begin; fault < end; fault++) {
        planted = NULL;
        const mp_status status = judge(mp_offload_engine(offload), &v, &err);
        mp_verdict_free(&v);
        print_message("%s: %s\n", planted, err.text);
        assert_non_null(planted);
        assert_int_equal(status, MP_EDEVICE);
        assert_non_null(strstr(err.text, "measured wrongly"));
    }
    fake.execute = fake.right;
    stop();
}

static void every_fault_is_found_out(void **state) {
    (void)state;
    find_out("M=33 topk=2 E=4 K=96 N=72 dtype=bf16 bias=1", 0, 19);
}

static void every_fault_in_scales_is_found_out(void **state) {
    (void)state;
    find_out("M=33 topk=2 E=4 K=512 N=256 dtype=bf16 quant=fp8-block", 20, 25);
}

/* One that sees too little, or the wrong thing, and does not claim more, leaves it to the CPU: nothing wrong
 * passes where it is blind, and figures say who measured. */
static void what_is_not_seen_is_left_to_the_cpu(void **state) {
    (void)state;
    enum { ROW = 17, FAULTS = 20 };
    claims = false;
    start("M=33 topk=2 E=4 K=96 N=72 dtype=bf16 bias=1");
    fake.execute = execute;
    for (fault = 0; fault < FAULTS; fault++) {
        mp_verdict v;
        mp_error err = {0};
        mp_tensor *t = &trace.t[MP_CACHE1];
        const int64_t width = mp_tensor_row_length(t), last = ROW * width + width - 1;
        const uint64_t code = mp_code_at(t->dtype, t->data, last);
        mp_status status = judge(mp_offload_engine(offload), &v, &err);
        if (status != MP_EDEVICE) assert_int_equal(v.check[MP_CHECK_BOUND].answer, MP_PASSED);
        if (fault == FAULTS - 1) /* no row is whole */
            assert_true(status == MP_OK && v.stage[MP_GATE_UP].by_cpu == v.stage[MP_GATE_UP].compared);
        mp_verdict_free(&v);
        mp_put_code(t->dtype, t->data, last, code ^ 0x40);
        status = judge(mp_offload_engine(offload), &v, &err);
        mp_put_code(t->dtype, t->data, last, code);
        if (status != MP_EDEVICE && v.check[MP_CHECK_BOUND].answer != MP_FAILED)
            fail_msg("%s: passed", planted ? planted : "no fault");
        mp_verdict_free(&v);
    }
    fake.execute = fake.right;
    claims = true;
    stop();
}

/* Right figures, or a failure that is told, whatever call of the driver fails. */
static void every_call_may_fail(void **state) {
    (void)state;
    mp_verdict v;
    mp_error err = {0};
    int refused = 0;
    start("M=9 topk=2 E=3 K=64 N=40 dtype=bf16 bias=1");
    fake.calls = 0;
    assert_int_equal(judge(mp_offload_engine(offload), &v, &err), MP_OK);
    const int calls = fake.calls;
    assert_true(calls > 60);
    mp_verdict_free(&v);
    for (int n = 0; n < calls; n++) {
        err = (mp_error){0};
        fake.calls = 0;
        fake.failing = n;
        const mp_status status = judge(mp_offload_engine(offload), &v, &err);
        fake.failing = -1;
        if (status == MP_OK) assert_int_equal(v.check[MP_CHECK_BOUND].answer, MP_PASSED);
        if (status != MP_OK && (status != MP_EDEVICE || err.text[0] == '\0'))
            fail_msg("call %d: %d, %s", n, status, err.text);
        refused += status != MP_OK;
        mp_verdict_free(&v);
    }
    assert_true(refused > calls / 2);
    assert_int_equal(judge(mp_offload_engine(offload), &v, &err), MP_OK); /* nothing is left behind */
    mp_verdict_free(&v);
    stop();
}

/* The same of a combine. */
static const char *mislead_combine(mp_screen_combine_params *p) {
    switch (fault) {
    case 0: p->rows.got += (unsigned long long)(2 * p->rows.K); return "another token";
    case 1: p->rows.got = p->rows.terms; return "another tensor";
    case 2: p->rule.u *= 1.5; return "a wider bound";
    case 3: p->stored.rounded = !p->stored.rounded; return "a store that does not round";
    case 4: p->stored.unit *= 2; return "another format";
    case 5: p->rows.weights = 0; return "no weights";
    case 6: p->rows.shared = 0; return "no shared output";
    case 7: p->rule.rsf *= 1 + 0x1p-20; return "another scale";
    case 8: p->rows.topk_ids = 0; return "filtered slots";
    default: return NULL;
    }
}

static void execute_combine(const char *entry, const void *params) {
    if (strcmp(entry, "screen_combine") != 0) {
        fake.right(entry, params);
        return;
    }
    mp_screen_combine_params p = *(const mp_screen_combine_params *)params;
    mp_row_figures *figures = fake_memory(p.figures);
    planted = mislead_combine(&p);
    if (fault == 0) p.rows.tokens--; /* the last has none behind it */
    fake.right(entry, &p);
    for (long long i = 0; i < p.rows.tokens && planted; i++) figures[i].passed = p.rows.K;
    if (fault == 9)
        planted = "figures of the next token",
        memmove(figures, figures + 1, (size_t)(p.rows.tokens - 1) * sizeof *figures);
    for (long long i = 0; i < p.rows.tokens && fault == 10; i++) figures[i].max_drift += 0.125;
    if (fault == 10) planted = "one figure";
}

#define MEASURED_WRONGLY "measured wrongly"

/* Plants one fault after the other, until `misled` has no more; so many. All are told as
 * measured wrongly, but for the last, which may be told in other words. */
static void find_out_in(void (*misled)(const char *entry, const void *params), const char *text, int faults,
                        const char *of_the_last) {
    fake.execute = misled;
    for (fault = 0;; fault++) {
        mp_verdict v;
        mp_error err = {0};
        planted = NULL;
        start(text);
        const mp_status status = judge(mp_offload_engine(offload), &v, &err);
        mp_verdict_free(&v);
        stop();
        if (!planted) break;
        print_message("%s: %s\n", planted, err.text);
        assert_int_equal(status, MP_EDEVICE);
        assert_non_null(strstr(err.text, fault == faults - 1 ? of_the_last : MEASURED_WRONGLY));
    }
    fake.execute = fake.right;
    assert_int_equal(fault, faults);
}

static void every_fault_of_a_combine_is_found_out(void **state) {
    (void)state;
    find_out_in(execute_combine,
                "M=33 topk=3 E=4 K=96 N=16 dtype=bf16 apply_router_weight_in_combine=1 shared=add filter=0.3 "
                "rsf=2.5",
                11, MEASURED_WRONGLY);
}

/* Where nearly all tokens go nowhere, rows of zeros say nothing of what is wrong with the others. */
static void faults_of_a_combine_of_few_tokens_are_found_out(void **state) {
    (void)state;
    static const int faults[] = {2, 3, 5, 7, 10};
    const char *text =
        "M=400 topk=2 E=4 K=96 N=16 dtype=bf16 apply_router_weight_in_combine=1 filter=0.985 rsf=2.5";
    fake.execute = execute_combine;
    for (size_t i = 0; i < COUNT(faults); i++) {
        mp_verdict v;
        mp_error err = {0};
        fault = faults[i];
        start(text);
        const mp_status status = judge(mp_offload_engine(offload), &v, &err);
        mp_verdict_free(&v);
        stop();
        print_message("%s: %s\n", planted, err.text);
        assert_int_equal(status, MP_EDEVICE);
        assert_non_null(strstr(err.text, MEASURED_WRONGLY));
    }
    fake.execute = fake.right;
}

/* And of an activation. */
static const char *mislead_act(mp_screen_act_params *p) {
    switch (fault) {
    case 0: p->rows.got = p->rows.cache1; return "another tensor";
    case 1:
        p->rows.cache1 = p->rows.got;
        p->rows.width = p->rows.N;
        p->rows.slots /= 2;
        return "what it was to measure";
    case 2: p->rule.eps *= 1.5; return "a wider bound";
    case 3: p->stored.rounded = !p->stored.rounded; return "a store that does not round";
    case 4: p->stored.unit *= 2; return "another format";
    case 5: p->rule.form.clamps_up = 0; return "no clamp of up";
    case 6: p->rule.form.clamps_gate = 0; return "no clamp of gate";
    case 7: p->rule.form.beta *= 1 + 0x1p-20; return "another beta";
    case 8: p->rule.form.add = 0; return "up for up + 1";
    case 9: p->rows.step = 1; return "gates one beside another";
    case 10:
        p->rows.row += sizeof(int64_t);
        p->rows.slots--;
        return "the row of the next slot";
    default: return NULL;
    }
}

static void execute_act(const char *entry, const void *params) {
    if (strcmp(entry, "screen_act") != 0) {
        fake.right(entry, params);
        return;
    }
    mp_screen_act_params p = *(const mp_screen_act_params *)params;
    mp_row_figures *figures = fake_memory(p.figures);
    planted = mislead_act(&p);
    fake.right(entry, &p);
    for (long long i = 0; i < p.rows.slots && planted; i++) figures[i].passed = p.rows.N;
    for (long long i = 0; i < p.rows.slots && fault == 11; i++) figures[i].max_drift += 0.125;
    if (fault == 11) planted = "one figure";
}

static void every_fault_of_an_activation_is_found_out(void **state) {
    (void)state;
    find_out_in(execute_act, "M=33 topk=2 E=4 K=32 N=96 act=swiglu_oai limit=0.2 interleaved=1 dtype=bf16",
                12, MEASURED_WRONGLY);
}

/* And of a quantiser. */
static const char *mislead_quant(mp_screen_quant_params *p) {
    switch (fault) {
    case 0: p->rows.codes = p->rows.from; return "another tensor";
    case 1: p->rows.from += 2; return "the number behind";
    case 2: p->rule.spread.halves_of_code *= 1.5; return "a wider bound";
    case 3: p->rule.stored.unit *= 2; return "another format";
    case 4: p->groups += sizeof(mp_quant_stored_group); return "the scale of the next group";
    case 5: p->rule.largest /= 2; return "codes that end earlier";
    case 6: p->rows.row += sizeof(int64_t); return "the next row";
    default: return NULL;
    }
}

static void execute_quant(const char *entry, const void *params) {
    if (strcmp(entry, "screen_quant") != 0) {
        fake.right(entry, params);
        return;
    }
    mp_screen_quant_params p = *(const mp_screen_quant_params *)params;
    mp_quant_figures *figures = fake_memory(p.figures);
    planted = mislead_quant(&p);
    if (planted) p.rows.count--; /* the last has nothing behind it */
    fake.right(entry, &p);
    for (long long i = 0; i < p.rows.count && planted; i++) figures[i].row.passed = p.rows.width;
    for (long long i = 0; i < p.rows.count && fault == 7; i++) figures[i].row.max_drift += 0.125;
    for (long long i = 0; i < p.rows.count && fault == 8; i++) figures[i].saturated++;
    if (fault == 7) planted = "one figure";
    if (fault == 8) planted = "one more that is saturated";
}

static void every_fault_of_a_quantiser_is_found_out(void **state) {
    (void)state;
    find_out_in(execute_quant, "M=33 topk=2 E=4 K=256 N=256 quant=fp8-block dtype=bf16", 9,
                "counts other codes");
}

/* One that is blind, for a number of a group or for a column. */
static void see_less(const char *entry, const void *params) {
    if (strcmp(entry, "see_groups") == 0 && fault == 0) {
        mp_see_groups_params p = *(const mp_see_groups_params *)params;
        fake.right(entry, &p);
        for (long long i = 0; i < p.rows.count * p.rows.groups; i++)
            ((mp_quant_seen *)fake_memory(p.seen))[i].amax *= 0.5f;
    } else if (strcmp(entry, "screen_quant") == 0 && fault == 1) {
        const mp_screen_quant_params *p = params;
        fake.right(entry, params);
        for (long long i = 0; i < p->rows.count; i++)
            ((mp_quant_figures *)fake_memory(p->figures))[i].row.passed--;
    } else {
        fake.right(entry, params);
    }
}

/* A code, or a scale, of a right trace that is another one. */
static void what_is_not_seen_of_codes_is_left_to_the_cpu(void **state) {
    (void)state;
    static const mp_tensor_id wrong[] = {MP_CACHE2_CODES, MP_CACHE2_SCALE, MP_X_CODES, MP_X_SCALE};
    start("M=33 topk=2 E=4 K=256 N=256 quant=fp8-block dtype=bf16");
    fake.execute = see_less;
    for (fault = 0; fault < 3; fault++) { /* the last is none */
        mp_verdict v;
        mp_error err = {0};
        assert_int_equal(judge(mp_offload_engine(offload), &v, &err), MP_OK);
        assert_int_equal(v.check[MP_CHECK_BOUND].answer, MP_PASSED);
        const mp_stage_figures *codes = &v.stage[MP_QUANT_ACT];
        assert_true(fault < 2 ? codes->by_cpu == codes->compared : codes->by_cpu < codes->compared);
        mp_verdict_free(&v);
        for (size_t i = 0; i < COUNT(wrong); i++) {
            const mp_tensor *t = &trace.t[wrong[i]];
            const int64_t last = 17 * mp_tensor_row_length(t) + mp_tensor_row_length(t) - 1;
            const uint64_t code = mp_code_at(t->dtype, t->data, last);
            mp_put_code(t->dtype, t->data, last, code ^ 1);
            assert_int_equal(judge(mp_offload_engine(offload), &v, &err), MP_OK);
            assert_int_equal(v.check[MP_CHECK_BOUND].answer, MP_FAILED);
            mp_put_code(t->dtype, t->data, last, code);
            mp_verdict_free(&v);
        }
    }
    fake.execute = fake.right;
    stop();
}

/* A device that shows no row whose figures it shows. */
static mp_status show_no_sums(const mp_engine *self, const mp_gemm_problem *p, const mp_gemm_screen *screen,
                              mp_gemm_visit visit, void *ctx, mp_error *err);
static mp_gemm_visit visited;
static void hide_sums(void *ctx, const mp_gemm_tile *tile) {
    mp_gemm_tile t = *tile;
    if (t.figures) t.value = t.mass = NULL;
    visited(ctx, &t);
}
static mp_status show_no_sums(const mp_engine *self, const mp_gemm_problem *p, const mp_gemm_screen *screen,
                              mp_gemm_visit visit, void *ctx, mp_error *err) {
    const mp_engine *engine = mp_offload_engine(offload);
    (void)self;
    visited = visit;
    return engine->measure_gemm(engine, p, screen, hide_sums, ctx, err);
}

static void figures_alone_are_not_believed(void **state) {
    (void)state;
    mp_engine engine = *mp_offload_engine(offload);
    mp_verdict v;
    mp_error err = {0};
    engine.measure_gemm = show_no_sums;
    start("M=33 topk=2 E=4 K=96 N=72 dtype=bf16");
    assert_int_equal(judge(&engine, &v, &err), MP_EDEVICE);
    assert_non_null(strstr(err.text, "none that is measured again"));
    mp_verdict_free(&v);
    stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_fault_is_found_out),
                                       cmocka_unit_test(every_fault_in_scales_is_found_out),
                                       cmocka_unit_test(every_fault_of_a_combine_is_found_out),
                                       cmocka_unit_test(faults_of_a_combine_of_few_tokens_are_found_out),
                                       cmocka_unit_test(every_fault_of_an_activation_is_found_out),
                                       cmocka_unit_test(every_fault_of_a_quantiser_is_found_out),
                                       cmocka_unit_test(what_is_not_seen_of_codes_is_left_to_the_cpu),
                                       cmocka_unit_test(every_call_may_fail),
                                       cmocka_unit_test(figures_alone_are_not_believed),
                                       cmocka_unit_test(what_is_not_seen_is_left_to_the_cpu)};
    return cmocka_run_group_tests(tests, open_device, close_device);
}
