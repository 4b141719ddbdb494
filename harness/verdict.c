/* SPDX-License-Identifier: Apache-2.0 */
/* Names, what a verdict's figures come to, tallies and exit codes, and texts. */
#include "moeparity/verdict.h"

#include "harness/verdict_make.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *mp_outcome_name(mp_outcome outcome) {
    static const char *const names[MP_OUTCOME_COUNT] = {"PASS", "FAIL", "SKIP", "CRASH", "TIMEOUT"};
    return names[outcome];
}

const char *mp_check_name(mp_check check) {
#define NAME(check, name, asked) #name,
    static const char *const names[MP_CHECK_COUNT] = {MP_CHECKS(NAME)};
#undef NAME
    return names[check];
}

const char *mp_phase_name(mp_phase phase) {
#define NAME(phase, name) #name,
    static const char *const names[MP_PHASE_COUNT] = {MP_PHASES(NAME)};
#undef NAME
    return names[phase];
}

int mp_verdict_worst_stage(const mp_verdict *v) {
    int worst = -1;
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        if (!v->stage[i].judged) continue;
        if (worst < 0 || !(v->stage[i].max_ratio <= v->stage[worst].max_ratio))
            worst = i; /* a NaN ratio is larger than any number */
        if (isnan(v->stage[worst].max_ratio)) break;
    }
    return worst;
}

double mp_verdict_max_abs(const mp_verdict *v) {
    double largest = 0;
    for (int i = 0; i < MP_STAGE_COUNT; i++)
        if (i != MP_ALIGN && v->stage[i].judged && !(v->stage[i].max_abs <= largest)) {
            largest = v->stage[i].max_abs;
            if (isnan(largest)) break;
        }
    return largest;
}

int mp_verdict_drift_stage(const mp_verdict *v) {
    int most = -1;
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        if (i == MP_ALIGN || !v->stage[i].judged) continue;
        if (most < 0 || !(v->stage[i].max_drift <= v->stage[most].max_drift)) most = i;
        if (isnan(v->stage[most].max_drift)) break;
    }
    return most;
}

void mp_stage_set_shape(mp_stage_figures *f, const mp_case *c, int64_t rows, int64_t width) {
    f->rank = rows == c->M ? 2 : 3;
    f->shape[0] = c->M;
    f->shape[1] = rows == c->M ? width : c->topk;
    f->shape[2] = rows == c->M ? 0 : width;
}

int mp_stage_index(const mp_stage_figures *f, int64_t flat, int64_t index[MP_MAX_RANK]) {
    for (int i = f->rank - 1; i >= 0; i--) {
        if (f->shape[i] <= 0 || flat < 0) return 0;
        index[i] = flat % f->shape[i];
        flat /= f->shape[i];
    }
    return flat == 0 ? f->rank : 0;
}

void mp_tally_add(mp_tally *tally, const mp_verdict *v) {
    tally->total++;
    tally->count[v->outcome]++;
}

bool mp_gpu_required(void) {
    const char *text = getenv("MOEPARITY_REQUIRE_GPU");
    return text && *text && strcmp(text, "0") != 0;
}

int mp_exit_code(const mp_tally *tally, const mp_run_info *info) {
    const int64_t skipped = tally->count[MP_SKIP], passed = info->recording ? 0 : tally->count[MP_PASS];
    const bool all_skipped = skipped > 0 && passed == 0;
    if (tally->count[MP_FAIL] > 0) return MP_EXIT_FAILURE;
    if (info->interrupted || tally->count[MP_CRASH] + tally->count[MP_TIMEOUT] > 0) return MP_EXIT_BROKEN;
    if (all_skipped) return mp_gpu_required() ? MP_EXIT_BROKEN : MP_EXIT_SKIPPED;
    return tally->total > 0 || info->shards > 1 ? MP_EXIT_OK : MP_EXIT_USAGE;
}

int mp_exit_code_of(mp_status status) {
    switch (status) {
    case MP_OK: return MP_EXIT_OK;
    case MP_EINPUT:
    case MP_EIO: return MP_EXIT_USAGE;
    case MP_EUNSUPPORTED: return mp_gpu_required() ? MP_EXIT_BROKEN : MP_EXIT_SKIPPED;
    default: return MP_EXIT_BROKEN;
    }
}

void mp_verdict_set(mp_verdict *v, const char **text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    *text = mp_texts_vadd(&v->texts, format, args);
    va_end(args);
}

void mp_run_info_set(mp_run_info *info, const char **text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    *text = mp_texts_vadd(&info->texts, format, args);
    va_end(args);
}

void mp_run_info_join(mp_run_info *info, const char **text, const char *more) {
    const size_t length = strlen(more);
    if (length == 0) return;
    for (const char *p = strstr(*text, more); p; p = strstr(p + 1, more))
        if ((p == *text || (p > *text + 1 && strncmp(p - 2, "; ", 2) == 0)) &&
            (p[length] == '\0' || strncmp(p + length, "; ", 2) == 0))
            return;
    mp_run_info_set(info, text, "%s%s%s", *text, (*text)[0] ? "; " : "", more);
}
