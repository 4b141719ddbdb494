/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/contract_words.h"

#include "base/words.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

static mp_status set_field(void *ctx, char *word, mp_error *err) {
    char *equals = strchr(word, '=');
    if (!equals) return mp_fail(err, MP_EINPUT, "contract: '%s': expected name=value", word);
    *equals = '\0';
    return mp_contract_set(ctx, word, equals + 1, err);
}

mp_status mp_contract_set_words(mp_contract *contract, const char *words, mp_error *err) {
    return mp_each_word(words ? words : "", contract, set_field, err);
}

typedef struct reader {
    const mp_case *c;
    mp_contract *contract;
    bool begun;
} reader;

/* A preset's name, which comes first or not at all, or a field over it. */
static mp_status take_word(void *ctx, char *word, mp_error *err) {
    reader *r = ctx;
    const bool field = strchr(word, '=') || r->begun;
    r->begun = true;
    return field ? set_field(r->contract, word, err) : mp_contract_preset(word, r->c, r->contract, err);
}

/* A block-scaled unit needs what not every case has. */
static mp_status check_block_scaled(const mp_contract *contract, const mp_case *c, mp_error *err) {
    const char *const names[] = {"gate_up", "down", "shrink", "expand"};
    const mp_gemm_contract *const gemms[] = {&contract->gate_up, &contract->down, &contract->shrink,
                                             &contract->expand};
    for (int i = 0; i < 4; i++)
        if (gemms[i]->accumulator == MP_ACC_BLOCK_SCALED && (i >= 2 || !mp_case_fits_block_scaled(c)))
            return mp_fail(err, MP_EINPUT,
                           "contract: %s.accumulator=block-scaled: expected codes with scales of blocks that "
                           "such a unit takes, as of quant=mxfp8 and nvfp4, not quant=%s",
                           names[i], i >= 2 ? "none of adapters" : mp_scheme_of(c)->name);
    return MP_OK;
}

mp_status mp_contract_of_words(const char *words, const mp_case *c, mp_contract *contract, mp_error *err) {
    reader r = {.c = c, .contract = contract};
    mp_status status = mp_contract_preset(MP_ANY_CONTRACT, c, contract, err);
    if (status == MP_OK) status = mp_each_word(words ? words : "", &r, take_word, err);
    if (status == MP_OK) status = mp_contract_validate(contract, err);
    return status == MP_OK ? check_block_scaled(contract, c, err) : status;
}

/* ---- writing ---- */

typedef struct wanted {
    const char *name;
    char value[64];
} wanted;

static void find_value(void *ctx, const char *name, const char *value) {
    wanted *w = ctx;
    if (strcmp(name, w->name) == 0) snprintf(w->value, sizeof w->value, "%s", value);
}

typedef struct writer {
    const mp_contract *preset;
    const mp_case *c;
    mp_text *words;
    int differing;
} writer;

/* Whether the field is a promise of a stage that no such case has: it means nothing. */
static bool promises_nothing(const mp_case *c, const char *name) {
    static const char *const promises[] = {"bits", "deterministic", "batch_invariant"};
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        for (size_t i = 0; i < sizeof promises / sizeof *promises; i++) {
            char promise[64];
            snprintf(promise, sizeof promise, "%s.%s", mp_stage_name((mp_stage)s), promises[i]);
            if (strcmp(promise, name) == 0) return s != MP_COMBINE && !mp_stages[s].present(c);
        }
    return false;
}

static void add_difference(void *ctx, const char *name, const char *value) {
    writer *w = ctx;
    wanted usual = {.name = name};
    mp_contract_fields(w->preset, find_value, &usual);
    if (strcmp(usual.value, value) == 0 || promises_nothing(w->c, name)) return;
    mp_text_add(w->words, " %s=%s", name, value);
    w->differing++;
}

mp_status mp_contract_to_words(const mp_contract *contract, const char *preset, const mp_case *c,
                               mp_text *words, int *differing, mp_error *err) {
    mp_contract usual;
    writer w = {.preset = &usual, .c = c, .words = words};
    const mp_status status = mp_contract_preset(preset, c, &usual, err);
    if (status != MP_OK) return status;
    mp_text_add(words, "%s", preset);
    mp_contract_fields(contract, add_difference, &w);
    if (differing) *differing = w.differing;
    return MP_OK;
}
