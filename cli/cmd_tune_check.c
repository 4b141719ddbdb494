/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity tune check: whether a certificate proves its file. */
#include "cli/common.h"
#include "cli/tune.h"
#include "reports/certificate.h"
#include "reports/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Proves the file once more, as the certificate says that it was proven. What somebody's record names as a
 * program is not started for that: who trusts it says so by --subject. */
static mp_status again(const mp_args *args, const json_t *certificate, const char *file, int *code,
                       mp_error *err) {
    mp_tune_request request = mp_certificate_request(certificate, file);
    mp_tune_result *result = calloc(1, sizeof *result);
    mp_run_info info;
    mp_status status = mp_cli_run_info(args, &info, err);
    if (mp_args_given(args, MP_OPT_TUNE_SUBJECT))
        request.suite.settings.subject = mp_cli_tune_request(args, file).suite.settings.subject;
    else if (status == MP_OK && mp_subject_is_foreign(request.suite.settings.subject))
        status = mp_fail(err, MP_EINPUT,
                         "the certificate names the subject %s: --again starts it only where "
                         "--subject names it, too",
                         request.suite.settings.subject);
    const char *beside = json_string_value(json_object_get(json_object_get(certificate, "how"), "against"));
    if (status == MP_OK && beside)
        mp_cli_say(stdout, "note: --again repeats no times: tune verify --against %s measures them anew",
                   beside);
    if (status == MP_OK && !result) status = mp_fail(err, MP_EMEMORY, "no memory for a result");
    if (status == MP_OK) status = mp_cli_tune_prove(args, &request, result, &info, err);
    if (status == MP_OK) {
        fputc('\n', stdout);
        mp_report_tune(stdout, result, &info, false);
        *code = mp_tune_exit_code(result, &info);
    }
    if (result) mp_tune_result_free(result);
    free(result);
    mp_run_info_free(&info);
    return status;
}

/* The number of a text that begins with it, as "M=8: ..." does; NULL where it begins otherwise. */
static const char *number_of(const char *text) {
    static const char *const names[] = {"M=", "key "};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(text, names[i], strlen(names[i])) == 0) return text + strlen(names[i]);
    return NULL;
}

static bool differ_in_number(const char *a, const char *b) {
    const char *x = number_of(a), *y = number_of(b);
    return x && y && x - a == y - b && strcmp(x + strspn(x, "0123456789"), y + strspn(y, "0123456789")) == 0;
}

/* What speaks against a certificate; of what is said of many batch sizes or keys one line: M=1 2 3: ... */
static void print_against(const mp_texts *against) {
    for (size_t i = 0, next; i < against->count; i = next) {
        const char *first = against->text[i], *number = number_of(first);
        const size_t digits = number ? strspn(number, "0123456789") : 0;
        next = i + 1;
        while (next < against->count && differ_in_number(first, against->text[next])) next++;
        if (next == i + 1) {
            mp_cli_say(stdout, "[FAIL] %s", first);
            continue;
        }
        printf("[FAIL] %.*s", (int)(number - first + (ptrdiff_t)digits), first);
        for (size_t j = i + 1; j < next; j++) {
            const char *other = number_of(against->text[j]);
            printf(" %.*s", (int)strspn(other, "0123456789"), other);
        }
        mp_cli_say(stdout, "%s", number + digits);
    }
}

int mp_cmd_tune_check(const mp_args *args) {
    const char *path = args->operands[0], *named = mp_args_text(args, MP_OPT_TUNE_FILE);
    mp_texts against = {0}, notes = {0};
    mp_error err = {0};
    json_t *certificate = NULL;
    int code = MP_EXIT_OK, second = MP_EXIT_OK;
    mp_status status = mp_certificate_read(path, &certificate, &err);
    char *found = status == MP_OK ? mp_certificate_file(path, certificate) : NULL;
    const char *file = named ? named : found;
    if (status == MP_OK && !file) status = mp_fail(&err, MP_EMEMORY, "no memory for a path");
    if (status == MP_OK)
        status = mp_certificate_check(certificate, file, mp_args_text(args, MP_OPT_TUNE_REPORT), &against,
                                      &notes, &err);
    if (status == MP_OK) {
        print_against(&against);
        for (size_t i = 0; i < notes.count; i++) mp_cli_say(stdout, "note: %s", notes.text[i]);
        mp_cli_say(stdout, "%s: %s %s", path, against.count ? "does not prove" : "proves", file);
        code = against.count ? MP_EXIT_FAILURE : MP_EXIT_OK;
        if (mp_args_given(args, MP_OPT_TUNE_AGAIN)) status = again(args, certificate, file, &second, &err);
        if (code == MP_EXIT_OK) code = second;
    }
    json_decref(certificate);
    free(found);
    mp_texts_free(&against);
    mp_texts_free(&notes);
    return status == MP_OK ? code : mp_cli_fail(&err);
}
