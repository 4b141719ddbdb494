#include "cli/common.h"

#include "base/file.h"
#include "harness/subjects/subject.h"
#include "reports/report.h"
#include "version.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int mp_cli_fail(const mp_error *err) {
    fprintf(stderr, "moeparity: %s\n", err->text);
    switch (err->status) {
    case MP_OK: return MP_EXIT_OK;
    case MP_EINPUT:
    case MP_EIO: return MP_EXIT_USAGE;
    case MP_EUNSUPPORTED: return mp_gpu_required() ? MP_EXIT_BROKEN : MP_EXIT_SKIPPED;
    default: return MP_EXIT_BROKEN;
    }
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

mp_status mp_cli_matrix(const mp_cli_selection *s, char *const *paths, int path_count, mp_matrix *matrix,
                        mp_error *err) {
    mp_tier tier = MP_CI;
    mp_status status = MP_OK;
    if (!s->case_text && path_count == 0)
        return mp_fail(err, MP_EINPUT, "no cases: name a matrix file%s",
                       s->takes_case ? ", or give --case 'M=32 topk=2 act=silu'" : "");
    if (s->case_text && path_count > 0)
        return mp_fail(err, MP_EINPUT, "--case and the matrix file %s exclude each other", paths[0]);
    if (s->pair_count > 0 && !s->case_text)
        return mp_fail(err, MP_EINPUT, "--pair goes with --case; a matrix file has its own pairs");
    if (s->tier && !mp_tier_parse(s->tier, &tier))
        return mp_fail(err, MP_EINPUT, "unknown tier '%s': expected smoke, ci or full", s->tier);
    if (s->case_text) {
        tier = MP_FULL;
        status = mp_matrix_add(matrix, s->case_text, s->pairs, s->pair_count, err);
    }
    for (int i = 0; i < path_count && status == MP_OK; i++) status = mp_matrix_load(matrix, paths[i], err);
    return status == MP_OK ? mp_matrix_select(matrix, tier, s->match, err) : status;
}

/* Verdicts of rows that were not reached before Ctrl-C have no name: they are left out of the reports. */
static size_t keep_reached(mp_verdict *verdicts, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (verdicts[i].name[0]) {
            if (kept != i) {
                verdicts[kept] = verdicts[i];
                mp_verdict_init(&verdicts[i]);
            }
            kept++;
        }
    return kept;
}

int mp_cli_conclude(mp_run_info *info, mp_verdict *verdicts, size_t *count) {
    mp_tally tally = {0};
    *count = keep_reached(verdicts, *count);
    for (size_t i = 0; i < *count; i++) mp_tally_add(&tally, &verdicts[i]);
    mp_run_info_set(info, &info->versions, "%s%s%s", info->versions, info->versions[0] ? ", " : "",
                    mp_cli_compiler());
    mp_report_summary(stdout, info, &tally, verdicts, *count);
    const int code = mp_report_exit_code(info, &tally);
    if (code == MP_EXIT_BROKEN && mp_tally_exit_code(&tally) == MP_EXIT_SKIPPED && !info->interrupted)
        fprintf(stderr, "moeparity: MOEPARITY_REQUIRE_GPU is set and every case was skipped\n");
    return code;
}

mp_status mp_cli_output(const char *path, const char *const *others, size_t count, mp_error *err) {
    if (!path) return MP_OK;
    for (size_t i = 0; i < count; i++)
        if (others[i] && mp_file_same(path, others[i]))
            return mp_fail(err, MP_EINPUT, "%s would be overwritten: it is named twice", path);
    return mp_file_writable(path, err);
}

int mp_cli_finish(int code) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    fprintf(stderr, "moeparity: cannot write to the standard output: %s\n", strerror(errno));
    return code == MP_EXIT_OK || code == MP_EXIT_SKIPPED ? MP_EXIT_BROKEN : code;
}

mp_status mp_cli_number(const char *option, const char *text, int64_t lo, int64_t hi, int64_t *value,
                        mp_error *err) {
    char *end = NULL;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < lo || number > hi)
        return mp_fail(err, MP_EINPUT, "%s %s: expected a whole number from %lld to %lld", option, text,
                       (long long)lo, (long long)hi);
    *value = number;
    return MP_OK;
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

void mp_cli_run_info(int argc, char **argv, mp_run_info *info) {
    char text[128];
    mp_run_info_init(info);
    mp_run_info_set(info, &info->version, "%s", MP_VERSION);
    mp_run_info_set(info, &info->commit, "%s", MP_COMMIT);
    cpu_model(text, sizeof text);
    mp_run_info_set(info, &info->host, "%s", text);
    mp_text words = {0};
    const char *command = strchr(argv[0], ' '); /* "moeparity: run" */
    mp_text_add(&words, "moeparity%s", command ? command : "");
    for (int i = 1; i < argc; i++) {
        mp_text_add(&words, " ");
        mp_text_add_word(&words, argv[i]);
    }
    mp_run_info_set(info, &info->command, "%s", mp_text_get(&words));
    mp_text_free(&words);
    const time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    mp_run_info_set(info, &info->date, "%s", text);
}
