/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/which.h"

#include "base/printable.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NEAR = 40 };

/* Texts of strangers, safe to print. */
static void put(FILE *out, const char *text) {
    char line[8192];
    mp_text_printable(text, line, sizeof line);
    fputs(line, out);
}

static void add_value(mp_text *text, const mp_table_row *row, const char *name, const char *usual) {
    const json_t *value = json_object_get(row->entry, name);
    char *dump = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    mp_text_add(text, "%s%.24s", text->length ? "x" : "", dump ? dump : usual);
    free(dump);
}

void mp_which_tile(const mp_which_query *query, const mp_which *w, const mp_which_choice *choice, bool down,
                   int64_t M, mp_text *text, int64_t *overridden) {
    static const char *const names[] = {"BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K",
                                        "GROUP_SIZE_M", "num_warps",    "num_stages"};
    const mp_table_row *row = down ? choice->down : choice->up;
    mp_text up = {0};
    *overridden = 0;
    if (!row) {
        mp_which_default(w->loader, &query->key, M, w->off, text);
        return;
    }
    if (down && choice->up) {
        add_value(&up, choice->up, names[0], "?");
    } else if (down) {
        mp_which_default(w->loader, &query->key, M, w->off, &up);
    }
    for (int i = 0; i < 6; i++) add_value(text, row, names[i], i == 4 ? "4" : i == 5 ? "3" : "?");
    if (mp_table_true(row, "USE_TMA")) mp_text_add(text, " TMA");
    const int64_t own = mp_table_number(row, names[0], 0),
                  of_up = down ? strtoll(mp_text_get(&up), NULL, 10) : own;
    mp_text_free(&up);
    if (down && of_up > 0 && of_up != own) {
        mp_text changed = {0};
        mp_text_add(&changed, "%" PRId64 "%s", of_up, mp_text_get(text) + strcspn(mp_text_get(text), "x"));
        mp_text_free(text);
        *text = changed;
        *overridden = own;
    }
}

static const char *rule_text(mp_place_rule rule) {
    static const char *const texts[] = {"the running Triton's folder", "another version's folder",
                                        "the folder before the package's", "the package's folder"};
    return texts[rule];
}

static void put_part(FILE *out, const mp_which_part *part, const char *gemm) {
    static const char *const outcomes[] = {"", "gate_up's serves both: ", "the defaults: ", "raises: "};
    size_t missing = 0;
    if (!part->asked) {
        fprintf(out, "  %-8s %s%s\n", gemm, outcomes[part->outcome], part->why);
        return;
    }
    fprintf(out, "  %-8s asks for ", gemm);
    put(out, part->name);
    fputc('\n', out);
    for (size_t i = 0; i < part->search.count; i++) {
        const mp_place *place = &part->search.place[i];
        missing += !place->there;
        if (!place->there && place->rule == MP_PLACE_OTHER_VERSION) continue;
        fprintf(out, "    %-9s ",
                place == part->chosen ? "taken"
                : place->there        ? "later"
                : place->denied       ? "denied"
                                      : "not there");
        put(out, place->path);
        fprintf(out, " (%s)\n", rule_text(place->rule));
    }
    if (missing) fprintf(out, "    not there in %zu of %zu folders\n", missing, part->search.count);
    for (size_t i = 0; i < part->search.odd_count; i++) {
        fputs("    no version: ", out);
        put(out, part->search.odd[i]);
        fputc('\n', out);
    }
    fprintf(out, "    %s", outcomes[part->outcome]);
    put(out, part->why);
    fputc('\n', out);
}

/* What becomes of a block of K that is greater than the group. */
static void put_group(FILE *out, const mp_which_query *query, const mp_which *w, const mp_table_row *row) {
    const mp_tuned_key *key = &query->key;
    const int64_t k = mp_table_number(row, "BLOCK_SIZE_K", 0),
                  clamp = key->block_n < key->block_k ? key->block_n : key->block_k;
    if (!key->block_n || !key->block_k || strstr(key->dtype, "a16")) return;
    if (w->loader->clamps_block_k && k > clamp)
        fprintf(out, "  BLOCK_SIZE_K %" PRId64 " runs as %" PRId64, k, clamp);
    else if (!w->loader->clamps_block_k && k > key->block_k)
        fprintf(out, "  BLOCK_SIZE_K %" PRId64 " over a group of %" PRId64 ": wrong numbers", k,
                key->block_k);
}

static void put_choice(FILE *out, const mp_which_query *query, const mp_which *w, int64_t M) {
    mp_which_choice c;
    mp_text up = {0}, down = {0};
    int64_t overridden, none;
    mp_which_choose(w, M, &c);
    mp_which_tile(query, w, &c, false, M, &up, &none);
    fprintf(out, "  M=%-7" PRId64 " key ", M);
    put(out, c.up ? c.up->key : "-");
    fprintf(out, "  %s  (%s)", mp_text_get(&up), c.up ? mp_text_get(&c.up_why) : "default");
    if (c.up) put_group(out, query, w, c.up);
    if (!c.down_is_up) {
        mp_which_tile(query, w, &c, true, M, &down, &overridden);
        fputs("; down key ", out);
        put(out, c.down->key);
        fprintf(out, "  %s", mp_text_get(&down));
        put_group(out, query, w, c.down);
        if (c.up && c.up->M != c.down->M) fprintf(out, "  (%s)", mp_text_get(&c.down_why));
        if (overridden) fprintf(out, "  BLOCK_SIZE_M %" PRId64 " overridden by gate_up's", overridden);
    }
    fputc('\n', out);
    mp_text_free(&up);
    mp_text_free(&down);
    mp_text_free(&c.up_why);
    mp_text_free(&c.down_why);
}

void mp_report_which_text(FILE *out, const mp_which_query *query, const mp_which *w) {
    fprintf(out, "%s: ", w->loader->name);
    put(out, w->root_count ? w->where : "no folder to look into: not asked");
    fputc('\n', out);
    if (!w->root_count) return;
    put_part(out, &w->up, "gate_up");
    put_part(out, &w->down, "down");
    if (w->up.outcome != MP_WHICH_RAISES && w->down.outcome != MP_WHICH_RAISES)
        for (size_t i = 0; i < w->M_count; i++) put_choice(out, query, w, w->M[i]);
    for (size_t i = 0; i < w->near_count && i < MOST_NEAR; i++) {
        fprintf(out, "%s", i ? "    " : "  near misses\n    ");
        put(out, w->near[i].path);
        fputs("\n      ", out);
        put(out, w->near[i].differs);
        fputc('\n', out);
    }
    if (w->near_count > MOST_NEAR)
        fprintf(out, "    and %zu more (--json has all)\n", w->near_count - MOST_NEAR);
}
