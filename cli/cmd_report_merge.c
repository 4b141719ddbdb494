/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity report merge: the reports of shards become that of the whole. */
#include "cli/common.h"
#include "cli/reports.h"
#include "reports/merge.h"
#include "reports/report.h"

#include <stdio.h>

static void print(const mp_merged *merged, const mp_tally *tally) {
    const mp_run_info *info = &merged->info;
    for (size_t i = 0; i < merged->count; i++) {
        const mp_verdict *v = &merged->verdicts[i];
        if (v->outcome != MP_PASS && v->outcome != MP_SKIP) mp_report_row(stdout, v, &(mp_row_style){0});
    }
    mp_report_summary(stdout, info, tally, merged->verdicts, merged->count);
    if ((int64_t)merged->count < info->cases)
        printf("%lld of %lld cases were not run\n", (long long)info->cases - (long long)merged->count,
               (long long)info->cases);
}

int mp_cmd_report_merge(const mp_args *args) {
    const char *out = args->operands[0], *const *files = (const char *const *)args->operands + 1;
    const size_t count = (size_t)args->operand_count - 1;
    mp_merged merged = {0};
    mp_error err = {0};
    mp_tally tally = {0};
    mp_status status = mp_cli_check_reports(args, out, files, count, &err);
    if (status == MP_OK) status = mp_cli_first_output(out, MP_BEGINS_JSON, "JSON report", &err);
    if (status == MP_OK) status = mp_reports_merge(files, count, &merged, &err);
    const bool whole = status == MP_OK;
    for (size_t i = 0; whole && i < merged.count; i++) mp_tally_add(&tally, &merged.verdicts[i]);
    int code = mp_exit_code(&tally, &merged.info);
    if (whole) {
        print(&merged, &tally);
        status = mp_cli_write_reports(args, &merged.info, merged.verdicts, merged.count, &err);
    }
    if (status == MP_OK) status = mp_report_json(out, &merged.info, merged.verdicts, merged.count, &err);
    if (status != MP_OK) {
        const int failure = mp_cli_fail(&err);
        if (!whole) code = failure;
        if (whole && code != MP_EXIT_FAILURE) code = MP_EXIT_BROKEN; /* as where a run cannot write */
    }
    mp_merged_free(&merged);
    return code;
}
