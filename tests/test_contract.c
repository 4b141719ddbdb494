/* SPDX-License-Identifier: Apache-2.0 */
/* Contracts: the fields and their words (cases/contract.c), those that have names (ref/preset.c), and what
 * ref/predict/ refuses of them. */
#include "cases/scheme.h"
#include "moeparity/preset.h"
#include "ref/bounds.h"
#include "ref/predict/predict.h"
#include "tests/ref_support.h"

#include <stdio.h>

/* Bits are required where they were measured, reported where they come from the literature. Of an
 * architecture, or of operands on it, that the table does not have, nothing is promised but the bound of the
 * coarsest tensor core. */
static void each_architecture_promises_what_is_known_of_it(void **unused) {
    (void)unused;
    static const struct {
        int sm;
        mp_dtype dtype;
        int group, fraction_bits;
        mp_bits_promise bits;
    } rows[] = {
        {70, MP_BF16, 4, 23, MP_BITS_NONE},       {70, MP_FP16, 4, 23, MP_BITS_REPORTED},
        {75, MP_BF16, 4, 23, MP_BITS_NONE},       {75, MP_FP16, 8, 24, MP_BITS_REPORTED},
        {80, MP_BF16, 8, 24, MP_BITS_REPORTED},   {80, MP_FP16, 8, 24, MP_BITS_REPORTED},
        {89, MP_BF16, 8, 24, MP_BITS_REPORTED},   {89, MP_FP16, 8, 24, MP_BITS_REPORTED},
        {90, MP_BF16, 16, 25, MP_BITS_REQUIRED},  {90, MP_FP16, 16, 25, MP_BITS_REQUIRED},
        {100, MP_BF16, 16, 25, MP_BITS_REPORTED}, {100, MP_FP16, 16, 25, MP_BITS_REPORTED},
        {120, MP_BF16, 16, 25, MP_BITS_REPORTED}, {120, MP_FP16, 16, 25, MP_BITS_REPORTED},
        {110, MP_BF16, 4, 23, MP_BITS_NONE},      {110, MP_FP16, 4, 23, MP_BITS_NONE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        mp_case c = mp_case_default();
        c.dtype = rows[i].dtype;
        const mp_contract contract = mp_contract_of_architecture(rows[i].sm, &c);
        const mp_gemm_contract *const gemms[] = {&contract.gate_up, &contract.down};
        for (int g = 0; g < 2; g++) {
            if (gemms[g]->group != rows[i].group || gemms[g]->fraction_bits != rows[i].fraction_bits)
                fail_msg("sm_%d %s: L=%d F=%d", rows[i].sm, mp_dtype_name(rows[i].dtype), gemms[g]->group,
                         gemms[g]->fraction_bits);
            assert_int_equal(gemms[g]->accumulator, MP_ACC_TENSOR_CORE);
            assert_int_equal(gemms[g]->zero_exponent, -133);
        }
        for (int s = 0; s < MP_STAGE_COUNT; s++) assert_int_equal(contract.promise[s].bits, rows[i].bits);
        c.dtype = MP_FP32;
        const mp_contract wide = mp_contract_of_architecture(rows[i].sm, &c);
        assert_int_equal(wide.gate_up.accumulator, MP_ACC_FMA_ASCENDING);
        assert_int_equal(wide.promise[MP_GATE_UP].bits, MP_BITS_REQUIRED);
    }
}

/* The additions of a fused sum have no order: down and combine promise nothing, the stages before them what
 * they did. */
static void a_fused_sum_promises_no_order(void **unused) {
    (void)unused;
    mp_case c = mp_case_default();
    c.fused_sum = true;
    c.topk = 4;
    const mp_contract contract = mp_contract_of_architecture(90, &c);
    assert_int_equal(contract.promise[MP_GATE_UP].bits, MP_BITS_REQUIRED);
    assert_int_equal(contract.promise[MP_ACT].bits, MP_BITS_REQUIRED);
    assert_int_equal(contract.promise[MP_DOWN].bits, MP_BITS_NONE);
    assert_int_equal(contract.promise[MP_COMBINE].bits, MP_BITS_NONE);
    assert_false(mp_contract_deterministic(&contract, &c) || mp_contract_batch_invariant(&contract, &c));
    c.fused_sum = false;
    const mp_contract ordered = mp_contract_of_architecture(90, &c);
    assert_true(mp_contract_deterministic(&ordered, &c) && mp_contract_batch_invariant(&ordered, &c));
}

static void count_field(void *ctx, const char *name, const char *value) {
    mp_contract copy = mp_contract_weakest();
    mp_error err;
    if (mp_contract_set(&copy, name, value, &err) != MP_OK) fail_msg("%s", err.text);
    ++*(int *)ctx;
}

/* wgmma of e4m3 is the unit for fp8, mma.sync goes through fp16; of all else the two are one arithmetic. Only
 * sm_90 has it. */
static void wgmma_is_another_arithmetic_of_e4m3_alone(void **unused) {
    (void)unused;
    static const mp_quant schemes[] = {MP_SCHEME_NONE, MP_SCHEME_FP8_CHANNEL, MP_SCHEME_FP8_BLOCK,
                                       MP_SCHEME_INT8_BLOCK};
    for (size_t i = 0; i < COUNT(schemes); i++) {
        mp_case c = mp_case_default();
        c.quant = schemes[i];
        const bool fp8 = mp_case_multiplied(&c) == MP_E4M3;
        const mp_contract by_mma = mp_contract_of_architecture(90, &c),
                          of_80 = mp_contract_of_architecture(80, &c);
        c.gemm = MP_GEMM_WGMMA;
        const mp_contract by_wgmma = mp_contract_of_architecture(90, &c),
                          still_80 = mp_contract_of_architecture(80, &c);
        assert_int_equal(mp_contract_digest(&by_wgmma) != mp_contract_digest(&by_mma), fp8);
        assert_int_equal(by_wgmma.promise[MP_GATE_UP].bits, MP_BITS_REQUIRED);
        assert_true(mp_contract_digest(&of_80) == mp_contract_digest(&still_80));
        if (!fp8) continue;
        assert_int_equal(by_wgmma.gate_up.group, 32);
        assert_int_equal(by_wgmma.gate_up.fraction_bits, 13);
        assert_int_equal(by_wgmma.gate_up.result_fraction_bits, 13);
        assert_int_equal(by_wgmma.down.k_order, MP_K_ASCENDING);
        assert_int_equal(by_mma.gate_up.k_order, MP_K_BY_PAIRS);
    }
}

/* Every field can be set from its own text; what is out of range, no number or unknown is refused by name;
 * and every field but those about bits makes another contract. */
static void fields_are_set_by_name_and_make_the_identity(void **unused) {
    (void)unused;
    mp_case c = mp_case_default();
    const mp_contract base = mp_contract_of_architecture(90, &c);
    mp_error err;
    int fields = 0;
    mp_contract_fields(&base, count_field, &fields);
    assert_true(fields > 40);
    assert_int_equal(mp_contract_validate(&base, &err), MP_OK);
    static const struct {
        const char *name, *value;
        bool identity;
    } changes[] = {{"align.stable", "0", true},
                   {"gate_up.group", "8", true},
                   {"down.promotion", "128", true},
                   {"act.function", "special-unit", true},
                   {"act.ulps", "2.5", true},
                   {"combine.variant", "element-dtype", true},
                   {"down.filtered", "anything", true},
                   {"padding", "zero", true},
                   {"combine.deterministic", "0", false},
                   {"align.batch_invariant", "0", false},
                   {"gate_up.bits", "none", false}};
    for (size_t i = 0; i < COUNT(changes); i++) {
        mp_contract changed = base;
        assert_int_equal(mp_contract_set(&changed, changes[i].name, changes[i].value, &err), MP_OK);
        if ((mp_contract_digest(&changed) != mp_contract_digest(&base)) != changes[i].identity)
            fail_msg("%s=%s", changes[i].name, changes[i].value);
    }
    /* Stored in goldens: these never change. */
    const mp_contract weakest = mp_contract_weakest();
    assert_true(mp_contract_digest(&weakest) == 0);
    assert_true(mp_contract_digest(&base) == UINT64_C(0x6df19a419fc61b34));
    static const char *const bad[][3] = {{"gate_up.group", "65", "a whole number from 0 to 64"},
                                         {"gate_up.group", "1.5", "a whole number"},
                                         {"act.ulps", "x", "act.ulps=x"},
                                         {"align.stable", "2", "0 or 1"},
                                         {"combine.bits", "maybe", "none, reported, required"},
                                         {"gate_up.gruop", "1", "gate_up.group"}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        mp_contract copy = base;
        assert_int_equal(mp_contract_set(&copy, bad[i][0], bad[i][1], &err), MP_EINPUT);
        if (!strstr(err.text, bad[i][2])) fail_msg("%s", err.text);
    }
    mp_contract broken = base;
    broken.gate_up.group = -3;
    assert_int_equal(mp_contract_validate(&broken, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "gate_up.group=-3"));
    assert_int_equal(mp_contract_validate(&(mp_contract){0}, &err), MP_EINPUT); /* split_k counts from 1 */
}

typedef struct wanted_field {
    const char *name;
    char value[64];
} wanted_field;

static void find_field(void *ctx, const char *name, const char *value) {
    wanted_field *f = ctx;
    if (strcmp(name, f->name) == 0) snprintf(f->value, sizeof f->value, "%s", value);
}

/* The word of each enumerator, written down here once more: goldens and command lines hold them. */
static void every_value_has_its_word(void **unused) {
    (void)unused;
    static mp_contract contract;
    static const struct {
        void *member; /* an enum of `contract`; all of them are ints */
        const char *name;
        int value;
        const char *word;
    } rows[] = {
        {&contract.gate_up.accumulator, "gate_up.accumulator", MP_ACC_IEEE_ANY_ORDER, "ieee-any-order"},
        {&contract.gate_up.accumulator, "gate_up.accumulator", MP_ACC_FMA_ASCENDING, "fma-ascending"},
        {&contract.gate_up.accumulator, "gate_up.accumulator", MP_ACC_TENSOR_CORE, "tensor-core"},
        {&contract.gate_up.accumulator, "gate_up.accumulator", MP_ACC_FLOAT64, "float64"},
        {&contract.down.accumulator, "down.accumulator", MP_ACC_FMA_ASCENDING, "fma-ascending"},
        {&contract.gate_up.k_order, "gate_up.k_order", MP_K_ASCENDING, "ascending"},
        {&contract.gate_up.k_order, "gate_up.k_order", MP_K_BY_PAIRS, "by-pairs"},
        {&contract.down.k_order, "down.k_order", MP_K_BY_PAIRS, "by-pairs"},
        {&contract.down.k_order, "down.k_order", MP_K_PERMUTED, "permuted"},
        {&contract.act_function, "act.function", MP_ACT_IEEE, "ieee"},
        {&contract.act_function, "act.function", MP_ACT_SPECIAL_UNIT, "special-unit"},
        {&contract.act_function, "act.function", MP_ACT_LIBRARY, "library"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_MATH, "cuda-math"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_INTRINSICS, "cuda-intrinsics"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_FAST_MATH, "cuda-fast-math"},
        {&contract.act_function, "act.function", MP_ACT_TRITON, "triton"},
        {&contract.act_function, "act.function", MP_ACT_TRITON_QUOTIENT, "triton-quotient"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_SIGMOID, "cuda-math-sigmoid"},
        {&contract.act_function, "act.function", MP_ACT_CUDA_PRODUCT, "cuda-math-product"},
        {&contract.act_function, "act.function", MP_ACT_TORCH_COMPILE, "torch-compile"},
        {&contract.act_rounding, "act.rounding", MP_ACT_ONE_ROUNDING, "one-rounding"},
        {&contract.act_rounding, "act.rounding", MP_ACT_GATE_ROUNDED, "gate-rounded"},
        {&contract.combine, "combine.variant", MP_COMBINE_SCALE_THEN_ROUND, "scale-then-round"},
        {&contract.combine, "combine.variant", MP_COMBINE_ROUND_THEN_SCALE, "round-then-scale"},
        {&contract.combine, "combine.variant", MP_COMBINE_ELEMENT_DTYPE, "element-dtype"},
        {&contract.filtered[MP_GATE_UP], "gate_up.filtered", MP_ROW_UNTOUCHED, "untouched"},
        {&contract.filtered[MP_ACT], "act.filtered", MP_ROW_UNTOUCHED, "untouched"},
        {&contract.filtered[MP_DOWN], "down.filtered", MP_ROW_ZERO, "zero"},
        {&contract.padding, "padding", MP_ROW_ANYTHING, "anything"},
        {&contract.padding, "padding", MP_ROW_UNTOUCHED, "untouched"},
        {&contract.padding, "padding", MP_ROW_ZERO, "zero"},
        {&contract.promise[MP_ALIGN].bits, "align.bits", MP_BITS_NONE, "none"},
        {&contract.promise[MP_GATE_UP].bits, "gate_up.bits", MP_BITS_REPORTED, "reported"},
        {&contract.promise[MP_ACT].bits, "act.bits", MP_BITS_REPORTED, "reported"},
        {&contract.promise[MP_DOWN].bits, "down.bits", MP_BITS_REQUIRED, "required"},
        {&contract.promise[MP_COMBINE].bits, "combine.bits", MP_BITS_REQUIRED, "required"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        wanted_field f = {.name = rows[i].name};
        mp_error err;
        contract = mp_contract_weakest();
        memcpy(rows[i].member, &rows[i].value, sizeof rows[i].value);
        mp_contract_fields(&contract, find_field, &f);
        assert_string_equal(f.value, rows[i].word);
        contract = mp_contract_weakest();
        assert_int_equal(mp_contract_set(&contract, rows[i].name, rows[i].word, &err), MP_OK);
        assert_memory_equal(rows[i].member, &rows[i].value, sizeof rows[i].value);
    }
}

static void presets_are_known_by_name(void **unused) {
    (void)unused;
    mp_case c = mp_case_default();
    mp_contract contract;
    mp_error err;
    static const char *const names[] = {"float64", "ieee-any-order", "sm_80", "sm_90", "weakest", "any"};
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(mp_contract_preset(names[i], &c, &contract, &err), MP_OK);
        assert_string_equal(contract.preset, names[i]);
        assert_int_equal(mp_contract_validate(&contract, &err), MP_OK);
    }
    assert_int_equal(mp_contract_preset("sm_91", &c, &contract, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "sm_90"));
}

/* An architecture's contract with somebody else's exp, tanh and erf: nothing else differs, and the bits of
 * act are required where the tables were measured. */
static void presets_name_published_functions(void **unused) {
    (void)unused;
    static const struct {
        const char *function;
        mp_act_function value;
    } functions[] = {{"cuda-math", MP_ACT_CUDA_MATH},
                     {"cuda-intrinsics", MP_ACT_CUDA_INTRINSICS},
                     {"cuda-fast-math", MP_ACT_CUDA_FAST_MATH},
                     {"triton", MP_ACT_TRITON},
                     {"triton-quotient", MP_ACT_TRITON_QUOTIENT},
                     {"cuda-math-sigmoid", MP_ACT_CUDA_SIGMOID},
                     {"cuda-math-product", MP_ACT_CUDA_PRODUCT},
                     {"torch-compile", MP_ACT_TORCH_COMPILE}};
    static const int known[] = {80, 86, 89, 90, 100};
    mp_error err;
    for (size_t a = 0; a < COUNT(known); a++)
        for (size_t f = 0; f < COUNT(functions); f++) {
            mp_case c = mp_case_default();
            char name[64];
            const char *why = NULL;
            c.dtype = f % 2 ? MP_FP32 : MP_BF16;
            mp_contract contract, same = mp_contract_of_architecture(known[a], &c);
            snprintf(name, sizeof name, "%s-%s", same.preset, functions[f].function);
            assert_int_equal(mp_contract_preset(name, &c, &contract, &err), MP_OK);
            assert_string_equal(contract.preset, name);
            assert_int_equal(contract.act_function, functions[f].value);
            assert_true(contract.act_ulps == 2);
            assert_true(mp_predictable(&contract, &c, MP_ACT, &why));
            if (known[a] == 90) assert_int_equal(contract.promise[MP_ACT].bits, MP_BITS_REQUIRED);
            if (known[a] != 90) assert_true(contract.promise[MP_ACT].bits < MP_BITS_REQUIRED);
            contract.act_function = MP_ACT_IEEE;
            contract.act_ulps = same.act_ulps;
            assert_true(mp_contract_digest(&contract) == mp_contract_digest(&same));
            snprintf(name, sizeof name, "sm_%d-%sx", known[a], functions[f].function);
            assert_int_equal(mp_contract_preset(name, &c, &contract, &err), MP_EINPUT);
            if (!strstr(err.text, functions[f].function)) fail_msg("%s", err.text);
        }
}

/* The bound of any accumulator holds for every one that is known, split or not. */
static void any_is_the_widest(void **unused) {
    (void)unused;
    static const int architectures[] = {70, 80, 86, 89, 90, 100};
    static const mp_dtype dtypes[] = {MP_BF16, MP_FP16, MP_FP32};
    const mp_gemm_contract any = {.accumulator = MP_ACC_ANY, .split_k = 1};
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (size_t a = 0; a < COUNT(architectures); a++)
            for (int64_t k = 1; k < 100000; k = 3 * k + 1)
                for (int split = 1; split <= 64; split *= 2) {
                    mp_case c = mp_case_default();
                    c.dtype = dtypes[d];
                    mp_gemm_contract known = mp_contract_of_architecture(architectures[a], &c).gate_up;
                    known.split_k = split;
                    const mp_sum_bound narrow = mp_gemm_bound(&known, c.dtype, k, 100),
                                       wide = mp_gemm_bound(&any, c.dtype, k, 100);
                    if (!(narrow.rel <= wide.rel && narrow.abs <= wide.abs &&
                          wide.rel < 2e-7 * (double)k + 6e-5))
                        fail_msg("sm_%d %s k=%lld split=%d: %g %g, any %g %g", architectures[a],
                                 mp_dtype_name(c.dtype), (long long)k, split, narrow.rel, narrow.abs,
                                 wide.rel, wide.abs);
                }
}

static void the_text_names_every_promise(void **unused) {
    (void)unused;
    char text[MP_CONTRACT_TEXT_MAX];
    mp_case c = mp_case_default();
    mp_contract contract = mp_contract_of_architecture(90, &c);
    contract.act_ulps = 1.5;
    contract.act_rounding = MP_ACT_GATE_ROUNDED;
    contract.combine = MP_COMBINE_ELEMENT_DTYPE;
    contract.promise[MP_COMBINE].deterministic = false;
    static const char *const words[] = {"L=16",          "F=25",   "1.5 ulp",   "gate rounded",
                                        "element dtype", "stable", "not fixed", "depend on the batch"};
    mp_contract_text(&contract, text, sizeof text);
    for (size_t i = 0; i < COUNT(words); i++)
        if (!strstr(text, words[i])) fail_msg("%s: no %s", text, words[i]);
    contract.down = (mp_gemm_contract){.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 4};
    mp_contract_text(&contract, text, sizeof text);
    assert_true(strstr(text, "gate_up: tensor core") && strstr(text, "down: IEEE fp32 any order split_k 4"));
    contract.gate_up.k_order = MP_K_PERMUTED;
    mp_contract_text(&contract, text, sizeof text);
    assert_non_null(strstr(text, "L=16 F=25 k permuted"));
    assert_int_equal(mp_contract_preset("ieee-any-order", &c, &contract, NULL), MP_OK);
    mp_contract_text(&contract, text, sizeof text);
    assert_true(strstr(text, "IEEE") && strstr(text, "one rounding") && strstr(text, "scale then round") &&
                strstr(text, "; deterministic") && strstr(text, "batch invariant"));
    assert_int_equal(mp_contract_preset("any", &c, &contract, NULL), MP_OK);
    mp_contract_text(&contract, text, sizeof text);
    assert_true(strstr(text, "8 + 1.173 a unit of the argument ulp") && strstr(text, "stores may saturate"));
}

/* ---- what is predicted ---- */

#define STAGE(name) (1u << MP_##name)
#define SHRINKS (STAGE(SHRINK_GATE_UP) | STAGE(SHRINK_DOWN))
#define EXPANDS (STAGE(EXPAND_GATE_UP) | STAGE(EXPAND_DOWN))

/* Bit s: stage s is predicted under no such contract, and a reason is given. */
static unsigned unpredictable_stages(const mp_contract *contract, const mp_case *c) {
    unsigned refused = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const char *why = "not told";
        const bool predictable = mp_predictable(contract, c, (mp_stage)s, &why);
        assert_true(predictable ? why == NULL : why != NULL && why[0]);
        refused |= predictable ? 0 : 1u << s;
    }
    return refused;
}

/* All of sm_90 is predicted; a field that leaves an order or a function open takes its own stage out. */
static void one_field_takes_its_stage_out_of_the_prediction(void **unused) {
    (void)unused;
    static const struct {
        const char *name, *value;
        unsigned stages;
    } rows[] = {{"align.stable", "0", STAGE(ALIGN)},
                {"gate_up.accumulator", "ieee-any-order", STAGE(GATE_UP)},
                {"gate_up.accumulator", "float64", STAGE(GATE_UP)},
                {"gate_up.promotion", "1", STAGE(GATE_UP)},
                {"gate_up.promotion", "64", 0},
                {"gate_up.split_k", "2", STAGE(GATE_UP)},
                {"act.function", "special-unit", STAGE(ACT)},
                {"act.function", "library", STAGE(ACT)},
                {"act.function", "cuda-math", 0},
                {"act.function", "cuda-intrinsics", 0},
                {"act.function", "cuda-fast-math", 0},
                {"act.function", "triton", 0},
                {"act.rounding", "gate-rounded", 0},
                {"act.function", "triton-quotient", 0},
                {"act.function", "cuda-math-sigmoid", 0},
                {"act.function", "torch-compile", 0},
                {"act.up_plus_zero", "1", 0},
                {"act.clamp_nan", "limit", 0},
                {"act.clamp_nan", "any", 0}, /* silu clamps nothing */
                {"act.rounding", "any", STAGE(ACT)},
                {"down.accumulator", "ieee-any-order", STAGE(DOWN)},
                {"down.accumulator", "float64", STAGE(DOWN)},
                {"down.promotion", "1", STAGE(DOWN)},
                {"down.promotion", "64", 0},
                {"down.split_k", "2", STAGE(DOWN)},
                {"combine.variant", "round-then-scale", 0},
                {"combine.variant", "element-dtype", STAGE(COMBINE)},
                {"float64_steps", "1",
                 STAGE(QUANT_X) | STAGE(GATE_UP) | STAGE(ACT) | STAGE(QUANT_ACT) | STAGE(DOWN) |
                     STAGE(COMBINE) | SHRINKS | EXPANDS},
                {"shrink.accumulator", "ieee-any-order", SHRINKS},
                {"shrink.split_k", "2", SHRINKS},
                {"expand.accumulator", "ieee-any-order", EXPANDS},
                {"expand.input", "float32", EXPANDS},
                {"expand.add", "one-rounding", 0},
                {"expand.rows", "any", EXPANDS},
                {"expand.rows", "plus-zero", 0},
                {"gate_up.accumulator", "fma-ascending", 0},
                {"down.accumulator", "fma-ascending", 0},
                {"down.k_order", "by-pairs", STAGE(DOWN)},
                {"down.k_order", "permuted", 0},
                {"gate_up.accumulator", "any", STAGE(GATE_UP)},
                {"align.tail", "0", 0},
                {"down.filtered", "zero", 0},
                {"combine.bits", "none", 0}};
    mp_case c = mp_case_default(); /* with all stages that there are */
    c.lora_adapters = 2;
    mp_contract base;
    mp_error err;
    assert_int_equal(mp_contract_preset("sm_90", &c, &base, &err), MP_OK);
    assert_int_equal(unpredictable_stages(&base, &c), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        mp_contract changed = base;
        assert_int_equal(mp_contract_set(&changed, rows[i].name, rows[i].value, &err), MP_OK);
        const unsigned refused = unpredictable_stages(&changed, &c);
        if (refused != rows[i].stages)
            fail_msg("%s=%s: stages %x, expected %x", rows[i].name, rows[i].value, refused, rows[i].stages);
    }
    c.fused_sum = true;
    assert_int_equal(unpredictable_stages(&base, &c), STAGE(DOWN) | STAGE(COMBINE));
}

/* What a sentence tells of the accumulators is read from it again, of each GEMM its own. */
static void the_text_tells_the_group(void **unused) {
    (void)unused;
    static const struct {
        const char *preset;
        int up, down;
    } cases[] = {{"sm_90", 16, 16}, {"sm_80", 8, 8}, {"ieee-any-order", 0, 0}, {"float64", 0, 0}};
    char text[MP_CONTRACT_TEXT_MAX];
    mp_contract contract;
    mp_case c = mp_case_default();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mp_contract_preset(cases[i].preset, &c, &contract, NULL), MP_OK);
        mp_contract_text(&contract, text, sizeof text);
        assert_int_equal(mp_contract_text_group(text, MP_GATE_UP), cases[i].up);
        assert_int_equal(mp_contract_text_group(text, MP_DOWN), cases[i].down);
    }
    assert_int_equal(mp_contract_preset("sm_90", &c, &contract, NULL), MP_OK);
    contract.down.group = 4;
    mp_contract_text(&contract, text, sizeof text);
    assert_int_equal(mp_contract_text_group(text, MP_GATE_UP), 16);
    assert_int_equal(mp_contract_text_group(text, MP_DOWN), 4);
    contract.gate_up.accumulator = MP_ACC_FMA_ASCENDING;
    mp_contract_text(&contract, text, sizeof text);
    assert_int_equal(mp_contract_text_group(text, MP_GATE_UP), 0);
    assert_int_equal(mp_contract_text_group(text, MP_DOWN), 4);
    assert_int_equal(mp_contract_text_group("", MP_DOWN), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_architecture_promises_what_is_known_of_it),
        cmocka_unit_test(a_fused_sum_promises_no_order),
        cmocka_unit_test(wgmma_is_another_arithmetic_of_e4m3_alone),
        cmocka_unit_test(fields_are_set_by_name_and_make_the_identity),
        cmocka_unit_test(every_value_has_its_word),
        cmocka_unit_test(presets_are_known_by_name),
        cmocka_unit_test(presets_name_published_functions),
        cmocka_unit_test(any_is_the_widest),
        cmocka_unit_test(the_text_names_every_promise),
        cmocka_unit_test(the_text_tells_the_group),
        cmocka_unit_test(one_field_takes_its_stage_out_of_the_prediction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
