/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bisect.h"

#include "base/file.h"
#include "cli/common.h"
#include "harness/bisect/shell.h"
#include "harness/run/settings.h"
#include "harness/verdict_json.h"
#include "kernels/lookup.h"
#include "reports/stored.h"

#include <stdlib.h>
#include <string.h>
#include <wordexp.h>

static bool failed(const mp_verdict *v) {
    return v->outcome == MP_FAIL || v->outcome == MP_CRASH || v->outcome == MP_TIMEOUT;
}

/* Which verdict of the report: that of --index or --name, else the first that failed. */
static mp_status choose(const mp_args *args, const char *path, const mp_stored_report *report,
                        const mp_verdict **v, mp_error *err) {
    const char *name = mp_args_text(args, MP_OPT_NAME);
    size_t i = 0;
    if (mp_args_given(args, MP_OPT_INDEX) && name)
        return mp_fail(err, MP_EINPUT, "--index and --name exclude each other");
    if (mp_args_given(args, MP_OPT_INDEX)) {
        i = (size_t)mp_args_number(args, MP_OPT_INDEX);
        if (i >= report->count)
            return mp_fail(err, MP_EINPUT, "--index %zu: %s has %zu verdicts: expected one from 0 on", i,
                           path, report->count);
    } else {
        while (i < report->count &&
               !(name ? !strcmp(report->verdicts[i].name, name) : failed(&report->verdicts[i])))
            i++;
        if (i == report->count && name)
            return mp_fail(err, MP_EINPUT, "--name '%s': %s has no such case", name, path);
        if (i == report->count) return mp_fail(err, MP_EINPUT, "%s: no case in it has failed", path);
    }
    *v = &report->verdicts[i];
    if (failed(*v)) return MP_OK;
    return mp_fail(err, MP_EINPUT, "%s: %s has not failed, it is a %s", path, (*v)->name,
                   mp_outcome_name((*v)->outcome));
}

/* Whether a repro may set this variable: where tuned tiles are looked up, and nothing else. */
static bool names_folder(const char *name) {
    const char *variable;
    for (int i = 0; i < MP_TUNED_FOLDERS; i++) {
        mp_tuned_folder(i, &variable);
        if (strcmp(name, variable) == 0) return true;
    }
    return false;
}

/* The words of a repro; those in front of the program, NAME=value, go to the environment. */
static mp_status split(const char *repro, mp_cli_bisected *what, mp_error *err) {
    wordexp_t w;
    if (wordexp(repro, &w, WRDE_NOCMD | WRDE_UNDEF) != 0)
        return mp_fail(err, MP_EINPUT, "this repro cannot be split into words: %s", repro);
    what->words = calloc(w.we_wordc + 1, sizeof *what->words);
    for (size_t i = 0; what->words && i < w.we_wordc; i++) {
        const char *equals = strchr(w.we_wordv[i], '=');
        if (what->word_count == 0 && equals) {
            w.we_wordv[i][equals - w.we_wordv[i]] = '\0';
            if (names_folder(w.we_wordv[i])) setenv(w.we_wordv[i], equals + 1, 1);
        } else if ((what->words[what->word_count] = strdup(w.we_wordv[i]))) {
            what->word_count++;
        }
    }
    wordfree(&w);
    if (what->word_count >= 2 && strcmp(what->words[0], "moeparity") == 0 &&
        strcmp(what->words[1], "run") == 0)
        return MP_OK;
    return mp_fail(err, MP_EINPUT, "this repro is no line of moeparity run: %s", repro);
}

/* Settings that the outer line gives itself. */
static void put_over(const mp_args *args, mp_settings *settings) {
    const mp_settings own = mp_cli_settings(args);
    for (int i = 0; i < mp_setting_count; i++) {
        const mp_setting *row = &mp_setting_rows[i];
        for (int k = 0; row->option && k < MP_OPTION_COUNT; k++)
            if (strcmp(mp_options[k].name, row->option) == 0 && mp_args_given(args, (mp_option)k))
                mp_setting_set(settings, row, mp_setting_text(&own, row), mp_setting_number(&own, row));
    }
}

static mp_status rows_of_report(const mp_args *args, mp_cli_bisected *what, mp_error *err) {
    const char *path = mp_args_text(args, MP_OPT_REPORT);
    const mp_verdict *v = NULL;
    mp_stored_report report;
    if (args->case_count > 0 || args->operand_count > 0)
        return mp_fail(err, MP_EINPUT, "--report %s: its failure tells the cases: remove %s", path,
                       args->case_count > 0 ? "--case" : args->operands[0]);
    mp_status status = mp_stored_report_load(path, &report, NULL, err);
    if (status == MP_OK) status = choose(args, path, &report, &v, err);
    if (status == MP_OK) status = split(v->repro, what, err);
    if (status == MP_OK) status = mp_args_parse((int)what->word_count, what->words, &what->line, err);
    if (status == MP_OK) status = mp_cli_matrix(&what->line, &(mp_paths){0}, &what->rows, err);
    if (status == MP_OK) {
        what->settings = mp_cli_settings(&what->line);
        what->settings.golden = NULL; /* it holds this case and no smaller one */
        what->settings.golden_partial = false;
        put_over(args, &what->settings);
    } else {
        mp_error_prefix(err, "%s", path);
    }
    mp_stored_report_free(&report);
    return status;
}

mp_status mp_cli_bisect_rows(const mp_args *args, mp_cli_bisected *what, mp_error *err) {
    mp_paths paths;
    *what = (mp_cli_bisected){0};
    if (mp_args_given(args, MP_OPT_REPORT)) return rows_of_report(args, what, err);
    if (mp_args_given(args, MP_OPT_INDEX) || mp_args_given(args, MP_OPT_NAME))
        return mp_fail(err, MP_EINPUT, "--index and --name choose a failure of --report: give that too");
    what->settings = mp_cli_settings(args);
    mp_status status = mp_paths_find(&paths, args->operands, args->operand_count, err);
    if (status == MP_OK) status = mp_cli_matrix(args, &paths, &what->rows, err);
    mp_paths_free(&paths);
    return status;
}

void mp_cli_bisected_free(mp_cli_bisected *what) {
    mp_matrix_free(&what->rows);
    mp_args_free(&what->line);
    for (size_t i = 0; i < what->word_count; i++) free(what->words[i]);
    free(what->words);
    *what = (mp_cli_bisected){0};
}

mp_status mp_cli_bisect_repeat(const char *line, mp_outcome outcome, size_t rows, double timeout, bool *again,
                               mp_error *err) {
    const int expected = outcome == MP_FAIL ? MP_EXIT_FAILURE : MP_EXIT_BROKEN;
    const double seconds = 60 + (timeout > 0 ? timeout : MP_TIMEOUT_SECONDS) * (double)(rows + 1);
    int code = 0;
    const mp_status status = mp_shell_run_self(line, seconds, &code, err);
    if (status != MP_OK) return status;
    *again = code == expected;
    mp_cli_say(stdout, "        repro: %s", line);
    mp_cli_say(stdout, "        %s: exit code %d",
               *again ? "this line has been run, and fails" : "THIS LINE HAS BEEN RUN, AND DOES NOT FAIL",
               code);
    return MP_OK;
}

mp_status mp_cli_bisect_json(const mp_args *args, const char *word, const mp_run_info *info, json_t *found,
                             mp_error *err) {
    const char *path = mp_args_text(args, MP_OPT_JSON);
    char format[64];
    if (!path) {
        json_decref(found);
        return MP_OK;
    }
    snprintf(format, sizeof format, "moeparity bisect %s", word);
    json_t *json =
        json_pack("{s:s, s:i, s:o}", "format", format, "version", 1, "run", mp_run_info_to_json(info));
    const bool whole = json && found && json_object_update(json, found) == 0;
    char *text = whole ? json_dumps(json, JSON_INDENT(1)) : NULL;
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for the JSON report %s", path);
    free(text);
    json_decref(found);
    json_decref(json);
    return status;
}
