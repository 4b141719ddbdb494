/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/checks/session.h"

#include "base/text.h"
#include "cases/graph_tables.h"
#include "harness/judge/judge.h"

#include <stdio.h>
#include <string.h>

/* A golden was named, so equality with it was asked for: what cannot be compared has not passed. */
static void cannot_compare(mp_session *s, const char *why) {
    if (s->options->golden_partial)
        mp_check_not_judged(s->v, MP_CHECK_GOLDEN, "%s", why);
    else
        mp_check_fail(s->v, MP_CHECK_GOLDEN, "%s", why);
}

/* Whether the tensor's layout depends on BLOCK_SIZE_M: another tile than the golden's then has other rows,
 * and nothing to compare. */
static bool depends_on_tile(const mp_case *c, const char *tensor) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (strcmp(tensor, mp_tensor_name((mp_tensor_id)id)) != 0) continue;
        const mp_rows rows = mp_tensors[id].rows;
        return rows == MP_ROWS_CHUNK || (rows == MP_ROWS_CACHE && c->layout == MP_SORTED);
    }
    return false;
}

/* Equality with a stored trace is promised only by a golden of the same contract, and only where the order of
 * additions is fixed. */
mp_status mp_check_golden(mp_session *s, mp_error *err) {
    mp_golden *golden = s->options->golden;
    const mp_case *c = &s->row->c;
    if (!golden) {
        mp_check_not_judged(s->v, MP_CHECK_GOLDEN, "no golden file given");
        return MP_OK;
    }
    if (!mp_golden_has(golden, s->v->name)) {
        cannot_compare(s, "the golden file does not hold this case");
        return MP_OK;
    }
    if (!s->deterministic) {
        mp_check_not_judged(s->v, MP_CHECK_GOLDEN, "the order of additions is not fixed");
        return MP_OK;
    }
    char stored[MP_GOLDEN_TEXT_MAX];
    bool knows_inputs = false;
    uint64_t inputs = 0;
    int64_t block_size_m = 0;
    int count = 0;
    mp_golden_difference diff[MP_TENSOR_COUNT];
    mp_status status = mp_golden_contract(golden, c, stored, sizeof stored, err);
    if (status == MP_OK) status = mp_golden_block_size_m(golden, c, &block_size_m, err);
    if (status == MP_OK) status = mp_golden_inputs_digest(golden, c, &knows_inputs, &inputs, err);
    if (status == MP_OK && knows_inputs && inputs != s->digest) {
        mp_check_fail(
            s->v, MP_CHECK_GOLDEN,
            "the inputs differ: the golden's have digest %016llx, this program's %016llx: record it anew",
            (unsigned long long)inputs, (unsigned long long)s->digest);
        return MP_OK;
    }
    if (status == MP_OK) status = mp_golden_compare(golden, c, &s->first, diff, &count, err);
    if (status != MP_OK) return status;

    int compared = 0;
    mp_text differing = {0};
    char lacking[100] = "", one[MP_GOLDEN_DIFFERENCE_TEXT_MAX];
    for (int i = 0; i < count; i++) {
        if (block_size_m != s->first.block_size_m && depends_on_tile(c, diff[i].tensor)) continue;
        if (!diff[i].stored) {
            snprintf(lacking, sizeof lacking, "the golden lacks %s", diff[i].tensor);
            continue;
        }
        compared++;
        if (diff[i].shape_differs || diff[i].differing_rows > 0) {
            mp_golden_difference_text(&diff[i], one, sizeof one);
            mp_text_add(&differing, "%s%s", differing.length > 0 ? "; " : "", one);
            if (diff[i].differing > 0) mp_text_add(&differing, ", first %s", diff[i].first);
        }
    }
    const char *text = mp_text_get(&differing);
    if (text[0] && strcmp(stored, s->v->contract) == 0) {
        mp_check_fail(s->v, MP_CHECK_GOLDEN, "%s", text);
    } else if (text[0]) {
        mp_text why = {0};
        mp_text_add(&why, "made under another contract (%s); %s", stored, text);
        cannot_compare(s, mp_text_get(&why));
        mp_text_free(&why);
    } else if (lacking[0] || compared == 0) {
        cannot_compare(s, lacking[0] ? lacking : "the golden and the trace have no tensor in common");
    } else {
        mp_check_pass(s->v, MP_CHECK_GOLDEN);
    }
    mp_text_free(&differing);
    return MP_OK;
}
