/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of cases: loading matrix files with their includes, merging duplicates, selection. */
#include "moeparity/matrix.h"

#include "cases/case_tools.h"
#include "cases/group.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char *const tier_names[MP_TIER_COUNT] = {"smoke", "ci", "full"};

const char *mp_tier_name(mp_tier tier) {
    return (unsigned)tier < MP_TIER_COUNT ? tier_names[tier] : "?";
}

bool mp_tier_parse(const char *text, mp_tier *tier) {
    for (unsigned i = 0; i < MP_TIER_COUNT; i++) {
        if (!strcmp(text, tier_names[i])) {
            *tier = (mp_tier)i;
            return true;
        }
    }
    return false;
}

/* ---- rows ---- */

static void free_row(mp_matrix_row *row) {
    for (size_t i = 0; i < row->pair_count; i++) free(row->pair_text[i]);
    for (size_t i = 0; i < row->after_count; i++) free(row->after_text[i]);
    free(row->pair_text);
    free(row->after_text);
    free(row->afters);
    free(row->file);
    free(row->pairs);
    free(row->group);
}

void mp_matrix_free(mp_matrix *m) {
    for (size_t i = 0; i < m->count; i++) free_row(&m->rows[i]);
    free(m->rows);
    *m = (mp_matrix){0};
}

mp_status mp_matrix_append(mp_matrix *m, const mp_case *c, mp_tier tier, const char *group, mp_error *err) {
    mp_matrix_row *rows = realloc(m->rows, (m->count + 1) * sizeof *rows);
    if (rows) m->rows = rows;
    char *name = strdup(group);
    if (!rows || !name) {
        free(name);
        return mp_fail(err, MP_EMEMORY, "no memory for case %zu of the matrix", m->count);
    }
    m->rows[m->count++] = (mp_matrix_row){.c = *c, .tier = tier, .group = name};
    return MP_OK;
}

static mp_status append(mp_case **cases, char ***texts, size_t *count, const mp_case *c, const char *text,
                        mp_error *err) {
    mp_case *more = realloc(*cases, (*count + 1) * sizeof *more);
    if (more) *cases = more;
    char **more_texts = realloc(*texts, (*count + 1) * sizeof *more_texts);
    if (more_texts) *texts = more_texts;
    char *copy = strdup(text);
    if (!more || !more_texts || !copy) {
        free(copy);
        return mp_fail(err, MP_EMEMORY, "no memory for the pairs of a case");
    }
    more[*count] = *c;
    more_texts[(*count)++] = copy;
    return MP_OK;
}

mp_status mp_matrix_append_pair(mp_matrix_row *row, const mp_case *variant, const char *text, mp_error *err) {
    for (size_t i = 0; i < row->pair_count; i++) {
        if (mp_case_compare(&row->pairs[i], variant) == 0) return MP_OK;
    }
    if (row->pair_count == MP_MATRIX_MAX_PAIRS)
        return mp_fail(err, MP_EINPUT,
                       "a case has at most %d pairs: leave the others to a case with another seed",
                       MP_MATRIX_MAX_PAIRS);
    return append(&row->pairs, &row->pair_text, &row->pair_count, variant, text, err);
}

mp_status mp_matrix_append_after(mp_matrix_row *row, const mp_case *before, const char *text, mp_error *err) {
    for (size_t i = 0; i < row->after_count; i++) {
        if (mp_case_compare(&row->afters[i], before) == 0) return MP_OK;
    }
    if (row->after_count == MP_MATRIX_MAX_AFTERS)
        return mp_fail(err, MP_EINPUT,
                       "a case runs after at most %d others: leave the rest to a case with another seed",
                       MP_MATRIX_MAX_AFTERS);
    return append(&row->afters, &row->after_text, &row->after_count, before, text, err);
}

/* ---- duplicates ---- */

static int by_case_then_position(const void *a, const void *b, void *rows) {
    const size_t i = *(const size_t *)a, j = *(const size_t *)b;
    const mp_matrix_row *r = rows;
    const int order = mp_case_compare(&r[i].c, &r[j].c);
    return order ? order : (i > j) - (i < j);
}

/* The first that does not fit ends it. */
static mp_status merge_variants(mp_matrix_row *keep, const mp_matrix_row *again, mp_error *err) {
    char text[MP_CASE_TEXT_MAX];
    const char *kind = "pair", *variant = NULL;
    mp_status status = MP_OK;
    for (size_t p = 0; !status && p < again->pair_count; p++) {
        variant = again->pair_text[p];
        status = mp_matrix_append_pair(keep, &again->pairs[p], variant, err);
    }
    for (size_t p = 0; !status && p < again->after_count; p++) {
        kind = "after";
        variant = again->after_text[p];
        status = mp_matrix_append_after(keep, &again->afters[p], variant, err);
    }
    if (status == MP_OK) return MP_OK;
    mp_case_text(&keep->c, text, sizeof text);
    mp_error_prefix(err, "%s '%s' of '%s' (groups '%s' and '%s')", kind, variant, text, keep->group,
                    again->group);
    return status;
}

/* Merges equal cases into the first of them: its group stays, the lower tier wins, pairs and afters are
 * united. */
static mp_status merge_duplicates(mp_matrix *m, mp_error *err) {
    mp_status status = MP_OK;
    size_t *order = malloc((m->count + 1) * sizeof *order);
    if (!order) return mp_fail(err, MP_EMEMORY, "no memory to order %zu cases", m->count);
    for (size_t i = 0; i < m->count; i++) order[i] = i;
    qsort_r(order, m->count, sizeof *order, by_case_then_position, m->rows);
    for (size_t i = 1, first = 0; i < m->count; i++) {
        mp_matrix_row *keep = &m->rows[order[first]], *again = &m->rows[order[i]];
        if (mp_case_compare(&keep->c, &again->c) != 0) {
            first = i;
            continue;
        }
        if (again->tier < keep->tier) keep->tier = again->tier;
        if (!status) status = merge_variants(keep, again, err);
        free_row(again);
        *again = (mp_matrix_row){0}; /* group == NULL marks it */
    }
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->rows[i].group) m->rows[kept++] = m->rows[i];
    }
    m->count = kept;
    free(order);
    return status;
}

/* ---- files ---- */

#define MAX_INCLUDE_DEPTH 32 /* files that include each other in a row */

/* Every file that the loading of one matrix has come to: it is read once, however often it is included, for
 * the same cases again would add nothing. */
typedef struct loading {
    mp_matrix *m;
    struct source {
        char *path;   /* resolved: what tells two files apart */
        bool reading; /* its includes, or itself: including it now is a cycle */
    } * files;
    size_t count;
} loading;

static mp_status read_file(loading *l, const char *path, int depth, mp_error *err);

static mp_status read_includes(loading *l, mp_yaml *y, const yaml_node_t *list, int depth) {
    mp_status status = mp_yaml_check_list(y, list, "include");
    for (size_t i = 0; !status && i < mp_yaml_length(list); i++) {
        const yaml_node_t *item = mp_yaml_item(y, list, i);
        const char *name = mp_yaml_text(item);
        char folder[PATH_MAX], path[2 * PATH_MAX];
        if (!name || !*name) return mp_yaml_fail(y, item, "include: expected a path");
        snprintf(folder, sizeof folder, "%s", y->path);
        snprintf(path, sizeof path, "%s%s%s", name[0] == '/' ? "" : dirname(folder),
                 name[0] == '/' ? "" : "/", name);
        status = read_file(l, path, depth + 1, y->err);
        /* The innermost places are those of use: a chain too long for the message must not push out the
         * reason. */
        if (status && y->err && strlen(y->err->text) + strlen(y->path) < sizeof y->err->text / 2)
            mp_error_prefix(y->err, "%s:%d: include", y->path, mp_yaml_line(item));
    }
    return status;
}

static mp_status read_file(loading *l, const char *path, int depth, mp_error *err) {
    static const char *const known[] = {"include", "defaults", "groups", NULL};
    char resolved[PATH_MAX];
    if (!realpath(path, resolved)) return mp_fail(err, MP_EINPUT, "%s: %m; expected a matrix file", path);
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->files[i].path, resolved) != 0) continue;
        return l->files[i].reading ? mp_fail(err, MP_EINPUT, "%s includes itself", path) : MP_OK;
    }
    if (depth > MAX_INCLUDE_DEPTH)
        return mp_fail(err, MP_EINPUT, "%s: an include within %d others; expected no more", path,
                       MAX_INCLUDE_DEPTH);
    struct source *files = realloc(l->files, (l->count + 1) * sizeof *files);
    if (files) l->files = files;
    char *copy = strdup(resolved);
    if (!files || !copy) {
        free(copy);
        return mp_fail(err, MP_EMEMORY, "no memory for the includes of %s", path);
    }
    const size_t self = l->count++;
    l->files[self] = (struct source){.path = copy, .reading = true};

    mp_yaml y;
    mp_case defaults = mp_case_default();
    mp_status status = mp_yaml_open(&y, path, err);
    if (status) goto out;
    const yaml_node_t *root = mp_yaml_root(&y);
    status = mp_yaml_check_mapping(&y, root, "matrix", known);
    if (status) goto out;
    const yaml_node_t *include = mp_yaml_get(&y, root, "include"),
                      *fields = mp_yaml_get(&y, root, "defaults"), *groups = mp_yaml_get(&y, root, "groups");
    if (!include && !groups)
        status = mp_yaml_fail(&y, root, "matrix: neither include nor groups; expected cases");
    if (!status && fields) status = mp_group_set_fields(&y, fields, "defaults", &defaults);
    if (!status && include) status = read_includes(l, &y, include, depth);
    if (!status && groups) status = mp_yaml_check_list(&y, groups, "groups");
    for (size_t i = 0; !status && groups && i < mp_yaml_length(groups); i++)
        status = mp_group_expand(&y, mp_yaml_item(&y, groups, i), &defaults, l->m);
out:
    mp_yaml_close(&y);
    l->files[self].reading = false;
    return status;
}

/* Moves the rows of *more behind those of *m. */
static mp_status take_rows(mp_matrix *m, mp_matrix *more, mp_error *err) {
    if (more->count == 0) return MP_OK;
    mp_matrix_row *rows = realloc(m->rows, (m->count + more->count) * sizeof *rows);
    if (!rows) return mp_fail(err, MP_EMEMORY, "no memory for %zu cases", m->count + more->count);
    memcpy(rows + m->count, more->rows, more->count * sizeof *rows);
    m->rows = rows;
    m->count += more->count;
    free(more->rows);
    *more = (mp_matrix){0};
    return MP_OK;
}

mp_status mp_matrix_load(mp_matrix *m, const char *path, mp_error *err) {
    mp_matrix more = {0};
    loading l = {.m = &more};
    mp_status status = read_file(&l, path, 0, err);
    if (!status) status = take_rows(m, &more, err);
    if (!status) {
        status = merge_duplicates(m, err);
        if (status) mp_error_prefix(err, "%s", path);
    }
    for (size_t i = 0; i < l.count; i++) free(l.files[i].path);
    free(l.files);
    mp_matrix_free(&more);
    return status;
}

mp_status mp_matrix_add(mp_matrix *m, const char *case_text, const char *const *pairs, size_t pair_count,
                        mp_error *err) {
    mp_matrix more = {0};
    mp_case c = mp_case_default();
    mp_status status = mp_case_parse(&c, case_text, err);
    if (status) mp_error_prefix(err, "case '%s'", case_text);
    if (!status) status = mp_matrix_append(&more, &c, MP_SMOKE, "command line", err);
    for (size_t i = 0; !status && i < pair_count; i++) {
        mp_case variant = c;
        status = mp_case_parse(&variant, pairs[i], err);
        if (!status && mp_case_compare(&variant, &c) == 0)
            status = mp_fail(err, MP_EINPUT, "the variant is the case itself");
        if (!status) status = mp_case_validate_pair(&c, &variant, err);
        if (!status) status = mp_matrix_append_pair(&more.rows[0], &variant, pairs[i], err);
        if (status) mp_error_prefix(err, "pair '%s' of '%s'", pairs[i], case_text);
    }
    if (!status) status = take_rows(m, &more, err);
    if (!status) status = merge_duplicates(m, err);
    mp_matrix_free(&more);
    return status;
}

mp_status mp_matrix_add_after(mp_matrix *m, const char *case_text, const char *after, mp_error *err) {
    mp_case c = mp_case_default();
    mp_status status = mp_case_parse(&c, case_text, err);
    mp_case before = c;
    size_t row = 0;
    while (row < m->count && mp_case_compare(&m->rows[row].c, &c) != 0) row++;
    if (!status && row == m->count) status = mp_fail(err, MP_EINTERNAL, "no such case");
    if (!status) status = mp_case_parse(&before, after, err);
    if (!status) status = mp_case_validate_after(&c, &before, err);
    if (!status) status = mp_matrix_append_after(&m->rows[row], &before, after, err);
    if (status) mp_error_prefix(err, "after '%s' of '%s'", after, case_text);
    return status;
}

mp_status mp_matrix_select(mp_matrix *m, mp_tier tier, const char *expr, mp_error *err) {
    size_t kept = 0;
    const size_t before = m->count;
    bool *keep = calloc(before + 1, sizeof *keep);
    if (!keep) return mp_fail(err, MP_EMEMORY, "no memory to select from %zu cases", before);
    mp_status status = MP_OK;
    for (size_t i = 0; !status && i < before; i++) {
        keep[i] = true;
        if (expr) status = mp_case_match(&m->rows[i].c, expr, &keep[i], err);
        keep[i] = keep[i] && m->rows[i].tier <= tier;
    }
    if (status) goto out; /* the matrix is as it was */
    for (size_t i = 0; i < before; i++) {
        if (keep[i]) {
            m->rows[kept++] = m->rows[i];
        } else {
            free_row(&m->rows[i]);
        }
    }
    m->count = kept;
    if (kept == 0)
        status = mp_fail(err, MP_EINPUT, "no case left of %zu: tier %s%s%s", before, mp_tier_name(tier),
                         expr ? ", match " : "", expr ? expr : "");
out:
    free(keep);
    return status;
}
