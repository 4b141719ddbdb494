/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/reveal.h"

#include "base/text.h"
#include "cases/graph_tables.h"
#include "harness/infer/craft.h"
#include "harness/infer/infer_stage.h"
#include "harness/infer/sum_tree.h"
#include "harness/subjects/surroundings.h"

#include <math.h>
#include <stdio.h>

enum { TERMS_OF_K = 32, TERMS_OF_TOPK = 8, WIDTH = 16 };

/* What stands for one and for M. Their ratio is beyond 2^24 * n, so that M swallows any sum of ones in
 * float32; where the format has room, beyond 2^53 * n for float64 sums too. With weights of `weight`. */
typedef struct scale {
    double one, big, weight;
} scale;

static scale scale_of(mp_dtype dtype) {
    if (dtype == MP_FP16) return (scale){0x1p-18, 0x1p15, 0x1p15}; /* a subnormal: see `ones` below */
    if (dtype == MP_FP64) return (scale){0x1p-14, 0x1p200, 0x1p15};
    return (scale){0x1p-14, 0x1p60, 0x1p15};
}

/* Token m has M at the first place of pair m and -M at the second. */
static void pair_of(int n, int64_t m, int *i, int *j) {
    int64_t rest = m;
    for (*i = 0; rest >= n - 1 - *i; ++*i) rest -= n - 1 - *i;
    *j = *i + 1 + (int)rest;
}

/* Which sum is asked. */
typedef struct pairs {
    int n;
    scale s;
} pairs;

static double value_at(const void *ctx, int64_t m, int64_t k) {
    const pairs *p = ctx;
    int i, j;
    if (m == p->n * (p->n - 1) / 2) return p->s.one; /* behind the pairs: ones alone */
    pair_of(p->n, m, &i, &j);
    return k == i ? p->s.big : k == j ? -p->s.big : p->s.one;
}

static mp_case case_of(const mp_case *like, mp_stage stage, mp_scope scope) {
    const bool combine = stage == MP_COMBINE;
    const int n = combine ? TERMS_OF_TOPK : TERMS_OF_K;
    mp_case c = mp_case_default();
    c.dtype = scope == MP_SCOPE_COMBINE || like->dtype != MP_FP64 ? like->dtype : MP_FP32;
    c.M = n * (n - 1) / 2 + 1;
    c.E = combine ? TERMS_OF_TOPK : 1;
    c.topk = c.E;
    c.K = c.N = combine ? WIDTH : TERMS_OF_K;
    c.scope = scope;
    if (scope == MP_SCOPE_ALL) {
        c.act = like->act;
        c.gated = like->gated;
        c.interleaved = like->interleaved;
        c.alpha = like->alpha;
        c.limit = like->limit;
    } else if (scope == MP_SCOPE_GATE_UP) {
        c.gated = like->gated;
    }
    /* What the stage alone has no use for must stay as it is. */
    if (scope == MP_SCOPE_COMBINE) c.N = mp_case_default().N;
    if (scope == MP_SCOPE_DOWN) c.K = WIDTH;
    if (scope == MP_SCOPE_GATE_UP) c.N = WIDTH;
    return c;
}

static bool read_tree(const mp_case *c, mp_stage stage, const pairs *p, const mp_tensor *out,
                      char text[MP_REVEAL_TEXT]) {
    const int n = p->n;
    const double unit = stage == MP_COMBINE ? p->s.one : p->s.one * p->s.weight;
    const int64_t width = mp_tensor_row_length(out);
    mp_sum_tree tree = {.n = n};
    const double ones = mp_decode(out->dtype, out->data, (c->M - 1) * width) / unit;
    if (ones != n) { /* else what is lost before the sum would be taken for lost in it */
        snprintf(text, MP_REVEAL_TEXT, "%d ones have the sum %.9g", n, ones);
        return false;
    }
    for (int64_t m = 0; m < c->M - 1; m++) {
        const double count = mp_decode(out->dtype, out->data, m * width) / unit;
        int i, j;
        pair_of(n, m, &i, &j);
        if (!(count >= 0 && count <= n - 2 && count == rint(count))) {
            snprintf(text, MP_REVEAL_TEXT, "with M at %d and -M at %d, %.9g ones are left of %d", i, j, count,
                     n - 2);
            return false;
        }
        tree.meet[i][j] = tree.meet[j][i] = n - (int)count;
    }
    if (mp_sum_tree_text(&tree, text, MP_REVEAL_TEXT)) return true;
    snprintf(text, MP_REVEAL_TEXT, "no tree explains which ones are lost");
    return false;
}

static mp_status reveal(mp_subject *subject, const mp_case *c, mp_stage stage, bool *revealed,
                        char text[MP_REVEAL_TEXT], mp_error *err) {
    const pairs p = {stage == MP_COMBINE ? TERMS_OF_TOPK : TERMS_OF_K, scale_of(c->dtype)};
    const mp_tensor_id id = mp_stage_output(c, stage);
    mp_offer offer = {0};
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_surroundings_report report;
    mp_status status = mp_case_validate(c, err);
    if (status != MP_OK) return mp_fail(err, MP_EUNSUPPORTED, "there is no case for it");
    status = mp_infer_describe(subject, c, &offer, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) {
        if (stage == MP_COMBINE)
            mp_craft_slots(c, value_at, &p, &in);
        else
            mp_craft_rows(c, stage, value_at, &p, p.s.weight, &in);
        status = mp_run_surrounded(subject, c, &offer, &in, MP_POISON_A, &trace, &report, err);
    }
    if (status == MP_OK && !trace.t[id].data)
        status = mp_fail(err, MP_EUNSUPPORTED, "%s is not shown", mp_tensor_name(id));
    if (status == MP_OK && stage == MP_COMBINE &&
        !mp_crafted_slots_are_right(c, value_at, &p, &trace.t[MP_CACHE3]))
        status = mp_fail(err, MP_EUNSUPPORTED, "what combine reads could not be set");
    if (status == MP_OK) *revealed = read_tree(c, stage, &p, &trace.t[id], text);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

mp_status mp_reveal_sum(mp_subject *subject, const mp_case *like, mp_stage stage, bool *revealed,
                        char text[MP_REVEAL_TEXT], mp_error *err) {
    static const mp_scope alone[MP_STAGE_COUNT] = {
        [MP_GATE_UP] = MP_SCOPE_GATE_UP, [MP_DOWN] = MP_SCOPE_DOWN, [MP_COMBINE] = MP_SCOPE_COMBINE};
    const char *name = mp_stage_name(stage);
    mp_error why = {0};
    mp_case c = case_of(like, stage, alone[stage]);
    *revealed = false;
    mp_status status = reveal(subject, &c, stage, revealed, text, &why);
    if (status == MP_EUNSUPPORTED) /* its own reason speaks of a case that nobody but infer asked for */
        mp_text_fit(text, MP_REVEAL_TEXT,
                    "infer asks for %s alone (scope=%s), which the subject does not run", name, name);
    if (status == MP_EUNSUPPORTED && stage != MP_DOWN &&
        like->scope == MP_SCOPE_ALL) { /* cache2 cannot be set from outside */
        c = case_of(like, stage, MP_SCOPE_ALL);
        status = reveal(subject, &c, stage, revealed, text, &why);
        if (status == MP_EUNSUPPORTED)
            mp_text_fit(text, MP_REVEAL_TEXT,
                        "infer asks for %s alone (scope=%s), which the subject does not run; and from end to "
                        "end: %s",
                        name, name, why.text);
    }
    if (status == MP_EUNSUPPORTED) return MP_OK;
    if (status != MP_OK && err) *err = why;
    return status;
}
