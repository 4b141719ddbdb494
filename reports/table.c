/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal table: one row a case, as the field's parity tables read, and under a row that is not OK what
 * a kernel author needs next: which check, which element, how to run it again. */
#include "reports/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct figure_text {
    char text[40];
} figure_text;

/* printf's sign of a NaN means nothing: "-nan" is "nan". */
static figure_text scientific(double value) {
    figure_text t = {"nan"};
    if (!isnan(value)) snprintf(t.text, sizeof t.text, "%.2e", value);
    return t;
}

static figure_text plain(double value, int digits) {
    figure_text t = {"nan"};
    if (!isnan(value)) snprintf(t.text, sizeof t.text, "%.*g", digits, value);
    return t;
}

void mp_report_put(FILE *out, const char *text) {
    for (; *text != '\0'; text++) fputc((unsigned char)*text < 0x20 || *text == 0x7F ? ' ' : *text, out);
}

/* The pair to show: a broken promise before a difference that was only measured, then the larger difference;
 * NaN is the largest. */
static const mp_pair_figures *worst_pair(const mp_verdict *v) {
    const mp_pair_figures *worst = NULL;
    for (int i = 0; i < v->pair_count; i++) {
        const mp_pair_figures *p = &v->pair[i];
        if (worst == NULL) {
            worst = p;
            continue;
        }
        bool broken = p->required && p->differing > 0, worst_broken = worst->required && worst->differing > 0;
        if (broken != worst_broken) {
            if (broken) worst = p;
        } else if (p->bits_equal != worst->bits_equal) {
            if (!p->bits_equal) worst = p;
        } else if (!isnan(worst->max_abs) && !(p->max_abs <= worst->max_abs)) {
            worst = p;
        }
    }
    return worst;
}

static void put_pairs(FILE *out, const mp_verdict *v) {
    const mp_pair_figures *worst = worst_pair(v);
    if (worst == NULL) {
        fprintf(out, "  diff=n/a bits=not judged");
        return;
    }
    if (worst->differing == 0 && !worst->bits_equal) {
        fprintf(out, "  diff=n/a bits=not judged (");
        mp_report_put(out, worst->text);
        fprintf(out, ")");
        return;
    }
    int equal = 0;
    for (int i = 0; i < v->pair_count; i++) equal += v->pair[i].bits_equal;
    fprintf(out, "  diff=%s bits=%s (", scientific(worst->max_abs).text,
            worst->bits_equal ? "equal" : "differ");
    if (v->pair_count > 1)
        fprintf(out, "%d/%d pairs equal%s", equal, v->pair_count, worst->bits_equal ? "" : "; worst ");
    if (v->pair_count == 1 || !worst->bits_equal) mp_report_put(out, worst->text);
    fprintf(out, "%s)", worst->bits_equal || worst->required ? "" : ", equality not promised");
}

/* What a pass does not cover. */
static void put_left_open(FILE *out, const mp_check_result *check) {
    if (check->answer != MP_PASSED || !check->text[0]) return;
    fputs(" but ", out);
    mp_report_put(out, check->text);
}

static void put_figures(FILE *out, const mp_verdict *v) {
    bool numbers = false;
    for (int i = 0; i < MP_STAGE_COUNT; i++) numbers |= i != MP_ALIGN && v->stage[i].judged;
    const mp_stage_figures *align = &v->stage[MP_ALIGN];
    if (!numbers && align->judged) {
        fprintf(out, "  align: %lld of %lld integers equal", (long long)align->bit_equal,
                (long long)align->compared);
    } else if (!numbers) {
        fprintf(out, "  f64: not judged");
    } else {
        const int stage = mp_verdict_worst_stage(v);
        const mp_stage_figures *worst = &v->stage[stage];
        fprintf(out, "  f64: max-abs=%s err/bound=%s", scientific(mp_verdict_max_abs(v)).text,
                plain(worst->max_ratio, 3).text);
        if (stage == MP_ACT && !v->stage[MP_GATE_UP].judged)
            fprintf(out, " worst-ulp=%s", plain(worst->max_error_ulps, 4).text); /* the activation alone */
        if (worst->max_ratio != 0) fprintf(out, " worst=%s", mp_stage_name((mp_stage)stage));
        const int drifting = mp_verdict_drift_stage(v);
        fprintf(out, " drift=%s", plain(v->stage[drifting].max_drift, 2).text);
        if (v->stage[drifting].max_drift != 0) fprintf(out, " in %s", mp_stage_name((mp_stage)drifting));
        put_left_open(out, &v->check[MP_CHECK_BOUND]);
    }
    int64_t predicted = 0, mispredicted = 0;
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        predicted += v->stage[i].predicted;
        mispredicted += v->stage[i].mispredicted;
    }
    if (predicted > 0 && mispredicted == 0) {
        fprintf(out, "  predicted=equal");
        put_left_open(out, &v->check[MP_CHECK_BITS]);
    }
    if (mispredicted > 0)
        fprintf(out, "  predicted=differ in %lld of %lld", (long long)mispredicted, (long long)predicted);
    const mp_check_result *golden = &v->check[MP_CHECK_GOLDEN];
    if (golden->answer == MP_PASSED) {
        fprintf(out, "  golden=equal");
        put_left_open(out, golden);
    }
}

/* "[3,1,17]": the place of an element in the stage's output; its flat index where the shape is not told. */
static void put_place(FILE *out, const mp_stage_figures *f, int64_t flat) {
    int64_t index[MP_MAX_RANK] = {flat};
    const int rank = mp_stage_index(f, flat, index);
    fprintf(out, "[%lld", (long long)(rank > 0 ? index[0] : flat));
    for (int i = 1; i < rank; i++) fprintf(out, ",%lld", (long long)index[i]);
    fputc(']', out);
}

static void put_stage_failure(FILE *out, const char *name, const mp_stage_figures *f) {
    if (f->failed == 0) return;
    fprintf(out, "        %s: %lld of %lld elements beyond their bound", name, (long long)f->failed,
            (long long)f->compared);
    if (f->worst_index >= 0) {
        fputs("; worst ", out);
        put_place(out, f, f->worst_index);
        fprintf(out, ": %s, expected %s, bound %s, err/bound=%s", plain(f->worst_value, 9).text,
                plain(f->worst_expected, 9).text, scientific(f->worst_bound).text,
                plain(f->max_ratio, 3).text);
    }
    fputc('\n', out);
}

/* Every stage whose bits are not the predicted ones, not the first alone. */
static void put_stage_bits(FILE *out, const char *name, const mp_stage_figures *f) {
    if (f->mispredicted == 0) return;
    fprintf(out, "        %s: %lld of %lld elements differ from the prediction; first ", name,
            (long long)f->mispredicted, (long long)f->predicted);
    put_place(out, f, f->first_index);
    fprintf(out, ": %s, predicted %s", plain(f->first_value, 9).text, plain(f->first_predicted, 9).text);
    if (f->max_ulps == INT64_MAX)
        fputs("; NaN on one side\n", out);
    else
        fprintf(out, "; by at most %lld ulp\n", (long long)f->max_ulps);
}

static void put_failures(FILE *out, const mp_verdict *v) {
    bool reason_said = v->reason[0] == '\0';
    if (v->begins[0] != '\0') {
        fputs("        ", out);
        mp_report_put(out, v->begins);
        fputc('\n', out);
    }
    for (int i = 0; i < MP_CHECK_COUNT; i++) {
        const mp_check_result *check = &v->check[i];
        if (check->answer != MP_FAILED) continue;
        fprintf(out, "        %s: ", mp_check_name((mp_check)i));
        mp_report_put(out, check->text);
        if (check->failures > 1) fprintf(out, " (and %d more)", check->failures - 1);
        fputc('\n', out);
        reason_said = reason_said || strstr(v->reason, check->text) != NULL;
    }
    if (!reason_said) {
        fprintf(out, "        ");
        mp_report_put(out, v->reason);
        fputc('\n', out);
    }
    for (int i = 0; i < MP_STAGE_COUNT; i++)
        if (i != MP_ALIGN) put_stage_failure(out, mp_stage_name((mp_stage)i), &v->stage[i]);
    for (int i = 0; i < MP_STAGE_COUNT; i++) put_stage_bits(out, mp_stage_name((mp_stage)i), &v->stage[i]);
    put_stage_bits(out, "end-to-end", &v->end_to_end);
    for (int i = 0; i < v->pair_count; i++) {
        const mp_pair_figures *p = &v->pair[i];
        if (p->bits_equal) continue;
        fprintf(out, "        ");
        mp_report_put(out, p->text);
        if (p->note[0] != '\0') {
            fprintf(out, ": ");
            mp_report_put(out, p->note);
            fputc('\n', out);
            continue;
        }
        fprintf(out, ": %lld of %lld elements differ, max-abs=%s%s", (long long)p->differing,
                (long long)p->compared, scientific(p->max_abs).text, p->first[0] != '\0' ? ", first " : "");
        mp_report_put(out, p->first);
        fprintf(out, "%s\n", p->required ? "" : " (equality not promised)");
    }
}

/* Phases that take a hundredth of the case's time at least. */
static void put_phases(FILE *out, const mp_verdict *v) {
    bool any = false;
    for (int i = 0; i < MP_PHASE_COUNT; i++) {
        if (!(v->phase_seconds[i] >= 0.01 * v->seconds) || v->phase_seconds[i] <= 0) continue;
        fprintf(out, "%s%s %.3g", any ? ", " : "        seconds  ", mp_phase_name((mp_phase)i),
                v->phase_seconds[i]);
        any = true;
    }
    if (any) fputc('\n', out);
}

/* --verbose: what is known of every stage. */
static void put_stages(FILE *out, const mp_verdict *v) {
    for (int i = 0; i < MP_STAGE_COUNT; i++) {
        const mp_stage_figures *f = &v->stage[i];
        if (!f->judged) continue;
        fprintf(out, "        %-8s", mp_stage_name((mp_stage)i));
        if (i == MP_ALIGN)
            fprintf(out, " %lld of %lld integers equal", (long long)f->bit_equal, (long long)f->compared);
        else
            fprintf(out, " max-abs=%s err/bound=%s drift=%s ulps=%s row-rms=%s rounded-f64=%lld/%lld",
                    scientific(f->max_abs).text, plain(f->max_ratio, 3).text, plain(f->max_drift, 2).text,
                    plain(f->max_error_ulps, 4).text, scientific(f->max_row_rms).text,
                    (long long)f->bit_equal, (long long)f->compared);
        if (f->predicted > 0)
            fprintf(out, " predicted=%lld/%lld", (long long)(f->predicted - f->mispredicted),
                    (long long)f->predicted);
        if (f->by_cpu > 0) fprintf(out, " by-cpu=%lld/%lld", (long long)f->by_cpu, (long long)f->compared);
        if (f->saturated > 0)
            fprintf(out, " saturated=%lld/%lld", (long long)f->saturated, (long long)f->compared);
        if (f->time_ns > 0) fprintf(out, " %.3g ms", f->time_ns * 1e-6);
        fputc('\n', out);
    }
    const mp_stage_figures *model = &v->end_to_end;
    if (model->quant_bound > 0)
        fprintf(out,
                "        model    max-abs=%s err/bound=%s row-rms=%s; quantising explains errors to %s\n",
                scientific(model->max_abs).text, plain(model->max_ratio, 3).text,
                scientific(model->max_row_rms).text, scientific(model->quant_bound).text);
    put_phases(out, v);
    if (v->config[0]) {
        fputs("        tiles ", out);
        mp_report_put(out, v->config);
        fprintf(out, "; %.2f s\n", v->seconds);
    }
}

void mp_report_shorten(mp_text *to, const char *text, size_t most) {
    const size_t length = strlen(text), head = (most - 3) / 2, tail = most - 3 - head;
    if (length <= most)
        mp_text_add(to, "%s", text);
    else
        mp_text_add(to, "%.*s...%s", (int)head, text, text + length - tail);
}

/* The figures of a row, or why it has none. */
static void put_rest(FILE *out, const mp_verdict *v) {
    if (v->outcome == MP_PASS || v->outcome == MP_FAIL) {
        put_pairs(out, v);
        put_figures(out, v);
    } else {
        fprintf(out, "  ");
        mp_report_put(out, v->reason);
    }
}

/* Of a file: which one, and what of it could be judged. */
static void put_coverage(FILE *out, const mp_verdict *v) {
    if (v->covers[0] == '\0') return;
    fputs("        ", out);
    mp_report_put(out, v->subject);
    fputs(": ", out);
    mp_report_put(out, v->covers);
    fputc('\n', out);
}

/* On a terminal that is narrower than the row the figures begin a line of their own. */
static void put_row(FILE *out, const mp_verdict *v, const mp_row_style *style, const char *name) {
    enum { TAG = 8, LINE = 4096 };
    char line[LINE] = "";
    const int padded = (int)strlen(name) > style->name_width ? (int)strlen(name) : style->name_width;
    FILE *rest = style->columns > 0 ? fmemopen(line, sizeof line, "w") : NULL;
    if (rest) {
        put_rest(rest, v);
        fclose(rest);
    }
    if (rest && TAG + padded + (int)strlen(line) > style->columns) {
        fprintf(out, "%s\n      ", name);
        put_rest(out, v);
    } else {
        fprintf(out, "%-*s", style->name_width, name);
        put_rest(out, v);
    }
    fputc('\n', out);
}

void mp_report_row(FILE *out, const mp_verdict *v, const mp_row_style *style) {
    enum { TAG = 8, LEAST = 12 };
    static const char *const tags[MP_OUTCOME_COUNT] = {"[OK]", "[FAIL]", "[SKIP]", "[CRASH]", "[TIMEOUT]"};
    static const char *const colors[MP_OUTCOME_COUNT] = {"\033[32m", "\033[31m", "\033[33m", "\033[35m",
                                                         "\033[35m"};
    mp_text name = {0};
    const int room = style->columns - TAG;
    mp_report_shorten(&name, v->name,
                      style->columns <= 0 ? sizeof v->name
                      : room > LEAST      ? (size_t)room
                                          : LEAST);
    fprintf(out, "%s%-7s%s ", style->color ? colors[v->outcome] : "", tags[v->outcome],
            style->color ? "\033[0m" : "");
    put_row(out, v, style, mp_text_get(&name));
    mp_text_free(&name);
    put_coverage(out, v);
    if (v->outcome == MP_FAIL) put_failures(out, v);
    if (style->verbose && v->outcome != MP_SKIP) put_stages(out, v);
    if (v->outcome != MP_PASS && v->outcome != MP_SKIP) {
        if (v->history[0] != '\0') {
            fprintf(out, "        ");
            mp_report_put(out, v->history);
            fputc('\n', out);
        }
        fprintf(out, "        repro: ");
        mp_report_put(out, v->repro);
        fputc('\n', out);
    }
}
