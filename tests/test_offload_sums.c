/* SPDX-License-Identifier: Apache-2.0 */
/* GEMMs predicted on the GPU against the CPU's prediction, bit by bit: every model and family of operands,
 * and the stages of whole matrices. 77 where there is no GPU. */
#include "cases/scheme.h"
#include "moeparity/matrix.h"
#include "offload/offload.h"
#include "ref/engine.h"
#include "moeparity/preset.h"
#include "ref/predict/gemm.h"
#include "ref/predict/predict.h"
#include "tests/tensorcore_support.h"

#include <stdio.h>

static mp_offload *offload;

static mp_gemm_contract contract_of(const mp_tc_model *m) {
    static const mp_k_order orders[] = {[MP_TC_DIRECT] = MP_K_ASCENDING,
                                        [MP_TC_THROUGH_FP16] = MP_K_BY_PAIRS,
                                        [MP_TC_PERMUTED] = MP_K_PERMUTED};
    return (mp_gemm_contract){.accumulator = MP_ACC_TENSOR_CORE,
                              .group = m->group,
                              .fraction_bits = m->fraction_bits,
                              .result_fraction_bits = m->result_fraction_bits,
                              .zero_exponent = m->zero_exponent,
                              .k_order = orders[m->method],
                              .split_k = 1};
}

enum { EXPERTS = 3, SLOTS = 150 };

/* Slots of several experts, some of none, some without a row, by both. `of`: what it is, for the message. */
static void compare(const mp_gemm_contract *contract, const mp_tensor *a, const mp_tensor *w, rng *r,
                    const char *of) {
    const mp_engine *engine = mp_offload_engine(offload);
    const int64_t N = w->dim[1];
    mp_tensor expected = allocated_tensor(MP_FP32, SLOTS, N, 0), out = allocated_tensor(MP_FP32, SLOTS, N, 0);
    int64_t row[SLOTS];
    int32_t ids[SLOTS];
    mp_error err = {0};
    random_order(r, row, SLOTS);
    for (int64_t t = 0; t < SLOTS; t++) {
        ids[t] = (int32_t)random_below(r, EXPERTS + 1) - 1;
        if (t % 31 == 30) row[t] = -1;
    }
    const mp_gemm_problem problem = {
        .a = {.codes = a}, .a_row = row, .w = {.codes = w}, .topk_ids = ids, .slots = SLOTS};
    if (mp_predict_gemm(contract, NULL, &problem, &(mp_epilogue){0}, NULL, &expected, &err) != MP_OK ||
        engine->predict_gemm(engine, contract, &mp_schemes[MP_SCHEME_NONE], MP_BF16, &problem,
                             &(mp_epilogue){0}, NULL, &out, &err) != MP_OK)
        fail_msg("%s: %s", of, err.text);
    for (int64_t i = 0; i < SLOTS * N; i++) {
        const uint32_t got = ((const uint32_t *)out.data)[i], want = ((const uint32_t *)expected.data)[i];
        if (got != want)
            fail_msg("%s, %s by %s, L=%d F=%d, promotion %d, K=%lld, slot %lld, column %lld: %08X, expected "
                     "%08X",
                     of, mp_dtype_name(a->dtype), mp_dtype_name(w->dtype), contract->group,
                     contract->fraction_bits, contract->promotion, (long long)w->dim[2], (long long)(i / N),
                     (long long)(i % N), got, want);
    }
    mp_tensor_free(&expected);
    mp_tensor_free(&out);
}

/* Operands of a family. */
static void compare_family(const mp_gemm_contract *contract, mp_tc_input a_input, mp_tc_input w_input,
                           family f, int64_t K, rng *r) {
    const int64_t N = 1 + random_below(r, 150);
    char of[32];
    mp_tensor a = allocated_tensor(SHAPES[a_input].dtype, SLOTS, K, 0),
              w = allocated_tensor(SHAPES[w_input].dtype, EXPERTS, N, K);
    random_rows(r, a_input, f, SLOTS, K, &a);
    random_columns(r, w_input, f, EXPERTS * N, K, &w);
    snprintf(of, sizeof of, "family %d", f);
    compare(contract, &a, &w, r, of);
    mp_tensor_free(&a);
    mp_tensor_free(&w);
}

static void tensor_cores_have_the_bits_of_the_cpu(void **state) {
    (void)state;
    rng r = {1};
    for (size_t i = 0; i < COUNT(MODELS); i++) {
        const mp_tc_model m = model_of(i);
        mp_gemm_contract contract = contract_of(&m);
        for (family f = 0; f < FAMILIES; f++) {
            /* whole vectors, and none; whole chunks, and none; one term */
            const int64_t K[] = {128, 96 + 16, 1 + random_below(&r, f == ANY ? 40 : 130), 1};
            for (size_t k = 0; k < COUNT(K); k++) {
                contract.promotion = k % 2 ? 0 : 32 * (int)random_below(&r, 3);
                compare_family(&contract, m.a, m.b, f, K[k], &r);
            }
        }
    }
}

/* Numbers of 16 and of 32 bits, by multiply-adds in float32. */
static void multiply_adds_have_the_bits_of_the_cpu(void **state) {
    (void)state;
    static const mp_tc_input inputs[] = {MP_TC_BF16, MP_TC_FP16, MP_TC_TF32};
    const mp_gemm_contract contract = {.accumulator = MP_ACC_FMA_ASCENDING, .split_k = 1};
    rng r = {2};
    for (size_t i = 0; i < COUNT(inputs); i++)
        for (family f = 0; f < FAMILIES; f++)
            compare_family(&contract, inputs[i], inputs[i], f, 1 + random_below(&r, 200), &r);
}

/* The largest products of all, over more terms than int32 holds, and any. */
static void int8_has_the_bits_of_the_cpu(void **state) {
    (void)state;
    static const int64_t Ks[] = {1, 64, 131, 140000};
    rng r = {3};
    for (size_t k = 0; k < COUNT(Ks); k++)
        for (int any = 0; any < 2; any++) {
            const int64_t N = Ks[k] > 1000 ? 2 : 70;
            mp_gemm_contract contract = {.accumulator = MP_ACC_TENSOR_CORE,
                                         .group = 32,
                                         .split_k = 1,
                                         .promotion = 64 * (int)random_below(&r, 3)};
            mp_tensor a = allocated_tensor(MP_I8, SLOTS, Ks[k], 0),
                      w = allocated_tensor(MP_I8, EXPERTS, N, Ks[k]);
            memset(a.data, 0x80, mp_tensor_bytes(&a));
            memset(w.data, 0x80, mp_tensor_bytes(&w));
            for (size_t i = 0; i < mp_tensor_bytes(&a) && any; i++)
                ((int8_t *)a.data)[i] = (int8_t)random_bits(&r);
            for (size_t i = 0; i < mp_tensor_bytes(&w) && any; i++)
                ((int8_t *)w.data)[i] = (int8_t)random_bits(&r);
            compare(&contract, &a, &w, &r, any ? "any codes" : "-128 throughout");
            mp_tensor_free(&a);
            mp_tensor_free(&w);
        }
}

/* Every tensor that a pipeline leaves by both. */
static void compare_case(const mp_case *c, const mp_contract *contract) {
    mp_inputs in;
    mp_trace trace[2];
    mp_error err = {0};
    if (mp_inputs_create(c, &in, &err) != MP_OK) fail_msg("%s", err.text);
    mp_offload_begin(offload, &in);
    for (int e = 0; e < 2; e++) {
        mp_prediction prediction = {.contract = contract, .engine = e ? mp_offload_engine(offload) : NULL};
        const mp_executor executor = mp_predict_executor(&prediction);
        if (mp_trace_create(c, 16, MP_POISON_A, &trace[e], &err) != MP_OK ||
            mp_run_trace(&executor, c, &in, &trace[e], &err) != MP_OK)
            fail_msg("%s", err.text);
    }
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (!same_memory(&trace[0].t[id], &trace[1].t[id])) {
            char text[MP_CASE_TEXT_MAX];
            mp_case_text(c, text, sizeof text);
            fail_msg("%s: %s differs", text, mp_tensor_name((mp_tensor_id)id));
        }
    mp_offload_begin(offload, NULL);
    mp_trace_destroy(&trace[0]);
    mp_trace_destroy(&trace[1]);
    mp_inputs_destroy(&in);
}

static void whole_matrices_have_the_bits_of_the_cpu(void **state) {
    (void)state;
    static const char *const files[] = {"options", "edge", "quant", "lora", "tiles"};
    for (size_t f = 0; f < COUNT(files); f++) {
        char path[256];
        mp_matrix m = {0};
        mp_error err = {0};
        snprintf(path, sizeof path, MP_MATRIX_FOLDER "/%s.yaml", files[f]);
        if (mp_matrix_load(&m, path, &err) != MP_OK || mp_matrix_select(&m, MP_CI, NULL, &err) != MP_OK)
            fail_msg("%s", err.text);
        for (size_t i = 0; i < m.count; i++) {
            const mp_contract contract = mp_host_contract(&m.rows[i].c);
            compare_case(&m.rows[i].c, &contract);
        }
        print_message("%s: %zu cases\n", files[f], m.count);
        mp_matrix_free(&m);
    }
}

/* Every scheme of quantised experts as other architectures multiply it, as far as that is predicted. */
static void other_architectures_have_the_bits_of_the_cpu(void **state) {
    (void)state;
    static const int architectures[] = {80, 89, 90, 120};
    int compared = 0;
    for (int s = 0; s < MP_SCHEME_COUNT; s++)
        for (size_t i = 0; i < COUNT(architectures); i++)
            for (int dtype = 0; dtype < 2; dtype++) {
                char text[128];
                const char *why;
                snprintf(text, sizeof text, "M=37 E=6 topk=2 K=384 N=256 bias=1 dtype=%s quant=%s",
                         dtype ? "fp16" : "bf16", mp_schemes[s].name);
                const mp_case c = case_of(text);
                const mp_contract contract = mp_contract_of_architecture(architectures[i], &c);
                if (!mp_predictable(&contract, &c, MP_GATE_UP, &why)) continue;
                compare_case(&c, &contract);
                compared++;
            }
    assert_true(compared > MP_SCHEME_COUNT);
}

int main(void) {
    mp_error err = {0};
    if (mp_offload_open(1, &offload, &err) != MP_OK) {
        fprintf(stderr, "SKIPPED: %s\n", err.text);
        return getenv("MOEPARITY_REQUIRE_GPU") ? 1 : 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(tensor_cores_have_the_bits_of_the_cpu),
                                       cmocka_unit_test(multiply_adds_have_the_bits_of_the_cpu),
                                       cmocka_unit_test(int8_has_the_bits_of_the_cpu),
                                       cmocka_unit_test(whole_matrices_have_the_bits_of_the_cpu),
                                       cmocka_unit_test(other_architectures_have_the_bits_of_the_cpu)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mp_offload_close(offload);
    return failed;
}
