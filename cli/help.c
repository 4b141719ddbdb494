/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include "cli/args.h"

#include <string.h>

enum { COLUMNS = 100, OPTION_INDENT = 24, VARIABLE_INDENT = 27 };

/* Words of the text in lines that begin at column `indent`; the first one begins where the cursor is. */
static void put_wrapped(FILE *out, const char *text, int indent, int column) {
    while (*text) {
        const int length = (int)strcspn(text, " ");
        if (column > indent && column + 1 + length > COLUMNS) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", length, text);
        column += length;
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void put_option(FILE *out, const mp_option_row *o, mp_command command, bool full) {
    char name[64], letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    const int used = snprintf(name, sizeof name, "  %s--%s%s%s", letter, o->name, o->argument ? " " : "",
                              o->argument ? o->argument : "");
    fputs(name, out);
    if (used >= OPTION_INDENT)
        fprintf(out, "\n%*s", OPTION_INDENT, "");
    else
        fprintf(out, "%*s", OPTION_INDENT - used, "");
    char text[1024];
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s", o->summary, o->fallback ? " [" : "",
             o->fallback ? o->fallback : "", o->fallback ? "]" : "", full && o->details ? ". " : "",
             full && o->details ? o->details : "",
             full && o->repeats >> command & 1 ? " May be given more than once." : "");
    put_wrapped(out, text, OPTION_INDENT, OPTION_INDENT);
}

/* Each line of the usage behind the program's and the command's name. */
static void put_usage(FILE *out, const mp_command_row *c, const char *first) {
    const char *prefix = first;
    for (const char *line = c->usage;; line++) {
        const int length = (int)strcspn(line, "\n");
        fprintf(out, "%smoeparity %s%s%.*s\n", prefix, c->name, length ? " " : "", length, line);
        line += length;
        if (*line == '\0') break;
        prefix = "       ";
    }
}

void mp_help_overview(FILE *out) {
    fprintf(out, "usage: moeparity COMMAND [ARGUMENT ...]      (moeparity help COMMAND tells more)\n\n");
    for (int i = 0; i < MP_COMMAND_COUNT; i++)
        fprintf(out, "  %-16s %s\n", mp_commands[i].name, mp_commands[i].summary);
    fprintf(out, "  %-16s %s\n\nexit codes:\n", "--version", "version and commit");
    for (int i = 0; i < mp_exit_count; i++) fprintf(out, "  %2d %s\n", mp_exits[i].code, mp_exits[i].meaning);
    fprintf(out, "\nvariables of the environment:\n");
    for (int i = 0; i < mp_variable_count; i++) {
        const int used = fprintf(out, "  %-*s ", VARIABLE_INDENT - 3, mp_variables[i].name);
        put_wrapped(out, mp_variables[i].meaning, VARIABLE_INDENT, used);
    }
}

void mp_help_command(FILE *out, mp_command command, bool full) {
    const mp_command_row *c = &mp_commands[command];
    put_usage(out, c, "usage: ");
    if (full) {
        fprintf(out, "\n%s:", c->name);
        put_wrapped(out, c->summary, 0, (int)strlen(c->name) + 1);
        if (c->details) put_wrapped(out, c->details, 0, 0);
        fputc('\n', out);
    }
    for (int i = 0; i < MP_OPTION_COUNT; i++)
        if (mp_command_takes(command, (mp_option)i) && !mp_options[i].hidden)
            put_option(out, &mp_options[i], command, full);
}

mp_status mp_help_words(FILE *out, char *const *words, int count, bool full, mp_error *err) {
    mp_command command;
    int used;
    bool any = false;
    if (count == 0) {
        mp_help_overview(out);
        return MP_OK;
    }
    for (int i = 0; i < MP_COMMAND_COUNT && count == 1; i++) { /* "golden" is several */
        const size_t length = strlen(words[0]);
        if (strncmp(mp_commands[i].name, words[0], length) != 0 || mp_commands[i].name[length] != ' ')
            continue;
        if (any) fputc('\n', out);
        mp_help_command(out, (mp_command)i, full);
        any = true;
    }
    if (any) return MP_OK;
    const mp_status status = mp_command_find(words, count, &command, &used, err);
    if (status == MP_OK) mp_help_command(out, command, full);
    return status;
}
