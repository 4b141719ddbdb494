/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/phases.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 11 }; /* of a column: the longest name of a phase, and a blank */

static void put_line(FILE *out, const char *first, double total, const double seconds[MP_PHASE_COUNT],
                     bool floors, const char *name) {
    if (first)
        fprintf(out, "%9s", first);
    else
        fprintf(out, "%9.3f", total);
    for (int i = 0; i < MP_PHASE_COUNT; i++)
        if (floors && seconds[i] <= 0)
            fprintf(out, "%*s", WIDTH, "-");
        else
            fprintf(out, "%*.3f", WIDTH, seconds[i]);
    fprintf(out, "%s%s\n", name[0] ? "  " : "", name);
}

/* Places of verdicts, by falling seconds; of equal ones in their order. */
static const mp_verdict *sorted;
static int by_seconds(const void *a, const void *b) {
    const size_t i = *(const size_t *)a, j = *(const size_t *)b;
    if (sorted[i].seconds != sorted[j].seconds) return sorted[i].seconds < sorted[j].seconds ? 1 : -1;
    return i < j ? -1 : 1;
}

/* What no phase can have done in that time. */
static void leave_out_impossible(double floor[MP_PHASE_COUNT], const double seconds[MP_PHASE_COUNT]) {
    for (int i = 0; i < MP_PHASE_COUNT; i++)
        if (floor[i] > seconds[i]) floor[i] = 0;
}

void mp_report_phases(FILE *out, const mp_verdict *verdicts, size_t count, double (*floors)[MP_PHASE_COUNT]) {
    double all = 0, sums[MP_PHASE_COUNT] = {0}, least[MP_PHASE_COUNT] = {0};
    size_t *order = malloc((count + 1) * sizeof *order);
    for (size_t i = 0; order && i < count; i++) order[i] = i;
    sorted = verdicts;
    if (order) qsort(order, count, sizeof *order, by_seconds);
    fprintf(out, "%9s", "seconds");
    for (int i = 0; i < MP_PHASE_COUNT; i++) fprintf(out, "%*s", WIDTH, mp_phase_name((mp_phase)i));
    fputc('\n', out);
    for (size_t k = 0; k < count; k++) {
        const size_t i = order ? order[k] : k; /* without memory in their own order */
        const mp_verdict *v = &verdicts[i];
        double floor[MP_PHASE_COUNT];
        memcpy(floor, floors[i], sizeof floor);
        leave_out_impossible(floor, v->phase_seconds);
        put_line(out, NULL, v->seconds, v->phase_seconds, false, v->name);
        put_line(out, "floor", 0, floor, true, "");
        all += v->seconds;
        for (int p = 0; p < MP_PHASE_COUNT; p++) sums[p] += v->phase_seconds[p], least[p] += floor[p];
    }
    put_line(out, NULL, all, sums, false, "all cases");
    put_line(out, "floor", 0, least, true, "");
    free(order);
}
