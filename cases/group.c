/* SPDX-License-Identifier: Apache-2.0 */
/* Expansion of a group: every dimension (model, an axis, a zip) is a list of override texts; the cases are
 * the cross product of the dimensions over the defaults, the last dimension moving fastest. Values are
 * checked where they stand, before anything is crossed.
 */
#include "cases/group.h"

#include "cases/case_tools.h"
#include "cases/models.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DIMENSIONS 64
#define MAX_VALUES 65536             /* of one axis */
#define MAX_CASES (INT64_C(1) << 20) /* of one group */

typedef struct texts {
    char **item;
    size_t count;
} texts;

/* Of the keys pairs and after: a variant of the case, and which cases have it. */
typedef struct variant_rule {
    const yaml_node_t *node;
    char *when, *variant; /* when == NULL: always */
    size_t used;
} variant_rule;

typedef struct variant_rules {
    const char *key;
    variant_rule *rule;
    size_t count;
} variant_rules;

typedef struct exclude_rule {
    const yaml_node_t *node;
    char *expr;
    size_t used;
} exclude_rule;

typedef struct plan {
    mp_yaml *y;
    const yaml_node_t *node;
    const char *name;
    mp_tier tier;
    bool skip_impossible;
    texts dimension[MAX_DIMENSIONS];
    size_t dimension_count;
    const char *taken[MAX_DIMENSIONS]; /* fields that a dimension sets already */
    size_t taken_count;
    exclude_rule *exclude;
    size_t exclude_count;
    variant_rules pairs, after;
} plan;

/* ---- texts ---- */

static void texts_free(texts *t) {
    for (size_t i = 0; i < t->count; i++) free(t->item[i]);
    free(t->item);
    *t = (texts){0};
}

static mp_status no_memory(mp_yaml *y, const yaml_node_t *node) {
    return mp_fail(y->err, MP_EMEMORY, "%s:%d: no memory for this entry", y->path, mp_yaml_line(node));
}

static mp_status texts_add(mp_yaml *y, const yaml_node_t *node, texts *t, const char *field,
                           const char *value) {
    if (t->count >= MAX_VALUES) return mp_yaml_fail(y, node, "%s: more than %d values", field, MAX_VALUES);
    if ((t->count & (t->count - 1)) == 0) { /* the room doubles at each power of two */
        char **items = realloc(t->item, (t->count ? 2 * t->count : 1) * sizeof *items);
        if (!items) return no_memory(y, node);
        t->item = items;
    }
    if (asprintf(&t->item[t->count], "%s=%s", field, value) < 0) return no_memory(y, node);
    t->count++;
    return MP_OK;
}

/* One field's value, checked. */
static mp_status set_field(mp_yaml *y, const yaml_node_t *node, const char *field, const char *value,
                           mp_case *c) {
    const mp_status status = mp_case_set(c, field, value, y->err);
    if (status) mp_error_prefix(y->err, "%s:%d", y->path, mp_yaml_line(node));
    return status;
}

mp_status mp_group_set_fields(mp_yaml *y, const yaml_node_t *mapping, const char *what, mp_case *c) {
    mp_status status = mp_yaml_check_mapping(y, mapping, what, NULL);
    for (size_t i = 0; !status && i < mp_yaml_pairs(mapping); i++) {
        const yaml_node_t *value;
        const char *field = mp_yaml_pair(y, mapping, i, &value);
        if (!mp_yaml_text(value)) return mp_yaml_fail(y, value, "%s: %s: expected one value", what, field);
        status = set_field(y, value, field, mp_yaml_text(value), c);
    }
    return status;
}

/* {from, to, step} or {from, to, times}. */
static mp_status add_range(plan *p, const char *field, const yaml_node_t *node, texts *values) {
    static const char *const known[] = {"from", "to", "step", "times", NULL};
    int64_t from, to, by = 0;
    mp_status status = mp_yaml_check_mapping(p->y, node, field, known);
    if (!status) status = mp_yaml_get_int(p->y, node, "from", &from);
    if (!status) status = mp_yaml_get_int(p->y, node, "to", &to);
    if (status) return status;
    const bool times = mp_yaml_get(p->y, node, "times");
    if (times == (mp_yaml_get(p->y, node, "step") != NULL))
        return mp_yaml_fail(p->y, node, "%s: expected either step or times beside from and to", field);
    status = mp_yaml_get_int(p->y, node, times ? "times" : "step", &by);
    if (status) return status;
    if (from > to)
        return mp_yaml_fail(p->y, node, "%s: from %" PRId64 " is above to %" PRId64, field, from, to);
    if (times ? by < 2 || from < 1 : by < 1)
        return mp_yaml_fail(p->y, node, "%s: %s", field,
                            times ? "times must be at least 2, and from at least 1"
                                  : "step must be at least 1");
    for (int64_t value = from; !status && value <= to;) {
        char text[32];
        mp_case scratch = mp_case_default();
        snprintf(text, sizeof text, "%" PRId64, value);
        status = set_field(p->y, node, field, text, &scratch);
        if (!status) status = texts_add(p->y, node, values, field, text);
        if (times ? __builtin_mul_overflow(value, by, &value) : __builtin_add_overflow(value, by, &value))
            break;
    }
    return status;
}

/* The values of one field: scalar, list or range. The field must be free. */
static mp_status add_values(plan *p, const char *field, const yaml_node_t *node, texts *values) {
    for (size_t i = 0; i < p->taken_count; i++) {
        if (!strcmp(p->taken[i], field))
            return mp_yaml_fail(p->y, node, "%s is set by two axes of the group; expected one", field);
    }
    if (p->taken_count == MAX_DIMENSIONS)
        return mp_yaml_fail(p->y, node, "more than %d fields in axes and zip", MAX_DIMENSIONS);
    p->taken[p->taken_count++] = field;
    if (mp_yaml_is_mapping(node)) return add_range(p, field, node, values);
    mp_status status = mp_yaml_is_list(node) ? mp_yaml_check_list(p->y, node, field) : MP_OK;
    for (size_t i = 0; !status && i < mp_yaml_length(node); i++) {
        const yaml_node_t *item = mp_yaml_item(p->y, node, i);
        mp_case scratch = mp_case_default();
        if (!mp_yaml_text(item))
            return mp_yaml_fail(
                p->y, item, "%s: expected a value, a list of values, or a range {from, to, step or times}",
                field);
        status = set_field(p->y, item, field, mp_yaml_text(item), &scratch);
        if (!status) status = texts_add(p->y, item, values, field, mp_yaml_text(item));
    }
    return status;
}

/* ---- the keys of a group ---- */

static texts *new_dimension(plan *p) {
    return &p->dimension[p->dimension_count++]; /* one of the model, one a field at most: add_values keeps the
                                                   count in bounds */
}

static mp_status read_model(plan *p, const yaml_node_t *node) {
    mp_status status = mp_yaml_is_list(node) ? mp_yaml_check_list(p->y, node, "model") : MP_OK;
    texts *dimension = new_dimension(p);
    for (size_t i = 0; !status && i < mp_yaml_length(node); i++) {
        const yaml_node_t *item = mp_yaml_item(p->y, node, i);
        const char *name = mp_yaml_text(item);
        const mp_model *model = name ? mp_model_find(name) : NULL;
        if (!model) {
            char known[MP_MODEL_NAMES_MAX];
            mp_model_names(known);
            return mp_yaml_fail(p->y, item, "model: unknown '%s'; expected one of %s",
                                name ? name : "(not a name)", known);
        }
        const char *equals =
            strchr(model->overrides,
                   '='); /* texts_add joins field and value; the rest of the text is part of the value */
        char field[16];
        snprintf(field, sizeof field, "%.*s", (int)(equals - model->overrides), model->overrides);
        status = texts_add(p->y, item, dimension, field, equals + 1);
    }
    return status;
}

static mp_status read_axes(plan *p, const yaml_node_t *node) {
    mp_status status = mp_yaml_check_mapping(p->y, node, "axes", NULL);
    for (size_t i = 0; !status && i < mp_yaml_pairs(node); i++) {
        const yaml_node_t *value;
        const char *field = mp_yaml_pair(p->y, node, i, &value);
        if (p->dimension_count == MAX_DIMENSIONS)
            return mp_yaml_fail(p->y, node, "more than %d axes", MAX_DIMENSIONS);
        status = add_values(p, field, value, new_dimension(p));
    }
    return status;
}

/* One zip mapping: its fields' lists, joined entry by entry. */
static mp_status read_zip(plan *p, const yaml_node_t *node) {
    mp_status status = mp_yaml_check_mapping(p->y, node, "zip", NULL);
    if (!status && mp_yaml_pairs(node) < 2)
        return mp_yaml_fail(p->y, node, "zip: expected at least two fields that move together");
    if (!status && p->dimension_count == MAX_DIMENSIONS)
        return mp_yaml_fail(p->y, node, "more than %d axes", MAX_DIMENSIONS);
    texts column = {0}, *joined = NULL;
    for (size_t i = 0; !status && i < mp_yaml_pairs(node); i++) {
        const yaml_node_t *value;
        const char *field = mp_yaml_pair(p->y, node, i, &value);
        if (!joined) {
            joined = new_dimension(p);
            status = add_values(p, field, value, joined);
            continue;
        }
        status = add_values(p, field, value, &column);
        if (!status && column.count != joined->count)
            status = mp_yaml_fail(p->y, value, "zip: %s has %zu values where the fields before it have %zu",
                                  field, column.count, joined->count);
        for (size_t k = 0; !status && k < joined->count; k++) {
            char *longer;
            if (asprintf(&longer, "%s %s", joined->item[k], column.item[k]) < 0) {
                status = no_memory(p->y, node);
                break;
            }
            free(joined->item[k]);
            joined->item[k] = longer;
        }
        texts_free(&column);
    }
    texts_free(&column);
    return status;
}

/* A text as it stands, or a mapping of fields as `name=value name=value`. */
static mp_status read_terms(plan *p, const yaml_node_t *node, const char *what, char **text) {
    mp_case scratch = mp_case_default();
    if (mp_yaml_text(node)) {
        *text = strdup(mp_yaml_text(node));
        return *text ? MP_OK : no_memory(p->y, node);
    }
    mp_status status = mp_group_set_fields(p->y, node, what, &scratch);
    if (status) return status;
    *text = strdup("");
    for (size_t i = 0; *text && i < mp_yaml_pairs(node); i++) {
        const yaml_node_t *value;
        const char *field = mp_yaml_pair(p->y, node, i, &value);
        char *longer = NULL;
        if (asprintf(&longer, "%s%s%s=%s", *text, i ? " " : "", field, mp_yaml_text(value)) < 0)
            longer = NULL;
        free(*text);
        *text = longer;
    }
    return *text ? MP_OK : no_memory(p->y, node);
}

static mp_status check_expression(plan *p, const yaml_node_t *node, const char *what, const char *expr) {
    const mp_case scratch = mp_case_default();
    bool matched;
    const mp_status status = mp_case_match(&scratch, expr, &matched, p->y->err);
    if (status) mp_error_prefix(p->y->err, "%s:%d: %s", p->y->path, mp_yaml_line(node), what);
    return status;
}

static mp_status read_exclude(plan *p, const yaml_node_t *node) {
    mp_status status = mp_yaml_check_list(p->y, node, "exclude");
    if (status) return status;
    p->exclude = calloc(mp_yaml_length(node), sizeof *p->exclude);
    if (!p->exclude) return no_memory(p->y, node);
    for (size_t i = 0; !status && i < mp_yaml_length(node); i++) {
        exclude_rule *rule = &p->exclude[p->exclude_count++];
        rule->node = mp_yaml_item(p->y, node, i);
        status = read_terms(p, rule->node, "exclude", &rule->expr);
        if (!status) status = check_expression(p, rule->node, "exclude", rule->expr);
    }
    return status;
}

/* A variant is an override text, a mapping of fields, or {when: EXPRESSION, variant: text or mapping}. */
static mp_status read_variant(plan *p, const yaml_node_t *node, const char *key, variant_rule *rule) {
    static const char *const known[] = {"when", "variant", NULL};
    rule->node = node;
    const yaml_node_t *when = NULL, *variant = node;
    if (mp_yaml_is_mapping(node)) {
        mp_status checked = mp_yaml_check_mapping(p->y, node, key, NULL);
        if (checked) return checked;
        when = mp_yaml_get(p->y, node, "when");
        variant = mp_yaml_get(p->y, node, "variant");
        if (when || variant) checked = mp_yaml_check_mapping(p->y, node, key, known);
        if (checked) return checked;
        if (!when != !variant) return mp_yaml_fail(p->y, node, "%s: expected both when and variant", key);
        if (!variant) variant = node;
    }
    if (when && !mp_yaml_text(when)) return mp_yaml_fail(p->y, when, "when: expected a match expression");
    rule->when = when ? strdup(mp_yaml_text(when)) : NULL;
    if (when && !rule->when) return no_memory(p->y, node);
    mp_status status = when ? check_expression(p, node, "when", rule->when) : MP_OK;
    if (!status) status = read_terms(p, variant, key, &rule->variant);
    if (!status && !rule->variant[strspn(rule->variant, " \t\r\n")]) /* nobody could repeat it by its text */
        status = mp_yaml_fail(p->y, variant, "%s: an empty variant: expected name=value, as in seed=1", key);
    mp_case scratch = mp_case_default();
    if (!status) {
        status = mp_case_apply(&scratch, rule->variant, p->y->err);
        if (status) mp_error_prefix(p->y->err, "%s:%d: %s", p->y->path, mp_yaml_line(variant), key);
    }
    return status;
}

static mp_status read_variants(plan *p, const yaml_node_t *node, variant_rules *rules) {
    mp_status status = mp_yaml_check_list(p->y, node, rules->key);
    if (status) return status;
    rules->rule = calloc(mp_yaml_length(node), sizeof *rules->rule);
    if (!rules->rule) return no_memory(p->y, node);
    for (size_t i = 0; !status && i < mp_yaml_length(node); i++)
        status = read_variant(p, mp_yaml_item(p->y, node, i), rules->key, &rules->rule[rules->count++]);
    return status;
}

static mp_status read_group(plan *p) {
    static const char *const known[] = {"name",  "tier",  "model",           "axes", "zip", "exclude",
                                        "pairs", "after", "skip_impossible", NULL};
    mp_status status = mp_yaml_check_mapping(p->y, p->node, "group", known);
    if (status) return status;
    const yaml_node_t *name = mp_yaml_get(p->y, p->node, "name"), *tier = mp_yaml_get(p->y, p->node, "tier");
    const yaml_node_t *skip = mp_yaml_get(p->y, p->node, "skip_impossible"),
                      *model = mp_yaml_get(p->y, p->node, "model");
    const yaml_node_t *axes = mp_yaml_get(p->y, p->node, "axes"), *zip = mp_yaml_get(p->y, p->node, "zip");
    const yaml_node_t *exclude = mp_yaml_get(p->y, p->node, "exclude"),
                      *pairs = mp_yaml_get(p->y, p->node, "pairs"),
                      *after = mp_yaml_get(p->y, p->node, "after");
    p->name = name ? mp_yaml_text(name) : NULL;
    if (!p->name || !*p->name) return mp_yaml_fail(p->y, p->node, "group: expected a name");
    if (tier && !(mp_yaml_text(tier) && mp_tier_parse(mp_yaml_text(tier), &p->tier)))
        return mp_yaml_fail(p->y, tier, "tier: '%s'; expected smoke, ci or full",
                            mp_yaml_text(tier) ? mp_yaml_text(tier) : "(not a name)");
    const char *skip_text = skip ? mp_yaml_text(skip) : "false";
    if (!skip_text || (strcmp(skip_text, "true") && strcmp(skip_text, "false")))
        return mp_yaml_fail(p->y, skip, "skip_impossible: '%s'; expected true or false",
                            skip_text ? skip_text : "(not a flag)");
    p->skip_impossible = !strcmp(skip_text, "true");
    if (model) status = read_model(p, model);
    if (!status && axes) status = read_axes(p, axes);
    if (!status && zip) status = mp_yaml_check_list(p->y, zip, "zip");
    for (size_t i = 0; !status && zip && i < mp_yaml_length(zip); i++)
        status = read_zip(p, mp_yaml_item(p->y, zip, i));
    if (!status && exclude) status = read_exclude(p, exclude);
    if (!status && pairs) status = read_variants(p, pairs, &p->pairs);
    if (!status && after) status = read_variants(p, after, &p->after);
    return status;
}

/* ---- crossing ---- */

static mp_status add_pair(mp_matrix_row *row, const mp_case *variant, const char *text, mp_error *err) {
    const mp_status status = mp_case_validate_pair(&row->c, variant, err);
    return status ? status : mp_matrix_append_pair(row, variant, text, err);
}

static mp_status add_after(mp_matrix_row *row, const mp_case *before, const char *text, mp_error *err) {
    const mp_status status = mp_case_validate_after(&row->c, before, err);
    return status ? status : mp_matrix_append_after(row, before, text, err);
}

static mp_status add_variants(plan *p, variant_rules *rules, mp_matrix_row *row) {
    const bool pairs = rules == &p->pairs;
    mp_status status = MP_OK;
    for (size_t i = 0; !status && i < rules->count; i++) {
        variant_rule *rule = &rules->rule[i];
        bool applies = true;
        char text[MP_CASE_TEXT_MAX];
        mp_case variant = row->c;
        if (rule->when) status = mp_case_match(&row->c, rule->when, &applies, p->y->err);
        if (status || !applies) continue;
        rule->used++;
        status = mp_case_apply(&variant, rule->variant, p->y->err);
        if (!status) status = mp_case_validate(&variant, p->y->err);
        if (!status && pairs && mp_case_compare(&variant, &row->c) == 0)
            status = mp_fail(p->y->err, MP_EINPUT, "the variant is the case itself");
        if (status == MP_EINPUT && p->skip_impossible) {
            status = MP_OK;
            continue;
        }
        if (!status) status = (pairs ? add_pair : add_after)(row, &variant, rule->variant, p->y->err);
        mp_case_text(&row->c, text, sizeof text);
        if (status)
            mp_error_prefix(p->y->err, "%s:%d: %s '%s' of '%s'", p->y->path, mp_yaml_line(rule->node),
                            pairs ? "pair" : "after", rule->variant, text);
    }
    return status;
}

static mp_status add_case(plan *p, const mp_case *c, mp_matrix *m) {
    char text[MP_CASE_TEXT_MAX];
    for (size_t i = 0; i < p->exclude_count; i++) {
        bool matched;
        const mp_status status = mp_case_match(c, p->exclude[i].expr, &matched, p->y->err);
        if (status || matched) {
            p->exclude[i].used += matched;
            return status;
        }
    }
    mp_status status = mp_case_validate(c, p->y->err);
    if (status && p->skip_impossible) return MP_OK;
    if (status) {
        mp_case_text(c, text, sizeof text);
        mp_error_prefix(p->y->err,
                        "%s:%d: group '%s': '%s' is impossible (exclude it, or say skip_impossible: true)",
                        p->y->path, mp_yaml_line(p->node), p->name, text);
        return status;
    }
    status = mp_matrix_append(m, c, p->tier, p->name, p->y->err);
    if (!status) status = add_variants(p, &p->pairs, &m->rows[m->count - 1]);
    return status ? status : add_variants(p, &p->after, &m->rows[m->count - 1]);
}

static mp_status check_variants_used(plan *p, const variant_rules *rules) {
    for (size_t i = 0; i < rules->count; i++) {
        if (!rules->rule[i].used)
            return mp_yaml_fail(p->y, rules->rule[i].node,
                                "when: '%s' matches no case of group '%s'; remove or correct it",
                                rules->rule[i].when, p->name);
    }
    return MP_OK;
}

/* A rule that never applies is a typing error, or the matrix has moved on without it. */
static mp_status check_rules_used(plan *p) {
    for (size_t i = 0; i < p->exclude_count; i++) {
        if (!p->exclude[i].used)
            return mp_yaml_fail(p->y, p->exclude[i].node,
                                "exclude: '%s' matches no case of group '%s'; remove or correct it",
                                p->exclude[i].expr, p->name);
    }
    const mp_status status = check_variants_used(p, &p->pairs);
    return status ? status : check_variants_used(p, &p->after);
}

static mp_status cross(plan *p, const mp_case *defaults, mp_matrix *m) {
    mp_status status = MP_OK;
    const size_t before = m->count;
    int64_t total = 1;
    for (size_t d = 0; d < p->dimension_count; d++) {
        total *= (int64_t)p->dimension[d].count;
        if (total > MAX_CASES)
            return mp_yaml_fail(p->y, p->node, "group '%s' crosses to more than %" PRId64 " cases", p->name,
                                MAX_CASES);
    }
    for (int64_t i = 0; !status && i < total; i++) {
        mp_case c = *defaults;
        int64_t rest = total, index = i;
        for (size_t d = 0; !status && d < p->dimension_count;
             d++) { /* digits of i in mixed radix, the first dimension the highest */
            rest /= (int64_t)p->dimension[d].count;
            status = mp_case_apply(&c, p->dimension[d].item[index / rest], p->y->err);
            index %= rest;
        }
        if (!status) status = add_case(p, &c, m);
    }
    if (!status && m->count == before)
        return mp_yaml_fail(p->y, p->node, "group '%s' has no case left", p->name);
    return status ? status : check_rules_used(p);
}

static void variants_free(variant_rules *rules) {
    for (size_t i = 0; i < rules->count; i++) {
        free(rules->rule[i].when);
        free(rules->rule[i].variant);
    }
    free(rules->rule);
}

mp_status mp_group_expand(mp_yaml *y, const yaml_node_t *node, const mp_case *defaults, mp_matrix *m) {
    plan p = {.y = y, .node = node, .tier = MP_CI, .pairs = {.key = "pairs"}, .after = {.key = "after"}};
    mp_status status = read_group(&p);
    if (!status) status = cross(&p, defaults, m);
    for (size_t i = 0; i < p.dimension_count; i++) texts_free(&p.dimension[i]);
    for (size_t i = 0; i < p.exclude_count; i++) free(p.exclude[i].expr);
    variants_free(&p.pairs);
    variants_free(&p.after);
    free(p.exclude);
    return status;
}
