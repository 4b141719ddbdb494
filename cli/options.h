/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the command line: every command (commands.c), every option with the commands that take it
 * (options.c), variables and exit codes (environment.c).
 * What is parsed, `--help`, `moeparity help`, the manual page and the completions all come from them. */
#ifndef MP_CLI_OPTIONS_H
#define MP_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum mp_command {
    MP_CMD_RUN,
    MP_CMD_LIST,
    MP_CMD_COVERAGE,
    MP_CMD_SHOW,
    MP_CMD_JUDGE,
    MP_CMD_EXPORT,
    MP_CMD_RECORD,
    MP_CMD_VERIFY,
    MP_CMD_DIFF,
    MP_CMD_LS,
    MP_CMD_GOLDEN_MERGE,
    MP_CMD_REFRESH,
    MP_CMD_REPORT_MERGE,
    MP_CMD_REPORT_DIFF,
    MP_CMD_REPORT_HTML,
    MP_CMD_INFER,
    MP_CMD_BISECT_STAGE,
    MP_CMD_BISECT_K,
    MP_CMD_BISECT_CONFIG,
    MP_CMD_BISECT_CASE,
    MP_CMD_BISECT_SET,
    MP_CMD_BISECT_STEP,
    MP_CMD_TUNE_WHICH,
    MP_CMD_TUNE_AUDIT,
    MP_CMD_TUNE_VERIFY,
    MP_CMD_TUNE_DIFF,
    MP_CMD_TUNE_CERTIFICATE,
    MP_CMD_TUNE_CHECK,
    MP_CMD_PROBE,
    MP_CMD_BENCH_REFERENCE,
    MP_CMD_BENCH_PREDICT,
    MP_CMD_BENCH_KERNELS,
    MP_CMD_BENCH_SUITE,
    MP_CMD_DOCTOR,
    MP_CMD_WORKER,
    MP_CMD_HELP,
    MP_COMMAND_COUNT
} mp_command;

struct mp_args;

/* What the words behind a command are; a shell completes them by it. */
typedef enum mp_operands {
    MP_OPERANDS_NONE,
    MP_OPERANDS_MATRIX,
    MP_OPERANDS_GOLDEN,
    MP_OPERANDS_GOLDEN_MATRIX, /* a golden, then matrices */
    MP_OPERANDS_TRACE,         /* files of tensors */
    MP_OPERANDS_REPORT,        /* JSON reports */
    MP_OPERANDS_TUNED,         /* tuned files, or folders of them */
    MP_OPERANDS_COMMAND
} mp_operands;

typedef struct mp_command_row {
    const char *name; /* "run", "golden record": one word or two */
    int (*run)(const struct mp_args *args);
    const char *usage; /* behind the name; lines after the first are further forms */
    mp_operands operands;
    int min_operands, max_operands;
    const char *takes;             /* the operands in words, for the message when there are others */
    const char *summary, *details; /* one line; paragraphs, or NULL */
} mp_command_row;
extern const mp_command_row mp_commands[MP_COMMAND_COUNT];

typedef enum mp_option {
    MP_OPT_CASE,
    MP_OPT_ONE_CASE,
    MP_OPT_FILE_CASE,
    MP_OPT_PAIR,
    MP_OPT_AFTER,
    MP_OPT_EDIT,
    MP_OPT_MATCH,
    MP_OPT_TIER,
    MP_OPT_SHARD,
    MP_OPT_CONTRACT,
    MP_OPT_SUBJECT,
    MP_OPT_AGAINST,
    MP_OPT_GOLDEN,
    MP_OPT_GOLDEN_PARTIAL,
    MP_OPT_STRICT,
    MP_OPT_FILE_STRICT,
    MP_OPT_REPEAT,
    MP_OPT_DETERMINISTIC,
    MP_OPT_DEVICE,
    MP_OPT_TRITON,
    MP_OPT_CONFIG,
    MP_OPT_DEVICES,
    MP_OPT_JOBS,
    MP_OPT_TIMEOUT,
    MP_OPT_FILE_TIMEOUT,
    MP_OPT_INFER_TIMEOUT,
    MP_OPT_FAIL_FAST,
    MP_OPT_PLAIN,
    MP_OPT_ENGINE,
    MP_OPT_IN_PROCESS,
    MP_OPT_DRY_RUN,
    MP_OPT_JSON,
    MP_OPT_HTML,
    MP_OPT_FIGURES,
    MP_OPT_JUNIT,
    MP_OPT_SUMMARY,
    MP_OPT_QUIET,
    MP_OPT_VERBOSE,
    MP_OPT_COLOR,
    MP_OPT_INPUTS,
    MP_OPT_DIGEST_ABOVE,
    MP_OPT_RESUME,
    MP_OPT_ALLOW_MIXED,
    MP_OPT_ALLOW,
    MP_OPT_MAP,
    MP_OPT_IGNORE,
    MP_OPT_PAIRS,
    MP_OPT_MATRICES,
    MP_OPT_MISSING,
    MP_OPT_REQUIRE,
    MP_OPT_REQUIRE_FROM,
    MP_OPT_FIELDS,
    MP_OPT_OUT,
    MP_OPT_FORMAT,
    MP_OPT_OUTPUTS,
    MP_OPT_EXPORT_SUBJECT,
    MP_OPT_INFER_CASE,
    MP_OPT_WITH,
    MP_OPT_STAGE,
    MP_OPT_INFER_REPEAT,
    MP_OPT_INFER_VERBOSE,
    MP_OPT_GEMM,
    MP_OPT_WEIGHTS,
    MP_OPT_GROUP,
    MP_OPT_EXHAUSTIVE,
    MP_OPT_GOOD,
    MP_OPT_BAD,
    MP_OPT_SVG,
    MP_OPT_SVG_SHOWS,
    MP_OPT_BISECT_VERBOSE,
    MP_OPT_TRIES,
    MP_OPT_SECONDS,
    MP_OPT_NO_VALUES,
    MP_OPT_REPRO_OUT,
    MP_OPT_REPORT,
    MP_OPT_INDEX,
    MP_OPT_NAME,
    MP_OPT_ROW,
    MP_OPT_BUILD,
    MP_OPT_BUILD_TIMEOUT,
    MP_OPT_FAILS_IN,
    MP_OPT_TUNE_DEVICE,
    MP_OPT_TUNE_TRITON,
    MP_OPT_TUNE_E,
    MP_OPT_TUNE_N,
    MP_OPT_TUNE_DTYPE,
    MP_OPT_BLOCK_SHAPE,
    MP_OPT_PER_CHANNEL,
    MP_OPT_TUNE_M,
    MP_OPT_SGLANG,
    MP_OPT_VLLM,
    MP_OPT_LOADER_OFF,
    MP_OPT_SARIF,
    MP_OPT_BASELINE,
    MP_OPT_WRITE_BASELINE,
    MP_OPT_RULES,
    MP_OPT_AUDIT_VERBOSE,
    MP_OPT_VECTORS,
    MP_OPT_SEED,
    MP_OPT_TABLES,
    MP_OPT_BENCH_CASE,
    MP_OPT_BENCH_REPEAT,
    MP_OPT_BENCH_AGAINST,
    MP_OPT_BENCH_SUBJECT,
    MP_OPT_BENCH_ROUNDS,
    MP_OPT_TUNE_SUBJECT,
    MP_OPT_TUNE_MODEL,
    MP_OPT_TUNE_WITH,
    MP_OPT_TUNE_STATIC,
    MP_OPT_TUNE_EACH,
    MP_OPT_TUNE_OWN_TILES,
    MP_OPT_TUNE_MOST,
    MP_OPT_TUNE_VERBOSE,
    MP_OPT_TUNE_AGAINST,
    MP_OPT_TUNE_THRESHOLD,
    MP_OPT_TUNE_ROUNDS,
    MP_OPT_TUNE_OUT,
    MP_OPT_TUNE_MARKDOWN,
    MP_OPT_TUNE_BY,
    MP_OPT_TUNE_FILE,
    MP_OPT_TUNE_REPORT,
    MP_OPT_TUNE_AGAIN,
    MP_OPT_DIFF_THRESHOLD,
    MP_OPT_DIFF_STRICT,
    MP_OPT_DIFF_QUIET,
    MP_OPT_MAN,
    MP_OPT_BASH,
    MP_OPT_ZSH,
    MP_OPT_HELP,
    MP_OPTION_COUNT
} mp_option;

typedef enum mp_option_takes {
    MP_TAKES_NOTHING, /* no argument */
    MP_TAKES_TEXT,    /* any text */
    MP_TAKES_FILE,
    MP_TAKES_NUMBER, /* a whole number from lo to hi, or the word in `choices`, which is 0 */
    MP_TAKES_CHOICE  /* one of `choices` */
} mp_option_takes;

typedef struct mp_option_row {
    const char *name; /* without the dashes; two rows may share it when no command takes both */
    char letter;      /* 0: none */
    mp_option_takes takes;
    const char *argument; /* as help shows it; NULL for a switch */
    int64_t lo, hi;
    const char *choices;  /* separated by blanks */
    const char *fallback; /* the value when it is not given; NULL: none */
    uint64_t commands;    /* bit c: command c takes it */
    uint64_t repeats;     /* bit c: there it may be given more than once */
    bool hidden;          /* for the build, not for people */
    const char *summary;  /* one line */
    const char *details;  /* what else there is to know, or NULL */
} mp_option_row;
extern const mp_option_row mp_options[MP_OPTION_COUNT];

/* Whether the command takes the option. */
static inline bool mp_command_takes(mp_command command, mp_option option) {
    return mp_options[option].commands >> command & 1;
}

/* Variables of the environment that change what the program does. */
typedef struct mp_variable_row {
    const char *name, *meaning;
} mp_variable_row;
extern const mp_variable_row mp_variables[];
extern const int mp_variable_count;

/* Exit codes and their meanings. */
typedef struct mp_exit_row {
    int code;
    const char *meaning;
} mp_exit_row;
extern const mp_exit_row mp_exits[];
extern const int mp_exit_count;

#endif
