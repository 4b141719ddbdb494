/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/screened_rows.h"

#include "cases/graph_tables.h"
#include "offload/cross_check.h"
#include "ref/engine.h"

#include <stdlib.h>
#include <string.h>

enum { HERE, THERE, BOTH }; /* who measures a row */

mp_status mp_screened_rows_alloc(mp_screened_rows *x, const mp_stage_judge *s, mp_error *err) {
    const size_t rows = s->rows > 0 ? (size_t)s->rows : 1;
    x->figures = malloc(rows * sizeof *x->figures);
    x->mark = malloc(rows);
    return x->figures && x->mark ? MP_OK
                                 : mp_fail(err, MP_EMEMORY, "judge: no memory for figures of %zu rows", rows);
}

typedef struct rows_there {
    const mp_screened_rows *x;
    const mp_stage_judge *s;
    bool routed; /* those alone that are */
} rows_there;

static bool is_routed(const mp_stage_judge *s, int64_t row) {
    const int64_t each = mp_stage_rows_are_slots(s->stage) ? 1 : s->j->c->topk;
    return mp_judgement_routes(s->j, row * each, each);
}

static bool is_there(const void *ctx, int64_t row) {
    const rows_there *r = ctx;
    return r->x->mark[row] != HERE && (!r->routed || is_routed(r->s, row));
}

/* Marks a few of the rows whose figures count, spread over them, or over those that are routed; their
 * number. */
static int64_t choose_some(mp_screened_rows *x, const mp_stage_judge *s, uint64_t which, bool routed) {
    const rows_there those = {x, s, routed};
    int64_t row[MP_CROSS_CHECKED];
    const int64_t chosen =
        mp_cross_check_choose_those(s->rows, is_there, &those, which, MP_CROSS_CHECKED, row);
    for (int64_t i = 0; i < chosen; i++) x->mark[row[i]] = BOTH;
    return chosen;
}

static void choose(mp_screened_rows *x, const mp_stage_judge *s, uint64_t which) {
    int64_t passed = 0;
    bool says = false;
    for (int64_t r = 0; r < s->rows; r++) {
        x->mark[r] = x->figures[r].passed == s->width ? THERE : HERE;
        passed += x->mark[r] == THERE;
    }
    int64_t chosen = choose_some(x, s, which, false);
    for (int64_t r = 0; r < s->rows && !says; r++) says = x->mark[r] == BOTH && is_routed(s, r);
    if (!says) chosen += choose_some(x, s, which, true);
    mp_screened_count(&x->screened, passed - chosen);
}

mp_status mp_screened_rows_take(mp_screened_rows *x, const mp_stage_judge *s, mp_status status,
                                uint64_t which, const mp_error *own, mp_error *err) {
    x->measured = status == MP_OK;
    if (x->measured) choose(x, s, which);
    if (status == MP_EUNSUPPORTED) memset(x->mark, HERE, (size_t)s->rows);
    if (status == MP_OK || status == MP_EUNSUPPORTED) return MP_OK;
    if (err) *err = *own;
    return status;
}

void mp_screened_rows_make(const mp_screened_rows *x, const mp_stage_judge *s, const mp_tensor *t,
                           const int64_t *at, int64_t each) {
    int64_t *read = t->maker ? malloc((size_t)(s->rows * each + 1) * sizeof *read) : NULL;
    for (int64_t i = 0; i < s->rows * each && read; i++) {
        const int64_t row = i / each;
        const bool here = !x->mark || x->mark[row] != THERE;
        read[i] = !here ? -1 : at ? at[row] : i;
    }
    mp_tensor_make_rows(t, read, read ? s->rows * each : mp_tensor_rows(t));
    free(read);
}

bool mp_screened_rows_judge(mp_screened_rows *x, mp_stage_judge *s, int64_t row, mp_judge_row *judge,
                            const void *ctx, mp_measure *part) {
    const int64_t index = row * s->width;
    double *sums = s->sums + row * 3, own_sums[3] = {0, 0, 0};
    mp_measure own;
    if (x->measured && x->mark[row] != THERE) part->f.by_cpu += s->width;
    if (!x->mark || x->mark[row] == HERE) {
        judge(ctx, row, part, sums);
    } else if (x->mark[row] == THERE) {
        mp_screened_take(&x->screened, part, index, s->width, &x->figures[row], sums);
        return false;
    } else {
        mp_stage_judge_part(s, &own);
        judge(ctx, row, &own, own_sums);
        mp_screened_compare(&x->screened, &own, own_sums, index, s->width, &x->figures[row]);
        mp_measure_merge(part, &own);
        mp_stage_judge_add_sums(s, row, own_sums);
    }
    return true;
}

mp_status mp_screened_rows_end(const mp_screened_rows *x, const mp_stage_judge *s, mp_error *err) {
    const mp_engine *engine = s->j->engine;
    return mp_screened_end(&x->screened, engine->name(engine), err);
}

void mp_screened_rows_free(mp_screened_rows *x) {
    free(x->figures);
    free(x->mark);
}
