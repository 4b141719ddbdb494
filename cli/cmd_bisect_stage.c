/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity bisect stage: the first stage in which a subject parts from what is expected, or from another
 * one. */
#include "cli/bisect_row.h"
#include "cli/common.h"
#include "harness/bisect/bisect_stage.h"
#include "harness/verdict_json.h"
#include "reports/svg.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A number, or the name of one that JSON has not. */
static void figure_text(const json_t *stage, const char *name, char text[32]) {
    const json_t *value = json_object_get(stage, name);
    if (json_is_string(value))
        snprintf(text, 32, "%s", json_string_value(value));
    else
        snprintf(text, 32, "%.3g", json_number_value(value));
}

static void print_stage(const json_t *stage, bool first) {
    char ratio[32], drift[32];
    const int64_t compared = mp_report_number(stage, "compared"),
                  other = mp_report_number(stage, "other_bits"), ulps = mp_report_number(stage, "max_ulps");
    printf("%s %-8s %s", first ? ">" : " ", mp_report_text(stage, "stage"),
           !mp_report_flag(stage, "known")  ? "not shown"
           : mp_report_flag(stage, "parts") ? "parts"
           : compared > 0 || !json_object_get(stage, "judged")
               ? "equal"
               : "within its bound"); /* nobody knows its bits */
    if (compared > 0) printf("; %" PRId64 " of %" PRId64 " elements have other bits", other, compared);
    if (other > 0 && ulps == INT64_MAX)
        printf(", NaN on one side");
    else if (other > 0)
        printf(", by at most %" PRId64 " ulp", ulps);
    if (json_object_get(stage, "judged")) {
        figure_text(stage, "max_ratio", ratio);
        figure_text(stage, "max_drift", drift);
        printf("; %" PRId64 " beyond the bound, err/bound=%s drift=%s",
               mp_report_number(stage, "beyond_bound"), ratio, drift);
    }
    putchar('\n');
}

static void print_report(const json_t *report, bool verbose) {
    const char *first = mp_report_text(report, "stage"), *other = mp_report_text(report, "against");
    const json_t *stages = json_object_get(report, "stages"), *stage;
    size_t i;
    if (*other)
        mp_cli_say(stdout, "beside   subject %s: its bits, and float64 of the first one's own inputs", other);
    else
        printf(
            "beside   float64, and the predicted bits where there are any, each stage from its own input\n");
    json_array_foreach(stages, i, stage)
        print_stage(stage, strcmp(first, mp_report_text(stage, "stage")) == 0);
    mp_cli_say(stdout, "found    %s", mp_report_text(report, "conclusion"));
    if (*mp_report_text(report, "where")) mp_cli_say(stdout, "where    %s", mp_report_text(report, "where"));
    if (mp_report_flag(report, "found") && (verbose || !*other))
        mp_cli_say(stdout, "repro    %s", mp_report_text(report, "repro"));
}

static mp_status draw(const mp_args *args, const mp_verdict *v, const json_t *report, mp_error *err) {
    static const char *const maps[] = {"ratio", "drift", "ulps"};
    const char *path = mp_args_text(args, MP_OPT_SVG), *shows = mp_args_text(args, MP_OPT_SVG_SHOWS),
               *other = mp_report_text(report, "against");
    char compared[160];
    snprintf(compared, sizeof compared, "%s%s", *other ? "subject " : "the predicted bits", other);
    mp_svg_style style = {
        .map = -1, .first = -1, .heading = mp_report_text(report, "conclusion"), .other = compared};
    for (int i = 0; shows && i < 3; i++)
        if (strcmp(shows, maps[i]) == 0) style.map = i;
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (strcmp(mp_stage_name((mp_stage)s), mp_report_text(report, "stage")) == 0) style.first = s;
    return path ? mp_report_svg(path, v, &style, err) : MP_OK;
}

int mp_cmd_bisect_stage(const mp_args *args) {
    mp_bisect_row b;
    mp_error err = {0};
    mp_verdict v;
    json_t *report = NULL;
    const char *svg = mp_args_text(args, MP_OPT_SVG);
    mp_verdict_init(&v);
    mp_status status = mp_bisect_row_open(args, "stage", &b, &err);
    if (status == MP_OK)
        status = mp_cli_output(
            svg, (const char *const[]){mp_args_text(args, MP_OPT_JSON), mp_args_text(args, MP_OPT_REPORT)}, 2,
            &err);
    if (status == MP_OK) status = mp_bisect_stage(&b.what.rows, &b.how, &b.info, &v, &report, &err);
    int code = mp_bisect_row_end(&b, status, report, print_report, &err);
    if (status == MP_OK && draw(args, &v, report, &err) != MP_OK) {
        mp_cli_fail(&err);
        if (code == MP_EXIT_OK) code = MP_EXIT_BROKEN;
    }
    json_decref(report);
    mp_verdict_free(&v);
    mp_bisect_row_close(&b);
    return code;
}
