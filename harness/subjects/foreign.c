/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/foreign.h"

#include "base/text.h"
#include "base/words.h"
#include "cases/field.h"
#include "cases/graph_tables.h"
#include "ref/contract_words.h"

#include <string.h>

/* Fields that came later than the first version of plug-ins and of the protocol. */
static const char *const later_fields[] = {"no_combine_keep_router_weight",
                                           "apply_router_weight_in_combine",
                                           "expert_map",
                                           "sentinel",
                                           "shared",
                                           "weight_row_gap",
                                           "weight_expert_gap",
                                           "buffer_offset",
                                           "quant",
                                           "scale_layout",
                                           "lora_adapters",
                                           "gemm",
                                           "fused_quant"};

mp_status mp_foreign_knows(const char *takes, const mp_case *c, const char *name, mp_error *err) {
    for (size_t i = 0; i < sizeof later_fields / sizeof *later_fields; i++) {
        const mp_field *f = mp_field_find(later_fields[i], err);
        char value[64];
        if (!f) return MP_EINTERNAL;
        if (mp_field_compare(f, c, &mp_default_case) == 0 || mp_word_listed(takes ? takes : "", f->name))
            continue;
        mp_field_text(f, c, value);
        return mp_fail(err, MP_EUNSUPPORTED, "%s=%s: %s does not say that it takes %s", f->name, value, name,
                       f->name);
    }
    if (c->layout == MP_MASKED && !mp_word_listed(takes ? takes : "", mp_layout_name(MP_MASKED)))
        return mp_fail(err, MP_EUNSUPPORTED, "layout=masked: %s does not say that it takes masked", name);
    return MP_OK;
}

typedef struct shown {
    const mp_case *c;
    mp_tensor_set set;
} shown;

static mp_tensor_set any_output(void) {
    mp_tensor_set set = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) set |= mp_stages[s].writes;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (set & MP_IN_SET(id)) set |= MP_IN_SET(mp_tensors[id].as_read);
    return set;
}

/* The names are those of any case's outputs: one that this case has not is not shown. */
static mp_status show_tensor(void *ctx, char *word, mp_error *err) {
    shown *s = ctx;
    const mp_tensor_set any = any_output();
    mp_text known = {0};
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const char *name = mp_tensor_name((mp_tensor_id)id);
        if (any & MP_IN_SET(id)) mp_text_add(&known, "%s%s", known.length ? ", " : "", name);
        if (!(any & MP_IN_SET(id)) || strcmp(word, name) != 0) continue;
        s->set |= MP_IN_SET(id) & mp_case_possible_outputs(s->c);
        mp_text_free(&known);
        return MP_OK;
    }
    const mp_status status = mp_fail(err, MP_EINPUT, "'%s' is no output of a stage: expected one of %s", word,
                                     mp_text_get(&known));
    mp_text_free(&known);
    return status;
}

mp_status mp_foreign_offer(const mp_foreign_words *words, const mp_case *c, const mp_config_query *query,
                           mp_offer *offer, mp_error *err) {
    shown s = {.c = c};
    mp_status status = mp_config_resolve(c, query, &offer->config, err);
    if (status != MP_OK) return status; /* a tuned file is not the subject's */
    status = mp_contract_of_words(words->contract, c, &offer->contract, err);
    if (status == MP_OK) status = mp_contract_set_words(&offer->contract, words->fields, err);
    if (status == MP_OK && words->exposes) {
        status = mp_each_word(words->exposes, &s, show_tensor, err);
        offer->exposes = s.set;
    }
    if (words->block_size_m)
        offer->config.up.block_size_m = offer->config.down.block_size_m = words->block_size_m;
    if (status == MP_EINPUT) { /* of its own words */
        mp_error_prefix(err, "the subject describes itself wrongly");
        if (err) err->status = MP_EDEVICE;
        status = MP_EDEVICE;
    }
    return status;
}

mp_status mp_foreign_device(mp_cuda *cuda, size_t own, mp_offer *offer, mp_error *err) {
    const size_t blocks = (MP_TENSOR_COUNT + MP_WORKSPACES) * (size_t)MP_CUDA_BLOCK_BYTES;
    size_t reserve = 0;
    const mp_status status = mp_cuda_memory(cuda, &offer->device_available, &reserve, err);
    offer->device_bytes = reserve + blocks + own;
    return status;
}
