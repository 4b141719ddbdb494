/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include "base/text.h"
#include "base/words.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPERAND = 1, FIRST_OPTION = 256 }; /* what getopt_long returns beside letters */

/* ---- the command ---- */

/* The n-th first word of the commands, and the n-th second word of those that begin with `first`. */
static size_t word_length(const char *name) {
    return strcspn(name, " ");
}

static const char *verb_of(const char *name, const char *first) {
    const size_t length = word_length(name);
    return strlen(first) == length && strncmp(name, first, length) == 0 && name[length] ? name + length + 1
                                                                                        : NULL;
}

static mp_status unknown_command(const char *word, mp_error *err) {
    const char *known[MP_COMMAND_COUNT];
    char first[MP_COMMAND_COUNT][32];
    size_t count = 0;
    for (int i = 0; i < MP_COMMAND_COUNT; i++) {
        snprintf(first[count], sizeof first[count], "%.*s", (int)word_length(mp_commands[i].name),
                 mp_commands[i].name);
        known[count] = first[count];
        count += count == 0 || strcmp(known[count], known[count - 1]) != 0;
    }
    const char *nearest = mp_nearest_word(word, known, count, 2);
    return mp_fail(err, MP_EINPUT, "unknown command '%s'%s%s%s (moeparity help lists them)", word,
                   nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

/* The verbs of a command of two words: one of them was not given, or an unknown one. */
static mp_status unknown_verb(const char *first, const char *verb, mp_error *err) {
    const char *known[MP_COMMAND_COUNT];
    size_t count = 0;
    mp_text list = {0};
    for (int i = 0; i < MP_COMMAND_COUNT; i++)
        if (verb_of(mp_commands[i].name, first)) known[count++] = verb_of(mp_commands[i].name, first);
    for (size_t i = 0; i < count; i++)
        mp_text_add(&list, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", known[i]);
    const char *nearest = verb ? mp_nearest_word(verb, known, count, 2) : NULL;
    if (verb)
        mp_fail(err, MP_EINPUT, "%s: unknown word '%s'%s%s%s: expected %s", first, verb,
                nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "",
                mp_text_get(&list));
    else
        mp_fail(err, MP_EINPUT, "%s: expected a word behind it: %s", first, mp_text_get(&list));
    mp_text_free(&list);
    return MP_EINPUT;
}

mp_status mp_command_find(char *const *words, int count, mp_command *command, int *used, mp_error *err) {
    bool first_known = false;
    *used = 0;
    if (count == 0) return mp_fail(err, MP_EINPUT, "no command (moeparity help lists them)");
    for (int i = 0; i < MP_COMMAND_COUNT; i++) {
        const char *name = mp_commands[i].name, *verb = verb_of(name, words[0]);
        first_known = first_known || verb;
        if (strcmp(words[0], name) != 0 && !(verb && count > 1 && strcmp(words[1], verb) == 0)) continue;
        *command = (mp_command)i;
        *used = verb ? 2 : 1;
        return MP_OK;
    }
    if (!first_known) return unknown_command(words[0], err);
    return unknown_verb(words[0], count > 1 ? words[1] : NULL, err);
}

/* ---- the options ---- */

/* What one pass over the line finds, before it is known which command it is. */
typedef struct given {
    mp_option option;
    const char *value;
} given;

/* The row of that name which the command takes, for a name may have several; MP_OPTION_COUNT: none. */
static mp_option row_of(mp_command command, mp_option named) {
    int i = 0;
    while (i < MP_OPTION_COUNT && !(strcmp(mp_options[i].name, mp_options[named].name) == 0 &&
                                    mp_command_takes(command, (mp_option)i)))
        i++;
    return (mp_option)i;
}

static mp_status unknown_option(mp_command command, bool command_known, const char *word, mp_error *err) {
    const char *known[MP_OPTION_COUNT];
    char name[64];
    mp_text begins = {0};
    size_t count = 0, beginning = 0;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (int i = 0; i < MP_OPTION_COUNT; i++) {
        if (mp_options[i].hidden || (command_known && !mp_command_takes(command, (mp_option)i))) continue;
        known[count++] = mp_options[i].name;
        if (strncmp(mp_options[i].name, name, strlen(name)) == 0)
            mp_text_add(&begins, "%s--%s", beginning++ ? ", " : "", mp_options[i].name);
    }
    const char *nearest = mp_nearest_word(name, known, count, 2), *of = command_known ? ": " : "";
    const char *prefix = command_known ? mp_commands[command].name : "";
    if (beginning > 1)
        mp_fail(err, MP_EINPUT, "%s%s--%s may be %s", prefix, of, name, mp_text_get(&begins));
    else
        mp_fail(err, MP_EINPUT, "%s%sunknown option '%s'%s%s%s (moeparity help%s%s lists them)", prefix, of,
                word, nearest ? ", did you mean '--" : "", nearest ? nearest : "", nearest ? "'?" : "",
                command_known ? " " : "", prefix);
    mp_text_free(&begins);
    return MP_EINPUT;
}

static mp_status check_value(const mp_option_row *o, const char *value, mp_error *err) {
    if ((o->takes == MP_TAKES_TEXT || o->takes == MP_TAKES_FILE) && value[0] == '\0') /* an unset variable */
        return mp_fail(err, MP_EINPUT, "--%s '': expected %s, not nothing: %s", o->name, o->argument,
                       o->summary);
    if (o->takes == MP_TAKES_NUMBER) {
        char *end = NULL;
        errno = 0;
        const long long number = strtoll(value, &end, 10);
        const bool word = o->choices && strcmp(value, o->choices) == 0;
        if (!word && (errno || end == value || *end || number < o->lo || number > o->hi))
            return mp_fail(err, MP_EINPUT, "--%s %s: expected %s%sa whole number from %lld to %lld", o->name,
                           value, o->choices ? o->choices : "", o->choices ? " or " : "", (long long)o->lo,
                           (long long)o->hi);
    }
    if (o->takes == MP_TAKES_CHOICE) {
        mp_text list = {0};
        const size_t length = strlen(value);
        for (const char *p = o->choices; *p; p += strspn(p, " ")) {
            const size_t n = strcspn(p, " ");
            if (n == length && strncmp(p, value, n) == 0) {
                mp_text_free(&list);
                return MP_OK;
            }
            mp_text_add(&list, "%s%.*s", list.length == 0 ? "" : p[n] ? ", " : " or ", (int)n, p);
            p += n;
        }
        mp_fail(err, MP_EINPUT, "--%s %s: expected %s", o->name, value, mp_text_get(&list));
        mp_text_free(&list);
        return MP_EINPUT;
    }
    return MP_OK;
}

/* A --pair, or --after, of the --case before it. */
static mp_status add_variant(mp_args *args, mp_option option, const char *value, mp_error *err) {
    const char *name = mp_options[option].name;
    if (args->case_count == 0)
        return mp_fail(err, MP_EINPUT, "--%s %s: there is no --case before it, to which it would belong",
                       name, value);
    mp_cli_case *c = &args->cases[args->case_count - 1];
    const bool pair = option == MP_OPT_PAIR;
    const size_t most = pair ? MP_MATRIX_MAX_PAIRS : MP_MATRIX_MAX_AFTERS;
    size_t *count = pair ? &c->pair_count : &c->after_count;
    if (*count == most)
        return mp_fail(err, MP_EINPUT,
                       pair ? "--%s %s: a case has at most %zu pairs"
                            : "--%s %s: a case runs after at most %zu others",
                       name, value, most);
    (pair ? c->pairs : c->afters)[(*count)++] = value;
    return MP_OK;
}

static mp_status take(mp_args *args, mp_option option, const char *value, mp_error *err) {
    const mp_option_row *o = &mp_options[option];
    const char *before = args->value[option];
    const bool repeats = o->repeats >> args->command & 1;
    if (before && !repeats && o->takes == MP_TAKES_NOTHING)
        return mp_fail(err, MP_EINPUT, "--%s is given twice", o->name);
    if (before && !repeats)
        return mp_fail(err, MP_EINPUT, "--%s is given twice: '%s' and '%s'", o->name, before, value);
    mp_status status = check_value(o, value, err);
    if (status != MP_OK) return status;
    args->value[option] = value;
    if (strcmp(o->name, "case") == 0) args->cases[args->case_count++] = (mp_cli_case){.text = value};
    if (option == MP_OPT_EDIT) {
        mp_text_add(&args->edits, "%s%s", before ? "; " : "", value);
        args->value[option] = mp_text_get(&args->edits);
    }
    const bool variant = option == MP_OPT_PAIR || option == MP_OPT_AFTER;
    return variant ? add_variant(args, option, value, err) : MP_OK;
}

/* A word that getopt_long refuses: unknown, ambiguous, or with a value that a switch does not take. */
static mp_status refused(const mp_args *args, bool command_known, mp_error *err) {
    const char *word = args->argv[optind - 1];
    if (optopt >= FIRST_OPTION)
        return mp_fail(err, MP_EINPUT, "--%s takes no value: %s", mp_options[optopt - FIRST_OPTION].name,
                       word);
    if (optopt) return mp_fail(err, MP_EINPUT, "unknown option '-%c' (moeparity help lists them)", optopt);
    return unknown_option(args->command, command_known, word, err);
}

/* All words of the line, in order: options into *list, the others into args->operands. *trouble is where
 * getopt_long stopped: '?', ':' or 0. */
static void scan(mp_args *args, given *list, size_t *count, int *trouble) {
    struct option names[MP_OPTION_COUNT + 1] = {0};
    char letters[2 * MP_OPTION_COUNT + 4] = "-:"; /* operands in order, whatever POSIXLY_CORRECT says */
    size_t used = 0;
    for (int i = 0; i < MP_OPTION_COUNT; i++) {
        const mp_option_row *o = &mp_options[i];
        bool known = false;
        const bool value = o->takes != MP_TAKES_NOTHING;
        if (o->letter && !strchr(letters, o->letter))
            sprintf(letters + strlen(letters), "%c%s", o->letter, value ? ":" : "");
        for (size_t k = 0; k < used; k++) known = known || strcmp(names[k].name, o->name) == 0;
        if (known) continue;
        names[used++] =
            (struct option){o->name, value ? required_argument : no_argument, NULL, FIRST_OPTION + i};
    }
    opterr = 0;
    optind = 0;
    *count = 0;
    *trouble = 0;
    for (int o; (o = getopt_long(args->argc, args->argv, letters, names, NULL)) != -1;) {
        if (o == '?' || o == ':') {
            *trouble = o;
            return;
        }
        if (o == OPERAND) {
            args->operands[args->operand_count++] = optarg;
            continue;
        }
        for (int i = 0; o < FIRST_OPTION; i++)
            if (mp_options[i].letter == o) o = FIRST_OPTION + i;
        list[(*count)++] = (given){(mp_option)(o - FIRST_OPTION), optarg ? optarg : ""};
    }
    for (int i = optind; i < args->argc; i++) args->operands[args->operand_count++] = args->argv[i];
}

static mp_status check_operands(const mp_args *args, mp_error *err) {
    const mp_command_row *c = &mp_commands[args->command];
    if (args->operand_count >= c->min_operands && args->operand_count <= c->max_operands) return MP_OK;
    if (c->max_operands == 0)
        return mp_fail(err, MP_EINPUT, "%s takes %s, not '%s'", c->name, c->takes, args->operands[0]);
    return mp_fail(err, MP_EINPUT, "%s takes %s, not %d", c->name, c->takes, args->operand_count);
}

mp_status mp_args_parse(int argc, char **argv, mp_args *args, mp_error *err) {
    *args = (mp_args){.argc = argc, .argv = argv};
    size_t count = 0;
    int trouble = 0, used = 0;
    given *list = calloc((size_t)argc + 1, sizeof *list);
    args->operands = calloc((size_t)argc + 1, sizeof *args->operands);
    args->cases = calloc((size_t)argc + 1, sizeof *args->cases);
    mp_status status = MP_EMEMORY;
    if (!list || !args->operands || !args->cases) {
        mp_fail(err, status, "no memory for a command line of %d words", argc);
        goto out;
    }
    scan(args, list, &count, &trouble);
    for (size_t i = 0; i < count; i++)
        if (list[i].option == MP_OPT_HELP) args->value[MP_OPT_HELP] = "";
    if (args->value[MP_OPT_HELP]) {
        status = MP_OK;
        goto out;
    }
    status = mp_command_find(args->operands, args->operand_count, &args->command, &used, err);
    if (status != MP_OK && !(used == 0 && trouble && args->operand_count == 0)) goto out;
    if (trouble == '?') {
        status = refused(args, status == MP_OK, err);
        goto out;
    }
    if (trouble == ':') {
        const mp_option_row *o = &mp_options[optopt - FIRST_OPTION];
        status = mp_fail(err, MP_EINPUT, "--%s: expected %s behind it: %s", o->name, o->argument, o->summary);
        goto out;
    }
    args->operands += used;
    args->operand_count -= used;
    for (size_t i = 0; i < count && status == MP_OK; i++) {
        const mp_option option = row_of(args->command, list[i].option);
        status = option < MP_OPTION_COUNT
                     ? take(args, option, list[i].value, err)
                     : mp_fail(err, MP_EINPUT, "%s takes no --%s", mp_commands[args->command].name,
                               mp_options[list[i].option].name);
    }
    if (status == MP_OK) status = check_operands(args, err);
    args->operands -= used;
    memmove(args->operands, args->operands + used, (size_t)args->operand_count * sizeof *args->operands);
out:
    free(list);
    return status;
}

void mp_args_free(mp_args *args) {
    free(args->operands);
    free(args->cases);
    mp_text_free(&args->edits);
    *args = (mp_args){0};
}

bool mp_args_given(const mp_args *args, mp_option option) {
    return args->value[option] != NULL;
}

const char *mp_args_text(const mp_args *args, mp_option option) {
    return args->value[option] ? args->value[option] : mp_options[option].fallback;
}

int64_t mp_args_number(const mp_args *args, mp_option option) {
    return strtoll(mp_args_text(args, option), NULL, 10); /* checked when it was parsed; 0 of a word */
}
