/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/evidence.h"

#include <stdlib.h>

void mp_evidence_free(mp_evidence *e) {
    for (int q = 0; q < e->count; q++) {
        for (int a = 0; a < e->question[q].axes; a++) free(e->question[q].axis[a].value);
        free(e->question[q].hypothesis);
    }
    free(e->question);
    mp_texts_free(&e->texts);
    *e = (mp_evidence){0};
}

/* Room for one more behind `count` of them; NULL without memory, and then the old array is still there. */
static void *grown(mp_evidence *e, void *array, int count, size_t size) {
    if (count & (count - 1)) return array; /* it has room up to the next power of two */
    void *more = realloc(array, (count ? 2 * (size_t)count : 1) * size);
    if (!more) e->lost = true;
    return more;
}

int mp_ask(mp_evidence *e, mp_stage stage, const char *name, const char *const *axes) {
    for (int q = 0; q < e->count; q++)
        if (e->question[q].stage == stage && strcmp(e->question[q].name, name) == 0) return q;
    mp_question *more = grown(e, e->question, e->count, sizeof *more);
    if (!more) return -1;
    e->question = more;
    mp_question *q = &e->question[e->count];
    *q = (mp_question){.stage = stage, .name = mp_texts_add(&e->texts, "%s", name)};
    while (q->axes < MP_EVIDENCE_AXES && axes[q->axes]) {
        q->axis[q->axes].name = mp_texts_add(&e->texts, "%s", axes[q->axes]);
        q->axes++;
    }
    return e->count++;
}

int mp_evidence_value_of(mp_evidence *e, int question, int axis, mp_evidence_value value) {
    if (question < 0) return -1;
    mp_evidence_axis *a = &e->question[question].axis[axis];
    for (int v = 0; v < a->count; v++)
        if (strcmp(a->value[v].name, value.name) == 0) return v;
    mp_evidence_value *more = grown(e, a->value, a->count, sizeof *more);
    if (!more) return -1;
    a->value = more;
    a->value[a->count] =
        (mp_evidence_value){.name = mp_texts_add(&e->texts, "%s", value.name),
                            .keys = value.keys ? mp_texts_add(&e->texts, "%s", value.keys) : NULL,
                            .weak = value.weak};
    return a->count++;
}

mp_hypothesis *mp_hypothesis_of(mp_evidence *e, int question, const int value[MP_EVIDENCE_AXES]) {
    if (question < 0) return NULL;
    mp_question *q = &e->question[question];
    for (int a = 0; a < q->axes; a++)
        if (value[a] < 0) return NULL;
    for (int i = 0; i < q->count; i++)
        if (memcmp(q->hypothesis[i].value, value, (size_t)q->axes * sizeof *value) == 0)
            return &q->hypothesis[i];
    mp_hypothesis *more = grown(e, q->hypothesis, q->count, sizeof *more);
    if (!more) return NULL;
    q->hypothesis = more;
    mp_hypothesis *h = &q->hypothesis[q->count++];
    *h = (mp_hypothesis){.first = ""};
    memcpy(h->value, value, (size_t)q->axes * sizeof *value);
    return h;
}

void mp_evidence_begin_case(mp_evidence *e, const char *name) {
    e->case_name = mp_texts_add(&e->texts, "%s", name);
}

void mp_hypothesis_count(mp_evidence *e, mp_hypothesis *h, int64_t compared, int64_t differing,
                         const char *first) {
    if (!h || compared == 0) return;
    if (h->differing == 0 && differing > 0) h->first = mp_texts_add(&e->texts, "%s", first);
    h->compared += compared;
    h->differing += differing;
    mp_evidence_case *now = &h->latest;
    if (h->cases == 0 || now->name != e->case_name) { /* one text each: its address tells it */
        *now = (mp_evidence_case){.name = e->case_name};
        h->cases++;
    }
    const bool was_clean = now->differing == 0;
    const int64_t before = now->compared;
    now->compared += compared;
    now->differing += differing;
    if (now->differing == 0) {
        h->compared_clean += compared;
        return;
    }
    if (was_clean) {
        h->compared_clean -= before;
        h->refuting++;
    }
    if (h->refuting == 1) h->first_refuting = *now;
}

int mp_hypothesis_clean(const mp_hypothesis *h) {
    return h->cases - h->refuting;
}

int mp_question_most_clean(const mp_question *q) {
    int most = 0;
    for (int i = 0; i < q->count; i++) {
        const int clean = mp_hypothesis_clean(&q->hypothesis[i]);
        most = clean > most ? clean : most;
    }
    return most;
}

bool mp_hypothesis_is_out(const mp_hypothesis *h, int most_clean) {
    return h && h->differing >= 32 && mp_hypothesis_clean(h) < most_clean;
}

bool mp_hypothesis_fits(const mp_hypothesis *h) {
    return h && h->compared > 0 && h->differing == 0;
}

static int weak_values(const mp_question *q, const mp_hypothesis *h) {
    int count = 0;
    for (int a = 0; a < q->axes; a++) count += q->axis[a].value[h->value[a]].weak;
    return count;
}

/* a before b: what fits, then by cases without a difference, by share of what differs, by what they
 * promise. */
static bool is_better(const mp_question *q, const mp_hypothesis *a, const mp_hypothesis *b) {
    const bool fits = mp_hypothesis_fits(a), other_fits = mp_hypothesis_fits(b);
    if (fits != other_fits) return fits;
    if (!fits && mp_hypothesis_clean(a) != mp_hypothesis_clean(b))
        return mp_hypothesis_clean(a) > mp_hypothesis_clean(b);
    const double x = (double)a->differing * (double)b->compared,
                 y = (double)b->differing * (double)a->compared;
    if (x != y) return x < y;
    return weak_values(q, a) < weak_values(q, b);
}

static const mp_hypothesis *best_of(const mp_question *q, int axis, int value) {
    const mp_hypothesis *best = NULL;
    for (int i = 0; i < q->count; i++) {
        const mp_hypothesis *h = &q->hypothesis[i];
        if (h->compared == 0 || (axis >= 0 && h->value[axis] != value)) continue;
        if (!best || is_better(q, h, best)) best = h;
    }
    return best;
}

const mp_hypothesis *mp_question_best(const mp_question *q) {
    return best_of(q, -1, 0);
}

const mp_hypothesis *mp_question_best_with(const mp_question *q, int axis, int value) {
    return best_of(q, axis, value);
}
