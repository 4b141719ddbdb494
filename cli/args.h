/* SPDX-License-Identifier: Apache-2.0 */
/* A command line, parsed by the tables of options.h. */
#ifndef MP_CLI_ARGS_H
#define MP_CLI_ARGS_H

#include "base/text.h"
#include "cli/options.h"
#include "moeparity/matrix.h"

/* A --case, and the --pair and --after behind it. */
typedef struct mp_cli_case {
    const char *text;
    const char *pairs[MP_MATRIX_MAX_PAIRS];
    size_t pair_count;
    const char *afters[MP_MATRIX_MAX_AFTERS];
    size_t after_count;
} mp_cli_case;

typedef struct mp_args {
    mp_command command;
    int argc; /* as main has them: for the command line in reports */
    char **argv;
    const char *value[MP_OPTION_COUNT]; /* as given: "" for a switch; NULL: not given */
    mp_cli_case *cases;
    size_t case_count;
    mp_text edits;   /* all of --edit, which value[MP_OPT_EDIT] points into */
    char **operands; /* without the words of the command */
    int operand_count;
} mp_args;

/* Parses argv[1..]. Options stand anywhere, as `--name value` or `--name=value`, shortened as far as the name
 * stays the only one; `--` ends them. MP_EINPUT: the command or an option is unknown (a similar one is
 * suggested), an option is not one of this command, given twice or without its value, the value is out of its
 * range, or there are other operands than the command takes. With --help on the line
 * nothing is checked: `operands` are all of its words, the command among them. Free with mp_args_free, after
 * an error too. */
mp_status mp_args_parse(int argc, char **argv, mp_args *args, mp_error *err);
void mp_args_free(mp_args *args);

bool mp_args_given(const mp_args *args, mp_option option);
/* What was given, else the default of the table (NULL when it has none). */
const char *mp_args_text(const mp_args *args, mp_option option);
int64_t mp_args_number(const mp_args *args, mp_option option);

/* The command of one or two words, as `mp_args_parse` reads it; *used: how many words it took, none where
 * there is no first word. MP_EINPUT: unknown, or the second word is missing. */
mp_status mp_command_find(char *const *words, int count, mp_command *command, int *used, mp_error *err);

#endif
