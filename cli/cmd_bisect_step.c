/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity bisect step: one commit, as `git bisect run` asks about it. */
#include "cli/common.h"
#include "cli/judge.h"

#include "harness/bisect/shell.h"
#include "harness/bisect/signature.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct step {
    const mp_signature *wanted; /* NULL: any failure */
    bool judged, interrupted;
    size_t passed, failed, others; /* others: failures that are not the wanted one */
    size_t silent;                 /* cases that passed, and in which the wanted check was not judged */
    char other[MP_SIGNATURE_TEXT_MAX];
} step;

/* Whether the case could have failed as is asked for: the check, and of a bound the stage, was judged. */
static bool is_answered(const mp_signature *wanted, const mp_verdict *v) {
    if (!wanted || wanted->check < 0) return true;
    const bool of_stage =
        wanted->stage >= 0 && (wanted->check == MP_CHECK_BOUND || wanted->check == MP_CHECK_RMS);
    return v->check[wanted->check].answer == MP_PASSED && (!of_stage || v->stage[wanted->stage].judged);
}

static void on_judged(void *ctx, const mp_verdict *verdicts, size_t count, const mp_run_info *info) {
    step *s = ctx;
    mp_signature signature;
    s->judged = true;
    s->interrupted = info->interrupted;
    for (size_t i = 0; i < count; i++) {
        const bool fails = mp_signature_of(&verdicts[i], &signature);
        const bool passed = verdicts[i].outcome == MP_PASS;
        s->passed += passed && is_answered(s->wanted, &verdicts[i]);
        s->silent += passed && !is_answered(s->wanted, &verdicts[i]);
        if (fails && (!s->wanted || mp_signature_fits(s->wanted, &verdicts[i])))
            s->failed++;
        else if (fails && s->others++ == 0)
            mp_signature_text(&signature, s->other);
    }
}

static int say(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int say(int code, const char *format, ...) {
    static const struct {
        int code;
        const char *word;
    } words[] = {{MP_STEP_GOOD, "good"},
                 {MP_STEP_BAD, "bad"},
                 {MP_STEP_CANNOT_TEST, "cannot be tested"},
                 {MP_STEP_STOP, "stop"}};
    mp_text why = {0};
    va_list args;
    const char *word = "stop";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].code == code) word = words[i].word;
    va_start(args, format);
    mp_text_vadd(&why, format, args);
    va_end(args);
    mp_cli_say(stdout, "bisect step: %s: %s", word, mp_text_get(&why));
    mp_text_free(&why);
    return code;
}

static int conclude(const step *s, int code) {
    if (!s->judged) return say(MP_STEP_CANNOT_TEST, "nothing was judged (exit code %d)", code);
    if (s->failed > 0) return say(MP_STEP_BAD, "%zu case%s failed", s->failed, s->failed == 1 ? "" : "s");
    if (s->interrupted) return say(MP_STEP_INTERRUPTED, "interrupted");
    if (s->others > 0) return say(MP_STEP_CANNOT_TEST, "it fails otherwise than asked for, in %s", s->other);
    if (s->passed == 0 && s->silent > 0)
        return say(MP_STEP_CANNOT_TEST, "no case that passed was judged in what --fails-in asks for");
    if (s->passed == 0) return say(MP_STEP_CANNOT_TEST, "every case was skipped");
    return say(MP_STEP_GOOD, "%zu case%s passed", s->passed, s->passed == 1 ? "" : "s");
}

/* The command line of `run` behind --: what is wrong with it is wrong at every commit. */
static mp_status parse_run(const mp_args *args, char ***words, mp_args *run, mp_error *err) {
    const int count = args->operand_count;
    *words = calloc((size_t)count + 3, sizeof **words);
    if (!*words) return mp_fail(err, MP_EMEMORY, "no memory for a command line of %d words", count);
    (*words)[0] = args->argv[0];
    (*words)[1] = (char *)mp_commands[MP_CMD_RUN].name;
    for (int i = 0; i < count; i++) (*words)[i + 2] = args->operands[i];
    mp_status status = mp_args_parse(count + 2, *words, run, err);
    if (status == MP_OK && run->command != MP_CMD_RUN)
        status = mp_fail(err, MP_EINPUT, "behind --: expected the arguments of moeparity run");
    if (status == MP_OK && run->case_count == 0 && run->operand_count == 0)
        status = mp_fail(err, MP_EINPUT, "behind --: no cases: expected matrix files, or --case");
    mp_matrix cases = {0};
    if (status == MP_OK && run->case_count > 0) status = mp_cli_matrix(run, &(mp_paths){0}, &cases, err);
    mp_matrix_free(&cases);
    return status;
}

/* True where the commit is built, or nobody asked for that. */
static bool build(const mp_args *args, int *code) {
    const char *command = mp_args_text(args, MP_OPT_BUILD);
    mp_error err = {0};
    int ended = 0;
    if (!command) return true;
    const mp_status status =
        mp_shell_run(command, false, (double)mp_args_number(args, MP_OPT_BUILD_TIMEOUT), &ended, &err);
    if (status == MP_OK && ended == 0) return true;
    *code = status != MP_OK ? say(MP_STEP_STOP, "%s", err.text)
            : ended < 0     ? say(MP_STEP_CANNOT_TEST, "--build '%s' took too long", command)
                        : say(MP_STEP_CANNOT_TEST, "--build '%s' failed with exit code %d", command, ended);
    return false;
}

int mp_cmd_bisect_step(const mp_args *args) {
    const char *fails_in = mp_args_text(args, MP_OPT_FAILS_IN);
    mp_signature wanted;
    mp_args run = {0};
    mp_error err = {0};
    char **words = NULL;
    int code = MP_STEP_STOP;
    step s = {.wanted = fails_in ? &wanted : NULL};
    mp_status status = fails_in ? mp_signature_parse(fails_in, &wanted, &err) : MP_OK;
    if (status != MP_OK) mp_error_prefix(&err, "--fails-in");
    if (status == MP_OK) status = parse_run(args, &words, &run, &err);
    if (status != MP_OK) {
        mp_cli_fail(&err);
    } else {
        const mp_settings settings = mp_cli_settings(&run);
        if (mp_cli_judge_usage(&run, &settings) == MP_EXIT_OK && build(args, &code))
            code = conclude(&s, mp_cli_run_cases(&run, on_judged, &s));
    }
    mp_args_free(&run);
    free(words);
    return code;
}
