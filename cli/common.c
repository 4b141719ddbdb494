/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/common.h"

#include "base/file.h"
#include "base/printable.h"
#include "base/text.h"
#include "cli/find.h"
#include "commit.h"
#include "harness/run/settings.h"
#include "harness/verdict_make.h"
#include "moeparity/version.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int mp_cli_fail(const mp_error *err) {
    fprintf(stderr, "moeparity: %s\n", err->text);
    return mp_exit_code_of(err->status);
}

int mp_cli_usage(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("moeparity: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return MP_EXIT_USAGE;
}

void mp_cli_say(FILE *to, const char *format, ...) {
    mp_text text = {0};
    va_list args;
    va_start(args, format);
    mp_text_vadd(&text, format, args);
    va_end(args);
    const size_t size = 4 * text.length + 1; /* a byte becomes four at most */
    char *printable = malloc(size);
    if (printable) mp_text_printable(mp_text_get(&text), printable, size);
    fprintf(to, "%s\n", printable ? printable : MP_TEXT_LOST);
    free(printable);
    mp_text_free(&text);
}

int mp_cli_finish(int code) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    fprintf(stderr, "moeparity: cannot write to the standard output: %s\n", strerror(errno));
    return code == MP_EXIT_OK || code == MP_EXIT_SKIPPED ? MP_EXIT_BROKEN : code;
}

mp_status mp_paths_find(mp_paths *paths, char *const *matrices, int count, mp_error *err) {
    *paths = (mp_paths){.path = calloc((size_t)count + 1, sizeof(char *))};
    for (int i = 0; paths->path && i < count; i++) {
        if (!(paths->path[i] = mp_find(MP_SUPPLY_MATRIX, matrices[i]))) break;
        paths->count++;
    }
    return paths->count == (size_t)count ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for %d paths", count);
}

void mp_paths_free(mp_paths *paths) {
    for (size_t i = 0; i < paths->count; i++) free(paths->path[i]);
    free(paths->path);
    *paths = (mp_paths){0};
}

mp_status mp_cli_matrix(const mp_args *args, const mp_paths *matrices, mp_matrix *matrix, mp_error *err) {
    mp_tier tier = MP_CI;
    mp_status status = MP_OK;
    if (args->case_count == 0 && matrices->count == 0)
        return mp_fail(
            err, MP_EINPUT, "no cases: name a matrix file%s",
            mp_command_takes(args->command, MP_OPT_CASE) ? ", or give --case 'M=32 topk=2 act=silu'" : "");
    if (args->case_count > 0 && matrices->count > 0)
        return mp_fail(err, MP_EINPUT, "--case and the matrix file %s exclude each other", matrices->path[0]);
    if (args->case_count > 0 && mp_args_given(args, MP_OPT_TIER))
        return mp_fail(err, MP_EINPUT, "--case and --tier exclude each other: a single case has no tier");
    mp_tier_parse(mp_args_text(args, MP_OPT_TIER), &tier); /* one of the choices */
    if (args->case_count > 0) tier = MP_FULL;
    for (size_t i = 0; i < args->case_count && status == MP_OK; i++)
        status =
            mp_matrix_add(matrix, args->cases[i].text, args->cases[i].pairs, args->cases[i].pair_count, err);
    for (size_t i = 0; i < args->case_count && status == MP_OK; i++)
        for (size_t k = 0; k < args->cases[i].after_count && status == MP_OK; k++)
            status = mp_matrix_add_after(matrix, args->cases[i].text, args->cases[i].afters[k], err);
    for (size_t i = 0; i < matrices->count && status == MP_OK; i++) {
        const char *path = matrices->path[i];
        status = mp_matrix_load(matrix, path, err);
        if (status != MP_OK && !strchr(path, '/') && access(path, F_OK) != 0)
            status = mp_fail(err, MP_EINPUT,
                             "%s: %m; expected a matrix file, or a name that moeparity list --matrices tells",
                             path);
    }
    for (size_t i = 0; i < matrix->count && status == MP_OK; i++)
        if (matrix->rows[i].c.data == MP_FROM_FILE)
            status = mp_fail(err, MP_EINPUT,
                             "data=file: the numbers of such a case are in a file, and no family: moeparity "
                             "judge FILE");
    return status == MP_OK ? mp_matrix_select(matrix, tier, mp_args_text(args, MP_OPT_MATCH), err) : status;
}

mp_status mp_cli_output(const char *path, const char *const *others, size_t count, mp_error *err) {
    if (!path) return MP_OK;
    for (size_t i = 0; i < count; i++)
        if (others[i] && mp_file_same(path, others[i]))
            return mp_fail(err, MP_EINPUT, "%s would be overwritten: it is named twice", path);
    return mp_file_writable(path, err);
}

/* Whether what stands at `path` may be replaced by a file that begins so. */
static bool replaceable(const char *path, const char *begins) {
    char head[16];
    struct stat status;
    const size_t length = strlen(begins);
    assert(length <= sizeof head);
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) return true;
    FILE *file = fopen(path, "rb");
    if (!file) return true; /* whether it can be replaced is another question */
    const bool same = fread(head, 1, length, file) == length && memcmp(head, begins, length) == 0;
    fclose(file);
    return same;
}

mp_status mp_cli_first_output(const char *path, const char *begins, const char *what, mp_error *err) {
    if (replaceable(path, begins)) return MP_OK;
    return mp_fail(err, MP_EINPUT,
                   "%s would be overwritten, and is no %s: name the file to write first, or remove it", path,
                   what);
}

mp_status mp_cli_replaces(const mp_args *args, mp_option option, const char *begins, const char *what,
                          mp_error *err) {
    const char *path = mp_args_text(args, option), *name = mp_options[option].name;
    if (path && strcmp(path, "-") == 0)
        return mp_fail(
            err, MP_EINPUT,
            "--%s -: expected the name of a file: the standard output has the rows (./- is a file)", name);
    if (!path || replaceable(path, begins)) return MP_OK;
    return mp_fail(err, MP_EINPUT,
                   "%s would be overwritten, and is no %s: name another file behind --%s, or remove it", path,
                   what, name);
}

mp_status mp_cli_reports_replace_reports(const mp_args *args, mp_error *err) {
    static const struct {
        mp_option option;
        const char *begins, *what;
    } kinds[] = {
        {MP_OPT_JSON, MP_BEGINS_JSON, "JSON report"},     {MP_OPT_HTML, MP_BEGINS_HTML, "page"},
        {MP_OPT_JUNIT, MP_BEGINS_XML, "XML report"},      {MP_OPT_SVG, MP_BEGINS_SVG, "picture"},
        {MP_OPT_SARIF, MP_BEGINS_JSON, "SARIF file"},     {MP_OPT_WRITE_BASELINE, MP_BEGINS_JSON, "baseline"},
        {MP_OPT_TUNE_OUT, MP_BEGINS_JSON, "certificate"}, {MP_OPT_SUMMARY, "", "text"},
    };
    mp_status status = MP_OK;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && status == MP_OK; i++)
        status = mp_cli_replaces(args, kinds[i].option, kinds[i].begins, kinds[i].what, err);
    return status;
}

mp_settings mp_cli_settings(const mp_args *args) {
    mp_settings settings = {0};
    for (int i = 0; i < mp_setting_count; i++) {
        const mp_setting *row = &mp_setting_rows[i];
        bool known = !row->option;
        for (int k = 0; row->option && k < MP_OPTION_COUNT; k++) {
            const mp_option option = (mp_option)k;
            if (strcmp(mp_options[k].name, row->option) != 0) continue;
            known = true;
            if (!mp_command_takes(args->command, option)) continue;
            const bool flag = row->kind == MP_SETTING_FLAG, text = row->kind == MP_SETTING_TEXT;
            mp_setting_set(&settings, row, text ? mp_args_text(args, option) : NULL,
                           text   ? 0
                           : flag ? mp_args_given(args, option)
                                  : (double)mp_args_number(args, option));
        }
        assert(known); /* both tables name it alike */
    }
    return settings;
}

mp_config_query mp_cli_query(const mp_args *args) {
    return (mp_config_query){.device = mp_args_text(args, MP_OPT_DEVICE),
                             .triton = mp_args_text(args, MP_OPT_TRITON),
                             .file = mp_args_text(args, MP_OPT_CONFIG)};
}

static void cpu_model(char *text, size_t size) {
    char line[256];
    snprintf(text, size, "unknown CPU");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        const char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (!value) continue;
        snprintf(text, size, "%.100s", value + 2);
        for (size_t end = strlen(text); end > 0 && isspace((unsigned char)text[end - 1]); end--)
            text[end - 1] = '\0'; /* some CPUs pad their name */
        break;
    }
    if (file) fclose(file);
}

const char *mp_cli_compiler(void) {
#ifdef __clang__
    return __VERSION__; /* begins with the name */
#else
    return "gcc " __VERSION__;
#endif
}

mp_status mp_cli_source_date(bool *given, time_t *date, mp_error *err) {
    enum { LAST_YEAR = 9999 };
    const char *text = getenv("SOURCE_DATE_EPOCH");
    *given = text && *text;
    if (!*given) return MP_OK;
    char *end = NULL;
    errno = 0;
    const long long seconds = strtoll(text, &end, 10);
    if (errno || *end || !isdigit((unsigned char)text[0]) || seconds / 31556952 > LAST_YEAR - 1970)
        return mp_fail(err, MP_EINPUT, "SOURCE_DATE_EPOCH=%s: expected a number of seconds since 1970", text);
    if (date) *date = (time_t)seconds;
    return MP_OK;
}

mp_status mp_cli_run_info(const mp_args *args, mp_run_info *info, mp_error *err) {
    char text[128];
    bool fixed;
    time_t date = time(NULL);
    struct tm utc;
    mp_run_info_init(info);
    const mp_status status = mp_cli_source_date(&fixed, &date, err);
    if (status != MP_OK) return status;
    mp_run_info_set(info, &info->version, "%s", mp_version());
    mp_run_info_set(info, &info->commit, "%s", MP_COMMIT);
    cpu_model(text, sizeof text);
    mp_run_info_set(info, &info->host, "%s", text);
    mp_text words = {0};
    mp_text_add(&words, "moeparity");
    for (int i = 1; i < args->argc; i++) {
        mp_text_add(&words, " ");
        mp_text_add_word(&words, args->argv[i]);
    }
    mp_run_info_set(info, &info->command, "%s", mp_text_get(&words));
    mp_text_free(&words);
    gmtime_r(&date, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    mp_run_info_set(info, &info->date, "%s", text);
    return MP_OK;
}
