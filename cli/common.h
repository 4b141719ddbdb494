/* What the sub-commands share: exit codes, error printing, matrices from arguments, facts about this run. */
#ifndef MP_CLI_COMMON_H
#define MP_CLI_COMMON_H

#include "cases/matrix.h"
#include "harness/verdict.h"

enum { MP_EXIT_OK = 0, MP_EXIT_FAILURE = 1, MP_EXIT_USAGE = 2, MP_EXIT_BROKEN = 3, MP_EXIT_SKIPPED = 77 };

/* Prints "moeparity: <text>" to stderr and returns the exit code that belongs to the status. */
int mp_cli_fail(const mp_error *err);
/* The same for a message of its own; always MP_EXIT_USAGE. */
int mp_cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends a command: what was printed must have arrived, else a good code becomes MP_EXIT_BROKEN. */
int mp_cli_finish(int code);

/* Options that choose cases: MATRIX... or --case TEXT [--pair TEXT]..., --match EXPR, --tier T. */
typedef struct mp_cli_selection {
    const char *case_text, *match, *tier;
    const char *pairs[MP_MATRIX_MAX_PAIRS];
    size_t pair_count;
    bool takes_case; /* the command has --case */
} mp_cli_selection;
mp_status mp_cli_matrix(const mp_cli_selection *selection, char *const *paths, int path_count,
                        mp_matrix *matrix, mp_error *err);

/* Completes info by the compiler, prints the summary of a run and returns its exit code. Rows that were not
 * reached before Ctrl-C are left out: *count becomes the number of those that were. */
int mp_cli_conclude(mp_run_info *info, mp_verdict *verdicts, size_t *count);

/* MP_EINPUT where `path`, about to be written, is the same file as one of `others` (NULLs are skipped).
 * MP_EIO where it could not be written: better said before hours of a run are spent on it. path == NULL is
 * fine. */
mp_status mp_cli_output(const char *path, const char *const *others, size_t count, mp_error *err);

/* A whole number from lo to hi. */
mp_status mp_cli_number(const char *option, const char *text, int64_t lo, int64_t hi, int64_t *value,
                        mp_error *err);

/* version, commit, command, date, host; the suite fills the rest. */
void mp_cli_run_info(int argc, char **argv, mp_run_info *info);
/* The compiler of this program, which the bits of the CPU's side may depend on: "gcc 12.2.0". */
const char *mp_cli_compiler(void);

int mp_cmd_run(int argc, char **argv);
int mp_cmd_list(int argc, char **argv);
int mp_cmd_show(int argc, char **argv);
int mp_cmd_golden(int argc, char **argv);
int mp_cmd_probe(int argc, char **argv);
int mp_cmd_bench(int argc, char **argv);
int mp_cmd_doctor(int argc, char **argv);

#endif
