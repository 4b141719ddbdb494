/* SPDX-License-Identifier: Apache-2.0 */
/* Cases as text: parsing, the canonical name, comparison, JSON, match expressions. */
#include "cases/case_json.h"
#include "cases/field.h"
#include "cases/models.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

_Static_assert(MP_FIELD_COUNT <= 64, "mp_case_apply keeps the fields it has seen in 64 bits");

mp_case mp_case_default(void) {
    return mp_default_case;
}

int mp_case_compare(const mp_case *a, const mp_case *b) {
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        const int order = mp_field_compare(&mp_fields[i], a, b);
        if (order) return order;
    }
    return 0;
}

size_t mp_case_text(const mp_case *c, char *text, size_t size) {
    size_t length = 0;
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        if (!mp_fields[i].always && mp_field_compare(&mp_fields[i], c, &mp_default_case) == 0) continue;
        char value[64];
        mp_field_text(&mp_fields[i], c, value);
        const size_t room = length < size ? size - length : 0;
        length += (size_t)snprintf(room ? text + length : NULL, room, "%s%s=%s", length ? " " : "",
                                   mp_fields[i].name, value);
    }
    return length;
}

json_t *mp_case_json(const mp_case *c) {
    json_t *json = json_object();
    for (size_t i = 0; json && i < MP_FIELD_COUNT; i++)
        json_object_set_new(json, mp_fields[i].name, mp_field_json(&mp_fields[i], c));
    return json;
}

void mp_case_describe_fields(void (*line)(void *ctx, const char *text), void *ctx) {
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        char value[64], expected[512], text[1024];
        mp_field_text(&mp_fields[i], &mp_default_case, value);
        mp_field_expected(&mp_fields[i], expected, sizeof expected);
        snprintf(text, sizeof text, "%s=%s  %s (%s)", mp_fields[i].name, value, mp_fields[i].help, expected);
        line(ctx, text);
    }
}

/* ---- setting and parsing ---- */

mp_status mp_case_set(mp_case *c, const char *name, const char *value, mp_error *err) {
    const mp_field *f = mp_field_find(name, err);
    if (!f) return MP_EINPUT;
    mp_case next = *c;
    if (!mp_field_parse(f, &next, value) || !mp_field_in_range(f, &next))
        return mp_field_fail(f, "=", value, err);
    *c = next;
    return MP_OK;
}

#define BLANKS " \t\r\n"

/* A word with room for more than a message can show: the longest known name or value is far shorter. */
#define WORD_SIZE 1024

/* Cuts the next blank-separated word off *text. Returns false at the end. */
static bool next_word(const char **text, char word[WORD_SIZE]) {
    const char *start = *text + strspn(*text, BLANKS);
    const size_t length = strcspn(start, BLANKS);
    snprintf(word, WORD_SIZE, "%.*s", (int)(length < WORD_SIZE ? length : WORD_SIZE), start);
    *text = start + length;
    return length > 0;
}

static bool is_blank(const char *text) {
    return text[strspn(text, BLANKS)] == 0;
}

mp_status mp_case_apply(mp_case *c, const char *text, mp_error *err) {
    mp_case next = *c;
    uint64_t seen = 0;
    char word[WORD_SIZE];
    while (next_word(&text, word)) {
        char *equals = strchr(word, '=');
        if (!equals) return mp_fail(err, MP_EINPUT, "'%s': expected name=value", word);
        *equals = 0;
        const mp_status status = mp_case_set(&next, word, equals + 1, err);
        if (status) return status;
        const uint64_t bit = UINT64_C(1) << (mp_field_find(word, err) - mp_fields);
        if (seen & bit)
            return mp_fail(err, MP_EINPUT, "%s is given twice, the second time as %s=%s: give it once", word,
                           word, equals + 1);
        seen |= bit;
    }
    *c = next;
    return MP_OK;
}

mp_status mp_case_reset(mp_case *c, const char *names, mp_error *err) {
    const mp_case usual = mp_case_default();
    char word[WORD_SIZE], text[64];
    while (next_word(&names, word)) {
        const mp_field *field = mp_field_find(word, err);
        if (!field) return MP_EINPUT;
        mp_field_text(field, &usual, text);
        mp_field_parse(field, c, text);
    }
    return MP_OK;
}

mp_status mp_case_parse(mp_case *c, const char *text, mp_error *err) {
    mp_case next = *c;
    if (is_blank(text)) return mp_fail(err, MP_EINPUT, "an empty case: expected name=value, as in M=32");
    mp_status status = mp_case_apply(&next, text, err);
    if (!status) status = mp_case_validate(&next, err);
    if (!status) *c = next;
    return status;
}

/* ---- matching ---- */

/* `model=NAME`, or with `first` a ! the reverse: the case has every field of the model as the model gives it,
 * whatever its others are. NAME may end with a * for any ending, and upper and lower case are one. A case
 * does not know from which model it was made: two models of one shape hold for the same cases. */
static mp_status match_model(const mp_case *c, char first, const char *name, bool *matched, mp_error *err) {
    size_t count;
    const size_t length = strlen(name);
    const mp_model *models = mp_model_list(&count);
    const bool any_ending = length > 0 && name[length - 1] == '*';
    bool known = false, found = false;
    if (first == '<' || first == '>')
        return mp_fail(err, MP_EINPUT, "model is a name: use model=%s or model!=%s", name, name);
    for (size_t i = 0; i < count; i++) {
        mp_case with = *c;
        if (any_ending ? strncasecmp(models[i].name, name, length - 1) : strcasecmp(models[i].name, name))
            continue;
        known = true;
        const mp_status status = mp_case_apply(&with, models[i].overrides, err);
        if (status) return status;
        found = found || mp_case_compare(&with, c) == 0;
    }
    *matched = found == (first == '=');
    if (known) return MP_OK;
    char names[MP_MODEL_NAMES_MAX];
    mp_model_names(names);
    return mp_fail(err, MP_EINPUT, "model=%s: no model of that name: expected one of %s, or model=Qwen*",
                   name, names);
}

/* One term with an operator, `first` and perhaps a = behind it, between name and value. */
static mp_status match_field(const mp_case *c, const char *name, char first, bool or_equal, const char *value,
                             bool *matched, mp_error *err) {
    const mp_field *f = mp_field_find(name, err);
    if (!f) return MP_EINPUT;
    mp_case other = *c;
    if (!mp_field_parse(f, &other, value)) { /* out of range is fine in a comparison */
        const char as_written[3] = {first, or_equal ? '=' : 0, 0};
        return mp_field_fail(f, as_written, value, err);
    }
    if ((first == '<' || first == '>') && f->kind != MP_KIND_INT && f->kind != MP_KIND_REAL)
        return mp_fail(err, MP_EINPUT, "%s%c%s: %s is not a number: use %s=%s or %s!=%s", name, first, value,
                       name, name, value, name, value);
    const int order = mp_field_compare(f, c, &other);
    *matched = first == '='   ? order == 0
               : first == '!' ? order != 0
               : first == '<' ? order < 0 || (or_equal && order == 0)
                              : order > 0 || (or_equal && order == 0);
    return MP_OK;
}

mp_status mp_case_match(const mp_case *c, const char *expr, bool *matched, mp_error *err) {
    char canonical[MP_CASE_TEXT_MAX] = "", word[WORD_SIZE];
    if (is_blank(expr))
        return mp_fail(err, MP_EINPUT, "an empty match expression: expected terms, as in M>16 act=silu");
    *matched = true;
    while (next_word(&expr, word)) {
        char *op = word + strcspn(word, "=!<>");
        if (*op == 0) {
            if (!*canonical) mp_case_text(c, canonical, sizeof canonical); /* few ask for it */
            *matched = *matched && strstr(canonical, word);
            continue;
        }
        const char first = *op;
        const bool or_equal = first != '=' && op[1] == '=';
        if (first == '!' && !or_equal)
            return mp_fail(err, MP_EINPUT, "'%s': expected name=value, name!=value, or < <= > >= for numbers",
                           word);
        const char *value = op + 1 + or_equal;
        *op = 0;
        bool holds = false;
        const mp_status status = strcmp(word, "model") == 0
                                     ? match_model(c, first, value, &holds, err)
                                     : match_field(c, word, first, or_equal, value, &holds, err);
        if (status) return status;
        *matched = *matched && holds;
    }
    return MP_OK;
}
