/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/tune.h"

#include "base/printable.h"
#include "base/text.h"
#include "reports/audit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Reports are written into memory, and printed line by line as no terminal obeys them: names of files and
 * devices, and what subjects say, are texts of strangers. */
typedef struct page {
    FILE *file;
    char *data;
    size_t size;
} page;

static FILE *page_begin(page *p) {
    *p = (page){0};
    p->file = open_memstream(&p->data, &p->size);
    return p->file;
}

static void page_print(page *p, FILE *out) {
    fclose(p->file);
    char *line = malloc(4 * p->size + 4); /* a byte becomes four at most */
    for (char *at = p->data; line && at && *at;) {
        const size_t length = strcspn(at, "\n");
        const bool more = at[length] == '\n';
        at[length] = '\0';
        mp_text_printable(at, line, 4 * length + 4);
        fprintf(out, "%s\n", line);
        at += length + more;
    }
    free(line);
    free(p->data);
}

static const char *mark(mp_proof proof) {
    static const char *const marks[] = {"[--]", "[OK]", "[FAIL]"};
    return marks[proof];
}

/* Why no launch of the shape is proven, where all have one reason; NULL. */
static const char *common_reason(const mp_tune_plan *plan) {
    for (size_t i = 0; i < plan->count; i++)
        if (plan->launch[i].proof != MP_UNPROVEN ||
            strcmp(plan->launch[i].reason, plan->launch[0].reason) != 0)
            return NULL;
    return plan->count && plan->launch[0].reason[0] ? plan->launch[0].reason : NULL;
}

static void tile_text(const mp_tile *up, const mp_tile *down, mp_text *text) {
    char a[64], b[64];
    mp_tile_text(up, a);
    mp_tile_text(down, b);
    mp_text_add(text, strcmp(a, b) == 0 ? "%s" : "%s + %s", a, b);
}

static void range_text(int64_t first, int64_t last, mp_text *text) {
    if (last == INT64_MAX)
        mp_text_add(text, "%" PRId64 "..", first);
    else if (first == last)
        mp_text_add(text, "%" PRId64, first);
    else
        mp_text_add(text, "%" PRId64 "..%" PRId64, first, last);
}

/* "96 registers, 60 KiB"; of two GEMMs with the same figures once. */
static void facts_text(const mp_tune_shape *shape, const mp_launch *l, mp_text *text) {
    char part[2][128] = {"", ""};
    mp_case c = l->c;
    c.tile = l->up;
    c.tile_down = l->down;
    for (int s = 0; s < 2; s++) {
        const mp_tile_facts *f = mp_facts_of(&shape->facts, &c, s ? MP_DOWN : MP_GATE_UP);
        if (!f) return;
        const int spills = f->report.spill_store_bytes + f->report.spill_load_bytes;
        char spilled[48] = "no spills", stages[48] = "";
        if (spills) snprintf(spilled, sizeof spilled, "%d bytes spilled", spills);
        if (f->stages != f->tile.num_stages)
            snprintf(stages, sizeof stages, ", built with %d stages", f->stages);
        if (f->compiled)
            snprintf(part[s], sizeof part[s], "%d registers, %s, %.1f KiB%s", f->report.registers, spilled,
                     (double)f->shared_bytes / 1024, stages);
        else
            snprintf(part[s], sizeof part[s], f->why[0] ? "does not compile or fit" : "no figures");
    }
    mp_text_add(text, strcmp(part[0], part[1]) == 0 ? "%s" : "%s; down %s", part[0], part[1]);
}

static const mp_launch *first_launch(const mp_tune_plan *plan, const mp_tuned_entry *entry) {
    for (size_t i = 0; i < plan->count; i++)
        if (plan->launch[i].point.entry == entry) return &plan->launch[i];
    return NULL;
}

/* Launches of a key that follow one another with one reason are told as one. */
static void print_launches(FILE *out, const mp_tune_plan *plan, const mp_tuned_entry *entry, bool verbose) {
    const bool common = common_reason(plan);
    for (size_t i = 0; i < plan->count;) {
        const mp_launch *l = &plan->launch[i];
        const bool told = verbose || l->proof == MP_REFUTED || (l->proof == MP_UNPROVEN && !common);
        size_t end = i + 1;
        if (l->point.entry != entry || !told || (!verbose && !l->reason[0])) {
            i++;
            continue;
        }
        fprintf(out, "        %s M=%" PRId64, mark(l->proof), l->point.M);
        if (verbose) {
            char why[96];
            mp_point_text(l->point.why, why);
            fprintf(out, " (%s)", why);
        }
        for (; !verbose && end < plan->count; end++) {
            const mp_launch *next = &plan->launch[end];
            if (next->point.entry != entry || next->proof != l->proof || strcmp(next->reason, l->reason) != 0)
                break;
            fprintf(out, " %" PRId64, next->point.M);
        }
        fprintf(out, "%s%s\n", l->reason[0] ? ": " : "", l->reason);
        i = end;
    }
}

static void print_key(FILE *out, const mp_tune_shape *shape, const mp_tuned_entry *entry, bool verbose) {
    const mp_tune_plan *plan = &shape->plan;
    const mp_launch *shown = first_launch(plan, entry);
    mp_text tile = {0}, range = {0}, facts = {0}, at = {0};
    int64_t first, last;
    if (!shown) return;
    mp_point_range(plan->target->up, entry, &first, &last);
    range_text(first, last, &range);
    tile_text(&shown->up, &shown->down, &tile);
    facts_text(shape, shown, &facts);
    for (size_t i = 0; i < plan->count; i++)
        if (plan->launch[i].point.entry == entry)
            mp_text_add(&at, "%s%" PRId64, at.length ? " " : "", plan->launch[i].point.M);
    fprintf(out, "%-6s key %-5" PRId64 " M %-11s %-20s %s%sat %s\n",
            mark(mp_tune_key_proof(plan, entry, NULL)), entry->key, mp_text_get(&range), mp_text_get(&tile),
            mp_text_get(&facts), facts.length ? "; " : "", mp_text_get(&at));
    print_launches(out, plan, entry, verbose);
    mp_text_free(&tile);
    mp_text_free(&range);
    mp_text_free(&facts);
    mp_text_free(&at);
}

static void print_head(FILE *out, const mp_tune_result *result) {
    const mp_tune_target *t = &result->target;
    fprintf(out, "%s\n", t->path);
    if (*t->down_path) fprintf(out, "with %s\n", t->down_path);
    fprintf(out, "for %s", *t->device ? t->device : "a device without a name");
    if (t->limits.architecture) fprintf(out, " (sm_%d)", t->limits.architecture);
    fprintf(out, ", E=%" PRId64 " N=%" PRId64 " %s, %zu keys\n", t->E, t->N, *t->dtype ? t->dtype : "bf16",
            t->up->count);
}

/* Of the published kernel, whatever is run here. */
static void print_steps(FILE *out, const mp_scale_steps *steps) {
    for (size_t i = 0; i < steps->count; i++) {
        const mp_scale_step *s = &steps->step[i];
        fprintf(out, "%-6s steps of %s, on the CPU: BLOCK_SIZE_K %" PRId64, mark(s->proof),
                steps->loader->name, s->up);
        if (s->down != s->up) fprintf(out, " + %" PRId64, s->down);
        fprintf(out, ": %s\n", s->text);
    }
}

static void print_shape(FILE *out, const mp_tune_shape *shape, bool verbose) {
    const mp_tune_plan *plan = &shape->plan;
    const mp_case *c = &shape->target.base;
    fprintf(out, "\nK=%" PRId64 " topk=%" PRId64 " (%s): %zu batch size%s in %zu row%s\n", c->K, c->topk,
            shape->target.model, plan->count, plan->count == 1 ? "" : "s", plan->matrix.count,
            plan->matrix.count == 1 ? "" : "s");
    if (shape->facts.skipped[0]) fprintf(out, "SKIP    compile: %s\n", shape->facts.skipped);
    print_steps(out, &shape->steps);
    for (size_t i = 0; i < plan->target->up->count; i++)
        print_key(out, shape, &plan->target->up->entries[i], verbose);
    if (!verbose && common_reason(plan)) fprintf(out, "SKIP    run: %s\n", common_reason(plan));
    if (plan->left_out) fprintf(out, "left out, and not proven: %zu larger batch sizes\n", plan->left_out);
}

static void print_race(FILE *out, const mp_race *r) {
    static const char *const marks[] = {"[OK]", "[FAIL]", "[FAIL]", "[FAIL]"};
    mp_text before = {0}, after = {0};
    tile_text(&r->old_up, &r->old_down, &before);
    tile_text(&r->new_up, &r->new_down, &after);
    fprintf(out, "%-6s key %-5" PRId64 " %s -> %s: ", marks[r->outcome], r->key, mp_text_get(&before),
            mp_text_get(&after));
    if (r->outcome == MP_RACE_NOT_RUN)
        fprintf(out, "not timed: %s\n", r->why);
    else
        fprintf(out, "%.4f -> %.4f ms, %+.1f %% (%+.1f .. %+.1f), %d rounds: %s\n", r->old_ms, r->new_ms,
                100 * (r->ratio - 1), 100 * (r->low - 1), 100 * (r->high - 1), r->rounds,
                r->outcome == MP_RACE_KEPT   ? "kept"
                : r->outcome == MP_RACE_LOST ? "slower"
                                             : "not decided: more --rounds");
    mp_text_free(&before);
    mp_text_free(&after);
}

static void print_races(FILE *out, const mp_tune_shape *shape) {
    if (!shape->races) return;
    fprintf(out,
            "\nspeed, old -> new: median time of one run, and by how much longer the new one takes (with its "
            "95 %% interval)\n");
    if (shape->not_timed[0]) fprintf(out, "SKIP    %s\n", shape->not_timed);
    for (size_t i = 0; i < shape->race_count && !shape->not_timed[0]; i++) print_race(out, &shape->races[i]);
    if (shape->race_count == 0) fprintf(out, "every key has the tiles that it had: nothing to time\n");
}

static void print_losers(FILE *out, const mp_tune_result *result, mp_race_outcome outcome, const char *what) {
    size_t count = 0;
    for (int i = 0; i < result->count; i++)
        for (size_t k = 0; k < result->shape[i].race_count && !result->shape[i].not_timed[0]; k++)
            if (result->shape[i].races[k].outcome == outcome)
                fprintf(out, "%s%" PRId64, count++ ? ", " : what, result->shape[i].races[k].key);
    if (count) fputc('\n', out);
}

/* Whether the subject runs the tile: what the CPU computes of it is a prediction, which knows none. */
static bool runs_tiles(const mp_run_info *info) {
    return strcmp(info->subject, "host") != 0 && strcmp(info->subject, "ref") != 0;
}

/* A finding is told once for all the keys that have it. */
static void print_audit(FILE *out, const mp_audit *audit, bool verbose) {
    const mp_severity most = verbose ? MP_SEVERITY_NOTE : MP_SEVERITY_WARNING;
    if (audit->count[MP_SEVERITY_ERROR] + audit->count[MP_SEVERITY_WARNING] == 0 && !verbose) return;
    mp_report_audit_text(out, audit, most);
}

static void print_meaning(FILE *out, const mp_tune_result *result, const mp_run_info *info) {
    const mp_tune_tally tally = mp_tune_count(result);
    fprintf(out, "\n%zu batch sizes: %zu proven, %zu refuted, %zu not proven\n", tally.total, tally.proven,
            tally.refuted, tally.unproven);
    if (*result->not_run)
        fprintf(out, "nothing was run: %s; not proven on a device\n", result->not_run);
    else if (tally.total && tally.proven == 0 && tally.refuted == 0)
        fprintf(out, "not proven on a device\n");
    else if (tally.proven && !runs_tiles(info))
        fprintf(out,
                "subject %s: a prediction on the CPU, in which no tile is run nor timed; not proven on a "
                "device\n",
                info->subject);
    else if (tally.proven)
        fprintf(out,
                "proven: at these batch sizes every element that the subject shows is within its bound of "
                "float64 or equal, bit for bit,\nto one that is; two runs over other poison agree; guard "
                "zones and inputs are whole\n");
    if (result->ran && *info->subject)
        fprintf(out, "subject %s on %s%s%s; reference %s; %.1f s\n", info->subject,
                *info->device ? info->device : info->host, *info->versions ? ", " : "", info->versions,
                info->blas, info->seconds);
}

void mp_report_tune(FILE *to, const mp_tune_result *result, const mp_run_info *info, bool verbose) {
    page p;
    FILE *out = page_begin(&p);
    if (!out) return;
    print_head(out, result);
    print_audit(out, &result->audit, verbose);
    for (int i = 0; i < result->count; i++) {
        print_shape(out, &result->shape[i], verbose);
        print_races(out, &result->shape[i]);
    }
    print_meaning(out, result, info);
    print_losers(out, result, MP_RACE_LOST, "keys that lose: ");
    print_losers(out, result, MP_RACE_UNDECIDED, "keys not shown to keep their speed: ");
    print_losers(out, result, MP_RACE_NOT_RUN, "keys not timed: ");
    if (*info->device && *result->target.device && strcmp(info->device, result->target.device) != 0)
        fprintf(out, "note: the file is for %s, and this is %s\n", result->target.device, info->device);
    page_print(&p, to);
}

void mp_report_tune_plan(FILE *to, const mp_tune_result *result) {
    page p;
    FILE *out = page_begin(&p);
    if (!out) return;
    print_head(out, result);
    for (int i = 0; i < result->count; i++) {
        const mp_tune_plan *plan = &result->shape[i].plan;
        print_shape(out, &result->shape[i], true);
        for (size_t r = 0; r < plan->matrix.count; r++) {
            char name[MP_CASE_TEXT_MAX];
            mp_case_text(&plan->matrix.rows[r].c, name, sizeof name);
            fprintf(out, "row %zu: %s, and %zu smaller batches\n", r + 1, name,
                    plan->matrix.rows[r].pair_count);
        }
    }
    page_print(&p, to);
}

void mp_report_tune_changes(FILE *to, const mp_tune_target *old, const mp_tune_target *new,
                            const mp_tune_change *changes, size_t count) {
    page p;
    FILE *out = page_begin(&p);
    if (!out) return;
    fprintf(out, "--- %s%s\n+++ %s%s\n", old->path, *old->down_path ? ", with its _down file" : "", new->path,
            *new->down_path ? ", with its _down file" : "");
    for (size_t i = 0; i < count; i++) {
        const mp_tune_change *c = &changes[i];
        mp_text range = {0}, before = {0}, after = {0};
        range_text(c->first, c->last, &range);
        tile_text(&c->old_up, &c->old_down, &before);
        tile_text(&c->new_up, &c->new_down, &after);
        fprintf(out, "M %-12s %s -> %s%s\n", mp_text_get(&range), mp_text_get(&before), mp_text_get(&after),
                mp_tune_same_beside_tiles(old, new, c->first) ? "" : ", and USE_TMA, SPLIT_K or num_ctas");
        mp_text_free(&range);
        mp_text_free(&before);
        mp_text_free(&after);
    }
    fprintf(out, count ? "every other M has the tiles that it had\n" : "every M has the tiles that it had\n");
    page_print(&p, to);
}
