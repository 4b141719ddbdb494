/* SPDX-License-Identifier: Apache-2.0 */
/* The last lines of a run: how many cases came to what, what was not asked of them, and beside what they were
 * judged. */
#include "harness/judge/sharper.h"
#include "reports/report.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* What a verdict has to say about something; "": nothing. */
typedef const char *words_of(const mp_verdict *v);

static const char *words_of_skip(const mp_verdict *v) {
    return v->outcome == MP_SKIP ? v->reason : "";
}

static const char *words_of_tiles(const mp_verdict *v) {
    return v->config_note;
}

static const char *words_of_device(const mp_verdict *v) {
    return v->device;
}

/* Why a case was not compared with the golden that was given. */
static const char *words_of_golden(const mp_verdict *v) {
    const mp_check_result *golden = &v->check[MP_CHECK_GOLDEN];
    const bool judged = v->outcome == MP_PASS || v->outcome == MP_FAIL;
    return judged && golden->answer == MP_NOT_JUDGED && strcmp(golden->text, MP_NO_GOLDEN) != 0 ? golden->text
                                                                                                : "";
}

/* One line for every distinct text, in order of first appearance: to how many cases it applies, and of one
 * that is not told by its own row, to which first. */
static void put_groups(FILE *out, const mp_verdict *verdicts, size_t count, words_of *words, const char *what,
                       bool name_first) {
    for (size_t i = 0; i < count; i++) {
        const char *text = words(&verdicts[i]);
        size_t first = 0, same = 0;
        while (strcmp(words(&verdicts[first]), text) != 0) first++;
        if (text[0] == '\0' || first < i) continue;
        for (size_t k = i; k < count; k++) same += strcmp(words(&verdicts[k]), text) == 0;
        fprintf(out, "  %s %zu case%s%s%s%s: ", what, same, same == 1 ? "" : "s", name_first ? " (" : "",
                name_first ? verdicts[i].name : "",
                !name_first ? ""
                : same == 1 ? ")"
                            : ", ...)");
        mp_report_put(out, text);
        fputc('\n', out);
    }
}

/* The end of the number that begins at `at`, behind a blank or first in the text; NULL: none does. */
static const char *number_end(const char *text, const char *at) {
    char *end = NULL;
    if (!isdigit((unsigned char)*at) || (at > text && at[-1] != ' ')) return NULL;
    strtod(at, &end);
    return end;
}

/* Whether two texts differ in numbers alone, if at all. */
static bool alike(const char *a, const char *b) {
    const char *at = a, *bt = b;
    while (*at != '\0') {
        const char *end = number_end(a, at), *other = number_end(b, bt);
        if (end && other) {
            at = end;
            bt = other;
        } else if (*at++ != *bt++) {
            return false;
        }
    }
    return *bt == '\0';
}

static const char *nth_number(const char *text, int n) {
    for (const char *at = text; *at != '\0';) {
        const char *end = number_end(text, at);
        if (end && n-- == 0) return at;
        at = end ? end : at + 1;
    }
    return NULL;
}

static void put_number(mp_text *to, const char *number) {
    mp_text_add(to, "%.*s", (int)(number_end(number, number) - number), number);
}

/* What is weaker, once for all cases whose texts differ in numbers alone: each number is told as the least
 * and the largest of its place. How much wider a contract is depends on the shape, so that of a matrix of
 * many shapes there is a text for each. */
static void put_weaker(FILE *out, const mp_verdict *verdicts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *text = verdicts[i].weaker, *at = text;
        size_t first = 0, same = 0;
        mp_text all = {0};
        while (!alike(verdicts[first].weaker, text)) first++;
        if (text[0] == '\0' || first < i) continue;
        for (int n = 0; *at != '\0';) {
            const char *end = number_end(text, at), *least = at, *most = at;
            if (!end) {
                mp_text_add(&all, "%c", *at++);
                continue;
            }
            for (size_t k = i + 1; k < count; k++) {
                if (!alike(verdicts[k].weaker, text)) continue;
                const char *number = nth_number(verdicts[k].weaker, n);
                if (strtod(number, NULL) < strtod(least, NULL)) least = number;
                if (strtod(number, NULL) > strtod(most, NULL)) most = number;
            }
            put_number(&all, least);
            if (strtod(most, NULL) > strtod(least, NULL)) {
                mp_text_add(&all, " to ");
                put_number(&all, most);
            }
            at = end;
            n++;
        }
        for (size_t k = i; k < count; k++) same += alike(verdicts[k].weaker, text);
        fprintf(out, "  weaker checks in %zu case%s: ", same, same == 1 ? "" : "s");
        mp_report_put(out, mp_text_get(&all));
        fputc('\n', out);
        mp_text_free(&all);
    }
}

/* Who promises nothing is told what finds out the promise: of subjects that are somebody's own, whose
 * arithmetic nobody but infer can tell. */
static void put_infer(FILE *out, const mp_run_info *info, const mp_verdict *verdicts, size_t count) {
    mp_text line = {0};
    bool unpromised = false;
    for (size_t i = 0; i < count; i++) unpromised |= mp_sharper_told(verdicts[i].weaker);
    if (!unpromised ||
        (strncmp(info->subject, "plugin:", 7) != 0 && strncmp(info->subject, "worker:", 7) != 0))
        return;
    mp_text_add(&line, "  moeparity infer --subject ");
    mp_text_add_word(&line, info->subject);
    mp_text_add(&line, " finds a sharper contract");
    mp_report_put(out, mp_text_get(&line));
    fputc('\n', out);
    mp_text_free(&line);
}

/* A pass says nothing about a question that was not asked, so the summary says which were not. */
static void put_not_judged(FILE *out, const mp_verdict *verdicts, size_t count) {
    bool first = true;
    for (int check = 0; check < MP_CHECK_COUNT; check++) {
        size_t cases = 0;
        for (size_t i = 0; i < count; i++)
            cases += (verdicts[i].outcome == MP_PASS || verdicts[i].outcome == MP_FAIL) &&
                     verdicts[i].check[check].answer == MP_NOT_JUDGED;
        if (cases == 0) continue;
        fprintf(out, "%s %s %zu", first ? "  not judged (cases):" : ",", mp_check_name((mp_check)check),
                cases);
        first = false;
    }
    if (!first) fputc('\n', out);
}

/* How much of what a GPU measures the CPU has measured: little, but of what is special or fails. */
static void put_by_cpu(FILE *out, const mp_verdict *verdicts, size_t count) {
    int64_t by_cpu = 0, all = 0;
    for (size_t i = 0; i < count; i++)
        for (int s = 0; s < MP_STAGE_COUNT; s++) {
            const mp_stage_figures *f = &verdicts[i].stage[s];
            by_cpu += f->by_cpu;
            if (f->by_cpu > 0) all += f->compared;
        }
    if (all > 0)
        fprintf(out, "  measured by the CPU: %lld of %lld elements of stages that a GPU measures\n",
                (long long)by_cpu, (long long)all);
}

static const char *predicted_by(const mp_run_info *info) {
    if (strcmp(info->subject, "host") != 0) return "";
    return info->settings && strstr(info->settings, "--contract ") ? " (prediction by the --contract)"
                                                                   : " (prediction of sm_90)";
}

/* The host subject runs on the CPU, and says by which arithmetic. Nothing where no subject could be opened:
 * the reasons of the skips say why. */
static void put_subject(FILE *out, const mp_run_info *info) {
    if (info->subject[0] == '\0') return;
    fprintf(out, "subject %s%s on ", info->subject, predicted_by(info));
    mp_report_put(out, info->device[0] != '\0' ? info->device : info->host);
    if (info->versions[0] != '\0') {
        fprintf(out, ", ");
        mp_report_put(out, info->versions);
    }
    fprintf(out, "; reference %s\n", info->blas[0] != '\0' ? info->blas : "plain loops");
}

void mp_report_summary(FILE *out, const mp_run_info *info, const mp_tally *tally, const mp_verdict *verdicts,
                       size_t count) {
    fprintf(out,
            "%lld case%s: %lld passed, %lld failed, %lld skipped, %lld crashed, %lld timed out in %.1f s\n",
            (long long)tally->total, tally->total == 1 ? "" : "s", (long long)tally->count[MP_PASS],
            (long long)tally->count[MP_FAIL], (long long)tally->count[MP_SKIP],
            (long long)tally->count[MP_CRASH], (long long)tally->count[MP_TIMEOUT], info->seconds);
    put_groups(out, verdicts, count, words_of_skip, "skipped", false);
    put_not_judged(out, verdicts, count);
    put_by_cpu(out, verdicts, count);
    put_groups(out, verdicts, count, words_of_golden, "not compared with the golden:", true);
    put_groups(out, verdicts, count, words_of_tiles, "tiles of", false);
    put_weaker(out, verdicts, count);
    put_infer(out, info, verdicts, count);
    put_groups(out, verdicts, count, words_of_device, "device of", false);
    for (size_t i = 0; i < count; i++) {
        if (verdicts[i].outcome == MP_PASS || verdicts[i].outcome == MP_SKIP) continue;
        fprintf(out, "  %s %s\n", mp_outcome_name(verdicts[i].outcome), verdicts[i].name);
    }
    put_subject(out, info);
    if (info->interrupted) fprintf(out, "interrupted: the figures cover only the cases run so far\n");
}
