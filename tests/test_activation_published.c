/* SPDX-License-Identifier: Apache-2.0 */
/* The act stage under the contracts of published kernels, against the expressions of these kernels: what is
 * multiplied first, where the gate is rounded, which sums are fused. expf, erff, ex2 and quotients have tests
 * of their own. */
#include "ref/activation.h"
#include "ref/predict/cuda_math.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"
#include "tests/special_unit_support.h"

/* One element before its store; T(a, store): a rounded to the element type. */
typedef float published(float g, float u, float alpha, float limit, mp_dtype store);

static float T(float a, mp_dtype store) {
    return (float)mp_round_to(store, (double)a);
}
static float low(float g, float limit) {
    return g > limit ? limit : g;
}
static float between(float u, float limit) {
    return u < -limit ? -limit : u > limit ? limit : u;
}
/* As CUDA's fminf and fmaxf: of a NaN and a number the number. */
static float cuda_low(float g, float limit) {
    return isnan(g) ? limit : low(g, limit);
}
static float cuda_between(float u, float limit) {
    return isnan(u) ? limit : between(u, limit);
}
static float expf_of(float x) {
    return mp_cuda_expf(unit, x);
}
/* tl.exp(-z), and tl.sigmoid */
static float tl_exp_minus(float z) {
    return mp_ex2_approx(unit, (0.0f - z) * 0x1.715476p0f);
}
static float tl_sigmoid(float z) {
    return mp_div_full(unit, 1.0f, 1.0f + tl_exp_minus(z));
}

/* vLLM, interleaved */
static float vllm_swiglu(float g, float u, float alpha, float limit, mp_dtype store) {
    (void)store;
    const float v = cuda_low(g, limit);
    return v * (cuda_between(u, limit) + 1.0f) / (1.0f + expf_of(-(v * alpha)));
}
/* vLLM, halves: T(silu) * (up + beta), beta = 1; clamp_silu and silu with beta = 0, alpha = 1 */
static float vllm_swiglu_halves(float g, float u, float alpha, float limit, mp_dtype store) {
    const float v = cuda_low(g, limit);
    return T(v / (1.0f + expf_of(-v * alpha)), store) * (cuda_between(u, limit) + 1.0f);
}
static float vllm_clamp_silu(float g, float u, float alpha, float limit, mp_dtype store) {
    (void)alpha;
    const float v = cuda_low(g, limit);
    return T(v / (1.0f + expf_of(-v)), store) * (cuda_between(u, limit) + 0.0f);
}
static float vllm_silu(float g, float u, float alpha, float limit, mp_dtype store) {
    (void)alpha, (void)limit;
    return T(g / (1.0f + expf_of(-g)), store) * (u + 0.0f);
}
/* torch.compile of sglang's functions */
static float sglang_swiglu(float g, float u, float alpha, float limit, mp_dtype store) {
    (void)store;
    const float v = low(g, limit);
    return v * tl_sigmoid(alpha * v) * (between(u, limit) + 1.0f);
}
static float sglang_silu_clamp(float g, float u, float alpha, float limit, mp_dtype store) {
    (void)alpha, (void)store;
    return low(mp_div_full(unit, g, expf_of(-g) + 1.0f), limit) * between(u, limit);
}
/* sglang's Triton gelu: (x/2) * (1 + tanh(z)), tanh = 2 sigmoid(2z) - 1 */
static float sglang_gelu_tanh(float g, float u, float alpha, float limit, mp_dtype store) {
    (void)alpha, (void)limit;
    const float z = 0x1.988454p-1f * fmaf(g, g * (g * 0x1.6e4e26p-5f), g);
    return T(0.5f * g * (fmaf(tl_sigmoid(2.0f * z), 2.0f, -1.0f) + 1.0f), store) * u;
}
/* torch, eager, in float32 */
static float torch_swiglu(float g, float u, float alpha, float limit, mp_dtype store) {
    (void)store;
    const float v = low(g, limit);
    return v * (1.0f / (1.0f + expf_of(-(alpha * v)))) * (between(u, limit) + 1.0f);
}

static const struct {
    const char *name, *case_text, *contract;
    published *element;
} rows[] = {
    {"vLLM swigluoai_and_mul", "act=swiglu_oai interleaved=1",
     "act.function=cuda-math-product act.clamp_nan=limit", vllm_swiglu},
    {"vLLM silu_and_mul_with_clamp, beta 1", "act=swiglu_oai alpha=1.25 limit=3",
     "act.function=cuda-math act.rounding=gate-rounded act.clamp_nan=limit", vllm_swiglu_halves},
    {"vLLM silu_and_mul_with_clamp", "act=clamp_silu limit=3",
     "act.function=cuda-math act.rounding=gate-rounded act.up_plus_zero=1 act.clamp_nan=limit",
     vllm_clamp_silu},
    {"vLLM silu_and_mul", "act=silu", "act.function=cuda-math act.rounding=gate-rounded act.up_plus_zero=1",
     vllm_silu},
    {"sglang swiglu_gpt_oss_sigmoid_alpha", "act=swiglu_oai interleaved=1", "act.function=torch-compile",
     sglang_swiglu},
    {"the same, by Triton", "act=swiglu_oai", "act.function=triton", sglang_swiglu},
    {"sglang _swiglu_silu_clamp_mul", "act=silu_clamp limit=3", "act.function=torch-compile",
     sglang_silu_clamp},
    {"sglang act_and_mul_triton, gelu", "act=gelu_tanh", "act.function=triton act.rounding=gate-rounded",
     sglang_gelu_tanh},
    {"the same", "act=gelu_tanh", "act.function=triton-quotient act.rounding=gate-rounded", sglang_gelu_tanh},
    {"torch", "act=swiglu_oai", "act.function=cuda-math-sigmoid", torch_swiglu},
};

/* "name=value name=value" */
static mp_contract contract_of(const char *text) {
    mp_contract contract = mp_contract_weakest();
    char words[200], *rest, *next = words;
    mp_error err;
    snprintf(words, sizeof words, "%s", text);
    while ((rest = strtok_r(NULL, " ", &next))) {
        char *value = strchr(rest, '=');
        *value++ = 0;
        if (mp_contract_set(&contract, rest, value, &err)) fail_msg("%s", err.text);
    }
    return contract;
}

/* Gates and ups of every size, zeros of both signs among them. */
static float some(rng *r) {
    switch (random_below(r, 8)) {
    case 0: return random_bits(r) & 1 ? -0.0f : 0.0f;
    case 1: return (float)random_wide(r, -130, -20);
    case 2: return random_below(r, 8) ? (float)(100 * random_unit(r)) : NAN;
    default: return (float)(5 * random_unit(r));
    }
}

typedef struct stage {
    mp_inputs in;
    mp_trace trace;
    mp_slot_map map;
    mp_tensor t[MP_TENSOR_COUNT];
    mp_stage_call call;
} stage;

static void open_stage(const mp_case *c, stage *s) {
    mp_error err;
    *s = (stage){0};
    assert_int_equal(mp_inputs_create(c, &s->in, &err), MP_OK);
    assert_int_equal(mp_trace_create(c, 16, MP_POISON_A, &s->trace, &err), MP_OK);
    mp_all_tensors(&s->in, &s->trace, s->t);
    assert_int_equal(mp_slot_map_create(c, s->t, &s->map, &err), MP_OK);
    s->call = (mp_stage_call){.c = c, .t = s->t, .block_size_m = 16, .map = &s->map};
}

static void close_stage(stage *s) {
    free(s->map.memory);
    mp_trace_destroy(&s->trace);
    mp_inputs_destroy(&s->in);
}

static void fill(const mp_tensor *t, uint64_t seed) {
    rng r = {seed};
    for (int64_t i = 0; i < mp_tensor_count(t); i++) mp_encode(t->dtype, t->data, i, (double)some(&r));
}

/* How many elements of cache2 are not the kernel's; *signs: how many of them are a zero of another sign. */
static int64_t different(const stage *s, published *element, int64_t *signs) {
    const mp_case *c = s->call.c;
    const mp_tensor *in = &s->t[MP_CACHE1], *out = &s->t[MP_CACHE2];
    int64_t count = 0;
    *signs = 0;
    for (int64_t row = 0; row < c->M; row++)
        for (int64_t n = 0; n < c->N; n++) {
            const float g = (float)mp_decode(in->dtype, in->data, 2 * row * c->N + mp_gate_column(c, n)),
                        u = (float)mp_decode(in->dtype, in->data, 2 * row * c->N + mp_up_column(c, n));
            const float want = T(element(g, u, (float)c->alpha, (float)c->limit, out->dtype), out->dtype),
                        got = (float)mp_decode(out->dtype, out->data, row * c->N + n);
            const bool same = bits_of(want) == bits_of(got) || (isnan(want) && isnan(got));
            count += !same;
            *signs += !same && want == 0 && got == 0;
        }
    return count;
}

static void each_stage_is_the_kernels_expression(void **unused) {
    (void)unused;
    static const char *const dtypes[] = {"bf16", "fp16", "fp32"};
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            mp_case c = mp_case_default();
            const mp_contract contract = contract_of(rows[i].contract);
            mp_prediction prediction = {.contract = &contract};
            char text[200];
            const char *why;
            mp_error err;
            int64_t signs;
            stage s;
            snprintf(text, sizeof text, "M=64 topk=1 N=256 scope=act dtype=%s %s", dtypes[d],
                     rows[i].case_text);
            if (mp_case_parse(&c, text, &err)) fail_msg("%s", err.text);
            if (!mp_predictable(&contract, &c, MP_ACT, &why)) fail_msg("%s: %s", rows[i].name, why);
            open_stage(&c, &s);
            fill(&s.t[MP_CACHE1], i + 1);
            assert_int_equal(mp_predict_stage_act(&prediction, &s.call, &err), MP_OK);
            const int64_t wrong = different(&s, rows[i].element, &signs);
            if (wrong)
                fail_msg("%s, %s: %lld of %lld differ", rows[i].name, dtypes[d], (long long)wrong,
                         (long long)mp_tensor_count(&s.t[MP_CACHE2]));
            close_stage(&s);
        }
}

/* The contracts say different things: under a neighbouring one the same kernel differs. */
static void a_neighbouring_contract_differs(void **unused) {
    (void)unused;
    static const struct {
        const char *case_text, *contract;
        published *element;
        bool in_signs_alone; /* of zeros */
    } neighbours[] = {
        {"act=swiglu_oai interleaved=1", "act.function=cuda-math", vllm_swiglu, false},
        {"act=swiglu_oai interleaved=1", "act.function=cuda-math-sigmoid", vllm_swiglu, false},
        {"act=swiglu_oai dtype=fp16", "act.function=cuda-math", vllm_swiglu_halves, false},
        {"act=silu", "act.function=cuda-math act.rounding=gate-rounded", vllm_silu, true},
        {"act=clamp_silu limit=3", "act.function=cuda-math act.rounding=gate-rounded act.clamp_nan=limit",
         vllm_clamp_silu, true},
        {"act=clamp_silu limit=3", "act.function=cuda-math act.rounding=gate-rounded act.up_plus_zero=1",
         vllm_clamp_silu, false},
        {"act=swiglu_oai", "act.function=triton-quotient", sglang_swiglu, false},
        {"act=silu_clamp limit=3", "act.function=cuda-math", sglang_silu_clamp, false},
        {"act=silu_clamp limit=3", "act.function=triton-quotient", sglang_silu_clamp, false},
        {"act=gelu_tanh", "act.function=cuda-math act.rounding=gate-rounded", sglang_gelu_tanh, false},
    };
    for (size_t i = 0; i < COUNT(neighbours); i++) {
        mp_case c = mp_case_default();
        const mp_contract contract = contract_of(neighbours[i].contract);
        mp_prediction prediction = {.contract = &contract};
        char text[200];
        mp_error err;
        int64_t signs;
        stage s;
        snprintf(text, sizeof text, "M=64 topk=1 N=256 scope=act %s%s", neighbours[i].case_text,
                 strstr(neighbours[i].case_text, "dtype=") ? "" : " dtype=fp32");
        if (mp_case_parse(&c, text, &err)) fail_msg("%s", err.text);
        open_stage(&c, &s);
        fill(&s.t[MP_CACHE1], 3);
        assert_int_equal(mp_predict_stage_act(&prediction, &s.call, &err), MP_OK);
        const int64_t wrong = different(&s, neighbours[i].element, &signs);
        print_message("%s under %s: %lld of %lld differ\n", neighbours[i].case_text, neighbours[i].contract,
                      (long long)wrong, (long long)mp_tensor_count(&s.t[MP_CACHE2]));
        assert_true(wrong > 0);
        assert_int_equal(wrong == signs, neighbours[i].in_signs_alone);
        close_stage(&s);
    }
}

/* A gate without a value of its own can neither be rounded nor clamped. */
static void a_product_first_has_no_gate(void **unused) {
    (void)unused;
    static const struct {
        const char *case_text, *contract, *why;
    } refused[] = {
        {"act=silu", "act.function=cuda-math-product act.rounding=gate-rounded",
         "act(gate) is rounded, but has no value of its own"},
        {"act=silu_clamp limit=3", "act.function=cuda-math-product",
         "act(gate) is clamped, but has no value of its own"},
        {"act=gelu", "act.function=cuda-math-product act.rounding=gate-rounded", NULL},
        {"act=silu gated=0", "act.function=cuda-math-product act.rounding=gate-rounded", NULL},
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        mp_case c = mp_case_default();
        const mp_contract contract = contract_of(refused[i].contract);
        const char *why = NULL;
        mp_error err;
        if (mp_case_parse(&c, refused[i].case_text, &err)) fail_msg("%s", err.text);
        assert_int_equal(mp_predictable(&contract, &c, MP_ACT, &why), refused[i].why == NULL);
        if (refused[i].why) assert_string_equal(why, refused[i].why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_stage_is_the_kernels_expression),
        cmocka_unit_test(a_neighbouring_contract_differs),
        cmocka_unit_test(a_product_first_has_no_gate),
    };
    return cmocka_run_group_tests(tests, load_unit, NULL);
}
