/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/diff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *mp_change_name(mp_change change) {
    static const char *const names[MP_CHANGE_COUNT] = {"worse", "gone",   "lost",  "better", "bits", "ratio",
                                                       "drift", "checks", "texts", "new",    "same"};
    return names[change];
}

bool mp_changed_answer(const mp_check_result *a, const mp_check_result *b) {
    return a->answer != b->answer && strcmp(a->text, MP_NO_SUCH_CHECK) != 0 &&
           strcmp(b->text, MP_NO_SUCH_CHECK) != 0;
}

bool mp_changed_bits(const mp_stage_figures *a, const mp_stage_figures *b) {
    return (a->predicted > 0) != (b->predicted > 0) || a->mispredicted != b->mispredicted ||
           a->max_ulps != b->max_ulps;
}

bool mp_changed_figure(const mp_report_diff *diff, double a, double b) {
    if (isnan(a) || isnan(b)) return isnan(a) != isnan(b);
    return a != b && !(fabs(a - b) <= diff->threshold);
}

bool mp_report_diff_has_drift(const mp_report_diff *diff) {
    return diff->first->schema_version > 1 && diff->second->schema_version > 1;
}

static int badness(mp_outcome outcome) {
    static const int of[MP_OUTCOME_COUNT] = {
        [MP_PASS] = 0, [MP_SKIP] = 1, [MP_TIMEOUT] = 2, [MP_CRASH] = 2, [MP_FAIL] = 3};
    return of[outcome];
}

/* The larger distance; NaN is larger than all. */
static double further(double by, double a, double b) {
    const double distance = a == b ? 0 : fabs(a - b);
    return isnan(by) || by >= distance ? by : distance;
}

/* Takes the change where it is graver than what is known. */
static void take(mp_case_change *c, mp_change change, double by) {
    if (change > c->change) return;
    c->by = change < c->change || isnan(by) || by > c->by ? by : c->by;
    c->change = change;
}

static void compare_stages(const mp_report_diff *diff, mp_case_change *c) {
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        const mp_stage_figures *a = &c->first->stage[i], *b = &c->second->stage[i];
        if (mp_changed_bits(a, b)) take(c, MP_CHANGE_BITS, (double)llabs(b->mispredicted - a->mispredicted));
        if (a->judged && !b->judged) take(c, MP_CHANGE_LOST, 1);
        if (!a->judged && b->judged) take(c, MP_CHANGE_CHECKS, 1);
        if (!a->judged || !b->judged) continue;
        if (mp_changed_figure(diff, a->max_ratio, b->max_ratio))
            take(c, MP_CHANGE_RATIO, further(0, a->max_ratio, b->max_ratio));
        if (mp_report_diff_has_drift(diff) && mp_changed_figure(diff, a->max_drift, b->max_drift))
            take(c, MP_CHANGE_DRIFT, further(0, a->max_drift, b->max_drift));
    }
}

static void compare_case(const mp_report_diff *diff, mp_case_change *c) {
    const mp_verdict *a = c->first, *b = c->second;
    c->change = MP_CHANGE_NONE;
    if (badness(a->outcome) != badness(b->outcome))
        take(c, badness(b->outcome) > badness(a->outcome) ? MP_CHANGE_WORSE : MP_CHANGE_BETTER,
             abs(badness(b->outcome) - badness(a->outcome)));
    for (int i = 0; i < MP_CHECK_COUNT; i++) {
        const mp_answer was = a->check[i].answer, is = b->check[i].answer;
        if (mp_changed_answer(&a->check[i], &b->check[i]))
            take(c, was == MP_PASSED && is == MP_NOT_JUDGED ? MP_CHANGE_LOST : MP_CHANGE_CHECKS, 1);
    }
    compare_stages(diff, c);
    const bool other = a->outcome != b->outcome && badness(a->outcome) == badness(b->outcome);
    if (other || strcmp(a->contract, b->contract) != 0 || strcmp(a->config, b->config) != 0 ||
        strcmp(a->subject, b->subject) != 0)
        take(c, MP_CHANGE_TEXTS, 1);
}

/* ---- which case is which ---- */

static int by_name(const void *a, const void *b) {
    const mp_verdict *x = *(const mp_verdict *const *)a, *y = *(const mp_verdict *const *)b;
    const int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x > y) - (x < y);
}

static const mp_verdict **sorted_by_name(const mp_stored_report *report) {
    const mp_verdict **list = malloc((report->count + 1) * sizeof *list);
    for (size_t i = 0; list != NULL && i < report->count; i++) list[i] = &report->verdicts[i];
    if (list != NULL) qsort(list, report->count, sizeof *list, by_name);
    return list;
}

/* Both lists side by side, as long as there is one of them. */
static void pair_up(mp_report_diff *diff, const mp_verdict **a, const mp_verdict **b) {
    size_t i = 0, k = 0;
    while (i < diff->first->count || k < diff->second->count) {
        mp_case_change *c = &diff->cases[diff->case_count++];
        const int order = i == diff->first->count    ? 1
                          : k == diff->second->count ? -1
                                                     : strcmp(a[i]->name, b[k]->name);
        *c = (mp_case_change){.first = order <= 0 ? a[i++] : NULL, .second = order >= 0 ? b[k++] : NULL};
        if (c->first != NULL && c->second != NULL)
            compare_case(diff, c);
        else
            c->change = c->first != NULL ? MP_CHANGE_GONE : MP_CHANGE_NEW;
        diff->count[c->change]++;
    }
}

/* Where a case stands: in the second report, and behind all of these in the first. */
static int by_gravity(const void *a, const void *b) {
    const mp_case_change *x = a, *y = b;
    if (x->change != y->change) return x->change < y->change ? -1 : 1;
    if (isnan(x->by) != isnan(y->by)) return isnan(x->by) ? -1 : 1;
    if (x->by != y->by && !isnan(x->by)) return x->by > y->by ? -1 : 1;
    if ((x->second == NULL) != (y->second == NULL)) return x->second == NULL ? 1 : -1;
    return x->second != NULL ? (x->second > y->second) - (x->second < y->second)
                             : (x->first > y->first) - (x->first < y->first);
}

mp_status mp_report_compare(const mp_stored_report *first, const mp_stored_report *second, double threshold,
                            mp_report_diff *diff, mp_error *err) {
    *diff = (mp_report_diff){.first = first, .second = second, .threshold = threshold};
    const size_t most = first->count + second->count;
    const mp_verdict **a = sorted_by_name(first), **b = sorted_by_name(second);
    diff->cases = calloc(most + 1, sizeof *diff->cases);
    const bool there = a != NULL && b != NULL && diff->cases != NULL;
    if (there) {
        pair_up(diff, a, b);
        qsort(diff->cases, diff->case_count, sizeof *diff->cases, by_gravity);
    }
    free(a);
    free(b);
    return there ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory to compare %zu cases", most);
}

void mp_report_diff_free(mp_report_diff *diff) {
    free(diff->cases);
    *diff = (mp_report_diff){0};
}

bool mp_report_diff_is_worse(const mp_report_diff *diff) {
    return diff->count[MP_CHANGE_WORSE] + diff->count[MP_CHANGE_GONE] > 0;
}
