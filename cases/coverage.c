/* SPDX-License-Identifier: Apache-2.0 */
#include "cases/coverage.h"

#include "cases/case_tools.h"
#include "cases/conditions/conditions.h"

#include <string.h>

static const mp_condition_list *const lists[] = {&mp_conditions_of_sums,     &mp_conditions_of_ids,
                                                 &mp_conditions_of_data,     &mp_conditions_of_options,
                                                 &mp_conditions_of_adapters, &mp_conditions_of_codes,
                                                 &mp_conditions_of_sequences};
enum { LISTS = sizeof lists / sizeof *lists };

int mp_condition_count(void) {
    int count = 0;
    for (int l = 0; l < LISTS; l++) count += lists[l]->count;
    return count;
}

const mp_condition *mp_condition_at(int i) {
    int l = 0;
    while (i >= lists[l]->count) i -= lists[l++]->count;
    return &lists[l]->conditions[i];
}

int mp_condition_find(const char *name) {
    for (int i = 0; i < mp_condition_count(); i++)
        if (strcmp(mp_condition_at(i)->name, name) == 0) return i;
    return -1;
}

static mp_status produces(const mp_condition *condition, const mp_case *c, const mp_figures *f, bool *does,
                          mp_error *err) {
    *does = !condition->holds || condition->holds(c, f, condition->n);
    if (!*does || !condition->match) return MP_OK; /* texts are parsed where the rest holds */
    return mp_case_match(c, condition->match, does, err);
}

static mp_status produced_by(const mp_condition *condition, const mp_matrix_row *row, const mp_figures *f,
                             const mp_figures *earlier, bool *does, mp_error *err) {
    mp_status status = produces(condition, &row->c, f, does, err);
    for (size_t p = 0; p < row->pair_count && status == MP_OK && !*does; p++)
        status = produces(condition, &row->pairs[p], f, does, err);
    bool follows = !condition->follows;
    for (size_t a = 0; a < row->after_count && !follows; a++)
        follows = condition->follows(&row->c, f, &row->afters[a], &earlier[a]);
    *does = *does && follows;
    return status;
}

mp_status mp_coverage_of(const mp_matrix *matrix, mp_coverage coverage[], mp_error *err) {
    mp_status status = MP_OK;
    for (int i = 0; i < mp_condition_count(); i++) coverage[i] = (mp_coverage){0};
    for (size_t r = 0; r < matrix->count && status == MP_OK; r++) {
        const mp_matrix_row *row = &matrix->rows[r];
        mp_figures f, earlier[MP_MATRIX_MAX_AFTERS];
        status = mp_figures_of(&row->c, &f, err); /* pairs have the same ids */
        for (size_t a = 0; a < row->after_count && status == MP_OK; a++)
            status = mp_figures_of(&row->afters[a], &earlier[a], err);
        for (int i = 0; i < mp_condition_count() && status == MP_OK; i++) {
            bool does = false;
            status = produced_by(mp_condition_at(i), row, &f, earlier, &does, err);
            if (!does || status != MP_OK) continue;
            if (coverage[i].cases++ == 0) coverage[i].first = row;
        }
    }
    return status;
}
