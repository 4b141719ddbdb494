/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/goldens/align.h"

#include "cases/case_tools.h"

#include <stdlib.h>
#include <string.h>

#define ARROW "->"
#define BLANKS " \t"

/* A case as the rules leave it. */
typedef struct keyed {
    char *key;
    size_t index;
} keyed;

/* One rule, which is cut in two. */
static mp_status apply_rule(char *rule, const mp_case *original, mp_case *c, mp_error *err) {
    char *arrow = strstr(rule, ARROW), *fields = arrow ? arrow + strlen(ARROW) : NULL;
    bool matched = true;
    mp_status status = MP_OK;
    if (!arrow || fields[strspn(fields, BLANKS)] == '\0')
        return mp_fail(err, MP_EINPUT,
                       "'%s': expected TERMS " ARROW " FIELDS, as 'tile=64x64x64x8x4x3 " ARROW
                       " tile=128x128x64x8x4x3'",
                       rule);
    *arrow = '\0';
    if (rule[strspn(rule, BLANKS)] != '\0') status = mp_case_match(original, rule, &matched, err);
    mp_case changed = *c; /* read even where it does not match: a mistake shows whatever the cases are */
    if (status == MP_OK) status = mp_case_apply(&changed, fields, err);
    if (status == MP_OK && matched) *c = changed;
    return status;
}

static mp_status apply_map(const char *map, const mp_case *original, mp_case *c, mp_error *err) {
    char *rules = strdup(map), *rest = rules;
    mp_status status = rules ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for a map");
    while (status == MP_OK && rest) status = apply_rule(strsep(&rest, ";"), original, c, err);
    if (status != MP_OK) mp_error_prefix(err, "--map '%s'", map);
    free(rules);
    return status;
}

static mp_status key_of(const mp_case *original, const mp_align_rules *rules, bool maps, char **key,
                        mp_error *err) {
    char text[MP_CASE_TEXT_MAX];
    mp_case c = *original;
    mp_status status = MP_OK;
    if (maps && rules->map) status = apply_map(rules->map, original, &c, err);
    if (status == MP_OK && rules->ignore && (status = mp_case_reset(&c, rules->ignore, err)) != MP_OK)
        mp_error_prefix(err, "--ignore '%s'", rules->ignore);
    if (status != MP_OK) return status;
    mp_case_text(&c, text, sizeof text);
    *key = strdup(text);
    return *key ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for the name of a case");
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const keyed *)a)->key, ((const keyed *)b)->key);
}

static void free_keys(keyed *keys, size_t count) {
    for (size_t i = 0; keys && i < count; i++) free(keys[i].key);
    free(keys);
}

/* Sorted by their keys, which are all different. */
static mp_status keys_of(mp_golden *g, const mp_align_rules *rules, bool maps, keyed **keys, mp_error *err) {
    const size_t count = mp_golden_count(g);
    mp_status status = MP_OK;
    if (!(*keys = calloc(count + 1, sizeof **keys)))
        return mp_fail(err, MP_EMEMORY, "no memory for %zu names", count);
    for (size_t i = 0; i < count && status == MP_OK; i++) {
        (*keys)[i].index = i;
        status = key_of(&mp_golden_at(g, i)->c, rules, maps, &(*keys)[i].key, err);
    }
    if (status != MP_OK) return status;
    qsort(*keys, count, sizeof **keys, by_key);
    for (size_t i = 1; i < count; i++)
        if (by_key(&(*keys)[i - 1], &(*keys)[i]) == 0)
            return mp_fail(err, MP_EINPUT,
                           "%s: '%s' and '%s' are one case by --ignore and --map: what tells them apart must "
                           "stay, or be mapped",
                           mp_golden_path(g), mp_golden_at(g, (*keys)[i - 1].index)->name,
                           mp_golden_at(g, (*keys)[i].index)->name);
    return MP_OK;
}

mp_status mp_goldens_align(mp_golden *a, mp_golden *b, const mp_align_rules *rules, size_t **other,
                           mp_error *err) {
    keyed *in_a = NULL, *in_b = NULL;
    const size_t count_a = mp_golden_count(a), count_b = mp_golden_count(b);
    *other = NULL;
    mp_status status = keys_of(a, rules, true, &in_a, err);
    if (status == MP_OK) status = keys_of(b, rules, false, &in_b, err);
    if (status == MP_OK && !(*other = malloc((count_a + 1) * sizeof **other)))
        status = mp_fail(err, MP_EMEMORY, "no memory for %zu numbers", count_a);
    for (size_t i = 0; status == MP_OK && i < count_a; i++) {
        const keyed *found = bsearch(&in_a[i], in_b, count_b, sizeof *in_b, by_key);
        (*other)[in_a[i].index] = found ? found->index : SIZE_MAX;
    }
    free_keys(in_a, count_a);
    free_keys(in_b, count_b);
    return status;
}
