/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/goldens/refresh.h"

#include "base/text.h"
#include "harness/goldens/explain.h"

#include <stdlib.h>
#include <string.h>

#define NAME_OF(kind, name) [kind] = name,
static const char *const refusals[MP_REFUSAL_COUNT] = {MP_REFUSALS(NAME_OF)};
#undef NAME_OF

mp_status mp_refusals_parse(const char *text, unsigned *kinds, mp_error *err) {
    const char *const between = ", \t";
    *kinds = 0;
    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        const size_t length = strcspn(text, between);
        int kind = 0;
        while (kind < MP_REFUSAL_COUNT &&
               (strlen(refusals[kind]) != length || strncmp(refusals[kind], text, length) != 0))
            kind++;
        if (kind == MP_REFUSAL_COUNT)
            return mp_fail(err, MP_EINPUT, "'%.*s': expected bits, inputs or missing", (int)length, text);
        *kinds |= 1u << kind;
        text += length;
    }
    return *kinds ? MP_OK : mp_fail(err, MP_EINPUT, "'': expected bits, inputs or missing");
}

typedef struct judging {
    mp_golden *old, *fresh;
    mp_refresh *r;
    mp_diff_line *line;
    void *ctx;
} judging;

static void add_name(mp_text *text, const char *name) {
    mp_text_add(text, "%s%s", text->length > 0 ? ", " : "", name);
}

static void tell(const judging *j, const char *name, const char *what, const char *which, const char *why) {
    mp_text line = {0};
    mp_text_add(&line, "%s: %s: %s%s%s", name, what, which, which[0] ? ": " : "", why);
    j->line(j->ctx, mp_text_get(&line));
    mp_text_free(&line);
}

static void refuse(const judging *j, const char *name, mp_refusal kind, const char *which, const char *why) {
    mp_text text = {0};
    const bool allowed = j->r->allowed >> kind & 1;
    j->r->refused[kind] += !allowed;
    mp_text_add(&text, "%s%s%s%s", why, allowed ? " (allowed)" : " (--allow ", allowed ? "" : refusals[kind],
                allowed ? "" : ")");
    tell(j, name, allowed ? "allowed" : "refused", which, mp_text_get(&text));
    mp_text_free(&text);
}

static bool differs(const mp_tensor_diff *d) {
    return d->state == MP_TENSOR_DIFFERS || d->state == MP_TENSOR_OTHER_SHAPE ||
           d->state == MP_TENSOR_NOT_COMPARED;
}

/* Tensors that differ for the same reasons are told together. */
static void judge_bits(const judging *j, const mp_case_diff *d, bool filled_anew) {
    enum { SETS = 2 * MP_BY_READING };
    unsigned reason[MP_TENSOR_COUNT];
    bool any = false;
    mp_explain(d, filled_anew, reason);
    for (unsigned set = 0; set < SETS; set++) {
        mp_text names = {0}, why = {0};
        for (int id = 0; id < MP_TENSOR_COUNT; id++)
            if (reason[id] == set && differs(&d->trace[id]))
                add_name(&names, mp_tensor_name((mp_tensor_id)id));
        mp_reasons_text(set, &why);
        any = any || names.length > 0;
        if (names.length > 0 && set == 0)
            refuse(j, d->a->name, MP_REFUSE_BITS, mp_text_get(&names),
                   "differ under the same contract, fill version and tiles of their stages");
        else if (names.length > 0)
            tell(j, d->a->name, "legal", mp_text_get(&names), mp_text_get(&why));
        mp_text_free(&names);
        mp_text_free(&why);
    }
    mp_text why = {0};
    mp_reasons_text((filled_anew ? MP_BY_FILL : 0) | (d->contract ? MP_BY_CONTRACT : 0) |
                        (d->config || d->block_size_m ? MP_BY_TILES : 0),
                    &why);
    if (!any && why.length > 0) tell(j, d->a->name, "legal", "no bit differs", mp_text_get(&why));
    mp_text_free(&why);
}

/* Why each difference of a case is legal, or that it is not. */
static void judge_case(const judging *j, const mp_case_diff *d) {
    const char *name = d->a->name;
    mp_text new = {0}, missing = {0};
    bool inputs = d->inputs;
    const bool filled_anew = mp_golden_fill_version(j->old) != mp_golden_fill_version(j->fresh);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor_diff *t = &d->trace[id];
        const char *tensor = mp_tensor_name((mp_tensor_id)id);
        inputs = inputs || differs(&d->input[id]);
        if (t->state == MP_TENSOR_ONLY_A) add_name(&missing, tensor);
        if (t->state == MP_TENSOR_ONLY_B) add_name(&new, tensor);
    }
    if (inputs && !filled_anew)
        refuse(j, name, MP_REFUSE_INPUTS, "the inputs", "differ under the same fill version");
    judge_bits(j, d, filled_anew);
    if (missing.length > 0)
        refuse(j, name, MP_REFUSE_MISSING, mp_text_get(&missing), "recorded before, not shown any more");
    if (new.length > 0) tell(j, name, "legal", mp_text_get(&new), "not recorded before");
    mp_text_free(&new);
    mp_text_free(&missing);
}

static mp_status visit(void *ctx, const mp_case_diff *d, mp_error *err) {
    const judging *j = ctx;
    const bool filled_anew = mp_golden_fill_version(j->old) != mp_golden_fill_version(j->fresh);
    if (!d->a || !d->b) {
        *(d->a ? &j->r->removed : &j->r->added) += 1;
        tell(j, d->a ? d->a->name : d->b->name, "legal", "",
             d->a ? "the case is removed, the matrix does not have it" : "the case is new");
        return MP_OK;
    }
    if (d->equal && !filled_anew) {
        j->r->unchanged++;
        return MP_OK;
    }
    j->r->changed++;
    const mp_status status =
        mp_case_diff_text(d, mp_golden_path(j->old), "this recording", j->line, j->ctx, err);
    if (status == MP_OK) judge_case(j, d);
    return status;
}

/* Who records now, where it is another one; the date is always another. */
static void tell_makers(const judging *j) {
    const mp_provenance *was = mp_golden_provenance(j->old), *is = mp_golden_provenance(j->fresh);
    const struct {
        const char *name, *was, *is;
    } fields[] = {{"version", was->version, is->version},    {"commit", was->commit, is->commit},
                  {"subject", was->subject, is->subject},    {"device", was->device, is->device},
                  {"versions", was->versions, is->versions}, {"origin", was->origin, is->origin}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        mp_text line = {0};
        if (strcmp(fields[i].was, fields[i].is) == 0) continue;
        mp_text_add(&line, "%s: '%s' -> '%s'", fields[i].name, fields[i].was, fields[i].is);
        j->line(j->ctx, mp_text_get(&line));
        mp_text_free(&line);
    }
}

mp_status mp_golden_refresh_judge(mp_golden *old, mp_golden *fresh, mp_refresh *refresh, mp_diff_line *line,
                                  void *ctx, mp_error *err) {
    mp_diff_counts counts;
    judging j = {old, fresh, refresh, line, ctx};
    *refresh = (mp_refresh){.allowed = refresh->allowed};
    tell_makers(&j);
    return mp_goldens_diff(old, fresh, &(mp_align_rules){0}, visit, &j, &counts, err);
}

bool mp_refresh_is_refused(const mp_refresh *r) {
    for (int kind = 0; kind < MP_REFUSAL_COUNT; kind++)
        if (r->refused[kind] > 0) return true;
    return false;
}
