/* SPDX-License-Identifier: Apache-2.0 */
/* The reports of all shards of a matrix, made into that of the whole. */
#ifndef MP_REPORTS_MERGE_H
#define MP_REPORTS_MERGE_H

#include "moeparity/verdict.h"

typedef struct mp_merged {
    mp_run_info info;
    mp_verdict *verdicts; /* in the order of the matrix */
    size_t count;
} mp_merged;

/* Reads the reports, in any order. The merged one is that of a run of the whole matrix, but for what is of
 * the run itself: `command` is that of shard 0, `date` the earliest, `seconds` those of the shard that took
 * longest; device, versions, blas and host tell all that there were, in the order of the shards; it is
 * interrupted where one of them was.
 *
 * MP_EIO, MP_EINPUT as mp_stored_report_load. MP_EINPUT too, with the file's name, where one tells of no
 * shard (an older report), or its matrix, number of shards, settings, version, commit, subject or what files
 * hold is another one's; where a name is not that of its row; where a shard is there twice, or is missing;
 * and where cases are in no report though no run was interrupted or stopped at a failure. *merged is to be
 * freed after an error, too. */
mp_status mp_reports_merge(const char *const *paths, size_t count, mp_merged *merged, mp_error *err);
void mp_merged_free(mp_merged *merged);

#endif
