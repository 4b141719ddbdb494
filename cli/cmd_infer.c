/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity infer: the contract of a subject, found out from its bits. */
#include "cli/common.h"
#include "cli/progress.h"

#include "base/file.h"
#include "harness/run/infer_run.h"
#include "harness/verdict_json.h"
#include "harness/verdict_make.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the report, as text ---- */

static const char *text_of(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static int64_t number_of(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

static bool flag_of(const json_t *object, const char *name) {
    return json_is_true(json_object_get(object, name));
}

/* The nearest first: what fits, by cases without a difference, by the share of elements that differ; values
 * that promise nothing come last. */
static int by_nearness(const void *a, const void *b) {
    const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
    const int64_t clean = number_of(x, "cases_without_difference"),
                  other_clean = number_of(y, "cases_without_difference");
    const double left = (double)number_of(x, "differing") * (double)number_of(y, "compared"),
                 right = (double)number_of(y, "differing") * (double)number_of(x, "compared");
    if (flag_of(x, "promises_nothing") != flag_of(y, "promises_nothing"))
        return flag_of(x, "promises_nothing") ? 1 : -1;
    if (flag_of(x, "best") != flag_of(y, "best")) return flag_of(x, "best") ? -1 : 1;
    if (flag_of(x, "fits") != flag_of(y, "fits")) return flag_of(x, "fits") ? -1 : 1;
    if (!flag_of(x, "fits") && clean != other_clean) return clean > other_clean ? -1 : 1;
    return (left > right) - (left < right);
}

static void print_values(const json_t *axis, bool all) {
    enum { FEW = 6 };
    const json_t *values = json_object_get(axis, "values");
    const size_t count = json_array_size(values);
    const json_t **sorted = calloc(count + 1, sizeof *sorted);
    size_t shown = 0;
    if (!sorted) return;
    for (size_t i = 0; i < count; i++) sorted[i] = json_array_get(values, i);
    qsort(sorted, count, sizeof *sorted, by_nearness);
    printf("    %s\n", text_of(axis, "axis"));
    for (; shown < count && (all || shown < FEW || flag_of(sorted[shown], "fits")); shown++) {
        const json_t *v = sorted[shown];
        mp_cli_say(stdout, "    %c %10" PRId64 " of %-9" PRId64 " %s", flag_of(v, "best") ? '>' : ' ',
                   number_of(v, "differing"), number_of(v, "compared"), text_of(v, "value"));
    }
    if (shown < count) printf("      %zu more differ in more (-v prints them)\n", count - shown);
    free(sorted);
}

/* "0 of 419024 differ"; of what does not fit "0 of 32768 in 5 cases, 1024 of 1024 in M=24 topk=4": where it
 * holds, and what refutes it. */
static void figures_text(const json_t *best, char *text, size_t size) {
    const json_t *refuted = json_object_get(best, "refuted_by");
    const int64_t compared = number_of(best, "compared"), differing = number_of(best, "differing"),
                  clean = number_of(best, "cases_without_difference"),
                  there = number_of(best, "compared_there"), compared_here = number_of(refuted, "compared"),
                  differing_here = number_of(refuted, "differing"),
                  others = number_of(best, "cases") - clean - 1;
    int used = 0;
    if (!refuted) {
        snprintf(text, size, "%" PRId64 " of %" PRId64 " differ", differing, compared);
        return;
    }
    if (clean > 0)
        used = snprintf(text, size, "0 of %" PRId64 " in %" PRId64 " case%s, ", there, clean,
                        clean == 1 ? "" : "s");
    used += snprintf(text + used, size - (size_t)used, "%" PRId64 " of %" PRId64 " in %s", differing_here,
                     compared_here, text_of(refuted, "case"));
    if (others > 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, ", %" PRId64 " of %" PRId64 " in %" PRId64 " more",
                 differing - differing_here, compared - there - compared_here, others);
}

/* "sm_90 tensor core; + bias, * weight; to nearest, ties to even" */
static void print_best(const json_t *question) {
    const json_t *best = json_object_get(question, "best"), *values = json_object_get(best, "values"), *value;
    const char *axis;
    char text[1024] = "", figures[MP_CASE_TEXT_MAX + 256];
    size_t used = 0;
    figures_text(best, figures, sizeof figures);
    json_object_foreach((json_t *)values, axis, value) {
        const char *name = json_string_value(value);
        const int n = snprintf(text + used, sizeof text - used, "%s%s", used ? "; " : "", name ? name : "");
        used += n > 0 && used + (size_t)n < sizeof text ? (size_t)n : 0;
    }
    mp_cli_say(stdout, "  %s: %s%s: %s", text_of(question, "question"),
               flag_of(question, "fits") ? "" : "no hypothesis fits; the nearest: ", text, figures);
    if (!flag_of(question, "fits") && text_of(best, "first")[0])
        mp_cli_say(stdout, "    first in %s", text_of(best, "first"));
}

static void print_question(const json_t *question, bool all) {
    const json_t *axes = json_object_get(question, "axes"),
                 *open = json_object_get(question, "not_separated"), *item;
    size_t i;
    print_best(question);
    json_array_foreach(axes, i, item) if (all || json_array_size(axes) > 1) print_values(item, all);
    json_array_foreach(open, i, item) mp_cli_say(stdout, "    not separated by this data: %s %s",
                                                 text_of(item, "axis"), text_of(item, "value"));
}

static void print_stage(const json_t *stage, const json_t *trees, bool all) {
    const json_t *questions = json_object_get(stage, "questions"), *question,
                 *tree = json_object_get(trees, text_of(stage, "stage"));
    size_t i;
    const bool asked = flag_of(stage, "seen") && json_array_size(questions) > 0;
    printf("\n%-8s %s\n", text_of(stage, "stage"),
           !asked                   ? "not seen: what it reads or leaves is not shown"
           : flag_of(stage, "fits") ? "fits"
                                    : "NO HYPOTHESIS FITS");
    json_array_foreach(questions, i, question) print_question(question, all);
    if (!tree) return;
    if (flag_of(tree, "revealed"))
        mp_cli_say(stdout, "  order of the sum, as revealed: %s", text_of(tree, "tree"));
    else
        mp_cli_say(stdout, "  order of the sum, not revealed: %s", text_of(tree, "why"));
}

static void print_report(const json_t *report, const mp_run_info *info, bool all) {
    const json_t *cases = json_object_get(report, "cases"), *stages = json_object_get(report, "stages"),
                 *unsaid = json_object_get(report, "unsaid"), *notes = json_object_get(report, "notes"),
                 *item;
    size_t i, skipped = 0;
    json_array_foreach(cases, i, item) skipped += text_of(item, "skipped")[0] != '\0';
    mp_cli_say(stdout, "subject %s%s%s", info->subject, info->device[0] ? " on " : "", info->device);
    printf("cases    %zu run, %zu not run\n", json_array_size(cases) - skipped, skipped);
    json_array_foreach(cases, i, item) {
        const char *why = text_of(item, "skipped");
        if (all || why[0])
            mp_cli_say(stdout, "  %s%s%s", text_of(item, "name"), why[0] ? ": not run: " : "", why);
    }
    json_array_foreach(stages, i, item) print_stage(item, json_object_get(report, "trees"), all);
    putchar('\n');
    json_array_foreach(notes, i, item) mp_cli_say(stdout, "note     %s", json_string_value(item));
    mp_cli_say(stdout, "contract %s", text_of(report, "contract"));
    json_array_foreach(unsaid, i, item)
        mp_cli_say(stdout, "  beside it, what a contract has no word for: %s", json_string_value(item));
    if (text_of(report, "expose")[0])
        mp_cli_say(
            stdout,
            "to do    nothing was seen of any stage: expose %s, as parameters of a Python function or in "
            "the dict that it returns, in `exposes` of a plug-in or a program",
            text_of(report, "expose"));
}

/* ---- the command ---- */

static mp_status write_json(const char *path, const mp_run_info *info, const json_t *report, mp_error *err) {
    json_t *json = json_pack("{s:s, s:i, s:o}", "format", "moeparity infer", "version", 1, "run",
                             mp_run_info_to_json(info));
    if (json) json_object_update(json, (json_t *)report);
    char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for the JSON report %s", path);
    free(text);
    json_decref(json);
    return status;
}

static mp_status find_cases(const mp_args *args, mp_matrix *cases, mp_error *err) {
    const char *with = mp_args_text(args, MP_OPT_WITH);
    mp_status status = MP_OK;
    if (with && args->case_count > 0)
        return mp_fail(err, MP_EINPUT, "--with is for the usual cases: write its fields into --case");
    for (size_t i = 0; i < args->case_count && status == MP_OK; i++)
        status = mp_matrix_add(cases, args->cases[i].text, NULL, 0, err);
    return status == MP_OK && args->case_count == 0 ? mp_infer_cases(with, cases, err) : status;
}

static mp_infer_options options_of(const mp_args *args) {
    mp_infer_options options = {.repeat = (int)mp_args_number(args, MP_OPT_INFER_REPEAT)};
    const char *stage = mp_args_text(args, MP_OPT_STAGE);
    for (int s = 0; stage && s < MP_STAGE_COUNT; s++)
        if (strcmp(mp_stage_name((mp_stage)s), stage) == 0) options.stages = 1u << s;
    return options;
}

typedef struct watch {
    const char *subject;
    mp_status_line line;
} watch;

static void show_phase(void *ctx, size_t index, const char *what, double seconds) {
    watch *w = ctx;
    (void)index; /* there is one question for all cases */
    mp_status_line_show(&w->line, "infer %s: %.40s %.0f s", w->subject, what, seconds);
}

int mp_cmd_infer(const mp_args *args) {
    const char *json_path = mp_args_text(args, MP_OPT_JSON);
    const mp_infer_options infer = options_of(args);
    watch w = {mp_args_text(args, MP_OPT_SUBJECT), mp_status_line_open()};
    const mp_suite_options options = {
        .settings = {.subject = w.subject,
                     .device = mp_args_text(args, MP_OPT_DEVICE),
                     .triton = mp_args_text(args, MP_OPT_TRITON),
                     .config = mp_args_text(args, MP_OPT_CONFIG),
                     .timeout = (double)mp_args_number(args, MP_OPT_INFER_TIMEOUT)},
        .in_process = mp_args_given(args, MP_OPT_IN_PROCESS),
        .phase = show_phase,
        .ctx = &w};
    mp_run_info info;
    mp_matrix cases = {0};
    json_t *report = NULL;
    mp_error err = {0};
    int code = MP_EXIT_OK;
    mp_status status = mp_cli_run_info(args, &info, &err);
    if (status == MP_OK) status = find_cases(args, &cases, &err);
    if (status == MP_OK && json_path) status = mp_file_writable(json_path, &err);
    if (status == MP_OK) {
        mp_status_line_show(&w.line, "infer %s: %zu cases", w.subject, cases.count);
        status = mp_infer_run(&cases, &options, &infer, &info, &report, &err);
        mp_status_line_clear(&w.line);
    }
    if (status != MP_OK) {
        code = mp_cli_fail(&err);
    } else {
        print_report(report, &info, mp_args_given(args, MP_OPT_INFER_VERBOSE));
        if (!flag_of(report, "fits")) code = MP_EXIT_FAILURE;
        if (json_path && write_json(json_path, &info, report, &err) != MP_OK) {
            mp_cli_fail(&err);
            if (code == MP_EXIT_OK) code = MP_EXIT_BROKEN; /* the verdict, whatever becomes of the file */
        }
    }
    json_decref(report);
    mp_matrix_free(&cases);
    mp_run_info_free(&info);
    return code;
}
