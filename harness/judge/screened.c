/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/judge/screened.h"

#include <math.h>
#include <stdio.h>

static void differ(mp_screened *screened, int64_t index, const char *what, double there, double here) {
#pragma omp critical(mp_screened)
    if (!screened->differs || index < screened->index) {
        screened->differs = true;
        screened->index = index;
        snprintf(screened->what, sizeof screened->what, "%s %.17g, not %.17g", what, there, here);
    }
}

void mp_screened_take(mp_screened *screened, mp_measure *m, int64_t index, int64_t n,
                      const mp_row_figures *figures, double sums[3]) {
    if (figures->passed != n) differ(screened, index, "elements", (double)figures->passed, (double)n);
    mp_measure_figures(m, index, figures);
    for (int i = 0; i < 3; i++) sums[i] += figures->sums[i];
}

/* What differs, or NULL. Both measured the same numbers by the same operations; of the sums the order is
 * another: each is within n*u of the exact one. */
static const char *difference(const mp_stage_figures *own, const double own_sums[3], int64_t n,
                              const mp_stage_figures *of, const double sums[3], double *here, double *there) {
    static const char *const sum_names[] = {"sum of squared errors", "sum of squared bounds",
                                            "sum of squared values"};
    const struct {
        const char *name;
        double here, there;
    } figures[] = {{"elements", (double)own->compared, (double)of->compared},
                   {"failed", (double)own->failed, 0},
                   {"equal", (double)own->bit_equal, (double)of->bit_equal},
                   {"place of the worst element", (double)own->worst_index, (double)of->worst_index},
                   {"worst element", own->worst_value, of->worst_value},
                   {"its value", own->worst_expected, of->worst_expected},
                   {"its bound", own->worst_bound, of->worst_bound},
                   {"largest error", own->max_abs, of->max_abs},
                   {"largest error/bound", own->max_ratio, of->max_ratio},
                   {"largest drift", own->max_drift, of->max_drift},
                   {"largest error in ulps", own->max_error_ulps, of->max_error_ulps}};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        if (!((*here = figures[i].here) == (*there = figures[i].there))) return figures[i].name;
    for (int i = 0; i < 3; i++)
        if (!(fabs((*here = own_sums[i]) - (*there = sums[i])) <= 2 * (double)n * 0x1p-53 * own_sums[i]))
            return sum_names[i];
    return NULL;
}

void mp_screened_count(mp_screened *screened, int64_t rows) {
#pragma omp atomic
    screened->taken += rows;
}

void mp_screened_compare(mp_screened *screened, const mp_measure *own, const double own_sums[3],
                         int64_t index, int64_t n, const mp_row_figures *figures) {
    mp_measure theirs;
    double here = (double)n, there = (double)figures->passed;
    mp_measure_start(&theirs);
    mp_measure_figures(&theirs, index, figures);
    const char *what = figures->passed != n
                           ? "elements"
                           : difference(&own->f, own_sums, n, &theirs.f, figures->sums, &here, &there);
    if (what) differ(screened, index, what, there, here);
#pragma omp atomic
    screened->again++;
}

mp_status mp_screened_end(const mp_screened *screened, const char *engine, mp_error *err) {
    if (screened->differs)
        return mp_fail(err, MP_EDEVICE, "measured wrongly by %s: the row of element %lld: %s", engine,
                       (long long)screened->index, screened->what);
    if (screened->taken > 0 && screened->again == 0)
        return mp_fail(err, MP_EDEVICE, "%lld rows measured by %s, and none that is measured again",
                       (long long)screened->taken, engine);
    return MP_OK;
}
