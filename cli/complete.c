/* SPDX-License-Identifier: Apache-2.0 */
/* Completions. Both scripts know the commands and options as this program's tables have them; matrices and
 * goldens are files, or names that `moeparity list --matrices` prints. */
#include "cli/help.h"

#include <string.h>

static void put_first_words(FILE *out, const char *separator) {
    const char *before = "";
    size_t before_length = 0;
    for (int i = 0; i < MP_COMMAND_COUNT; i++) {
        const char *name = mp_commands[i].name;
        const size_t length = strcspn(name, " ");
        if (length == before_length && strncmp(name, before, length) == 0) continue;
        fprintf(out, "%s%.*s", i == 0 ? "" : separator, (int)length, name);
        before = name;
        before_length = length;
    }
}

/* The verbs of every command that has some: `pattern` with the first word, then the verbs, then `end`. */
static void put_verbs(FILE *out, const char *pattern, const char *end) {
    for (int i = 0; i < MP_COMMAND_COUNT; i++) {
        const char *verb = strchr(mp_commands[i].name, ' ');
        if (!verb) continue;
        const size_t length = (size_t)(verb - mp_commands[i].name);
        const bool first = i == 0 || strncmp(mp_commands[i - 1].name, mp_commands[i].name, length + 1) != 0,
                   last = i + 1 == MP_COMMAND_COUNT ||
                          strncmp(mp_commands[i + 1].name, mp_commands[i].name, length + 1) != 0;
        if (first) fprintf(out, pattern, (int)length, mp_commands[i].name);
        fprintf(out, "%s%s", first ? "" : " ", verb + 1);
        if (last) fputs(end, out);
    }
}

static const char *file_pattern(mp_operands operands) {
    switch (operands) {
    case MP_OPERANDS_MATRIX: return "yaml";
    case MP_OPERANDS_GOLDEN: return "h5";
    case MP_OPERANDS_GOLDEN_MATRIX: return "h5|yaml";
    case MP_OPERANDS_TUNED: return "json";
    case MP_OPERANDS_TRACE: return "h5|hdf5|safetensors";
    case MP_OPERANDS_REPORT: return "html|json";
    case MP_OPERANDS_NONE:
    case MP_OPERANDS_COMMAND: break;
    }
    return "";
}

/* The values of an option that takes one of some words; NULL: any others. */
static const char *words_of(mp_option option) {
    if (option == MP_OPT_SUBJECT || option == MP_OPT_AGAINST || option == MP_OPT_TUNE_SUBJECT)
        return "ref host cuda auto";
    return mp_options[option].takes == MP_TAKES_CHOICE ? mp_options[option].choices : NULL;
}

/* ---- bash ---- */

/* What completes the value of an option, in the commands that take it: others may have an option of the same
 * name with other values. */
static void put_bash_value(FILE *out, mp_option option) {
    const char *words = words_of(option), *before = "    ";
    if (!words && mp_options[option].takes != MP_TAKES_FILE) return;
    for (int i = 0; i < MP_COMMAND_COUNT; i++) {
        if (!mp_command_takes((mp_command)i, option)) continue;
        fprintf(out, "%s'%s --%s'", before, mp_commands[i].name, mp_options[option].name);
        before = "|";
    }
    if (words)
        fprintf(out, ") COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", words);
    else
        fputs(") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", out);
}

void mp_help_bash(FILE *out) {
    fputs("# Completion of moeparity for bash; made by `moeparity help --bash`.\n_moeparity() {\n"
          "    local cur prev words cword\n"
          "    if declare -F _init_completion > /dev/null; then _init_completion -n = || return\n"
          "    else cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} "
          "words=(\"${COMP_WORDS[@]}\") "
          "cword=$COMP_CWORD; fi\n"
          "    local command=${words[1]} files= options=\n"
          "    if ((cword == 1)); then COMPREPLY=($(compgen -W '",
          out);
    put_first_words(out, " ");
    fputs(" --version --help' -- \"$cur\")); return; fi\n    case $command in\n", out);
    put_verbs(out, "    %.*s) if ((cword == 2)); then COMPREPLY=($(compgen -W '",
              "' -- \"$cur\")); return; fi\n"
              "        command+=\" ${words[2]}\" ;;\n");
    fputs("    help) COMPREPLY=($(compgen -W '", out);
    put_first_words(out, " ");
    fputs("' -- \"$cur\")); return ;;\n    esac\n    case \"$command $prev\" in\n", out);
    for (int i = 0; i < MP_OPTION_COUNT; i++) put_bash_value(out, (mp_option)i);
    fputs("    esac\n    case $command in\n", out);
    for (int i = 0; i < MP_COMMAND_COUNT; i++) {
        fprintf(out, "    '%s') files='%s' options='", mp_commands[i].name,
                file_pattern(mp_commands[i].operands));
        const char *blank = "";
        for (int k = 0; k < MP_OPTION_COUNT; k++) {
            if (!mp_command_takes((mp_command)i, (mp_option)k) || mp_options[k].hidden) continue;
            fprintf(out, "%s--%s", blank, mp_options[k].name);
            blank = " ";
        }
        fputs("' ;;\n", out);
    }
    fputs("    esac\n"
          "    if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
          "    elif [[ $files ]]; then\n"
          "        compopt -o filenames 2> /dev/null\n"
          "        COMPREPLY=($(compgen -d -- \"$cur\"; compgen -f -- \"$cur\" | grep -E \"\\.($files)\\$\"\n"
          "            compgen -W \"$(moeparity list --matrices 2> /dev/null | sed -n \"s/^\\([^ "
          "]*\\).*/\\1/p\" |"
          " grep -E \"\\.($files)\\$\")\" -- \"$cur\"))\n"
          "    fi\n}\ncomplete -F _moeparity moeparity\n",
          out);
}

/* ---- zsh ---- */

/* Inside '...' of a spec of _arguments: quotes, and what has a meaning in [...] and behind a colon. */
static void put_spec_text(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void put_zsh_option(FILE *out, mp_command command, mp_option option) {
    const mp_option_row *o = &mp_options[option];
    fprintf(out, "            '%s--%s%s[", o->repeats >> command & 1 ? "*" : "", o->name,
            o->argument ? "=" : "");
    put_spec_text(out, o->summary);
    fputc(']', out);
    if (o->argument) fprintf(out, ":%s:", o->argument);
    if (o->takes == MP_TAKES_FILE) fputs("_files", out);
    if (words_of(option)) fprintf(out, "(%s)", words_of(option));
    fputs("' \\\n", out);
}

void mp_help_zsh(FILE *out) {
    fputs("#compdef moeparity\n# Completion of moeparity for zsh; made by `moeparity help "
          "--zsh`.\n_moeparity() {\n"
          "    local command=$words[2]\n    if ((CURRENT == 2)); then compadd -- ",
          out);
    put_first_words(out, " ");
    fputs(" --version --help; return; fi\n    case $command in\n", out);
    put_verbs(out, "    %.*s) if ((CURRENT == 3)); then compadd -- ",
              "; return; fi\n"
              "        command+=\" $words[3]\" ;;\n");
    fputs("    help) compadd -- ", out);
    put_first_words(out, " ");
    fputs("; return ;;\n    esac\n    case $command in\n", out);
    for (int i = 0; i < MP_COMMAND_COUNT; i++) {
        const char *pattern = file_pattern(mp_commands[i].operands);
        fprintf(out, "    '%s')\n        _arguments \\\n", mp_commands[i].name);
        for (int k = 0; k < MP_OPTION_COUNT; k++)
            if (mp_command_takes((mp_command)i, (mp_option)k) && !mp_options[k].hidden)
                put_zsh_option(out, (mp_command)i, (mp_option)k);
        if (*pattern)
            fprintf(out, "            '*:file:_files -g \"*.(%s)\"' ;;\n", pattern);
        else
            fputs("            '*: :' ;;\n", out);
    }
    fputs("    esac\n}\n_moeparity \"$@\"\n", out);
}
