/* SPDX-License-Identifier: Apache-2.0 */
/* One field of a case: its name table, its place in mp_case, text to value and back, and what its errors say.
 * Everything walks the table made from MP_CASE_FIELDS, so a new field needs a row there, a name table here if
 * it is an ENUM, its rules in validate.c (there too where a pair may differ in it), its name beside the
 * stages that it means something to alone (mp_stages in graph.c), its row in python/moeparity/_case.py, and
 * the code that does what it says.
 */
#include "cases/field.h"

#include "base/words.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- name tables, in enum order ---- */

static const char *const names_mp_dtype[] = {"bf16", "fp16", "fp32", "fp64"};
static const char *const names_mp_activation[] = {"silu",       "gelu",       "gelu_tanh", "relu2",
                                                  "swiglu_oai", "silu_clamp", "clamp_silu"};
static const char *const names_mp_mode[] = {"combine", "no_combine", "inplace"};
static const char *const names_mp_layout[] = {"route", "sorted", "masked"};
static const char *const names_mp_shared[] = {"none", "slot", "add"};
static const char *const names_mp_quant[] = {"none",
                                             "fp8-tensor",
                                             "fp8-tensor-static",
                                             "fp8-channel",
                                             "fp8-block",
                                             "fp8-block-ue8m0",
                                             "int8-channel",
                                             "int8-block",
                                             "int8-w8a16",
                                             "int8-w8a16-group",
                                             "int4-w4a16",
                                             "int4-w4a16-zp",
                                             "mxfp4",
                                             "mxfp8",
                                             "nvfp4",
                                             "mxfp4-mxfp8"};
static const char *const names_mp_scale_layout[] = {"row", "row-padded", "column", "column-padded",
                                                    "swizzled"};
static const char *const names_mp_gemm_choice[] = {"auto", "mma", "wgmma"};
static const char *const names_mp_path[] = {"fused", "runner", "chunked"};
static const char *const names_mp_expert_map[] = {"none", "linear", "round_robin"};
static const char *const names_mp_sentinel[] = {"-1", "E", "any"};
#define SCOPE_NAME(stage, scope, name) #name,
static const char *const names_mp_scope[] = {"all", MP_STAGES(SCOPE_NAME)};
static const char *const names_mp_data[] = {"normal",     "integer", "wide",     "onehot",
                                            "special",    "limits",  "overflow", "unused",
                                            "exhaustive", "codes",   "file"};
static const char *const names_mp_routing[] = {"uniform", "zipf", "hot",        "empty",
                                               "first",   "last", "duplicates", "padded"};

static const char *const names_mp_lora_map[] = {"token", "segments"};
static const char *const names_mp_lora_routing[] = {"mixed", "uniform", "one", "base", "empty", "requests"};
static const char *const names_mp_lora_ranks[] = {"full", "zeros", "garbage"};
static const char *const names_mp_lora_outer[] = {"own", "shared", "copies"};
static const char *const names_mp_lora_data[] = {"normal", "same", "zero_a", "zero_b"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
_Static_assert(COUNT(names_mp_activation) == MP_ACTIVATION_COUNT, "one name per activation");
_Static_assert(COUNT(names_mp_mode) == MP_MODE_COUNT, "one name per mode");
_Static_assert(COUNT(names_mp_layout) == MP_LAYOUT_COUNT, "one name per layout");
_Static_assert(COUNT(names_mp_path) == MP_PATH_COUNT, "one name per path");
_Static_assert(COUNT(names_mp_expert_map) == MP_MAP_COUNT, "one name per expert map");
_Static_assert(COUNT(names_mp_sentinel) == MP_SENTINEL_COUNT, "one name per sentinel");
_Static_assert(COUNT(names_mp_shared) == MP_SHARED_COUNT, "one name per form of the shared expert");
_Static_assert(COUNT(names_mp_quant) == MP_SCHEME_COUNT, "one name per scheme");
_Static_assert(COUNT(names_mp_scale_layout) == MP_SCALE_LAYOUT_COUNT, "one name per layout of scales");
_Static_assert(COUNT(names_mp_gemm_choice) == MP_GEMM_CHOICE_COUNT, "one name per choice of GEMM");
_Static_assert(COUNT(names_mp_scope) == MP_SCOPE_COUNT, "one name per scope");
_Static_assert(COUNT(names_mp_data) == MP_DATA_COUNT, "one name per data family");
_Static_assert(COUNT(names_mp_routing) == MP_ROUTING_COUNT, "one name per routing family");
_Static_assert(COUNT(names_mp_lora_map) == MP_LORA_MAP_COUNT, "one name per map of tokens to adapters");
_Static_assert(COUNT(names_mp_lora_routing) == MP_LORA_ROUTING_COUNT, "one name per family of adapters");
_Static_assert(COUNT(names_mp_lora_ranks) == MP_LORA_RANKS_COUNT, "one name per form of ranks");
_Static_assert(COUNT(names_mp_lora_outer) == MP_LORA_OUTER_COUNT, "one name per form of outer factors");
_Static_assert(COUNT(names_mp_lora_data) == MP_LORA_DATA_COUNT, "one name per family of adapters' numbers");

#define NAME_OF(type, value) ((size_t)(value) < COUNT(names_##type) ? names_##type[value] : "?")
const char *mp_activation_name(mp_activation a) {
    return NAME_OF(mp_activation, a);
}
const char *mp_mode_name(mp_mode m) {
    return NAME_OF(mp_mode, m);
}
const char *mp_layout_name(mp_layout l) {
    return NAME_OF(mp_layout, l);
}
const char *mp_path_name(mp_path p) {
    return NAME_OF(mp_path, p);
}
const char *mp_expert_map_name(mp_expert_map m) {
    return NAME_OF(mp_expert_map, m);
}
const char *mp_sentinel_name(mp_sentinel s) {
    return NAME_OF(mp_sentinel, s);
}
const char *mp_shared_name(mp_shared s) {
    return NAME_OF(mp_shared, s);
}
const char *mp_quant_name(mp_quant q) {
    return NAME_OF(mp_quant, q);
}
const char *mp_scale_layout_name(mp_scale_layout l) {
    return NAME_OF(mp_scale_layout, l);
}
const char *mp_scope_name(mp_scope s) {
    return NAME_OF(mp_scope, s);
}
const char *mp_data_name(mp_data d) {
    return NAME_OF(mp_data, d);
}
const char *mp_routing_name(mp_routing r) {
    return NAME_OF(mp_routing, r);
}
const char *mp_lora_routing_name(mp_lora_routing r) {
    return NAME_OF(mp_lora_routing, r);
}

/* ---- the field table ---- */

#define FIELD(f, k, h) .name = #f, .help = h, .kind = k, .offset = offsetof(mp_case, f)
#define FIELD_INT(f, def, lo, hi, show, h) \
    {FIELD(f, MP_KIND_INT, h), .always = show, .int_min = lo, .int_max = hi},
#define FIELD_REAL(f, def, lo, hi, h) {FIELD(f, MP_KIND_REAL, h), .real_min = lo, .real_max = hi},
#define FIELD_FLAG(f, def, h) {FIELD(f, MP_KIND_FLAG, h)},
#define FIELD_ENUM(f, type, def, show, h) \
    {FIELD(f, MP_KIND_ENUM, h), .always = show, .names = names_##type, .name_count = COUNT(names_##type)},
#define FIELD_TILE(f, h) {FIELD(f, MP_KIND_TILE, h)},
const mp_field mp_fields[MP_FIELD_COUNT] = {
    MP_CASE_FIELDS(FIELD_INT, FIELD_REAL, FIELD_FLAG, FIELD_ENUM, FIELD_TILE)};

#define DEFAULT_INT(f, def, lo, hi, show, h) .f = def,
#define DEFAULT_REAL(f, def, lo, hi, h) .f = def,
#define DEFAULT_FLAG(f, def, h) .f = def,
#define DEFAULT_ENUM(f, type, def, show, h) .f = def,
#define DEFAULT_TILE(f, h) .f = {0},
const mp_case mp_default_case = {
    MP_CASE_FIELDS(DEFAULT_INT, DEFAULT_REAL, DEFAULT_FLAG, DEFAULT_ENUM, DEFAULT_TILE)};

/* Typed views of a field. An enum without negative values is an unsigned int to gcc and clang. */
_Static_assert(sizeof(mp_activation) == sizeof(unsigned), "enums are read as unsigned");
static int64_t *as_int(mp_case *c, const mp_field *f) {
    return (int64_t *)(void *)((char *)c + f->offset);
}
static double *as_real(mp_case *c, const mp_field *f) {
    return (double *)(void *)((char *)c + f->offset);
}
static bool *as_flag(mp_case *c, const mp_field *f) {
    return (bool *)((char *)c + f->offset);
}
static unsigned *as_enum(mp_case *c, const mp_field *f) {
    return (unsigned *)(void *)((char *)c + f->offset);
}
static mp_tile *as_tile(mp_case *c, const mp_field *f) {
    return (mp_tile *)(void *)((char *)c + f->offset);
}

/* The largest warps and stages are those of published tuned files. 144 rows are for our own kernels: of
 * experts that get 256 rows on average half get more, for which two blocks of 128 need a third. */
const mp_tile_part mp_tile_parts[MP_TILE_PARTS] = {
    {"BLOCK_SIZE_M", offsetof(mp_tile, block_size_m), 16, 256, true, 144},
    {"BLOCK_SIZE_N", offsetof(mp_tile, block_size_n), 16, 256, true, 0},
    {"BLOCK_SIZE_K", offsetof(mp_tile, block_size_k), 32, 256, true, 0},
    {"GROUP_SIZE_M", offsetof(mp_tile, group_size_m), 1, 65536, false, 0},
    {"num_warps", offsetof(mp_tile, num_warps), 1, 16, true, 0},
    {"num_stages", offsetof(mp_tile, num_stages), 1, 8, false, 0},
};

int *mp_tile_at(mp_tile *tile, int part) {
    return (int *)(void *)((char *)tile + mp_tile_parts[part].offset);
}

bool mp_tile_part_allows(int part, int64_t value) {
    const mp_tile_part *p = &mp_tile_parts[part];
    return value >= p->min && value <= p->max &&
           (!p->power_of_two || (value & (value - 1)) == 0 || value == p->also);
}

void mp_tile_part_expected(int part, char text[64]) {
    const mp_tile_part *p = &mp_tile_parts[part];
    const int length =
        snprintf(text, 64, "%s%d..%d", p->power_of_two ? "a power of two in " : "", p->min, p->max);
    if (p->also) snprintf(text + length, 64 - (size_t)length, ", or %d", p->also);
}

static int compare_tiles(const mp_tile *a, const mp_tile *b) {
    mp_tile l = *a, r = *b;
    for (int i = 0; i < MP_TILE_PARTS; i++) {
        const int x = *mp_tile_at(&l, i), y = *mp_tile_at(&r, i);
        if (x != y) return x < y ? -1 : 1;
    }
    return 0;
}

int mp_field_compare(const mp_field *f, const mp_case *a, const mp_case *b) {
    mp_case l = *a, r = *b;
#define ORDER(x, y) (((x) > (y)) - ((x) < (y)))
    switch (f->kind) {
    case MP_KIND_INT: return ORDER(*as_int(&l, f), *as_int(&r, f));
    case MP_KIND_REAL: return ORDER(*as_real(&l, f), *as_real(&r, f));
    case MP_KIND_FLAG: return ORDER(*as_flag(&l, f), *as_flag(&r, f));
    case MP_KIND_ENUM: return ORDER(*as_enum(&l, f), *as_enum(&r, f));
    case MP_KIND_TILE: return compare_tiles(as_tile(&l, f), as_tile(&r, f));
    }
#undef ORDER
    return 0;
}

/* ---- text to value ---- */

/* Numbers are read and written in the C locale, whatever the program's locale is: a decimal comma would
 * change names. */
static locale_t enter_c_locale(locale_t *c) {
    *c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return uselocale(*c);
}
static void leave_c_locale(locale_t c, locale_t old) {
    uselocale(old);
    freelocale(c);
}

static bool parse_int(const char *text, int64_t *value) {
    const size_t sign = text[0] == '-';
    const size_t digits = strspn(text + sign, "0123456789");
    if (digits == 0 || text[sign + digits]) return false;
    errno = 0;
    *value = strtoll(text, NULL, 10);
    return errno == 0;
}

/* NULL when the text is a real number within a float64's range; else what is wrong with it, "" for a text
 * that is no number (blanks, hexadecimal, inf, nan). */
static const char *parse_real(const char *text, double *value) {
    const size_t length = strlen(text);
    if (length == 0 || length > 40 || text[strspn(text, "0123456789+-.eE")]) return "";
    char *end;
    locale_t c, old = enter_c_locale(&c);
    *value = strtod(text, &end) + 0.0; /* -0 becomes 0: equal cases have equal texts */
    leave_c_locale(c, old);
    if (end == text || *end) return "";
    const char digit = text[strspn(text, "+-.0")]; /* the first that counts */
    if (*value == 0 && digit >= '1' && digit <= '9') return "too small for a float64";
    return isfinite(*value) ? NULL : "too large for a float64";
}

static bool parse_tile(const char *text, mp_tile *tile) {
    *tile = (mp_tile){0};
    if (!strcmp(text, "auto")) return true;
    for (int i = 0; i < MP_TILE_PARTS; i++) {
        const bool last = i == MP_TILE_PARTS - 1;
        const size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 5) return false;
        *mp_tile_at(tile, i) = (int)strtol(text, NULL, 10);
        text += digits;
        if (*text != (last ? 0 : 'x')) return false;
        text += !last;
    }
    return !mp_tile_is_auto(tile); /* 0x0x0x0x0x0 is spelt auto */
}

bool mp_field_parse(const mp_field *f, mp_case *c, const char *text) {
    switch (f->kind) {
    case MP_KIND_INT: return parse_int(text, as_int(c, f));
    case MP_KIND_REAL: return !parse_real(text, as_real(c, f));
    case MP_KIND_FLAG:
        *as_flag(c, f) = !strcmp(text, "1") || !strcmp(text, "true");
        return *as_flag(c, f) || !strcmp(text, "0") || !strcmp(text, "false");
    case MP_KIND_ENUM:
        for (unsigned i = 0; i < f->name_count; i++) {
            if (!strcmp(text, f->names[i])) {
                *as_enum(c, f) = i;
                return true;
            }
        }
        return false;
    case MP_KIND_TILE: return parse_tile(text, as_tile(c, f));
    }
    return false;
}

bool mp_field_in_range(const mp_field *f, const mp_case *of) {
    mp_case c = *of;
    switch (f->kind) {
    case MP_KIND_INT: return *as_int(&c, f) >= f->int_min && *as_int(&c, f) <= f->int_max;
    case MP_KIND_REAL:
        return *as_real(&c, f) >= f->real_min && *as_real(&c, f) <= f->real_max; /* false for NaN */
    case MP_KIND_FLAG: return true;
    case MP_KIND_ENUM: return *as_enum(&c, f) < f->name_count;
    case MP_KIND_TILE: {
        bool allowed = true;
        for (int i = 0; i < MP_TILE_PARTS; i++)
            allowed = allowed && mp_tile_part_allows(i, *mp_tile_at(as_tile(&c, f), i));
        return allowed || mp_tile_is_auto(as_tile(&c, f));
    }
    }
    return false;
}

/* ---- value to text ---- */

bool mp_tile_is_auto(const mp_tile *tile) {
    return compare_tiles(tile, &(mp_tile){0}) == 0;
}

void mp_tile_text(const mp_tile *t, char text[64]) {
    if (mp_tile_is_auto(t)) {
        snprintf(text, 64, "auto");
    } else {
        snprintf(text, 64, "%dx%dx%dx%dx%dx%d", t->block_size_m, t->block_size_n, t->block_size_k,
                 t->group_size_m, t->num_warps, t->num_stages);
    }
}

/* The shortest text that parses back to the same double: 17 significant digits always do. */
static void real_text(double value, char text[64]) {
    locale_t c, old = enter_c_locale(&c);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, 64, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    leave_c_locale(c, old);
}

void mp_field_text(const mp_field *f, const mp_case *of, char text[64]) {
    mp_case c = *of;
    switch (f->kind) {
    case MP_KIND_INT: snprintf(text, 64, "%" PRId64, *as_int(&c, f)); break;
    case MP_KIND_REAL: real_text(*as_real(&c, f), text); break;
    case MP_KIND_FLAG: snprintf(text, 64, "%d", *as_flag(&c, f)); break;
    case MP_KIND_ENUM:
        snprintf(text, 64, "%s", *as_enum(&c, f) < f->name_count ? f->names[*as_enum(&c, f)] : "?");
        break;
    case MP_KIND_TILE: mp_tile_text(as_tile(&c, f), text); break;
    }
}

/* ---- messages ---- */

static void append(char *text, size_t size, const char *separator, const char *word) {
    const size_t length = strlen(text);
    snprintf(text + length, size - length, "%s%s", length ? separator : "", word);
}

void mp_field_expected(const mp_field *f, char *text, size_t size) {
    text[0] = 0;
    switch (f->kind) {
    case MP_KIND_INT:
        snprintf(text, size, "an integer from %" PRId64 " to %" PRId64, f->int_min, f->int_max);
        break;
    case MP_KIND_REAL: {
        char lo[64], hi[64];
        real_text(f->real_min, lo);
        real_text(f->real_max, hi);
        snprintf(text, size, "a number from %s to %s", lo, hi);
        break;
    }
    case MP_KIND_FLAG: snprintf(text, size, "0 or 1 (false or true)"); break;
    case MP_KIND_ENUM:
        for (size_t i = 0; i < f->name_count; i++) append(text, size, ", ", f->names[i]);
        break;
    case MP_KIND_TILE:
        snprintf(text, size, "auto, or ");
        for (int i = 0; i < MP_TILE_PARTS; i++) {
            const size_t length = strlen(text);
            char range[64];
            mp_tile_part_expected(i, range);
            snprintf(text + length, size - length, "%s%s (%s)", i ? " x " : "", mp_tile_parts[i].name, range);
        }
        append(text, size, " ", "as in 64x64x32x8x4x3");
        break;
    }
}

const mp_field *mp_field_find(const char *name, mp_error *err) {
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        if (!strcmp(name, mp_fields[i].name)) return &mp_fields[i];
    }
    if (name[0] == '\0') {
        mp_fail(err, MP_EINPUT,
                "a value without a field's name: expected name=value, without blanks around the sign");
        return NULL;
    }
    char known[1024] = "";
    const char *names[MP_FIELD_COUNT];
    for (size_t i = 0; i < MP_FIELD_COUNT; i++) {
        names[i] = mp_fields[i].name;
        append(known, sizeof known, ", ", names[i]);
    }
    const char *nearest = mp_nearest_word(name, names, MP_FIELD_COUNT, 2); /* further away it is a guess */
    mp_fail(err, MP_EINPUT, "unknown field '%s'%s%s%s; known: %s", name, nearest ? ", did you mean '" : "",
            nearest ? nearest : "", nearest ? "'?" : "", known);
    return NULL;
}

mp_status mp_field_fail(const mp_field *f, const char *sign, const char *value, mp_error *err) {
    char expected[512];
    double real;
    const char *fault = f->kind == MP_KIND_REAL ? parse_real(value, &real) : NULL;
    mp_field_expected(f, expected, sizeof expected);
    if (fault && *fault)
        return mp_fail(err, MP_EINPUT, "%s%s%s: %s is %s: expected %s", f->name, sign, value, value, fault,
                       expected);
    return mp_fail(err, MP_EINPUT, "%s%s%s: expected %s", f->name, sign, value, expected);
}

json_t *mp_field_json(const mp_field *f, const mp_case *of) {
    mp_case c = *of;
    char text[64];
    switch (f->kind) {
    case MP_KIND_INT: return json_integer(*as_int(&c, f));
    case MP_KIND_REAL: return json_real(*as_real(&c, f));
    case MP_KIND_FLAG: return json_boolean(*as_flag(&c, f));
    case MP_KIND_ENUM:
    case MP_KIND_TILE: mp_field_text(f, of, text); return json_string(text);
    }
    return NULL;
}
