/* SPDX-License-Identifier: Apache-2.0 */
/* The places in which a loader looks for a file, in its order. */
#include "kernels/loader.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- versions ---- */

enum { VERSION_PARTS = 8 };
typedef struct version {
    long part[VERSION_PARTS];
    int count;
} version;

static bool parse_version(const char *text, const char *separators, version *v) {
    *v = (version){0};
    for (;; text++) {
        const size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 9 || v->count == VERSION_PARTS) return false;
        v->part[v->count++] = strtol(text, NULL, 10);
        text += digits;
        if (*text == '\0') return true;
        if (!strchr(separators, *text)) return false;
    }
}

/* Number by number: 3.10 is newer than 3.9, and 3.2.0 than 3.2. */
static int compare_versions(const version *a, const version *b) {
    for (int i = 0; i < a->count && i < b->count; i++)
        if (a->part[i] != b->part[i]) return a->part[i] < b->part[i] ? -1 : 1;
    return a->count - b->count;
}

bool mp_triton_version_valid(const char *text) {
    version v;
    return parse_version(text, "._", &v);
}

int mp_triton_version_compare(const char *a, const char *b) {
    version x, y;
    parse_version(a, "._", &x);
    parse_version(b, "._", &y);
    return compare_versions(&x, &y);
}

bool mp_triton_version_equal(const char *a, const char *b) {
    return mp_triton_version_valid(a) && mp_triton_version_valid(b) && mp_triton_version_compare(a, b) == 0;
}

static const char prefix[] = "triton_";

bool mp_triton_folder(const char *name, const char **text) {
    version v;
    const bool begins = strncmp(name, prefix, strlen(prefix)) == 0;
    *text = begins ? name + strlen(prefix) : NULL;
    return begins && parse_version(*text, "_", &v);
}

static int is_version_folder(const struct dirent *entry) {
    return strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
}

static int by_version(const struct dirent **a, const struct dirent **b) {
    version x, y;
    parse_version((*a)->d_name + strlen(prefix), "_", &x);
    parse_version((*b)->d_name + strlen(prefix), "_", &y);
    const int order = compare_versions(&x, &y);
    return order ? order : strcmp((*a)->d_name, (*b)->d_name);
}

/* ---- places ---- */

/* Both fail by leaving the search as it was; the caller compares the counts. */
static bool add_place(mp_search *s, mp_place_rule rule, const char *folder, const char *below,
                      const char *name) {
    mp_place *grown = realloc(s->place, (s->count + 1) * sizeof *grown);
    if (!grown) return false;
    s->place = grown;
    mp_place place = {.rule = rule};
    if (asprintf(&place.path, "%s/%s%s%s", folder, below, *below ? "/" : "", name) < 0) return false;
    errno = 0;
    place.there = strlen(place.path) < PATH_MAX && access(place.path, F_OK) == 0;
    place.denied = !place.there && errno == EACCES;
    s->place[s->count++] = place;
    return true;
}

static bool add_odd(mp_search *s, const char *folder) {
    char **grown = realloc(s->odd, (s->odd_count + 1) * sizeof *grown);
    if (!grown) return false;
    s->odd = grown;
    if (!(s->odd[s->odd_count] = strdup(folder))) return false;
    /* The parts of triton_3.6.0 are numbers; its files are then looked for in triton_3_6_0. */
    if (!s->raising && !mp_triton_version_valid(folder + strlen(prefix))) s->raising = s->odd[s->odd_count];
    s->odd_count++;
    return true;
}

/* The folder of the running version, whether it is there or not, then the others, newest first. */
static bool add_versions(mp_search *s, const char *folder, const char *name, const char *triton) {
    char asked[64] = "";
    struct dirent **entries = NULL;
    const char *version_text;
    bool done = true;
    if (*triton) {
        snprintf(asked, sizeof asked, "%s%s", prefix, triton);
        for (char *c = asked; *c; c++)
            if (*c == '.') *c = '_';
        done = add_place(s, MP_PLACE_ASKED_VERSION, folder, asked, name);
    }
    const int count = scandir(folder, &entries, is_version_folder, by_version);
    if (count < 0) s->listing_failed = errno;
    for (int i = count - 1; i >= 0; i--) {
        const char *found = entries[i]->d_name;
        if (!mp_triton_folder(found, &version_text))
            done = done && add_odd(s, found);
        else if (strcmp(found, asked) != 0)
            done = done && add_place(s, MP_PLACE_OTHER_VERSION, folder, found, name);
    }
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return done;
}

mp_status mp_loader_search(const mp_loader *loader, const mp_root *roots, size_t root_count, const char *name,
                           const char *triton, mp_search *search, mp_error *err) {
    bool done = true;
    *search = (mp_search){0};
    for (size_t i = 0; i < root_count; i++)
        done = done && (loader->versioned ? add_versions(search, roots[i].folder, name, triton)
                                          : add_place(search, roots[i].own ? MP_PLACE_OWN : MP_PLACE_VARIABLE,
                                                      roots[i].folder, "", name));
    return done ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for the places of %s", name);
}

const mp_place *mp_search_first(const mp_search *search) {
    for (size_t i = 0; i < search->count; i++)
        if (search->place[i].there) return &search->place[i];
    return NULL;
}

void mp_search_free(mp_search *search) {
    for (size_t i = 0; i < search->count; i++) free(search->place[i].path);
    for (size_t i = 0; i < search->odd_count; i++) free(search->odd[i]);
    free(search->place);
    free(search->odd);
    *search = (mp_search){0};
}
