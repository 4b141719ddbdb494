/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/contract.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table of fields ---- */

typedef enum kind { INT, REAL, FLAG, ENUM } kind;

typedef struct field {
    const char *name;
    kind kind;
    size_t offset;
    double min, max;
    const char *const *names; /* of an ENUM's values, max + 1 of them */
    bool promise;             /* says which checks are asked, not what is computed: no part of the identity */
} field;

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NAME(value, name, ...) name,
#define FIRST(value, name, words) name,
#define WORDS(value, name, words) words,
static const char *const accumulators[] = {MP_ACCUMULATORS(FIRST)};
static const char *const k_orders[] = {MP_K_ORDERS(NAME)};
static const char *const scalings[] = {MP_SCALINGS(NAME)};
static const char *const quantisers[] = {MP_QUANTISERS(NAME) "any"};
static const char *const functions[] = {MP_ACT_FUNCTIONS(FIRST)};
static const char *const roundings[] = {MP_ACT_ROUNDINGS(NAME)};
static const char *const clamp_nans[] = {MP_CLAMP_NANS(NAME)};
static const char *const combines[] = {MP_COMBINE_VARIANTS(NAME)};
static const char *const shared_adds[] = {MP_SHARED_ADDS(NAME)};
static const char *const act_inputs[] = {MP_ACT_INPUTS(NAME)};
static const char *const lora_inputs[] = {MP_LORA_INPUTS(NAME)};
static const char *const lora_adds[] = {MP_LORA_ADDS(NAME)};
static const char *const lora_rows[] = {MP_LORA_ROWS(NAME)};
static const char *const states[] = {MP_ROW_STATES(NAME)};
static const char *const overflows[] = {MP_OVERFLOWS(NAME)};
static const char *const promises[] = {MP_BITS_PROMISES(NAME)};

#define NAMED(name, member, names) \
    { name, ENUM, offsetof(mp_contract, member), 0, (double)COUNT(names) - 1, names, false }
#define NUMBER(name, member, lo, hi) \
    { name, INT, offsetof(mp_contract, member), lo, hi, NULL, false }
#define SWITCH(name, member) \
    { name, FLAG, offsetof(mp_contract, member), 0, 1, NULL, false }
#define PLEDGE(name, member) \
    { name, FLAG, offsetof(mp_contract, member), 0, 1, NULL, true }
#define GEMM(name, member)                                                        \
    NAMED(name ".accumulator", member.accumulator, accumulators),                 \
        NUMBER(name ".group", member.group, 0, 64),                               \
        NUMBER(name ".fraction_bits", member.fraction_bits, 0, 40),               \
        NUMBER(name ".result_fraction_bits", member.result_fraction_bits, 0, 23), \
        NUMBER(name ".zero_exponent", member.zero_exponent, -1022, 0),            \
        NAMED(name ".k_order", member.k_order, k_orders),                         \
        NUMBER(name ".promotion", member.promotion, 0, 1 << 20),                  \
        NUMBER(name ".split_k", member.split_k, 1, 1024), NAMED(name ".scaling", member.scaling, scalings)
#define PROMISE(stage, scope, name)                                                              \
    {                                                                                            \
        #name ".bits", ENUM, offsetof(mp_contract, promise[stage].bits), 0, COUNT(promises) - 1, \
        promises,      true},                                                                    \
        PLEDGE(#name ".deterministic", promise[stage].deterministic),                            \
        PLEDGE(#name ".batch_invariant", promise[stage].batch_invariant),

/* clang-format off */
static const field fields[] = {
    SWITCH("align.stable", stable_align),
    SWITCH("align.tail", align_tail),
    GEMM("gate_up", gate_up),
    NAMED("act.function", act_function, functions),
    {"act.ulps", REAL, offsetof(mp_contract, act_ulps), 0, 0x1p20, NULL, false},
    NAMED("act.rounding", act_rounding, roundings),
    SWITCH("act.up_plus_zero", act_up_plus_zero),
    NAMED("act.clamp_nan", act_clamp_nan, clamp_nans),
    GEMM("down", down),
    NAMED("combine.variant", combine, combines),
    SWITCH("float64_steps", float64_steps),
    SWITCH("hooks_add", hooks_add),
    NAMED("gate_up.filtered", filtered[MP_GATE_UP], states),
    NAMED("act.filtered", filtered[MP_ACT], states),
    NAMED("down.filtered", filtered[MP_DOWN], states),
    NAMED("quant_act.filtered", filtered[MP_QUANT_ACT], states),
    NAMED("padding", padding, states),
    NAMED("store.overflow", overflow, overflows),
    {"act.ulps_per_argument", REAL, offsetof(mp_contract, act_ulps_per_argument), 0, 0x1p10, NULL, false},
    NAMED("combine.shared", combine_shared, shared_adds),
    SWITCH("combine.fma", combine_fma),
    NAMED("act.input", act_input, act_inputs),
    NAMED("quantiser", quantiser, quantisers),
    GEMM("shrink", shrink),
    SWITCH("shrink.parts_rounded", shrink_parts_rounded),
    GEMM("expand", expand),
    NAMED("expand.input", lora_input, lora_inputs),
    NAMED("expand.add", lora_add, lora_adds),
    NAMED("expand.rows", lora_rows, lora_rows),
    NAMED("shrink_gate_up.filtered", filtered[MP_SHRINK_GATE_UP], states),
    NAMED("expand_gate_up.filtered", filtered[MP_EXPAND_GATE_UP], states),
    NAMED("shrink_down.filtered", filtered[MP_SHRINK_DOWN], states),
    NAMED("expand_down.filtered", filtered[MP_EXPAND_DOWN], states),
    MP_STAGES(PROMISE)
};
/* clang-format on */

/* Enums are read and written as int: their values fit, and compilers that we support give them that size. */
_Static_assert(sizeof(mp_accumulator) == sizeof(int) && sizeof(mp_row_state) == sizeof(int),
               "enums are ints");

static double value_of(const field *f, const mp_contract *contract) {
    const char *at = (const char *)contract + f->offset;
    switch (f->kind) {
    case REAL: return *(const double *)at;
    case FLAG: return *(const bool *)at;
    case INT:
    case ENUM: break;
    }
    int value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void value_text(const field *f, const mp_contract *contract, char text[40]) {
    const double value = value_of(f, contract);
    const bool named = f->kind == ENUM && value >= 0 && value <= f->max;
    if (named)
        snprintf(text, 40, "%s", f->names[(int)value]);
    else
        snprintf(text, 40, "%.17g", value);
}

static mp_status refuse(const field *f, const char *value, mp_error *err) {
    if (f->kind == FLAG) return mp_fail(err, MP_EINPUT, "contract: %s=%s: expected 0 or 1", f->name, value);
    if (f->kind == INT || f->kind == REAL)
        return mp_fail(err, MP_EINPUT, "contract: %s=%s: expected a%s number from %g to %g", f->name, value,
                       f->kind == INT ? " whole" : "", f->min, f->max);
    char known[256] = "";
    for (int i = 0; i <= (int)f->max; i++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", f->names[i]);
    }
    return mp_fail(err, MP_EINPUT, "contract: %s=%s: expected one of %s", f->name, value, known);
}

mp_status mp_contract_set(mp_contract *contract, const char *name, const char *value, mp_error *err) {
    for (size_t i = 0; i < COUNT(fields); i++) {
        const field *f = &fields[i];
        if (strcmp(f->name, name) != 0) continue;
        char *at = (char *)contract + f->offset;
        if (f->kind == ENUM) {
            int k = 0;
            while (k <= (int)f->max && strcmp(f->names[k], value) != 0) k++;
            if (k > (int)f->max) return refuse(f, value, err);
            memcpy(at, &k, sizeof k);
            return MP_OK;
        }
        char *end = NULL;
        errno = 0;
        const double number = strtod(value, &end);
        if (end == value || *end || errno || !(number >= f->min && number <= f->max) ||
            (f->kind != REAL && number != rint(number)))
            return refuse(f, value, err);
        if (f->kind == REAL) *(double *)at = number;
        if (f->kind == FLAG) *(bool *)at = number != 0;
        if (f->kind == INT) *(int *)at = (int)number;
        return MP_OK;
    }
    char known[1024] = "";
    const char *dot = strchr(name, '.');
    for (size_t i = 0; i < COUNT(fields); i++) { /* those of the same stage, or all */
        if (dot && strncmp(fields[i].name, name, (size_t)(dot - name) + 1) != 0) continue;
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", fields[i].name);
    }
    return mp_fail(err, MP_EINPUT, "contract: unknown field '%s'%s%s", name, known[0] ? "; there are " : "",
                   known);
}

/* Whether terms are cut to fraction_bits; whether k is taken in steps of `group` terms. */
static bool cuts(const mp_gemm_contract *g) {
    return g->accumulator == MP_ACC_TENSOR_CORE || g->accumulator == MP_ACC_MATRIX_CORE ||
           g->accumulator == MP_ACC_MATRIX_CORE_HALVES || g->accumulator == MP_ACC_BLOCK_SCALED;
}

static bool has_steps(const mp_gemm_contract *g) {
    return cuts(g) || g->accumulator == MP_ACC_PAIRWISE || g->accumulator == MP_ACC_PAIRWISE_FLUSHED;
}

mp_status mp_contract_validate(const mp_contract *contract, mp_error *err) {
    for (size_t i = 0; i < COUNT(fields); i++) {
        const double value = value_of(&fields[i], contract);
        if (value >= fields[i].min && value <= fields[i].max) continue;
        char text[40];
        value_text(&fields[i], contract, text);
        return refuse(&fields[i], text, err);
    }
    static const char *const names[] = {"gate_up", "down", "shrink", "expand"};
    const mp_gemm_contract *const gemms[] = {&contract->gate_up, &contract->down, &contract->shrink,
                                             &contract->expand};
    for (size_t i = 0; i < COUNT(gemms); i++) {
        const char *name = names[i];
        const mp_gemm_contract *g = gemms[i];
        if ((has_steps(g) && g->group < 1) || (cuts(g) && g->fraction_bits < 1) ||
            (g->accumulator == MP_ACC_TENSOR_CORE && g->result_fraction_bits < 1))
            return mp_fail(err, MP_EINPUT,
                           "contract: %s.accumulator=%s with group=%d fraction_bits=%d "
                           "result_fraction_bits=%d: expected at least 1 each",
                           name, accumulators[g->accumulator], g->group, g->fraction_bits,
                           g->result_fraction_bits);
    }
    return MP_OK;
}

void mp_contract_fields(const mp_contract *contract,
                        void (*visit)(void *ctx, const char *name, const char *value), void *ctx) {
    for (size_t i = 0; i < COUNT(fields); i++) {
        char text[40];
        value_text(&fields[i], contract, text);
        visit(ctx, fields[i].name, text);
    }
}

/* Goldens keep it, so a field that is added to the table, or moved in it, or a stage that is added, must
 * change no digest of before: a field that promises no more than the weakest contract does not count, what a
 * stage promises of its bits does not either, and the sum knows no order. */
uint64_t mp_contract_digest(const mp_contract *contract) {
    const mp_contract weakest = mp_contract_weakest();
    uint64_t digest = 0;
    for (size_t i = 0; i < COUNT(fields); i++) {
        char value[40], text[100];
        if (fields[i].promise || value_of(&fields[i], contract) == value_of(&fields[i], &weakest)) continue;
        value_text(&fields[i], contract, value);
        digest += mp_digest(text, (size_t)snprintf(text, sizeof text, "%s=%s", fields[i].name, value));
    }
    return digest;
}

/* ---- for people ---- */

static void gemm_text(const mp_gemm_contract *g, char *text, size_t size) {
    static const char *const words[] = {MP_ACCUMULATORS(WORDS)};
    int used = snprintf(text, size, "%s", words[g->accumulator]);
    if (has_steps(g)) used += snprintf(text + used, size - (size_t)used, " L=%d", g->group);
    if (cuts(g)) used += snprintf(text + used, size - (size_t)used, " F=%d", g->fraction_bits);
    if (g->accumulator == MP_ACC_TENSOR_CORE && g->result_fraction_bits != 23)
        used += snprintf(text + used, size - (size_t)used, " cut to %d bits", g->result_fraction_bits);
    if (g->k_order != MP_K_ASCENDING)
        used += snprintf(text + used, size - (size_t)used, " k %s", k_orders[g->k_order]);
    if (g->promotion) used += snprintf(text + used, size - (size_t)used, " promoted every %d", g->promotion);
    if (g->split_k > 1) used += snprintf(text + used, size - (size_t)used, " split_k %d", g->split_k);
    if (g->scaling) snprintf(text + used, size - (size_t)used, " scaled %s", scalings[g->scaling]);
}

static bool same_gemm(const mp_gemm_contract *a, const mp_gemm_contract *b) {
    return a->accumulator == b->accumulator && a->group == b->group && a->fraction_bits == b->fraction_bits &&
           a->result_fraction_bits == b->result_fraction_bits && a->zero_exponent == b->zero_exponent &&
           a->k_order == b->k_order && a->promotion == b->promotion && a->split_k == b->split_k &&
           a->scaling == b->scaling;
}

/* Whether the stage promises that its bits do not depend on the batch. What may differ from run to run cannot
 * promise it; but the order of align is nobody's bits. */
static bool stays(const mp_contract *contract, int stage) {
    const mp_stage_promise *p = &contract->promise[stage];
    return p->batch_invariant && (p->deterministic || stage == MP_ALIGN);
}

static bool all_promise(const mp_contract *contract, bool deterministic) {
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage_promise *p = &contract->promise[s];
        if (deterministic ? !p->deterministic : !stays(contract, s)) return false;
    }
    return true;
}

/* A name as a sentence says it: with blanks. */
static void say(const char *name, char words[40]) {
    snprintf(words, 40, "%s", name);
    for (char *at = words; *at; at++)
        if (*at == '-') *at = ' ';
}

/* "; adapters: ...", or nothing of a contract that says nothing of them: that of a case without. */
static void lora_text(const mp_contract *contract, char *text, size_t size) {
    static const char *const rows[] = {"", ", rows without one kept", ", 0 added to rows without one"};
    char shrink[128], expand[128];
    const bool said = contract->lora_rows != MP_LORA_ROWS_ANY || contract->lora_input != MP_LORA_STORED ||
                      contract->lora_add != MP_LORA_ADD_ROUNDED || contract->shrink.split_k > 1;
    text[0] = '\0';
    if (!said) return;
    gemm_text(&contract->shrink, shrink, sizeof shrink);
    gemm_text(&contract->expand, expand, sizeof expand);
    const bool same = same_gemm(&contract->shrink, &contract->expand);
    snprintf(text, size, "; adapters: %s%s%s%s%s%s%s", shrink, same ? "" : ", expand ", same ? "" : expand,
             contract->shrink_parts_rounded ? ", parts rounded" : "",
             contract->lora_input == MP_LORA_FLOAT32 ? ", shrunk rows in float32" : "",
             contract->lora_add == MP_LORA_ADD_ONE_ROUNDING ? ", added in float32" : ", rounded and added",
             rows[contract->lora_rows]);
}

void mp_contract_text(const mp_contract *contract, char *text, size_t size) {
    static const char *const function[] = {MP_ACT_FUNCTIONS(WORDS)};
    static const char *const clamped[] = {"", ", a NaN clamped to the limit", ", a NaN clamped or kept"};
    char up[128], down[128], rounding[40], combine[40], growing[48] = "", lora[400];
    lora_text(contract, lora, sizeof lora);
    say(roundings[contract->act_rounding], rounding);
    say(combines[contract->combine], combine);
    gemm_text(&contract->gate_up, up, sizeof up);
    gemm_text(&contract->down, down, sizeof down);
    const bool same = same_gemm(&contract->gate_up, &contract->down);
    if (contract->act_ulps_per_argument > 0)
        snprintf(growing, sizeof growing, " + %g a unit of the argument", contract->act_ulps_per_argument);
    snprintf(text, size,
             "%s: %s%s%s; activation: %g%s ulp%s, %s%s%s%s; combine: %s%s%s%s; align: %s%s%s; %s; %s",
             same ? "accumulator" : "gate_up", up, same ? "" : "; down: ", same ? "" : down,
             contract->act_ulps, growing, function[contract->act_function], rounding,
             contract->act_up_plus_zero ? ", up + 0" : "", clamped[contract->act_clamp_nan],
             contract->act_input == MP_ACT_FLOAT32 ? ", of float32 gate and up" : "", combine,
             contract->combine_fma ? ", weighed by fma" : "",
             contract->combine_shared == MP_SHARED_ONE_ROUNDING ? ", shared output added before" : "", lora,
             contract->stable_align ? "stable" : "any order", contract->align_tail ? "" : ", tail unused",
             contract->overflow == MP_OVERFLOW_INF        ? ""
             : contract->overflow == MP_OVERFLOW_SATURATE ? "; stores saturate"
                                                          : "; stores may saturate",
             all_promise(contract, true) ? "deterministic" : "order of additions not fixed",
             all_promise(contract, false) ? "batch invariant" : "may depend on the batch");
}

int mp_contract_text_group(const char *text, mp_stage stage) {
    const char *down = strstr(text, "; down: "), *from = stage == MP_DOWN && down ? down : text;
    const char *of = strchr(from, ':'), *end = of ? of + 1 + strcspn(of + 1, ";") : NULL,
               *group = of ? strstr(of, " L=") : NULL;
    return group && group < end ? atoi(group + 3) : 0;
}

mp_contract mp_contract_weakest(void) {
    mp_contract contract = {.preset = "weakest",
                            .gate_up = {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1},
                            .down = {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1},
                            .shrink = {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1},
                            .expand = {.accumulator = MP_ACC_IEEE_ANY_ORDER, .split_k = 1},
                            .act_function = MP_ACT_LIBRARY,
                            .act_ulps = 8,
                            .quantiser = MP_ANY_QUANTISER};
    return contract;
}

bool mp_contract_fuses_act(const mp_contract *contract, const mp_case *c) {
    return contract->act_input == MP_ACT_FLOAT32 && mp_case_has_stage(c, MP_GATE_UP) &&
           mp_case_has_stage(c, MP_ACT);
}

bool mp_contract_deterministic(const mp_contract *contract, const mp_case *c) {
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (mp_case_has_stage(c, (mp_stage)s) && !contract->promise[s].deterministic) return false;
    return true;
}

bool mp_contract_batch_invariant(const mp_contract *contract, const mp_case *c) {
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (mp_case_has_stage(c, (mp_stage)s) && !stays(contract, s) &&
            (s != MP_ALIGN || c->scope == MP_SCOPE_ALIGN))
            return false;
    return true;
}

bool mp_contract_same_gemms(const mp_contract *a, const mp_contract *b) {
    return same_gemm(&a->gate_up, &b->gate_up) && same_gemm(&a->down, &b->down);
}
