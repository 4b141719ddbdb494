/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/which/which.h"

#include "harness/tune/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the file ---- */

static void say(mp_which_part *part, mp_which_outcome outcome, mp_text *why) {
    part->outcome = outcome;
    part->why = mp_text_steal(why);
}

static const char *folder_of(const char *path, int *length) {
    const char *end = strrchr(path, '/'), *begin = end;
    while (begin > path && begin[-1] != '/') begin--;
    *length = (int)(end - begin);
    return begin;
}

/* What int() and the parser would raise on. */
static bool raises(const mp_loader *loader, const mp_table *t, mp_text *why) {
    if (t->broken) {
        mp_text_add(why, "it cannot be read: %s", t->broken);
        return true;
    }
    if (t->triton_version && !loader->takes_version_out) {
        mp_text_add(why, "its key \"triton_version\" is no number");
        return true;
    }
    for (size_t i = 0; i < t->count; i++)
        if (!t->row[i].is_number) {
            mp_text_add(why, "its key \"%.60s\" is no number", t->row[i].key);
            return true;
        }
    return false;
}

static void take_file(mp_which *w, mp_which_part *part, bool triton_known, mp_text *why, mp_error *err) {
    const mp_place *place = part->chosen;
    int length;
    const char *folder = folder_of(place->path, &length);
    const mp_status status = mp_table_load(place->path, &part->table, err);
    if (status != MP_OK) {
        mp_text_add(why, "it cannot be read: %s", err->text);
        *err = (mp_error){0};
        say(part, MP_WHICH_RAISES, why);
        return;
    }
    if (raises(w->loader, &part->table, why)) {
        say(part, MP_WHICH_RAISES, why);
        return;
    }
    switch (place->rule) {
    case MP_PLACE_ASKED_VERSION: mp_text_add(why, "in the folder of the running Triton"); break;
    case MP_PLACE_OTHER_VERSION:
        mp_text_add(why,
                    triton_known ? "a fallback: not in the folder of the running Triton; %.*s is the newest "
                                   "that has it"
                                 : "no Triton was named: %.*s is the newest that has it",
                    length, folder);
        break;
    case MP_PLACE_VARIABLE: mp_text_add(why, "in the folder that goes before the package's own"); break;
    case MP_PLACE_OWN: mp_text_add(why, "in the package's own folder"); break;
    }
    say(part, MP_WHICH_FILE, why);
    if (part->table.step_count == 0) { /* an empty table counts as none */
        free(part->why);
        part->why = strdup("the file has no key: the loader takes it for none");
        part->outcome = part == &w->down ? MP_WHICH_UP : MP_WHICH_DEFAULT;
    }
}

static bool is_off(const mp_which_query *query, const mp_loader *loader, mp_text *why) {
    const char *variable = loader->off_variable ? getenv(loader->off_variable) : NULL;
    const bool set = variable && strcmp(variable, "1") == 0;
    if (query->off)
        mp_text_add(why, "%s looks at no file", loader->off);
    else if (set)
        mp_text_add(why, "%s=1: %s looks at no file", loader->off_variable, loader->off);
    return query->off || set;
}

static mp_status look_up(const mp_which_query *query, mp_which *w, bool down, mp_error *err) {
    mp_which_part *part = down ? &w->down : &w->up;
    mp_text why = {0};
    if (down && !w->loader->down_files) {
        mp_text_add(&why, "%s has one file for both", w->loader->name);
        say(part, MP_WHICH_UP, &why);
        return MP_OK;
    }
    part->asked = true;
    mp_tuned_name(w->loader, &query->key, down, part->name);
    const mp_status status =
        mp_loader_search(w->loader, w->root, w->root_count, part->name, query->triton, &part->search, err);
    if (status != MP_OK) return status;
    const mp_place *first = mp_search_first(&part->search);
    /* Only what is not in the running version's folder makes the loader list the others. */
    const bool lists = w->loader->versioned && !(first && first->rule == MP_PLACE_ASKED_VERSION);
    w->off = is_off(query, w->loader, &why);
    if (w->off) {
        say(part, down ? MP_WHICH_UP : MP_WHICH_DEFAULT, &why);
    } else if (lists && part->search.listing_failed) {
        mp_text_add(&why, "%s: %s: the loader lists it, and raises", w->root[0].folder,
                    strerror(part->search.listing_failed));
        say(part, MP_WHICH_RAISES, &why);
    } else if (lists && part->search.raising) {
        mp_text_add(&why, "%s is no version: the loader converts its parts to numbers, and raises",
                    part->search.raising);
        say(part, MP_WHICH_RAISES, &why);
    } else if (first) {
        part->chosen = first;
        take_file(w, part, *query->triton, &why, err);
    } else {
        mp_text_add(&why, "in none of %zu folders", part->search.count);
        say(part, down ? MP_WHICH_UP : MP_WHICH_DEFAULT, &why);
    }
    mp_text_free(&why);
    return MP_OK;
}

/* ---- the key ---- */

/* How the nearest key was found. */
static void explain(const mp_table *t, const mp_table_row *row, int64_t M, mp_text *why) {
    const mp_table_step *below = NULL, *above = NULL;
    if (row->M == M) {
        mp_text_add(why, "the key itself");
        return;
    }
    for (size_t i = 0; i < t->step_count; i++) {
        if (t->step[i].M <= M) below = &t->step[i];
        if (t->step[i].M > M && !above) above = &t->step[i];
    }
    if (!below) {
        mp_text_add(why, "below the first key");
    } else if (!above) {
        mp_text_add(why, "above the last key");
    } else {
        const long long up = above->M - M, down = M - below->M;
        const long long other = row->M == below->M ? above->M : below->M;
        if (up == down)
            mp_text_add(why, "%lld from both %lld and %lld: it stands first in the file", up,
                        (long long)below->M, (long long)above->M);
        else
            mp_text_add(why, "%lld away, %lld is %lld", up < down ? up : down, other, up < down ? down : up);
    }
    if (row->M > 0 && (row->M / 2 > M || M / 2 > row->M || (M - 1) / 2 >= row->M))
        mp_text_add(why, "; more than 2x");
}

void mp_which_choose(const mp_which *w, int64_t M, mp_which_choice *c) {
    *c = (mp_which_choice){0};
    if (w->up.outcome == MP_WHICH_FILE) {
        c->up = mp_table_nearest(&w->up.table, M);
        explain(&w->up.table, c->up, M, &c->up_why);
    }
    if (w->down.outcome == MP_WHICH_FILE) {
        c->down = mp_table_nearest(&w->down.table, M);
        explain(&w->down.table, c->down, M, &c->down_why);
    }
    c->down_is_up = !c->down;
}

static int ascending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Those that were asked for; else the sides of both tables, and where the defaults change. */
static mp_status choose_tokens(const mp_which_query *query, mp_which *w, mp_error *err) {
    size_t up = 0, down = 0, used = 0;
    int64_t *m = NULL, *a = NULL, *b = NULL;
    mp_status status = MP_OK;
    if (query->M) {
        m = calloc(query->M_count + 1, sizeof *m);
        if (m) memcpy(m, query->M, query->M_count * sizeof *m);
        used = query->M_count;
    } else {
        a = mp_table_sides(&w->up.table, &up);
        b = mp_table_sides(&w->down.table, &down);
        m = calloc(up + down + 3, sizeof *m);
        for (size_t i = 0; m && i < up; i++) m[used++] = a[i];
        for (size_t i = 0; m && i < down; i++) m[used++] = b[i];
        if (m && up == 0) {
            m[used++] = 1;
            m[used++] = query->key.E;
            m[used++] = query->key.E + 1;
        }
        if (m) qsort(m, used, sizeof *m, ascending);
        size_t kept = 0;
        for (size_t i = 0; i < used; i++)
            if (kept == 0 || m[i] != m[kept - 1]) m[kept++] = m[i];
        used = kept;
    }
    if (!m) status = mp_fail(err, MP_EMEMORY, "no memory for %zu numbers of tokens", up + down);
    w->M = m;
    w->M_count = m ? used : 0;
    free(a);
    free(b);
    return status;
}

/* ---- all of it ---- */

mp_status mp_which_ask(const mp_which_query *query, mp_loader_id loader, mp_which *w, mp_error *err) {
    *w = (mp_which){.loader = &mp_loaders[loader]};
    mp_status status = mp_which_folders(query, w, err);
    if (status != MP_OK || w->root_count == 0) return status;
    status = look_up(query, w, false, err);
    if (status == MP_OK) status = look_up(query, w, true, err);
    if (status == MP_OK) status = choose_tokens(query, w, err);
    return status == MP_OK ? mp_which_near(query, w, err) : status;
}

static void free_part(mp_which_part *part) {
    mp_search_free(&part->search);
    mp_table_free(&part->table);
    free(part->why);
}

void mp_which_free(mp_which *w) {
    free_part(&w->up);
    free_part(&w->down);
    for (size_t i = 0; i < w->near_count; i++) {
        free(w->near[i].path);
        free(w->near[i].differs);
    }
    free(w->near);
    free(w->M);
    free(w->where);
    free(w->folder[0]);
    free(w->folder[1]);
    *w = (mp_which){0};
}
