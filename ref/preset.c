/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/preset.h"

#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "ref/predict/float32_math.h"
#include "ref/predict/special_unit.h"
#include "ref/preset_gemm.h"
#include "ref/predict/matrixcore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void promise(mp_contract *contract, mp_bits_promise bits) {
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        contract->promise[s] =
            (mp_stage_promise){.bits = bits, .deterministic = true, .batch_invariant = true};
}

/* What our kernels do with rows that hold no result. */
static void keep_rows(mp_contract *contract, const mp_case *c) {
    contract->filtered[MP_GATE_UP] = contract->filtered[MP_DOWN] = MP_ROW_ZERO;
    contract->filtered[MP_ACT] = contract->padding = MP_ROW_UNTOUCHED;
    if (mp_scheme_of(c)->quantises_activations) contract->filtered[MP_QUANT_ACT] = MP_ROW_UNTOUCHED;
}

/* LoRA's GEMMs, where the case has adapters: two kernels, the shrunk rows stored between them, what they add
 * rounded before it is added, and no other row touched. */
static void set_lora(mp_contract *contract, const mp_case *c, const mp_gemm_contract *gemm) {
    static const mp_stage stages[] = {MP_SHRINK_GATE_UP, MP_EXPAND_GATE_UP, MP_SHRINK_DOWN, MP_EXPAND_DOWN};
    contract->shrink = contract->expand =
        (mp_gemm_contract){.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1};
    if (!mp_case_has_lora(c)) return;
    contract->shrink = contract->expand = *gemm;
    contract->lora_rows = MP_LORA_ROWS_KEPT;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) contract->filtered[stages[i]] = MP_ROW_ZERO;
}

/* Ours; nothing is said of it in cases that have no use for it, whose contracts are those of before. */
static int own_quantiser(const mp_case *c) {
    return mp_scheme_of(c)->quantises_activations ? (int)mp_scheme_of(c)->quantiser : MP_ANY_QUANTISER;
}

/* A scale of all rows makes the codes of a token depend on the others. */
static void promise_codes(mp_contract *contract, const mp_case *c) {
    if (!mp_codes_share_a_scale(c)) return;
    contract->promise[MP_QUANT_X].batch_invariant = contract->promise[MP_QUANT_ACT].batch_invariant = false;
}

static mp_contract float64_contract(const mp_case *c) {
    mp_contract contract = {.preset = "float64",
                            .quantiser = own_quantiser(c),
                            .stable_align = true,
                            .align_tail = true,
                            .gate_up = {.accumulator = MP_ACC_FLOAT64, .split_k = 1},
                            .down = {.accumulator = MP_ACC_FLOAT64, .split_k = 1},
                            .act_ulps = 1,
                            .float64_steps = true};
    promise(&contract, MP_BITS_NONE);
    keep_rows(&contract, c);
    promise_codes(&contract, c);
    set_lora(&contract, c, &contract.gate_up);
    return contract;
}

static mp_contract ieee_any_order(const mp_case *c) {
    mp_contract contract = {.preset = "ieee-any-order",
                            .quantiser = own_quantiser(c),
                            .gate_up = {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1},
                            .down = {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1},
                            .act_ulps = MP_FLOAT32_MATH_ULPS,
                            .act_function = MP_ACT_LIBRARY};
    promise(&contract, MP_BITS_NONE);
    keep_rows(&contract, c);
    promise_codes(&contract, c);
    set_lora(&contract, c, &contract.gate_up);
    return contract;
}

/* What any sane kernel meets: float32 sums in any order or a tensor core; an exp within the 8 ulp of a
 * careless library, or by the special-function unit, whose error grows by 1.173 ulp with each unit of its
 * argument (CUDA C++ Programming Guide, intrinsic functions), and an approximate division, 2 ulp; an erf or
 * tanh with as much as that comes to at 88, where a float32 exp ends; the gate rounded before the multiply or
 * not; a NaN that a clamp meets kept or not; sums over topk in float32 or in dtype, whose bound holds for a
 * sum that is rounded and then scaled, too; stores that saturate or not. Nothing is promised of bits, order,
 * or rows without a result. */
static mp_contract any_sane_kernel(const mp_case *c) {
    const bool by_exp = c->act != MP_GELU && c->act != MP_GELU_TANH;
    mp_contract contract = mp_contract_weakest();
    snprintf(contract.preset, sizeof contract.preset, MP_ANY_CONTRACT);
    contract.gate_up.accumulator = contract.down.accumulator = MP_ACC_ANY;
    if (mp_case_has_lora(c)) contract.shrink.accumulator = contract.expand.accumulator = MP_ACC_ANY;
    contract.act_function = MP_ACT_SPECIAL_UNIT;
    contract.act_ulps = by_exp ? 8 : 108;
    contract.act_ulps_per_argument = by_exp ? 1.173 : 0;
    contract.overflow = MP_OVERFLOW_ANY;
    contract.act_rounding = MP_ACT_ANY_ROUNDING;
    contract.act_clamp_nan = MP_CLAMP_NAN_ANY;
    contract.combine = MP_COMBINE_ELEMENT_DTYPE;
    return contract;
}

static mp_contract contract_of(const mp_architecture *a, const mp_case *c) {
    mp_contract contract = {.stable_align = true,
                            .align_tail = true,
                            .quantiser = own_quantiser(c),
                            .act_ulps = MP_FLOAT32_MATH_ULPS,
                            .combine = c->fused_sum ? MP_COMBINE_ELEMENT_DTYPE : MP_COMBINE_SCALE_THEN_ROUND,
                            .combine_shared =
                                c->shared == MP_SHARED_ADD ? MP_SHARED_ONE_ROUNDING : MP_SHARED_ROUNDED};
    snprintf(contract.preset, sizeof contract.preset, "%s", a->name);
    promise(&contract, MP_BITS_REQUIRED);
    keep_rows(&contract, c);
    promise_codes(&contract, c);
    const mp_bits_promise gemm_bits = mp_preset_gemm(a, c, &contract.gate_up);
    contract.down = contract.gate_up;
    mp_gemm_contract adapter;
    mp_preset_plain_gemm(a, c, mp_case_dtype(c, MP_LORA_A1), &adapter);
    set_lora(&contract, c, &adapter);
    /* What an architecture is not known to do in one stage is not required of it in the next. */
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (contract.promise[s].bits > gemm_bits) contract.promise[s].bits = gemm_bits;
    if (c->fused_sum) {
        contract.promise[MP_DOWN].bits = MP_BITS_NONE;
        contract.promise[MP_COMBINE] = (mp_stage_promise){.bits = MP_BITS_NONE};
    }
    return contract;
}

mp_contract mp_contract_of_architecture(int sm, const mp_case *c) {
    char name[16];
    snprintf(name, sizeof name, "sm_%d", sm);
    return contract_of(&(mp_architecture){name, MP_UNITS_MMA, sm}, c);
}

static bool is_lora_variant(const char *name) {
    static const char *const names[] = {
        "",          "-lora-whole-add", "-lora-one-kernel", "-lora-small-batch", "-lora-virtual-experts",
        "-lora-plan"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* The arithmetic of published LoRA kernels, over two kernels that add under a mask of rows (""):
 *   whole-add         the second adds all of what it has made, zeros to other rows
 *   one-kernel        the same bits as two, in one: the shrunk rows are rounded in registers
 *   small-batch       for few tokens: shrunk rows and sums in float32 without tensor cores, one rounding; k
 *                     in blocks of the tile, where the case names one, each summed in an order of its own
 *   virtual-experts   two MoEs of E * L experts; shrunk rows of other slots are not written
 *   plan              gate and up with what is added to them go on into the activation in float32; router
 *                     weights in combine (the case says so), by a compiler that may fuse them with the sum */
static void set_lora_variant(mp_contract *contract, const char *name, const mp_case *c) {
    if (!mp_case_has_lora(c)) return;
    if (!strcmp(name, "-lora-whole-add")) contract->lora_rows = MP_LORA_ROWS_PLUS_ZERO;
    if (!strcmp(name, "-lora-virtual-experts"))
        contract->filtered[MP_SHRINK_GATE_UP] = contract->filtered[MP_SHRINK_DOWN] = MP_ROW_ANYTHING;
    if (!strcmp(name, "-lora-small-batch")) {
        static const mp_stage stages[] = {MP_SHRINK_GATE_UP, MP_EXPAND_GATE_UP, MP_SHRINK_DOWN,
                                          MP_EXPAND_DOWN};
        contract->shrink.accumulator = contract->expand.accumulator = MP_ACC_IEEE_ANY_ORDER;
        contract->shrink.promotion = c->tile.block_size_k;
        contract->lora_input = MP_LORA_FLOAT32;
        contract->lora_add = MP_LORA_ADD_ONE_ROUNDING;
        for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
            contract->promise[stages[i]] = (mp_stage_promise){.bits = MP_BITS_NONE, .deterministic = true};
    }
    if (!strcmp(name, "-lora-plan")) {
        contract->act_input = MP_ACT_FLOAT32;
        contract->lora_add = MP_LORA_ADD_ONE_ROUNDING;
        contract->promise[MP_ACT].bits = MP_BITS_NONE;
        if (mp_stage_weighs(c, MP_COMBINE) && contract->promise[MP_COMBINE].bits == MP_BITS_REQUIRED)
            contract->promise[MP_COMBINE].bits = MP_BITS_REPORTED;
    }
}

/* "sm_90", or "sm_90-triton": the architecture's, with the functions of other kernels that are predicted; and
 * behind either, "-lora-whole-add", another arithmetic of adapters. */
static bool of_architecture(const char *name, const mp_case *c, mp_contract *contract) {
    static const mp_architecture known[] = {
        {"sm_80", MP_UNITS_MMA, 80},
        {"sm_86", MP_UNITS_MMA, 86},
        {"sm_89", MP_UNITS_MMA, 89},
        {"sm_90", MP_UNITS_MMA, 90},
        {"sm_100", MP_UNITS_MMA, 100},
        {"sm_120", MP_UNITS_MMA, 120},
        {"sm_100-block-scaled", MP_UNITS_BLOCK_SCALED, 100},
        {"sm_120-block-scaled", MP_UNITS_BLOCK_SCALED, 120},
        {"gfx908", MP_UNITS_MATRIX_CORE, MP_CDNA1},
        {"gfx90a", MP_UNITS_MATRIX_CORE, MP_CDNA2},
        {"gfx942", MP_UNITS_MATRIX_CORE, MP_CDNA3},
    };
    static const struct {
        const char *name;
        mp_act_function function;
    } functions[] = {
        {"", MP_ACT_IEEE},
        {"-cuda-math", MP_ACT_CUDA_MATH},
        {"-cuda-intrinsics", MP_ACT_CUDA_INTRINSICS},
        {"-cuda-fast-math", MP_ACT_CUDA_FAST_MATH},
        {"-triton", MP_ACT_TRITON},
        {"-triton-quotient", MP_ACT_TRITON_QUOTIENT},
        {"-cuda-math-sigmoid", MP_ACT_CUDA_SIGMOID},
        {"-cuda-math-product", MP_ACT_CUDA_PRODUCT},
        {"-torch-compile", MP_ACT_TORCH_COMPILE},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) {
            const mp_architecture *a = &known[i];
            const bool special_unit = functions[k].function != MP_ACT_IEEE; /* of NVIDIA */
            mp_contract candidate = contract_of(a, c);
            const int length =
                snprintf(candidate.preset, sizeof candidate.preset, "%s%s", a->name, functions[k].name);
            const char *rest = strncmp(name, candidate.preset, (size_t)length) == 0 ? name + length : "?";
            if (!is_lora_variant(rest) || (special_unit && a->units == MP_UNITS_MATRIX_CORE)) continue;
            snprintf(candidate.preset, sizeof candidate.preset, "%s", name);
            set_lora_variant(&candidate, rest, c);
            candidate.act_function = functions[k].function;
            if (special_unit) {
                /* the tables of the special-function unit were measured on an sm_90 */
                candidate.act_ulps = MP_EX2_ULPS;
                if (a->number != 90 && candidate.promise[MP_ACT].bits == MP_BITS_REQUIRED)
                    candidate.promise[MP_ACT].bits = MP_BITS_REPORTED;
            }
            *contract = candidate;
            return true;
        }
    return false;
}

mp_status mp_contract_preset(const char *name, const mp_case *c, mp_contract *contract, mp_error *err) {
    if (strcmp(name, "float64") == 0) {
        *contract = float64_contract(c);
        return MP_OK;
    }
    if (strcmp(name, "ieee-any-order") == 0) {
        *contract = ieee_any_order(c);
        return MP_OK;
    }
    if (strcmp(name, "weakest") == 0) {
        *contract = mp_contract_weakest();
        return MP_OK;
    }
    if (strcmp(name, MP_ANY_CONTRACT) == 0) {
        *contract = any_sane_kernel(c);
        return MP_OK;
    }
    if (of_architecture(name, c, contract)) return MP_OK;
    return mp_fail(
        err, MP_EINPUT,
        "unknown contract '%s': expected float64, ieee-any-order, sm_80, sm_86, sm_89, sm_90, sm_100, "
        "sm_120, sm_100-block-scaled, sm_120-block-scaled, one of these eight with -cuda-math, "
        "-cuda-intrinsics, -cuda-fast-math, -triton, "
        "-triton-quotient, -cuda-math-sigmoid, -cuda-math-product or -torch-compile behind it, gfx908, "
        "gfx90a, "
        "gfx942, any of these "
        "with -lora-whole-add, -lora-one-kernel, -lora-small-batch, -lora-virtual-experts or -lora-plan "
        "behind that, weakest or any",
        name);
}
