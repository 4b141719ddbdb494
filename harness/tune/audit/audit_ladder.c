/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of the row of keys: where it begins and ends, its gaps, its order, and entries that repeat. */
#include "harness/tune/audit/audit.h"

#include <stdlib.h>

enum { PREFILL = 1024, FEW = 3 };

/* The smallest M that the lower of two keys serves from more than 2x away; 0: there is none. From above that
 * cannot be: the higher key serves nothing below the middle. */
static int64_t far_between(const mp_table *t, const mp_table_row *lower, const mp_table_row *upper) {
    if (lower->M > INT64_MAX / 4 || upper->M - lower->M < 2) return 0;
    const int64_t M = 2 * lower->M + 1;
    return M < upper->M && mp_table_nearest(t, M) == lower ? M : 0;
}

static void audit_gaps(mp_audit *audit, size_t file, const mp_table_row **rows, size_t n) {
    const mp_table *t = &audit->file[file].table;
    for (size_t i = 1; i < n; i++) {
        const int64_t M = far_between(t, rows[i - 1], rows[i]);
        if (M)
            mp_audit_add(audit, MP_RULE_LADDER_SPARSE, file, rows[i], NULL, "",
                         "from M=%lld on key %lld serves what is more than 2x away; the next is %lld",
                         (long long)M, (long long)rows[i - 1]->M, (long long)rows[i]->M);
    }
}

static void audit_order(mp_audit *audit, size_t file) {
    const mp_table *t = &audit->file[file].table;
    const mp_table_row *before = NULL;
    for (size_t i = 0; i < t->count; i++) {
        const mp_table_row *row = &t->row[i];
        if (!row->is_number) continue;
        if (before && row->M < before->M) {
            mp_audit_add(audit, MP_RULE_LADDER_ORDER, file, row, NULL, "",
                         "key %lld stands behind %lld: of two keys equally near the first in the file serves",
                         (long long)row->M, (long long)before->M);
            return;
        }
        before = row;
    }
}

static void audit_repeats(mp_audit *audit, size_t file, const mp_table_row **rows, size_t n) {
    bool all_equal = n >= FEW;
    for (size_t i = 1; all_equal && i < n; i++) all_equal = json_equal(rows[0]->entry, rows[i]->entry);
    if (all_equal)
        mp_audit_add(audit, MP_RULE_ROWS_COPIED, file, rows[0], NULL, "", "all %zu keys have the same entry",
                     n);
    for (size_t i = 1; i + 1 < n; i++)
        if (json_equal(rows[i - 1]->entry, rows[i + 1]->entry) &&
            !json_equal(rows[i]->entry, rows[i - 1]->entry))
            mp_audit_add(audit, MP_RULE_ROWS_THRASH, file, rows[i], NULL, "",
                         "keys %lld and %lld have one entry, and %lld between them another",
                         (long long)rows[i - 1]->M, (long long)rows[i + 1]->M, (long long)rows[i]->M);
}

void mp_audit_ladder(mp_audit *audit, size_t file) {
    const mp_table *t = &audit->file[file].table;
    const mp_table_row **rows = calloc(t->step_count + 1, sizeof *rows); /* ascending */
    size_t n = 0;
    if (!rows) {
        audit->lost = true;
        return;
    }
    for (size_t i = 0; i < t->step_count; i++)
        if (t->step[i].M > 0) rows[n++] = t->step[i].row;
    if (n == 1)
        mp_audit_add(audit, MP_RULE_LADDER_SINGLE_KEY, file, rows[0], NULL, "", "key %lld serves every M",
                     (long long)rows[0]->M);
    if (n > 0 && rows[0]->M > 1)
        mp_audit_add(audit, MP_RULE_LADDER_BEGINS_LATE, file, rows[0], NULL, "",
                     "the first key is %lld, and serves M from 1 on", (long long)rows[0]->M);
    if (n > 0 && rows[n - 1]->M < PREFILL)
        mp_audit_add(audit, MP_RULE_LADDER_ENDS_EARLY, file, rows[n - 1], NULL, "",
                     "the last key is %lld, and serves thousands of tokens too", (long long)rows[n - 1]->M);
    audit_gaps(audit, file, rows, n);
    audit_order(audit, file);
    audit_repeats(audit, file, rows, n);
    free(rows);
}
