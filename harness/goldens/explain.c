/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/goldens/explain.h"

#include "cases/graph_tables.h"
#include "harness/goldens/rows.h"
#include "harness/judge/where.h"

#include <string.h>

/* ---- contracts, by their texts: "accumulator: ...; activation: ...; stores saturate" ---- */

typedef struct clause {
    const char *text;
    size_t length;
} clause;

static clause clause_of(const char *text, const char *begin) {
    for (const char *at = text; *at; at += strspn(at, "; ")) {
        const size_t length = strcspn(at, ";");
        if (strncmp(at, begin, strlen(begin)) == 0) return (clause){at, length};
        at += length;
    }
    return (clause){"", 0};
}

/* What a text says of a stage's arithmetic: of a stage that has no clause all of it. Both GEMMs share a
 * clause where they are alike. */
static clause arithmetic_of(const char *text, mp_stage stage) {
    static const char *const begin[MP_STAGE_COUNT] = {[MP_ALIGN] = "align: ",
                                                      [MP_GATE_UP] = "gate_up: ",
                                                      [MP_ACT] = "activation: ",
                                                      [MP_DOWN] = "down: ",
                                                      [MP_COMBINE] = "combine: "};
    if (!begin[stage]) return (clause){text, strlen(text)};
    clause own = clause_of(text, begin[stage]);
    if (own.length == 0 && (stage == MP_GATE_UP || stage == MP_DOWN)) own = clause_of(text, "accumulator: ");
    const char *colon = memchr(own.text, ':', own.length);
    return colon ? (clause){colon, own.length - (size_t)(colon - own.text)} : own;
}

static bool same_clause(clause a, clause b) {
    return a.length == b.length && memcmp(a.text, b.text, a.length) == 0;
}

static bool by_contract(const mp_case_diff *d, mp_stage stage) {
    const char *was = d->a->contract, *is = d->b->contract;
    if (!d->contract) return false;
    if (strcmp(was, is) == 0) return true;
    const bool stores =
        stage != MP_ALIGN && !same_clause(clause_of(was, "stores "), clause_of(is, "stores "));
    return stores || !same_clause(arithmetic_of(was, stage), arithmetic_of(is, stage));
}

/* ---- tiles ---- */

static bool order_is_open(const char *contract, mp_stage stage) {
    const clause own = arithmetic_of(contract, stage);
    const char *any = strstr(own.text, " any ");
    return (stage == MP_GATE_UP || stage == MP_DOWN) && any && any < own.text + own.length;
}

static bool by_tiles(const mp_case_diff *d, mp_stage stage, mp_tensor_id id) {
    const mp_tensor_state state = d->trace[id].state;
    const bool not_beside = state == MP_TENSOR_OTHER_SHAPE || state == MP_TENSOR_NOT_COMPARED;
    if (d->block_size_m && (stage == MP_ALIGN || (mp_lies_by_alignment(&d->b->c, id) && not_beside)))
        return true;
    return d->config && (order_is_open(d->a->contract, stage) || order_is_open(d->b->contract, stage));
}

/* ---- all of it ---- */

static bool may_differ(const mp_tensor_diff *d) {
    return d->state != MP_TENSOR_EQUAL; /* what is not stored may differ */
}

/* Whether some stage but align makes the tensor, or what a hook makes of one. */
static bool is_made(mp_tensor_id id) {
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        for (int made = 0; made < MP_TENSOR_COUNT && s != MP_ALIGN; made++)
            if (mp_stages[s].writes & MP_IN_SET(made) && (made == (int)id || mp_tensors[made].as_read == id))
                return true;
    return false;
}

static bool reads_a_change(const mp_case_diff *d, mp_stage stage, const unsigned reason[MP_TENSOR_COUNT]) {
    const mp_tensor_set reads = mp_stages[stage].reads;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (reads & MP_IN_SET(id) && reason[id] && may_differ(&d->trace[id]) && is_made((mp_tensor_id)id))
            return true;
    return false;
}

void mp_explain(const mp_case_diff *d, bool filled_anew, unsigned reason[MP_TENSOR_COUNT]) {
    memset(reason, 0, MP_TENSOR_COUNT * sizeof *reason);
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage stage = (mp_stage)s;
        const unsigned common = (filled_anew ? MP_BY_FILL : 0) |
                                (by_contract(d, stage) ? MP_BY_CONTRACT : 0) |
                                (reads_a_change(d, stage, reason) ? MP_BY_READING : 0);
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            if (mp_where_stage_of(&d->b->c, (mp_tensor_id)id) != stage) continue;
            reason[id] = common | (by_tiles(d, stage, (mp_tensor_id)id) ? MP_BY_TILES : 0);
        }
    }
}

void mp_reasons_text(unsigned reasons, mp_text *text) {
    static const char *const words[] = {"the fill version has changed, and with it the inputs",
                                        "the contract has changed", "the tiles have changed",
                                        "what its stage reads has changed"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (reasons >> i & 1) mp_text_add(text, "%s%s", text->length > 0 ? "; " : "", words[i]);
}
