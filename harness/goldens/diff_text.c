/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/goldens/diff_text.h"

#include "base/printable.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>

const char *const mp_diff_legend =
    "legend: TENSOR: STAGE: the first element that differs in pipeline order, what it is in the second file "
    "instead of the first (its bits); how many differ; what they have in common. max-abs: the largest "
    "distance. ulps D: N: N elements are D units in the last place of their format apart. experts E (N of M "
    "rows): N of the M rows of expert E differ. tiles: those of the GEMM's output that hold an element that "
    "differs.";

/* Where the lines go. */
typedef struct teller {
    mp_diff_line *line;
    void *ctx;
    mp_text text;
    mp_status status;
    mp_error *err;
} teller;

/* Ends the line; paths may hold anything. */
static void finish(teller *t) {
    const size_t size = 4 * t->text.length + 4; /* \xNN for each byte */
    char *printable = t->text.lost ? NULL : malloc(size);
    if (printable) {
        mp_text_printable(mp_text_get(&t->text), printable, size);
        t->line(t->ctx, printable);
    } else {
        t->status = mp_fail(t->err, MP_EMEMORY, "no memory for a line");
    }
    free(printable);
    mp_text_free(&t->text);
}

static void begin(teller *t, const char *name, const char *what) {
    mp_text_add(&t->text, "%s: %s", name, what);
}

static void add_ulps(mp_text *text, const int64_t ulps[MP_ULP_BINS]) {
    const char *before = "; ulps ";
    for (int bin = 0; bin < MP_ULP_BINS; bin++) {
        char name[32];
        if (ulps[bin] == 0) continue;
        mp_ulp_bin_text(bin, name);
        mp_text_add(text, "%s%s: %" PRId64, before, name, ulps[bin]);
        before = ", ";
    }
}

static void tell_difference(teller *t, const mp_tensor_diff *d) {
    mp_text_add(&t->text, ": %s", d->text);
    if (d->differing_elements > 0) {
        mp_text_add(&t->text, "; %" PRId64 " row%s, max-abs=%.2e", d->differing_rows,
                    d->differing_rows == 1 ? "" : "s", d->max_abs);
        add_ulps(&t->text, d->ulps);
    }
    if (d->experts[0]) mp_text_add(&t->text, "; experts %s", d->experts);
    if (d->tiles_touched > 0)
        mp_text_add(&t->text, "; %" PRId64 " of %" PRId64 " tiles", d->tiles_touched, d->tiles);
    if (d->by_slots) mp_text_add(&t->text, " (slot by slot: rows lie in other places)");
    if (d->digest) mp_text_add(&t->text, " " MP_GOLDEN_IS_DIGEST);
}

static void tell_tensor(teller *t, const char *name, const char *prefix, mp_tensor_id id,
                        const mp_tensor_diff *d, const char *a, const char *b) {
    if (d->state == MP_TENSOR_ABSENT || d->state == MP_TENSOR_EQUAL) return;
    begin(t, name, prefix);
    mp_text_add(&t->text, "%s", mp_tensor_name(id));
    switch (d->state) {
    case MP_TENSOR_ONLY_A:
    case MP_TENSOR_ONLY_B: mp_text_add(&t->text, ": only in %s", d->state == MP_TENSOR_ONLY_A ? a : b); break;
    case MP_TENSOR_NOT_COMPARED: mp_text_add(&t->text, ": not compared: %s", d->text); break;
    case MP_TENSOR_OTHER_SHAPE: mp_text_add(&t->text, ": %s", d->text); break;
    case MP_TENSOR_DIFFERS: tell_difference(t, d); break;
    case MP_TENSOR_ABSENT:
    case MP_TENSOR_EQUAL: break;
    }
    finish(t);
}

static void tell_contract(teller *t, const mp_case_diff *d) {
    if (strcmp(d->a->contract, d->b->contract) != 0)
        mp_text_add(&t->text, "%s: contract: '%s' -> '%s'", d->a->name, d->a->contract, d->b->contract);
    else
        mp_text_add(&t->text, "%s: contract: digest %016" PRIx64 " -> %016" PRIx64, d->a->name,
                    d->a->contract_digest, d->b->contract_digest);
    finish(t);
}

static void tell_case(teller *t, const mp_case_diff *d, const char *a, const char *b) {
    const char *name = d->a->name;
    if (strcmp(name, d->b->name) != 0) {
        mp_text_add(&t->text, "%s: beside %s", name, d->b->name);
        finish(t);
    }
    if (d->contract) tell_contract(t, d);
    if (d->config) {
        mp_text_add(&t->text, "%s: config: '%s' -> '%s'", name, d->a->config, d->b->config);
        finish(t);
    }
    if (d->block_size_m) {
        mp_text_add(&t->text, "%s: block_size_m: %d -> %d", name, d->a->block_size_m, d->b->block_size_m);
        finish(t);
    }
    if (d->inputs) {
        mp_text_add(&t->text, "%s: inputs: digest %016" PRIx64 " -> %016" PRIx64, name, d->a->inputs_digest,
                    d->b->inputs_digest);
        finish(t);
    }
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        tell_tensor(t, name, "inputs/", (mp_tensor_id)id, &d->input[id], a, b);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        tell_tensor(t, name, "", (mp_tensor_id)id, &d->trace[id], a, b);
}

mp_status mp_case_diff_text(const mp_case_diff *d, const char *a, const char *b, mp_diff_line *line,
                            void *ctx, mp_error *err) {
    teller t = {.line = line, .ctx = ctx, .err = err};
    if (!d->a || !d->b) {
        mp_text_add(&t.text, "%s: only in %s", d->a ? d->a->name : d->b->name, d->a ? a : b);
        finish(&t);
    } else if (!d->equal) {
        tell_case(&t, d, a, b);
    }
    return t.status;
}

mp_status mp_diff_counts_text(const mp_diff_counts *n, const char *a, const char *b, mp_diff_line *line,
                              void *ctx, mp_error *err) {
    teller t = {.line = line, .ctx = ctx, .err = err};
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage_counts *stage = &n->stage[s];
        if (stage->differing_tensors == 0) continue;
        mp_text_add(&t.text,
                    "%s: %" PRId64 " of %" PRId64 " tensors differ, %" PRId64 " of %" PRId64 " elements",
                    mp_stage_name((mp_stage)s), stage->differing_tensors, stage->tensors,
                    stage->differing_elements, stage->elements);
        add_ulps(&t.text, stage->ulps);
        finish(&t);
    }
    mp_text_add(&t.text,
                "%" PRId64 " case%s side by side: %" PRId64 " equal, %" PRId64 " differ%s; %" PRId64
                " only in %s, %" PRId64 " only in %s",
                n->aligned, n->aligned == 1 ? "" : "s", n->equal, n->differing, n->differing == 1 ? "s" : "",
                n->only_a, a, n->only_b, b);
    finish(&t);
    return t.status;
}
