/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/reports.h"

#include "cli/common.h"
#include "reports/report.h"

/* Each kind of report, and the option that names its file. */
typedef mp_status write_report(const char *path, const mp_run_info *info, const mp_verdict *verdicts,
                               size_t count, mp_error *err);
static const struct {
    mp_option option;
    write_report *write;
} kinds[] = {
    {MP_OPT_JSON, mp_report_json},
    {MP_OPT_HTML, mp_report_html},
    {MP_OPT_JUNIT, mp_report_junit},
    {MP_OPT_SUMMARY, mp_report_markdown},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

mp_status mp_cli_check_reports(const mp_args *args, const char *other, const char *const *read, size_t count,
                               mp_error *err) {
    const char *written[KINDS + 1];
    mp_status status = MP_OK;
    for (int i = 0; i < KINDS; i++) written[i] = mp_args_text(args, kinds[i].option);
    written[KINDS] = other;
    for (size_t i = 0; i <= KINDS && status == MP_OK; i++) {
        status = mp_cli_output(written[i], written + i + 1, KINDS - i, err);
        if (status == MP_OK) status = mp_cli_output(written[i], read, count, err);
    }
    return status;
}

static void forget_durations(mp_run_info *info, mp_verdict *verdicts, size_t count) {
    info->seconds = 0;
    for (size_t i = 0; i < count; i++) {
        verdicts[i].seconds = verdicts[i].end_to_end.time_ns = 0;
        for (int s = 0; s < MP_STAGE_COUNT; s++) verdicts[i].stage[s].time_ns = 0;
        for (int p = 0; p < MP_PHASE_COUNT; p++) verdicts[i].phase_seconds[p] = 0;
    }
}

mp_status mp_cli_write_reports(const mp_args *args, mp_run_info *info, mp_verdict *verdicts, size_t count,
                               mp_error *err) {
    bool fixed;
    mp_status status = mp_cli_source_date(&fixed, NULL, err);
    if (status == MP_OK && fixed) forget_durations(info, verdicts, count);
    for (int i = 0; i < KINDS && status == MP_OK; i++) {
        const char *path = mp_args_text(args, kinds[i].option);
        if (path) status = kinds[i].write(path, info, verdicts, count, err);
    }
    return status;
}
