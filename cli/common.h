/* SPDX-License-Identifier: Apache-2.0 */
/* What the sub-commands share: errors, matrices from arguments, facts about this run. */
#ifndef MP_CLI_COMMON_H
#define MP_CLI_COMMON_H

#include "cli/args.h"
#include "moeparity/config.h"
#include "moeparity/matrix.h"
#include "moeparity/settings.h"
#include "moeparity/verdict.h"

#include <time.h>

#include <stdio.h>

/* Prints "moeparity: <text>" to stderr and returns the exit code that belongs to the status. */
int mp_cli_fail(const mp_error *err);
/* The same for a message of its own; always MP_EXIT_USAGE. */
int mp_cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One line, of which no terminal obeys anything: paths and what files say may hold escapes. */
void mp_cli_say(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends a command: what was printed must have arrived, else a good code becomes MP_EXIT_BROKEN. */
int mp_cli_finish(int code);

/* The paths that words stand for (mp_find). */
typedef struct mp_paths {
    char **path;
    size_t count;
} mp_paths;
mp_status mp_paths_find(mp_paths *paths, char *const *matrices, int count, mp_error *err);
void mp_paths_free(mp_paths *paths);

/* The cases of matrix files, or of --case with their pairs, as far as --match and --tier leave them. */
mp_status mp_cli_matrix(const mp_args *args, const mp_paths *matrices, mp_matrix *matrix, mp_error *err);

/* MP_EINPUT where `path`, about to be written, is the same file as one of `others` (NULLs are skipped).
 * MP_EIO where it could not be written: better said before hours of a run are spent on it. path == NULL is
 * fine. */
mp_status mp_cli_output(const char *path, const char *const *others, size_t count, mp_error *err);
/* MP_EINPUT where `path`, which a command names before what it reads, is a file that is not empty and does
 * not begin with `begins`: who forgot to name what is to be written would lose what was to be read. `what` is
 * like "golden file". */
#define MP_BEGINS_HDF5 "\211HDF\r\n\032\n"
#define MP_BEGINS_HTML "<!doctype html>"
#define MP_BEGINS_JSON "{"
#define MP_BEGINS_SVG "<svg "
#define MP_BEGINS_XML "<?xml "
mp_status mp_cli_first_output(const char *path, const char *begins, const char *what, mp_error *err);
/* The same of the file that an option names: what is written takes the place of an older one, and of nothing
 * else. Fine where the option is not given. MP_EINPUT also for `-`: people mean the standard output by it. */
mp_status mp_cli_replaces(const mp_args *args, mp_option option, const char *begins, const char *what,
                          mp_error *err);
/* Of all options that name a report. One that may begin with anything, as Markdown, is not looked at. */
mp_status mp_cli_reports_replace_reports(const mp_args *args, mp_error *err);

/* The settings that the command's options say; those that it does not take have their usual value, and the
 * subject is NULL where it takes none. The golden is as it was written: not looked for by its name. */
mp_settings mp_cli_settings(const mp_args *args);

/* What --device, --triton and --config ask tuned tiles to be looked up for. */
mp_config_query mp_cli_query(const mp_args *args);

/* Whether SOURCE_DATE_EPOCH asks for reports that do not depend on when they are written. MP_EINPUT where it
 * is no number of seconds; *date may be NULL. */
mp_status mp_cli_source_date(bool *given, time_t *date, mp_error *err);
/* Initialises *info: version, commit, command, date, host; the suite fills the rest. */
mp_status mp_cli_run_info(const mp_args *args, mp_run_info *info, mp_error *err);
/* The compiler of this program, which the bits of the CPU's side may depend on: "gcc 12.2.0". */
const char *mp_cli_compiler(void);

int mp_cmd_run(const mp_args *args);
int mp_cmd_list(const mp_args *args);
int mp_cmd_coverage(const mp_args *args);
int mp_cmd_show(const mp_args *args);
int mp_cmd_judge(const mp_args *args);
int mp_cmd_export(const mp_args *args);
int mp_cmd_golden_record(const mp_args *args);
int mp_cmd_golden_verify(const mp_args *args);
int mp_cmd_golden_diff(const mp_args *args);
int mp_cmd_golden_ls(const mp_args *args);
int mp_cmd_golden_merge(const mp_args *args);
int mp_cmd_golden_refresh(const mp_args *args);
int mp_cmd_bisect_case(const mp_args *args);
int mp_cmd_bisect_set(const mp_args *args);
int mp_cmd_bisect_step(const mp_args *args);
/* What git makes of an exit code of `bisect step`: 0 is good, 125 cannot be tested, all others below 128 are
 * bad, and from 128 on the bisection ends. So a line that can never work must not look like a bad commit, nor
 * like one that cannot be tested: it would be taken for all of them. */
enum {
    MP_STEP_GOOD = 0,
    MP_STEP_BAD = 1,
    MP_STEP_CANNOT_TEST = 125,
    MP_STEP_STOP = 129,
    MP_STEP_INTERRUPTED = 130
};
int mp_cmd_report_merge(const mp_args *args);
int mp_cmd_infer(const mp_args *args);
int mp_cmd_bisect_stage(const mp_args *args);
int mp_cmd_bisect_k(const mp_args *args);
int mp_cmd_bisect_config(const mp_args *args);
int mp_cmd_tune_which(const mp_args *args);
int mp_cmd_tune_audit(const mp_args *args);
int mp_cmd_probe(const mp_args *args);
int mp_cmd_bench(const mp_args *args);
int mp_cmd_bench_suite(const mp_args *args);
int mp_cmd_tune_verify(const mp_args *args);
int mp_cmd_tune_diff(const mp_args *args);
int mp_cmd_tune_certificate(const mp_args *args);
int mp_cmd_tune_check(const mp_args *args);
int mp_cmd_report_diff(const mp_args *args);
int mp_cmd_report_html(const mp_args *args);
int mp_cmd_doctor(const mp_args *args);
int mp_cmd_help(const mp_args *args);
int mp_cmd_worker(const mp_args *args);

#endif
