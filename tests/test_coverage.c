/* SPDX-License-Identifier: Apache-2.0 */
/* cases/: figures are what the ids say, each condition holds where it should and not beside it, and the stock
 * matrices produce all of them. */
#include "cases/case_tools.h"
#include "cases/coverage.h"
#include "cases/fill.h"
#include "moeparity/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static mp_case case_of(const char *text) {
    mp_error err;
    mp_case c = mp_case_default();
    if (mp_case_parse(&c, text, &err) != MP_OK) fail_msg("'%s': %s", text, err.text);
    return c;
}

static mp_figures figures_of(const char *text) {
    mp_error err;
    mp_figures f;
    const mp_case c = case_of(text);
    if (mp_figures_of(&c, &f, &err) != MP_OK) fail_msg("'%s': %s", text, err.text);
    return f;
}

/* ---- figures ---- */

/* Slot j of every token goes to expert j, or E-1-j. */
static void figures_of_known_ids(void **unused) {
    (void)unused;
    const mp_figures first = figures_of("M=35 E=8 topk=2 routing=first");
    assert_int_equal(first.routed, 70);
    assert_int_equal(first.filtered, 0);
    assert_int_equal(first.experts_used, 2);
    assert_int_equal(first.fullest, 35);
    assert_int_equal(first.emptiest_used, 35);
    assert_int_equal(first.last_token, 34);
    assert_int_equal(first.last_slot, 69);
    assert_int_equal(first.last_expert, 1);
    assert_int_equal(first.tokens_repeating, 0);
    assert_int_equal(first.row_tails, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5); /* 35 of 2, 4, 8, 16, 32 */

    const mp_figures last = figures_of("M=32 E=8 topk=3 routing=last");
    assert_int_equal(last.last_expert, 7);
    assert_int_equal(last.experts_used, 3);
    assert_int_equal(last.row_tails, 0);

    /* topk beyond E: experts come again */
    const mp_figures again = figures_of("M=4 E=2 topk=3 routing=first");
    assert_int_equal(again.tokens_repeating, 4);
    assert_int_equal(again.fullest, 8);
    assert_int_equal(again.emptiest_used, 4);

    const mp_figures none = figures_of("M=4 filter=1");
    assert_int_equal(none.routed, 0);
    assert_int_equal(none.filtered, 8);
    assert_int_equal(none.tokens_unrouted, 4);
    assert_int_equal(none.last_token, -1);
    assert_int_equal(none.last_slot, -1);
    assert_int_equal(none.last_expert, -1);
    assert_int_equal(none.experts_used, 0);

    const mp_figures padded = figures_of("M=16 topk=3 routing=padded");
    assert_int_equal(padded.tokens_unrouted, 4); /* the last quarter */
    assert_int_equal(padded.tokens_mixed, 0);
    assert_int_equal(padded.last_token, 11);
    assert_int_equal(padded.last_slot, 35);
    assert_int_equal(padded.filtered, 12);
}

/* Against the ids that a run gets. */
static void figures_of_drawn_ids(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=99 E=60 topk=4 routing=zipf", "M=40 E=5 topk=3 filter=0.4 N=8 K=8",
                                        "M=50 E=6 topk=5 routing=duplicates",
                                        "M=64 E=4 topk=6 ep_size=8 ep_rank=3"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        mp_error err;
        mp_inputs in;
        const mp_case c = case_of(texts[i]);
        const mp_figures f = figures_of(texts[i]);
        assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
        const int32_t *ids = in.t[MP_TOPK_IDS].data;
        int64_t routed = 0, repeating = 0, mixed = 0, slots[60] = {0}, fullest = 0, used = 0;
        for (int64_t m = 0; m < c.M; m++) {
            int64_t here = 0;
            bool repeats = false;
            for (int64_t j = 0; j < c.topk; j++) {
                const int32_t id = ids[m * c.topk + j];
                if (id < 0) continue;
                here++;
                slots[id]++;
                for (int64_t k = 0; k < j; k++) repeats = repeats || ids[m * c.topk + k] == id;
            }
            routed += here;
            repeating += repeats;
            mixed += here > 0 && here < c.topk;
        }
        for (int64_t e = 0; e < c.E; e++) {
            fullest = slots[e] > fullest ? slots[e] : fullest;
            used += slots[e] > 0;
        }
        assert_int_equal(f.routed, routed);
        assert_int_equal(f.filtered, mp_case_slots(&c) - routed);
        assert_int_equal(f.tokens_repeating, repeating);
        assert_int_equal(f.tokens_mixed, mixed);
        assert_int_equal(f.fullest, fullest);
        assert_int_equal(f.experts_used, used);
        mp_inputs_destroy(&in);
    }
}

/* ---- conditions ---- */

/* Whether the case does, with this pair, or after this other case. */
static bool produced(const char *condition, const char *text, const char *variant) {
    const bool after = variant && strncmp(variant, "after ", 6) == 0;
    const char *pair = after ? NULL : variant;
    mp_error err = {0};
    mp_matrix matrix = {0};
    mp_coverage *coverage = calloc((size_t)mp_condition_count(), sizeof *coverage);
    const int found = mp_condition_find(condition);
    if (!coverage || found < 0) fail_msg("no condition %s", condition);
    if (mp_matrix_add(&matrix, text, &pair, pair ? 1 : 0, &err) != MP_OK ||
        (after && mp_matrix_add_after(&matrix, text, variant + 6, &err) != MP_OK) ||
        mp_coverage_of(&matrix, coverage, &err) != MP_OK)
        fail_msg("%s", err.text);
    const mp_coverage *c = &coverage[found];
    assert_true((c->cases > 0) == (c->first != NULL));
    const bool does = c->cases > 0;
    mp_matrix_free(&matrix);
    free(coverage);
    return does;
}

/* A case that produces the condition, and one beside it that does not. */
static void conditions_hold_where_they_should(void **unused) {
    (void)unused;
    static const struct {
        const char *condition, *with, *without;
    } examples[] = {
        {"k-odd-groups", "K=48", "K=64"},
        {"k-odd-groups", "K=16", "K=40"},
        {"k-odd-groups", "scope=gate_up K=48", "scope=down K=48"},
        {"n-odd-groups", "N=80", "N=96"},
        {"k-tail-128", "K=130", "K=100"},
        {"k-tail-128", "K=129", "K=256"},
        {"n-tail-64", "N=96", "N=128"},
        {"row-tail-16", "M=17 topk=1 E=1", "M=16 topk=1 E=1"},
        {"row-tail-32", "M=33 topk=1 E=1", "M=17 topk=1 E=1"},
        {"k-tail-of-tile", "K=96 N=128 tile=16x64x64x1x4x3", "K=128 N=128 tile=16x64x64x1x4x3"},
        {"column-tail-of-tile", "K=128 N=40 tile=16x64x64x1x4x3", "K=128 N=64 tile=16x64x64x1x4x3"},
        {"row-tail-of-tile", "M=65 topk=1 E=1 tile=64x64x64x1x4x3", "M=65 topk=1 E=1 tile=128x64x64x1x4x3"},
        {"long-k-tail", "K=1025", "K=1024"},
        {"long-k-tail", "K=1100", "K=1000"},
        {"k-unaligned-16", "K=100", "K=96"},
        {"k-unaligned-4", "K=33", "K=34"},
        {"topk-beyond-32", "topk=33 E=64", "topk=32 E=64"},
        {"experts-no-multiple-of-4", "E=6", "E=8"},
        {"experts-no-multiple-of-4", "E=5", "E=3"},
        {"expert-256", "E=257 routing=last", "E=257 routing=first"},
        {"last-expert", "E=9 routing=last", "E=9 routing=first"},
        {"expert-without-slots", "M=1 E=8", "M=1 E=2"},
        {"expert-with-all-slots", "M=4 topk=1 routing=first", "M=4 topk=2 routing=first"},
        {"expert-slots-65535", "M=65536 topk=1 E=1 scope=align", "M=65535 topk=1 E=1 scope=align"},
        {"whole-blocks", "M=32 topk=2 routing=first", "M=33 topk=2 routing=first"},
        {"slots-fewer-than-experts", "M=4 topk=2 E=8", "M=5 topk=2 E=8"},
        {"all-filtered", "M=4 filter=1", "M=4 filter=0"},
        {"token-half-filtered", "M=64 filter=0.5", "M=64 routing=padded"},
        {"token-all-filtered", "M=64 routing=padded", "M=64"},
        {"expert-repeated", "routing=duplicates", "routing=uniform"},
        {"filter-fused-sum", "topk=4 fused_sum=1 filter=0.5", "topk=4 fused_sum=1"},
        {"repeated-fused-sum", "topk=4 fused_sum=1 routing=duplicates", "topk=4 routing=duplicates"},
        {"filter-clamp-silu", "act=clamp_silu data=limits filter=0.5", "act=clamp_silu filter=0.5"},
        /* 2^31 exactly: the last element has number 2^31 - 1, and one row more is beyond. */
        {"x-beyond-2^31", "M=131073 topk=1 K=16384", "M=131072 topk=1 K=16384"},
        {"out-beyond-2^31", "M=131073 topk=1 K=16384", "M=131072 topk=1 K=16384"},
        {"x-beyond-2^31", "M=131080 topk=1 K=16384", "M=131080 topk=1 K=16384 routing=padded"},
        {"w1-beyond-2^31", "E=513 K=2048 N=1024 routing=last", "E=513 K=2048 N=1024 routing=first"},
        {"w2-beyond-2^31", "E=1025 K=2048 N=1024 routing=last", "E=1025 K=2048 N=1024 routing=first"},
        {"cache1-beyond-2^31", "M=131073 topk=8 N=1024 K=8", "M=131072 topk=8 N=1024 K=8"},
        {"cache2-beyond-2^31", "M=131073 topk=8 N=2048 K=8", "M=131072 topk=8 N=2048 K=8"},
        {"cache3-beyond-2^31", "M=131073 topk=8 K=2048 N=8", "M=131072 topk=8 K=2048 N=8"},
        {"cache3-beyond-2^31", "M=131073 topk=8 K=2048 N=8", "M=131073 topk=8 K=2048 N=8 fused_sum=1"},
        {"combine-overflow", "dtype=fp16 data=overflow", "dtype=fp16 data=overflow scope=down"},
        {"unused-weights", "M=1 data=unused", "M=64 data=unused routing=first E=2"},
        {"unused-slots", "data=unused filter=0.5", "data=unused"},
        {"unused-tokens", "data=unused routing=padded", "data=unused"},
        {"masked-filter", "layout=masked filter=0.5", "layout=sorted filter=0.5"},
        {"masked-repeated", "layout=masked routing=duplicates", "layout=masked"},
        {"masked-empty", "M=1 layout=masked", "M=64 layout=masked"},
        {"shared-slot-scaled", "shared=slot rsf=2.5", "shared=slot"},
        {"shared-slot-filter", "shared=slot filter=0.5", "filter=0.5"},
        {"shared-add-scaled", "shared=add rsf=2.5", "shared=add"},
        {"shared-add-topk-1", "shared=add topk=1", "shared=add topk=1 rsf=2"},
        {"silu-normal", "M=3", "M=3 scope=align"},
        {"quant-mxfp4", "quant=mxfp4", "quant=mxfp4 M=0"},
        {"quant-k-tail", "quant=fp8-block K=320", "quant=fp8-block K=256"},
        {"quant-k-tail", "quant=fp8-block K=320", "quant=fp8-channel K=320"},
        {"quant-n-tail", "quant=mxfp8 N=72", "quant=mxfp8 N=24"},
        {"quant-rows-tail", "quant=fp8-block K=256 N=96", "quant=fp8-block K=256 N=64"},
        {"quant-group-beyond", "quant=mxfp4 K=16 N=32", "quant=mxfp4 K=32 N=32"},
        {"quant-tile-beyond-block", "quant=fp8-block tile=64x256x64x1x8x3",
         "quant=fp8-block tile=64x128x64x1x8x3"},
        {"quant-tile-below-group", "quant=int8-block tile=64x64x64x1x4x3",
         "quant=int8-block tile=64x64x128x1x4x3"},
        {"quant-tile-beyond-group", "quant=int8-block K=256 tile=64x64x256x1x4x3",
         "quant=int8-block K=256 tile=64x64x128x1x4x3"},
        {"quant-experts", "quant=fp8-channel M=9", "quant=fp8-channel M=9 topk=1 routing=first"},
        {"quant-zero-tensor", "quant=fp8-tensor M=1 data=special", "quant=fp8-tensor M=2 data=special"},
        {"quant-x-kinds", "quant=nvfp4 M=9 data=codes", "quant=int8-w8a16 M=9 data=codes"},
        {"quant-cache2-kinds", "quant=nvfp4 M=9 scope=quant_act data=codes", "quant=nvfp4 M=9 data=codes"},
        {"quant-tensor-outlier", "quant=fp8-tensor data=codes seed=2", "quant=fp8-tensor data=codes"},
        {"quant-filter", "quant=fp8-block filter=0.5", "quant=mxfp4 filter=0.5"},
        {"quant-unused", "quant=mxfp4 data=unused", "data=unused"},
        {"quant-unused-scales", "quant=mxfp4 data=unused M=1", "quant=mxfp4 data=unused M=64 E=2"},
        {"quant-scales-row-padded", "quant=mxfp4 scale_layout=row-padded", "quant=mxfp4"},
        {"quant-scales-column", "quant=fp8-block scale_layout=column",
         "quant=fp8-block scale_layout=column K=96"},
        {"quant-scales-swizzled", "quant=mxfp4 scale_layout=swizzled K=136 N=130",
         "quant=mxfp4 scale_layout=swizzled K=136 N=128"},
        {"quant-made-column-padded", "quant=fp8-block scale_layout=column-padded",
         "quant=int4-w4a16 scale_layout=column-padded"},
        {"quant-lora", "quant=mxfp4 lora_adapters=2", "lora_adapters=2"},
        {"tokens-0", "M=0", "M=1"},
        {"all-filtered", "M=1 filter=1", "M=0"},
        {"two-chunks", "M=65537 path=chunked scope=align", "M=65536 path=chunked scope=align"},
        {"model-tokens-24", "M=24 E=128 topk=8 K=2048 N=768", "M=24 E=128 topk=8 K=2048 N=760"},
        {"gpt-oss-limits", "M=3 E=32 topk=4 K=2880 N=2880 act=swiglu_oai interleaved=1 bias=1 data=limits",
         "M=3 E=32 topk=4 K=2880 N=2880 act=swiglu_oai interleaved=1 bias=1"},
    };
    for (size_t i = 0; i < COUNT(examples); i++) {
        if (!produced(examples[i].condition, examples[i].with, NULL))
            fail_msg("%s is not produced by %s", examples[i].condition, examples[i].with);
        if (produced(examples[i].condition, examples[i].without, NULL))
            fail_msg("%s is produced by %s", examples[i].condition, examples[i].without);
    }
    assert_true(produced("filter-sorted", "filter=0.5", "layout=sorted")); /* its pair does */
    assert_false(produced("filter-sorted", "filter=0.5", "path=runner"));
}

static void sequences_hold_where_they_should(void **unused) {
    (void)unused;
    static const struct {
        const char *condition, *text, *with, *without;
    } examples[] = {
        {"after-other-ids", "M=9", "after seed=1", "after M=10 seed=1"},
        {"after-other-ids", "M=9", "after routing=first", "after seed=0"},
        {"after-more-blocks", "M=40 routing=first", "after routing=uniform", "after routing=last"},
        {"after-fewer-blocks", "M=40", "after routing=first", "after M=8 routing=first"},
        {"after-more-tokens", "M=9", "after M=10", "after M=9"},
        {"after-no-tokens", "M=9", "after M=0", "after M=1"},
        {"after-more-routed", "M=9 filter=0.5", "after filter=0", "after filter=1"},
        {"after-align", "M=9 scope=align", "after M=10", "after M=8"},
        {"after-fused-sum", "topk=4 fused_sum=1", "after seed=1", NULL},
        {"after-no-combine", "M=9 mode=no_combine", "after M=10", "after M=8"},
        {"after-inplace", "M=9 mode=inplace", "after M=10", "after M=8"},
        {"after-sorted", "M=40 layout=sorted routing=first", "after routing=uniform", "after M=41"},
    };
    for (size_t i = 0; i < COUNT(examples); i++) {
        if (!produced(examples[i].condition, examples[i].text, examples[i].with))
            fail_msg("%s is not produced %s", examples[i].condition, examples[i].with);
        if (produced(examples[i].condition, examples[i].text, examples[i].without))
            fail_msg("%s is produced %s", examples[i].condition, examples[i].without);
    }
}

static void names_are_words(void **unused) {
    (void)unused;
    for (int i = 0; i < mp_condition_count(); i++) {
        const mp_condition *c = mp_condition_at(i);
        assert_int_equal(mp_condition_find(c->name), i); /* the first of its name */
        assert_true(c->name[0] && c->meaning[0] && strlen(c->name) <= 26);
        assert_int_equal(strcspn(c->name, " ,#\t\r\n"), strlen(c->name));
        assert_true(strcmp(c->name, "all") && strcmp(c->name, "ci"));
        assert_true(c->match || c->holds || c->follows);
    }
    assert_int_equal(mp_condition_find("k-odd"), -1);
}

static bool is_check(const char *word) {
#define NAME(check, name, asked) #name,
    static const char *const names[] = {MP_CHECKS(NAME)};
#undef NAME
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(word, names[i]) == 0) return true;
    return false;
}

/* Words between backticks in a cell; each must be `known`, but for options. Returns their number. */
static int known_words(char *cell, const char *kind, bool (*known)(const char *name)) {
    int words = 0;
    for (char *name = strchr(cell, '`'); name; name = strchr(name + strlen(name) + 1, '`')) {
        char *close = strchr(++name, '`');
        if (!close) fail_msg("an open backtick in%s", cell);
        *close = '\0';
        if (strncmp(name, "--", 2) == 0) continue;
        if (!known(name)) fail_msg("docs/known-bugs.md: there is no %s %s", kind, name);
        words++;
    }
    return words;
}

static bool is_condition(const char *name) {
    return mp_condition_find(name) >= 0;
}

/* The third column of the page of known bugs has conditions and options between backticks, the last one
 * checks. */
static void known_bugs_name_conditions_and_checks(void **unused) {
    (void)unused;
    char line[1024];
    int rows = 0, conditions = 0, checks = 0;
    FILE *file = fopen(MP_MATRIX_FOLDER "/../docs/known-bugs.md", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        char *cell = line;
        for (int bar = 0; cell && bar < 3; bar++) cell = strchr(cell + (bar > 0), '|');
        char *end = cell ? strchr(cell + 1, '|') : NULL;
        if (line[0] != '|' || !end || strstr(line, "|---|")) continue;
        *end = '\0';
        rows++;
        conditions += known_words(cell, "condition", is_condition);
        checks += known_words(end + 1, "check", is_check);
    }
    fclose(file);
    assert_true(rows > 60 && conditions > 70 && checks > 70);
}

static void the_page_lists_them(void **unused) {
    (void)unused;
    static char page[1 << 16];
    FILE *file = fopen(MP_MATRIX_FOLDER "/../docs/coverage.md", "r");
    assert_non_null(file);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    for (int i = 0; i < mp_condition_count(); i++) {
        char row[512];
        snprintf(row, sizeof row, "| `%s` | %s |%s\n", mp_condition_at(i)->name, mp_condition_at(i)->meaning,
                 mp_condition_at(i)->full ? " full |" : " |");
        if (!strstr(page, row)) fail_msg("docs/coverage.md lacks the line %s", row);
    }
}

/* ---- the stock matrices ---- */

/* Each condition is produced by a row of the tier that it says, and by none of a lower one; no condition is
 * true of every row. */
static void stock_rows_produce_every_condition(void **unused) {
    (void)unused;
    static const char *const names[] = {"seed",   "options", "edge", "stages",
                                        "models", "tiles",   "lora", "quant"};
    static const mp_tier tiers[] = {MP_CI, MP_FULL};
    mp_coverage *coverage = calloc((size_t)mp_condition_count(), sizeof *coverage);
    assert_non_null(coverage);
    for (size_t t = 0; t < COUNT(tiers); t++) {
        mp_error err = {0};
        mp_matrix matrix = {0};
        for (size_t i = 0; i < COUNT(names); i++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s.yaml", MP_MATRIX_FOLDER, names[i]);
            if (mp_matrix_load(&matrix, path, &err) != MP_OK) fail_msg("%s", err.text);
        }
        if (mp_matrix_select(&matrix, tiers[t], NULL, &err) != MP_OK ||
            mp_coverage_of(&matrix, coverage, &err) != MP_OK)
            fail_msg("%s", err.text);
        for (int i = 0; i < mp_condition_count(); i++) {
            const bool expected = tiers[t] == MP_FULL || !mp_condition_at(i)->full;
            if ((coverage[i].cases > 0) != expected)
                fail_msg("%s is produced by %zu rows of tier %s", mp_condition_at(i)->name, coverage[i].cases,
                         mp_tier_name(tiers[t]));
            assert_true(coverage[i].cases < matrix.count);
        }
        mp_matrix_free(&matrix);
    }
    free(coverage);
}

static void ids_in_a_file_are_refused(void **unused) {
    (void)unused;
    mp_error err = {0};
    mp_figures f;
    mp_case c = mp_case_default();
    c.data = MP_FROM_FILE;
    assert_int_equal(mp_figures_of(&c, &f, &err), MP_EINPUT);
    assert_non_null(strstr(err.text, "data=file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_of_known_ids),
        cmocka_unit_test(figures_of_drawn_ids),
        cmocka_unit_test(conditions_hold_where_they_should),
        cmocka_unit_test(sequences_hold_where_they_should),
        cmocka_unit_test(names_are_words),
        cmocka_unit_test(known_bugs_name_conditions_and_checks),
        cmocka_unit_test(the_page_lists_them),
        cmocka_unit_test(stock_rows_produce_every_condition),
        cmocka_unit_test(ids_in_a_file_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
