/* SPDX-License-Identifier: Apache-2.0 */
/* The final output's figures by the pipeline of offload/ and by that of ref/. Built twice: for a GPU, without
 * which it is skipped, and with tests/offload_kernels.c for a device that is not there, whose kernels run on
 * the host. */
#include "kernels/cuda.h"
#include "ref/pipeline.h"
#include "tests/end_to_end_support.h"
#include "tests/offload_support.h"

#include <string.h>

static const char *const cases[] = {
    "M=64 E=4 topk=2 K=64 N=32",
    "M=64 E=4 topk=3 K=70 N=37 act=gelu bias=1 filter=0.3",
    "M=64 E=4 topk=2 K=64 N=32 act=gelu_tanh interleaved=1 dtype=fp16",
    "M=64 E=4 topk=2 K=64 N=32 act=swiglu_oai interleaved=1 bias=1 dtype=fp32",
    "M=64 E=4 topk=2 K=64 N=32 act=silu_clamp limit=0.05",
    "M=64 E=4 topk=2 K=64 N=32 act=clamp_silu limit=0.5 layout=sorted",
    "M=64 E=4 topk=2 K=64 N=32 act=relu2 gated=0",
    "M=64 E=4 topk=2 K=64 N=32 gated=0 rsf=2.5",
    "M=64 E=4 topk=2 K=64 N=32 mode=no_combine filter=0.4",
    "M=64 E=4 topk=1 K=64 N=32 apply_router_weight_on_input=1",
    "M=64 E=4 topk=4 K=64 N=32 apply_router_weight_in_combine=1 filter=0.5",
    "M=64 E=4 topk=2 K=64 N=32 shared=add rsf=0.5",
    "M=64 E=4 topk=2 K=64 N=32 layout=masked filter=0.3",
    "M=64 E=4 topk=2 K=64 N=32 mode=inplace",
    "M=64 E=4 topk=2 K=64 N=32 data=special",
    "M=64 E=4 topk=2 K=64 N=32 data=wide dtype=fp32",
    "M=64 E=4 topk=2 K=64 N=32 quant=int4-w4a16",
    "M=64 E=4 topk=2 K=256 N=128 quant=fp8-block",
    "M=64 E=4 topk=2 K=200 N=72 quant=fp8-block filter=0.3 bias=1",
    "M=64 E=4 topk=2 K=64 N=32 quant=fp8-channel act=clamp_silu limit=0.5",
    "M=64 E=4 topk=3 K=96 N=64 quant=int8-channel act=silu_clamp limit=0.05 apply_router_weight_in_combine=1",
    "M=64 E=4 topk=2 K=64 N=32 quant=fp8-tensor act=relu2 gated=0",
    "M=64 E=4 topk=2 K=64 N=32 quant=mxfp8 mode=no_combine filter=0.4",
    "M=64 E=4 topk=2 K=64 N=32 quant=nvfp4 act=swiglu_oai interleaved=1 bias=1",
    "M=64 E=4 topk=2 K=64 N=32 quant=fp8-channel data=special",
    "M=17 E=4 topk=2 K=320 N=192 dtype=fp16 data=integer quant=nvfp4",
    "M=64 E=4 topk=2 K=64 N=32 quant=fp8-channel data=special act=clamp_silu limit=1",
    "M=64 E=4 topk=2 K=256 N=256 quant=int8-block data=wide dtype=fp16",
    "M=64 E=4 topk=2 K=64 N=32 quant=fp8-channel shared=add rsf=0.5 layout=sorted",
    "M=64 E=4 topk=2 K=64 N=32 quant=fp8-channel fused_quant=1",
    "M=3 E=40 topk=8 K=16 N=8",
    "M=1 E=1 topk=1 K=1 N=1",
};

static int answered; /* cases by the pipeline on the device */

static mp_status counted(const mp_engine *self, const mp_case *c, const mp_inputs *in, const mp_tensor *out,
                         const mp_ball_rules *rules, mp_token_figures *figures, mp_bound_figures *bounds,
                         mp_error *err) {
    const mp_status status =
        mp_offload_engine(offload)->end_to_end(self, c, in, out, rules, figures, bounds, err);
    answered += status == MP_OK;
    return status;
}

/* Radii are sums of magnitudes, a few thousand roundings of float64; ratios are of errors, as above. */
static void same_bounds(const char *text, const mp_stage_figures *a, const mp_stage_figures *b) {
    assert_int_equal(a->failed, b->failed);
    assert_int_equal(a->worst_index, b->worst_index);
    assert_true(a->worst_value == b->worst_value || isnan(b->worst_value));
    if (!(fabs(a->quant_bound - b->quant_bound) <= 1e-12 * b->quant_bound &&
          fabs(a->worst_bound - b->worst_bound) <= 1e-12 * b->worst_bound &&
          fabs(a->worst_expected - b->worst_expected) <= 1e-12 * (fabs(b->worst_expected) + b->worst_bound) &&
          fabs(a->max_ratio - b->max_ratio) <= 1e-7 * b->max_ratio))
        fail_msg("%s: ratio %.17g, bound %.17g, of codes %.17g; by the CPU %.17g, %.17g, %.17g", text,
                 a->max_ratio, a->worst_bound, a->quant_bound, b->max_ratio, b->worst_bound, b->quant_bound);
}

static void every_case_has_the_same_figures(void **state) {
    (void)state;
    mp_engine engine = *mp_offload_engine(offload);
    engine.end_to_end = counted;
    for (size_t i = 0; i < COUNT(cases); i++) {
        mp_error err = {0};
        host_run r;
        mp_stage_figures by_device, by_cpu;
        host_run_create(&r, cases[i], offload);
        answered = 0;
        if (end_to_end_by(&r, &engine, &by_device, &err)) fail_msg("%s: %s", cases[i], err.text);
        if (answered != 1) fail_msg("%s: the device made no figures", cases[i]);
        if (end_to_end_by(&r, &mp_engine_plain, &by_cpu, &err)) fail_msg("%s: %s", cases[i], err.text);
        assert_int_equal(by_device.compared, by_cpu.compared);
        assert_int_equal(isnan(by_device.max_abs), isnan(by_cpu.max_abs));
        /* errors of float32 steps: eight digits of them are above what float64 sums are apart */
        if (!isnan(by_cpu.max_abs) &&
            !(fabs(by_device.max_abs - by_cpu.max_abs) <= 1e-7 * by_cpu.max_abs &&
              fabs(by_device.max_row_rms - by_cpu.max_row_rms) <= 1e-7 * by_cpu.max_row_rms))
            fail_msg("%s: %.17g and %.17g, by the CPU %.17g and %.17g", cases[i], by_device.max_abs,
                     by_device.max_row_rms, by_cpu.max_abs, by_cpu.max_row_rms);
        same_bounds(cases[i], &by_device, &by_cpu);
        host_run_free(&r, offload);
    }
}

/* What it does not know it refuses: the CPU's figures are the case's. */
static void others_are_left_to_the_cpu(void **state) {
    (void)state;
    static const char *const others[] = {"M=64 E=4 topk=2 K=64 N=32 quant=fp8-channel act=gelu",
                                         "M=64 E=4 topk=2 K=64 N=32 lora_adapters=2 lora_rank=8"};
    const mp_engine *engine = mp_offload_engine(offload);
    for (size_t i = 0; i < COUNT(others); i++) {
        mp_error err = {0};
        host_run r;
        mp_token_figures figures[64];
        host_run_create(&r, others[i], offload);
        assert_int_equal(
            engine->end_to_end(engine, &r.f.c, &r.f.in, &r.trace.t[MP_OUT], NULL, figures, NULL, &err),
            MP_EUNSUPPORTED);
        host_run_free(&r, offload);
    }
}

/* A judge with so little memory that tokens come in slabs and their GEMMs in pieces. */
static mp_offload *small_offload(void) {
    mp_error err = {0};
    mp_cuda *cuda;
    mp_offload *small;
    size_t free_bytes, reserve_bytes;
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    assert_int_equal(mp_cuda_memory(cuda, &free_bytes, &reserve_bytes, &err), MP_OK);
    mp_cuda_close(cuda);
    const int share = (int)((free_bytes - reserve_bytes) / ((size_t)6 << 20));
    if (mp_offload_open(share, &small, &err) != MP_OK) fail_msg("%s", err.text);
    return small;
}

/* Every token's figures then, beside values of ref/. */
static void slabs_and_pieces_leave_no_token_out(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *usual = offload;
    host_run r;
    offload = small_offload();
    host_run_create(&r, "M=700 E=3 topk=2 K=256 N=128 filter=0.1 bias=1 shared=add", offload);
    const mp_engine *engine = mp_offload_engine(offload);
    const mp_case *c = &r.f.c;
    mp_token_figures *figures = allocated(c->M, sizeof *figures);
    mp_tensor exact = allocated_tensor(MP_FP64, c->M, c->K, 0);
    if (engine->end_to_end(engine, c, &r.f.in, &r.trace.t[MP_OUT], NULL, figures, NULL, &err))
        fail_msg("%s", err.text);
    if (mp_ref_exact(c, &r.f.in, mp_engine_of_cpu(), 0, c->M, &exact, &err)) fail_msg("%s", err.text);
    for (int64_t m = 0; m < c->M; m++) {
        mp_token_figures f = {0};
        for (int64_t k = 0; k < c->K; k++)
            mp_token_figures_add(&f, mp_decode(c->dtype, r.trace.t[MP_OUT].data, m * c->K + k),
                                 ((double *)exact.data)[m * c->K + k]);
        assert_true(figures[m].elements == f.elements && figures[m].odd == f.odd);
        if (!(fabs(figures[m].max_abs - f.max_abs) <= 1e-9 * f.max_abs &&
              fabs(figures[m].error2 - f.error2) <= 1e-9 * f.error2 &&
              fabs(figures[m].value2 - f.value2) <= 1e-12 * f.value2))
            fail_msg("token %lld: %.17g %.17g %.17g, by the CPU %.17g %.17g %.17g", (long long)m,
                     figures[m].max_abs, figures[m].error2, figures[m].value2, f.max_abs, f.error2, f.value2);
    }
    free(figures);
    mp_tensor_free(&exact);
    host_run_free(&r, offload);
    mp_offload_close(offload);
    offload = usual;
}

enum { SLAB_TOKENS = 300 };
static mp_bound_figures kept[SLAB_TOKENS];

static mp_status keeping(const mp_engine *self, const mp_case *c, const mp_inputs *in, const mp_tensor *out,
                         const mp_ball_rules *rules, mp_token_figures *figures, mp_bound_figures *bounds,
                         mp_error *err) {
    const mp_status status =
        mp_offload_engine(offload)->end_to_end(self, c, in, out, rules, figures, bounds, err);
    if (status == MP_OK) memcpy(kept, bounds, sizeof kept);
    return status;
}

/* Every token's bounds do not depend on who else is in its slab. */
static void bounds_are_those_of_a_token(void **state) {
    (void)state;
    mp_error err = {0};
    mp_offload *usual = offload, *small = small_offload();
    mp_bound_figures together[SLAB_TOKENS];
    host_run r;
    mp_stage_figures figures;
    for (int i = 0; i < 2; i++) {
        offload = i == 0 ? usual : small;
        host_run_create(&r, "M=300 E=3 topk=2 K=256 N=128 filter=0.1 quant=fp8-block", offload);
        mp_engine engine = *mp_offload_engine(offload);
        engine.end_to_end = keeping;
        if (end_to_end_by(&r, &engine, &figures, &err)) fail_msg("%s", err.text);
        if (i == 0) memcpy(together, kept, sizeof kept);
        host_run_free(&r, offload);
    }
    for (int m = 0; m < SLAB_TOKENS; m++) {
        const mp_bound_figures *a = &kept[m], *b = &together[m];
        assert_true(b->bounded == 256 && memcmp(a, b, sizeof *a) == 0);
    }
    mp_offload_close(small);
    offload = usual;
}

/* What clamps make of a NaN the contract says: of balls on the device, and of what they are compared with. */
static void clamps_of_nan_are_the_contracts(void **state) {
    (void)state;
    for (int clamped = 0; clamped < MP_CLAMP_NAN_COUNT; clamped++) {
        mp_error err = {0};
        host_run r;
        mp_stage_figures by_device, by_cpu;
        host_run_create(
            &r, "M=7 E=4 topk=2 K=64 N=32 quant=fp8-channel data=special act=clamp_silu limit=1 seed=4",
            offload);
        r.contract.act_clamp_nan = (mp_clamp_nan)clamped;
        if (end_to_end_by(&r, mp_offload_engine(offload), &by_device, &err)) fail_msg("%s", err.text);
        if (end_to_end_by(&r, &mp_engine_plain, &by_cpu, &err)) fail_msg("%s", err.text);
        same_bounds("clamps", &by_device, &by_cpu);
        host_run_free(&r, offload);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_has_the_same_figures), cmocka_unit_test(others_are_left_to_the_cpu),
        cmocka_unit_test(slabs_and_pieces_leave_no_token_out), cmocka_unit_test(bounds_are_those_of_a_token),
        cmocka_unit_test(clamps_of_nan_are_the_contracts)};
    return cmocka_run_group_tests(tests, open_device, close_device);
}
