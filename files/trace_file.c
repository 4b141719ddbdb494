/* SPDX-License-Identifier: Apache-2.0 */
#include "files/trace_file.h"

#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the file says of the case ---- */

/* The sizes that shapes tell. */
typedef enum extent { TOKENS, EXPERTS, TOPK, HIDDEN, INTERMEDIATE, SIZES } extent;
static const char *const size_names[SIZES] = {"M", "E", "topk", "K", "N"};

enum { SOURCE_MAX = 96 };

typedef struct findings {
    mp_member member[MP_TENSOR_COUNT]; /* of the file, as far as the case's scope has them */
    mp_case c;
    const char *text; /* of the case, as given */
    int64_t value[SIZES];
    char source[SIZES][SOURCE_MAX]; /* "" : not known yet */
    char dtype_source[SOURCE_MAX];
} findings;

/* Whether the text gives the field. */
static bool given(const findings *f, const char *name) {
    const size_t length = strlen(name);
    for (const char *at = f->text; (at = strstr(at, name)); at += length)
        if ((at == f->text || at[-1] == ' ') && at[length] == '=') return true;
    return false;
}

/* "w1 [8,64,32]" */
static void describe(const mp_member *member, mp_tensor_id id, char text[SOURCE_MAX]) {
    const mp_tensor *t = &member[id].shape;
    int used = snprintf(text, SOURCE_MAX, "%s ", mp_tensor_name(id));
    for (int i = 0; i < t->rank; i++)
        used += snprintf(text + used, SOURCE_MAX - (size_t)used, "%c%" PRId64, i ? ',' : '[', t->dim[i]);
    snprintf(text + used, SOURCE_MAX - (size_t)used, "]");
}

static mp_status claim(findings *f, extent which, int64_t value, const char *source, mp_error *err) {
    if (!f->source[which][0]) {
        f->value[which] = value;
        snprintf(f->source[which], SOURCE_MAX, "%s", source);
    } else if (f->value[which] != value) {
        return mp_fail(err, MP_EINPUT, "%s has %s=%" PRId64 ", and %s has %s=%" PRId64, f->source[which],
                       size_names[which], f->value[which], source, size_names[which], value);
    }
    return MP_OK;
}

static mp_status claim_of(findings *f, extent which, int64_t value, mp_tensor_id id, mp_error *err) {
    char source[SOURCE_MAX];
    describe(f->member, id, source);
    return claim(f, which, value, source, err);
}

/* The axes of the tensors whose shapes have their full rank; 0 ends them. A letter for each size; 'w' is a
 * row of w1 and cache1, '.' what nothing is learned from. */
static const struct {
    mp_tensor_id id;
    const char *axes;
} layouts[] = {{MP_X, "MK"},
               {MP_TOPK_IDS, "MT"},
               {MP_TOPK_WEIGHTS, "MT"},
               {MP_W2, "EKN"},
               {MP_W1, "EwK"},
               {MP_B2, "EK"},
               {MP_B1, "Ew"},
               {MP_CACHE2, ".N"},
               {MP_CACHE1, ".w"},
               {MP_CACHE3, "MTK"},
               {MP_CACHE3, ".K"},
               {MP_CACHE1_HOOKED, ".w"},
               {MP_CACHE3_HOOKED, "MTK"},
               {MP_CACHE3_HOOKED, ".K"},
               {MP_OUT, "MK"},
               {MP_OUT, "MTK"},
               {MP_SHARED_OUTPUT, "MK"},
               {MP_CACHE1, "MTw"},
               {MP_CACHE2, "MTN"}};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

static extent extent_of_letter(char letter) {
    static const char letters[] = "METKN";
    static const extent extents[] = {TOKENS, EXPERTS, TOPK, HIDDEN, INTERMEDIATE};
    const char *at = strchr(letters, letter);
    return at ? extents[at - letters] : SIZES;
}

static mp_status claim_axes(findings *f, mp_error *err) {
    mp_status status = MP_OK;
    for (int i = 0; i < LAYOUTS && status == MP_OK; i++) {
        const mp_tensor *t = &f->member[layouts[i].id].shape;
        const bool slots = layouts[i].id == MP_OUT && f->c.mode == MP_MODE_NO_COMBINE;
        if (t->rank != (int)strlen(layouts[i].axes) || (slots && t->rank == 2)) continue;
        for (int axis = 0; axis < t->rank && status == MP_OK; axis++) {
            const extent which = extent_of_letter(layouts[i].axes[axis]);
            if (which != SIZES) status = claim_of(f, which, t->dim[axis], layouts[i].id, err);
        }
    }
    return status;
}

/* Rows of w1, gate and up or one of them, tell N and whether there is a gate. */
static mp_status claim_widths(findings *f, mp_error *err) {
    static const mp_tensor_id of[] = {MP_W1, MP_B1, MP_CACHE1, MP_CACHE1_HOOKED};
    mp_status status = MP_OK;
    for (size_t i = 0; i < sizeof of / sizeof *of && status == MP_OK; i++) {
        const mp_tensor *t = &f->member[of[i]].shape;
        if (t->rank == 0) continue;
        const int64_t width = of[i] == MP_W1 && t->rank == 3 ? t->dim[1] : t->dim[t->rank - 1];
        if (!given(f, "gated") && f->source[INTERMEDIATE][0] && width == f->value[INTERMEDIATE])
            f->c.gated = false;
        char source[SOURCE_MAX];
        describe(f->member, of[i], source);
        if (f->c.gated && width % 2 != 0)
            return mp_fail(err, MP_EINPUT, "%s: gate and up are %" PRId64 " columns, an odd number", source,
                           width);
        status = claim(f, INTERMEDIATE, f->c.gated ? width / 2 : width, source, err);
    }
    return status;
}

/* Rows of slots tell the one of M and topk that is not known. Without either every row is a token. */
static mp_status claim_slots(findings *f, mp_error *err) {
    static const mp_tensor_id of[] = {MP_CACHE1, MP_CACHE1_HOOKED, MP_CACHE2, MP_CACHE3, MP_CACHE3_HOOKED};
    mp_status status = MP_OK;
    if (f->c.layout != MP_ROUTE) return MP_OK;
    for (size_t i = 0; i < sizeof of / sizeof *of && status == MP_OK; i++) {
        const mp_tensor *t = &f->member[of[i]].shape;
        if (t->rank == 0) continue;
        const int64_t rows = mp_tensor_rows(t);
        const bool tokens = f->source[TOKENS][0], topk = f->source[TOPK][0];
        char source[SOURCE_MAX];
        describe(f->member, of[i], source);
        const int64_t known = tokens ? f->value[TOKENS] : topk ? f->value[TOPK] : 1;
        if ((known ? rows % known : rows) != 0 ||
            (tokens && topk && rows != f->value[TOKENS] * f->value[TOPK]))
            return mp_fail(err, MP_EINPUT, "%s: %" PRId64 " rows; expected M*topk, where %s has %s=%" PRId64,
                           source, rows, f->source[tokens ? TOKENS : TOPK], tokens ? "M" : "topk", known);
        if (known == 0) continue; /* no tokens have no rows, whatever topk is */
        if (!topk && tokens) status = claim(f, TOPK, rows / known, source, err);
        if (!tokens) status = claim(f, TOKENS, rows / known, source, err);
        if (!tokens && !topk && status == MP_OK) status = claim(f, TOPK, 1, source, err);
    }
    return status;
}

/* The format of a tensor whatever the model's: of codes, and of most scales; MP_OF_MODEL: it has none. */
static mp_dtype own_format(const mp_case *c, mp_tensor_id id) {
    mp_case other = *c;
    other.dtype = c->dtype == MP_BF16 ? MP_FP16 : MP_BF16;
    const mp_dtype planned = mp_case_dtype(c, id);
    const bool quantised = mp_tensor_has_codes(c, id) || mp_scaled_tensor(id) != MP_TENSOR_COUNT;
    return quantised && mp_case_dtype(&other, id) == planned ? planned : MP_OF_MODEL;
}

/* What bytes of a quantised case are: the text of the case tells. */
static mp_status take_codes(mp_container *from, const char *text, mp_error *err) {
    mp_case c = mp_case_default();
    mp_status status = text[0] ? mp_case_apply(&c, text, err) : MP_OK;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK && c.quant; id++) {
        const mp_dtype own = own_format(&c, (mp_tensor_id)id);
        if (from->member[id].shape.rank > 0 && own != MP_OF_MODEL && mp_dtype_bits(own) <= 8)
            status = mp_container_take_codes(from, (mp_tensor_id)id, own, err);
    }
    return status;
}

static mp_status claim_dtype(findings *f, mp_error *err) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = &f->member[id].shape;
        const mp_dtype planned = mp_case_dtype(&f->c, (mp_tensor_id)id),
                       own = own_format(&f->c, (mp_tensor_id)id);
        const bool integers = planned == MP_I32, weights = id == MP_TOPK_WEIGHTS;
        if (t->rank == 0) continue;
        if (own != MP_OF_MODEL) {
            if (t->dtype == own) continue;
            return mp_fail(err, MP_EINPUT, "%s: %s; expected %s", mp_tensor_name((mp_tensor_id)id),
                           mp_dtype_name(t->dtype), mp_dtype_name(own));
        }
        if (integers ? t->dtype != MP_I32
                     : t->dtype == MP_I32 || (weights ? t->dtype == MP_FP64 : mp_dtype_bits(t->dtype) < 16))
            return mp_fail(err, MP_EINPUT, "%s: %s; expected %s", mp_tensor_name((mp_tensor_id)id),
                           mp_dtype_name(t->dtype),
                           integers  ? "integers"
                           : weights ? "fp32, or a shorter format"
                                     : "floats");
        if (integers || weights) continue;
        if (!f->dtype_source[0]) {
            snprintf(f->dtype_source, SOURCE_MAX, "%s", mp_tensor_name((mp_tensor_id)id));
            f->c.dtype = t->dtype;
        } else if (f->c.dtype != t->dtype) {
            return mp_fail(err, MP_EINPUT, "%s is %s, and %s is %s", f->dtype_source,
                           mp_dtype_name(f->c.dtype), mp_tensor_name((mp_tensor_id)id),
                           mp_dtype_name(t->dtype));
        }
    }
    return MP_OK;
}

/* One stage alone has nothing to learn from the tensors of others. */
static void keep_scope(findings *f) {
    mp_case any = f->c;
    any.bias = true;
    if (any.scope == MP_SCOPE_COMBINE) any.shared = MP_SHARED_ADD;
    const mp_tensor_set has = mp_case_inputs(&any) | mp_case_possible_outputs(&any);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (!(has & MP_IN_SET(id))) f->member[id] = (mp_member){0};
}

/* The case of the text, with what the shapes say. */
static mp_status find_case(findings *f, mp_error *err) {
    f->c = mp_case_default();
    mp_status status = f->text[0] ? mp_case_apply(&f->c, f->text, err) : MP_OK;
    if (status != MP_OK) return status;
    if (f->c.scope != MP_SCOPE_ALL) keep_scope(f);
    int64_t *const fields[SIZES] = {&f->c.M, &f->c.E, &f->c.topk, &f->c.K, &f->c.N};
    for (int i = 0; i < SIZES; i++)
        if (given(f, size_names[i])) claim(f, (extent)i, *fields[i], "the text of the case", err);
    if (given(f, "dtype")) snprintf(f->dtype_source, SOURCE_MAX, "the text of the case");
    const mp_member *member = f->member;
    const bool biased = member[MP_B1].shape.rank || member[MP_B2].shape.rank;
    if (biased && given(f, "bias") && !f->c.bias)
        return mp_fail(err, MP_EINPUT, "the text of the case has bias=0, and the file holds a bias");
    f->c.bias = f->c.bias || biased;
    const bool shared = member[MP_SHARED_OUTPUT].shape.rank > 0;
    if (shared && given(f, "shared") && f->c.shared != MP_SHARED_ADD)
        return mp_fail(err, MP_EINPUT, "the text of the case has shared=%s, and the file holds shared_output",
                       mp_shared_name(f->c.shared));
    if (shared) f->c.shared = MP_SHARED_ADD;
    if (member[MP_OUT].shape.rank == 3 && !given(f, "mode")) f->c.mode = MP_MODE_NO_COMBINE;
    status = claim_dtype(f, err);
    if (status == MP_OK) status = claim_axes(f, err);
    if (status == MP_OK) status = claim_widths(f, err);
    if (status == MP_OK) status = claim_slots(f, err);
    for (int i = 0; i < SIZES && status == MP_OK; i++)
        if (f->source[i][0]) *fields[i] = f->value[i];
    f->c.data = MP_FROM_FILE;
    f->c.routing = MP_UNIFORM;
    f->c.filter = 0;
    f->c.seed = 0;
    f->c.ep_size = 1;
    f->c.ep_rank = 0;
    f->c.expert_map = MP_MAP_NONE;
    return status;
}

/* ---- what of it the case has ---- */

static bool fits(const mp_tensor *stored, const mp_tensor *planned) {
    return mp_tensor_count(stored) == mp_tensor_count(planned) &&
           (stored->rank == 1 || planned->rank == 1 ||
            mp_tensor_row_length(stored) == mp_tensor_row_length(planned));
}

static mp_status check_shapes(const mp_trace_file *f, mp_error *err) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor *t = &f->container.member[id].shape,
                        planned = mp_case_shape(&f->c, (mp_tensor_id)id, f->block_size_m);
        if (!(f->holds & MP_IN_SET(id)) || fits(t, &planned)) continue;
        char expected[64] = "";
        for (int i = 0, used = 0; i < planned.rank; i++)
            used += snprintf(expected + used, sizeof expected - (size_t)used, "%s%" PRId64, i ? "," : "",
                             planned.dim[i]);
        char stored[SOURCE_MAX];
        describe(f->container.member, (mp_tensor_id)id, stored);
        return mp_fail(err, MP_EINPUT, "%s: expected [%s]", stored, expected);
    }
    return MP_OK;
}

/* The case's tile, else the one size to which a list of sorted slots of that length is padded. */
static int find_block_size(const mp_trace_file *f) {
    enum { USUAL = 16, MOST = 256 };
    const mp_tensor *sorted = &f->container.member[MP_SORTED_TOKEN_IDS].shape;
    if (!mp_tile_is_auto(&f->c.tile)) return f->c.tile.block_size_m;
    for (int size = 1; sorted->rank > 0 && size <= MOST; size++) {
        const mp_tensor planned = mp_case_shape(&f->c, MP_SORTED_TOKEN_IDS, size);
        if (fits(sorted, &planned)) return size;
    }
    return USUAL;
}

/* The name of a tensor that the file holds, and the case has not. */
static void pass_over(mp_trace_file *f, int id) {
    const size_t used = strlen(f->passed_over);
    snprintf(f->passed_over + used, sizeof f->passed_over - used, "%s%s", used ? ", " : "",
             mp_tensor_name((mp_tensor_id)id));
}

/* As many experts as the ids name, or the map: without weights nothing else tells. */
static mp_status count_experts(const mp_container *from, mp_case *c, mp_error *err) {
    const mp_tensor_id which = from->member[MP_EXPERT_MAP].shape.rank > 0 ? MP_EXPERT_MAP : MP_TOPK_IDS;
    mp_tensor ids = from->member[which].shape;
    int32_t most = 0;
    mp_status status = mp_tensor_alloc(&ids, 0, err);
    if (status == MP_OK) status = mp_container_read(from, which, &ids, err);
    for (int64_t i = 0; status == MP_OK && i < mp_tensor_count(&ids); i++)
        if (((const int32_t *)ids.data)[i] > most) most = ((const int32_t *)ids.data)[i];
    c->E = (int64_t)most + 1;
    mp_tensor_free(&ids);
    return status;
}

mp_status mp_trace_file_open(const char *path, const char *case_text, mp_trace_file *f, mp_error *err) {
    *f = (mp_trace_file){0};
    mp_status status = mp_container_open(path, &f->container, err);
    if (status != MP_OK) return status;
    findings found = {.text = case_text ? case_text : f->container.case_text};
    if ((status = take_codes(&f->container, found.text, err)) != MP_OK) goto out;
    memcpy(found.member, f->container.member, sizeof found.member);
    if ((status = find_case(&found, err)) != MP_OK) goto out;
    f->c = found.c;
    f->has_map = f->container.member[MP_EXPERT_MAP].shape.rank > 0;
    if (!found.source[EXPERTS][0] && f->container.member[MP_TOPK_IDS].shape.rank > 0 &&
        (status = count_experts(&f->container, &f->c, err)) != MP_OK)
        goto out;
    if ((status = mp_case_validate(&f->c, err)) != MP_OK) goto out;
    snprintf(f->passed_over, sizeof f->passed_over, "%s", f->container.passed_over);
    const mp_tensor_set inputs = mp_case_inputs(&f->c) & ~mp_case_derived_inputs(&f->c),
                        outputs = mp_case_possible_outputs(&f->c);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (f->container.member[id].shape.rank == 0) continue;
        if ((inputs | outputs) & MP_IN_SET(id))
            f->holds |= MP_IN_SET(id);
        else if (id != MP_EXPERT_MAP)
            pass_over(f, id);
    }
    f->block_size_m = find_block_size(f);
    status = check_shapes(f, err);
    if (status == MP_OK && !(f->holds & outputs))
        status = mp_fail(err, MP_EINPUT, "holds no tensor that a stage of the case leaves: nothing to judge");
out:
    if (status == MP_OK) return MP_OK;
    mp_error_prefix(err, "%s", path);
    mp_trace_file_close(f);
    return status;
}

void mp_trace_file_close(mp_trace_file *f) {
    mp_container_close(&f->container);
}

/* ---- the numbers ---- */

/* A tensor of the case, allocated, with what the file has for it. */
static mp_status load(const mp_trace_file *f, mp_tensor_id id, mp_tensor *t, mp_error *err) {
    const mp_tensor *stored = &f->container.member[id].shape;
    *t = mp_case_shape(&f->c, id, f->block_size_m);
    mp_status status = mp_tensor_alloc(t, MP_POISON_A, err);
    if (status != MP_OK || stored->dtype == t->dtype)
        return status == MP_OK ? mp_container_read(&f->container, id, t, err) : status;
    mp_tensor shorter = *stored; /* router weights */
    status = mp_tensor_alloc(&shorter, MP_POISON_A, err);
    if (status == MP_OK) status = mp_container_read(&f->container, id, &shorter, err);
    if (status == MP_OK) mp_decode_row_f32(shorter.dtype, shorter.data, 0, mp_tensor_count(t), t->data);
    mp_tensor_free(&shorter);
    return status;
}

/* Of a filtered slot nobody reads it. */
static mp_status check_weights(const mp_case *c, const mp_inputs *in, mp_error *err) {
    const float *w = in->t[MP_TOPK_WEIGHTS].data;
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    for (int64_t slot = 0; w && slot < mp_case_slots(c); slot++)
        if (!isfinite(w[slot]) && ids[slot] >= 0)
            return mp_fail(err, MP_EINPUT,
                           "topk_weights of token %" PRId64 ", slot %" PRId64
                           " is %g: expected a finite number",
                           slot / c->topk, slot % c->topk, (double)w[slot]);
    return MP_OK;
}

/* The ids of the file -> those of this rank's experts. */
static mp_status localise(const mp_trace_file *f, const mp_inputs *in, mp_error *err) {
    mp_tensor map = f->has_map ? f->container.member[MP_EXPERT_MAP].shape : (mp_tensor){0};
    const bool any_is_nobody = f->c.sentinel != MP_SENTINEL_MINUS_ONE;
    int32_t *ids = in->t[MP_TOPK_IDS].data;
    mp_status status = MP_OK;
    if (!ids || (!f->has_map && !any_is_nobody)) return MP_OK;
    if (f->has_map && (status = mp_tensor_alloc(&map, 0, err)) == MP_OK)
        status = mp_container_read(&f->container, MP_EXPERT_MAP, &map, err);
    const int32_t *local = map.data;
    const int64_t experts = f->has_map ? mp_tensor_count(&map) : f->c.E;
    for (int64_t e = 0; f->has_map && e < experts && status == MP_OK; e++)
        if (local[e] < -1 || local[e] >= f->c.E)
            status = mp_fail(err, MP_EINPUT,
                             "expert_map of expert %" PRId64
                             " is %d: expected -1 (not on this rank) or 0..%" PRId64,
                             e, local[e], f->c.E - 1);
    for (int64_t slot = 0; slot < mp_case_slots(&f->c) && status == MP_OK; slot++) {
        const bool known = ids[slot] >= 0 && ids[slot] < experts;
        if (known && local) ids[slot] = local[ids[slot]];
        if (!known && any_is_nobody) ids[slot] = -1;
        if (!known && ids[slot] != -1)
            status = mp_fail(err, MP_EINPUT,
                             "topk_ids of token %" PRId64 ", slot %" PRId64
                             " is %d: expected -1 or 0..%" PRId64 " (expert_map)",
                             slot / f->c.topk, slot % f->c.topk, ids[slot], experts - 1);
    }
    mp_tensor_free(&map);
    return status;
}

/* Ids that nobody knows are zeros. */
static mp_status stand_in_ids(const mp_case *c, mp_inputs *in, mp_error *err) {
    if (in->t[MP_TOPK_IDS].data) return MP_OK;
    in->ids_unknown = true;
    in->t[MP_TOPK_IDS] = mp_case_shape(c, MP_TOPK_IDS, 1);
    return mp_tensor_alloc(&in->t[MP_TOPK_IDS], 0, err);
}

mp_status mp_trace_file_load(const mp_trace_file *f, mp_inputs *in, mp_trace *trace, mp_error *err) {
    const mp_tensor_set inputs = mp_case_inputs(&f->c);
    mp_status status = MP_OK;
    *in = (mp_inputs){0};
    *trace = (mp_trace){.block_size_m = f->block_size_m};
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (f->holds & MP_IN_SET(id))
            status = load(f, (mp_tensor_id)id, inputs & MP_IN_SET(id) ? &in->t[id] : &trace->t[id], err);
    if (status != MP_OK) return status;
    status = localise(f, in, err);
    if (status == MP_OK) status = stand_in_ids(&f->c, in, err);
    if (status == MP_OK) status = mp_inputs_check_ids(&f->c, in, err);
    if (status == MP_OK) status = check_weights(&f->c, in, err);
    if (status == MP_EINPUT) mp_error_prefix(err, "%s", f->container.path);
    return status;
}
