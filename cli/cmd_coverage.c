/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity coverage: which conditions the cases produce, and which of those that are required none does. */
#include "cli/common.h"

#include "base/file.h"
#include "base/words.h"
#include "cases/coverage.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct coverage_run {
    mp_matrix matrix;
    mp_coverage *coverage; /* [mp_condition_count] */
    bool *required;        /* the same */
    bool asked;            /* for anything to be required */
} coverage_run;

/* ---- what is required ---- */

static mp_status require_word(coverage_run *run, const char *word, mp_error *err) {
    const bool all = strcmp(word, "all") == 0, ci = strcmp(word, "ci") == 0;
    const int named = all || ci ? -1 : mp_condition_find(word);
    run->asked = true;
    if (named >= 0) run->required[named] = true;
    for (int i = 0; i < mp_condition_count() && (all || ci); i++)
        run->required[i] = run->required[i] || all || !mp_condition_at(i)->full;
    if (named >= 0 || all || ci) return MP_OK;
    const char **known = calloc((size_t)mp_condition_count(), sizeof *known);
    if (!known) return mp_fail(err, MP_EMEMORY, "no memory for the names of conditions");
    for (int i = 0; i < mp_condition_count(); i++) known[i] = mp_condition_at(i)->name;
    const char *nearest = mp_nearest_word(word, known, (size_t)mp_condition_count(), 3);
    mp_fail(err, MP_EINPUT, "'%.80s' is no condition%s%s%s (docs/coverage.md lists them)", word,
            nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    free(known);
    return MP_EINPUT;
}

#define SEPARATORS " ,\t\r\n"

/* The words of `text`, which it cuts. MP_EINPUT also where there is none: a list that was meant to require
 * something does not. */
static mp_status require_words(coverage_run *run, char *text, mp_error *err) {
    char *rest = NULL;
    size_t count = 0;
    for (char *word = strtok_r(text, SEPARATORS, &rest); word; word = strtok_r(NULL, SEPARATORS, &rest)) {
        const mp_status status = require_word(run, word, err);
        if (status != MP_OK) return status;
        count++;
    }
    return count > 0 ? MP_OK : mp_fail(err, MP_EINPUT, "no names of conditions");
}

static mp_status require_from(coverage_run *run, const char *path, mp_error *err) {
    char *text = NULL;
    size_t size = 0;
    mp_status status = mp_file_read(path, &text, &size, err);
    if (status != MP_OK) return status;
    if (memchr(text, '\0', size)) {
        status = mp_fail(err, MP_EINPUT, "a zero byte, where names of conditions were expected");
    } else {
        for (char *comment = text; (comment = strchr(comment, '#'));)
            while (*comment && *comment != '\n') *comment++ = ' ';
        status = require_words(run, text, err);
    }
    if (status != MP_OK) mp_error_prefix(err, "%s", path);
    free(text);
    return status;
}

static mp_status find_required(coverage_run *run, const mp_args *args, mp_error *err) {
    const char *names = mp_args_text(args, MP_OPT_REQUIRE), *from = mp_args_text(args, MP_OPT_REQUIRE_FROM);
    mp_status status = MP_OK;
    if (names) {
        char *copy = strdup(names);
        status = copy ? require_words(run, copy, err) : mp_fail(err, MP_EMEMORY, "no memory for names");
        if (status != MP_OK) mp_error_prefix(err, "--require");
        free(copy);
    }
    if (status == MP_OK && from) status = require_from(run, from, err);
    return status;
}

/* ---- telling ---- */

static json_t *condition_to_json(const coverage_run *run, int i) {
    const mp_condition *condition = mp_condition_at(i);
    const mp_coverage *coverage = &run->coverage[i];
    char name[MP_CASE_TEXT_MAX];
    if (coverage->first) mp_case_text(&coverage->first->c, name, sizeof name);
    return json_pack("{s:s, s:s, s:s, s:I, s:b, s:s?}", "name", condition->name, "meaning",
                     condition->meaning, "tier", condition->full ? "full" : "ci", "cases",
                     (json_int_t)coverage->cases, "required", (int)run->required[i], "first",
                     coverage->first ? name : NULL);
}

static mp_status write_json(const coverage_run *run, const char *path, mp_error *err) {
    json_t *conditions = json_array();
    for (int i = 0; i < mp_condition_count(); i++)
        json_array_append_new(conditions, condition_to_json(run, i));
    json_t *all = json_pack("{s:s, s:I, s:o}", "format", "moeparity coverage", "cases",
                            (json_int_t)run->matrix.count, "conditions", conditions);
    char *text = all ? json_dumps(all, JSON_INDENT(1)) : NULL;
    const mp_status status = text ? mp_file_replace(path, text, strlen(text), err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for the coverage as JSON");
    free(text);
    json_decref(all);
    return status;
}

static int count_missing(const coverage_run *run, bool required_alone) {
    int missing = 0;
    for (int i = 0; i < mp_condition_count(); i++)
        missing += run->coverage[i].cases == 0 && (run->required[i] || !required_alone);
    return missing;
}

static void print_table(const coverage_run *run, bool missing_alone) {
    for (int i = 0; i < mp_condition_count(); i++) {
        const size_t cases = run->coverage[i].cases;
        char count[24] = "-";
        if (cases > 0) snprintf(count, sizeof count, "%zu", cases);
        if (cases == 0 || !missing_alone)
            printf("%6s  %-26s %s%s\n", count, mp_condition_at(i)->name, mp_condition_at(i)->meaning,
                   cases == 0 && run->required[i] ? " (required)" : "");
    }
    const int missing = count_missing(run, false);
    printf("%zu case%s produce%s %d of %d conditions", run->matrix.count, run->matrix.count == 1 ? "" : "s",
           run->matrix.count == 1 ? "s" : "", mp_condition_count() - missing, mp_condition_count());
    if (run->asked) printf("; of those that are required %d are missing", count_missing(run, true));
    printf("\n");
}

int mp_cmd_coverage(const mp_args *args) {
    coverage_run run = {.coverage = calloc((size_t)mp_condition_count(), sizeof *run.coverage),
                        .required = calloc((size_t)mp_condition_count(), sizeof *run.required)};
    mp_paths paths = {0};
    mp_error err = {0};
    const char *json = mp_args_text(args, MP_OPT_JSON);
    mp_status status =
        run.coverage && run.required ? MP_OK : mp_fail(&err, MP_EMEMORY, "no memory for conditions");
    if (status == MP_OK) status = find_required(&run, args, &err);
    if (status == MP_OK) status = mp_paths_find(&paths, args->operands, args->operand_count, &err);
    if (status == MP_OK) status = mp_cli_output(json, (const char *const *)paths.path, paths.count, &err);
    if (status == MP_OK) status = mp_cli_matrix(args, &paths, &run.matrix, &err);
    if (status == MP_OK) status = mp_coverage_of(&run.matrix, run.coverage, &err);
    if (status == MP_OK && json) status = write_json(&run, json, &err);
    if (status == MP_OK) print_table(&run, mp_args_given(args, MP_OPT_MISSING));
    const int code = status != MP_OK             ? mp_cli_fail(&err)
                     : count_missing(&run, true) ? MP_EXIT_FAILURE
                                                 : MP_EXIT_OK;
    mp_paths_free(&paths);
    mp_matrix_free(&run.matrix);
    free(run.coverage);
    free(run.required);
    return code;
}
