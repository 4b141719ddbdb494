/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/tuned_scheme.h"

#include "cases/scheme.h"

#include <string.h>

/* As names spell the formats; "": they do not. */
static const char *dtype_of(const mp_case *c) {
    const mp_scheme *s = mp_scheme_of(c);
    if (!c->quant) return c->dtype == MP_FP32 ? "float32" : "";
    /* mxfp8: other kernels */
    if (s->quantises_activations && s->granularity == MP_PER_GROUP && s->block_rows == 1) return "";
    switch (s->weight) {
    case MP_E4M3: return s->quantises_activations ? "fp8_w8a8" : "";
    case MP_I8: return s->quantises_activations ? "int8_w8a8" : "int8_w8a16";
    case MP_U8: return s->quantises_activations ? "" : "int8_w8a16";
    case MP_I4:
    case MP_U4: return s->quantises_activations ? "" : "int4_w4a16";
    default: return "";
    }
}

void mp_tuned_key_of_case(const mp_case *c, mp_tuned_key *key) {
    const mp_scheme *s = mp_scheme_of(c);
    key->dtype = dtype_of(c);
    key->block_n = key->block_k = 0;
    key->per_channel = c->quant && s->quantises_activations && s->granularity == MP_PER_ROW;
    if (c->quant && s->quantises_activations && s->granularity == MP_PER_GROUP) {
        key->block_n = s->block_rows;
        key->block_k = mp_case_group(c);
    }
}

/* Whether files of the case have such a name; of both packages one does not tell scales per channel. */
static bool is_meant(const mp_case *c, const mp_tuned_parts *name) {
    mp_tuned_key key;
    mp_tuned_key_of_case(c, &key);
    return strcmp(key.dtype, name->dtype) == 0 && key.block_n == name->block_n &&
           key.block_k == name->block_k && key.per_channel == name->per_channel && (*key.dtype || !c->quant);
}

bool mp_tuned_case_of_name(const mp_tuned_parts *name, mp_case *c) {
    mp_case candidate = *c;
    candidate.dtype = strcmp(name->dtype, "float32") == 0 ? MP_FP32 : MP_BF16;
    for (int quant = 0; quant < MP_SCHEME_COUNT; quant++) {
        candidate.quant = (mp_quant)quant;
        candidate.group = 0;
        /* Said only where it is not the usual one: a case has one name. */
        if (quant && name->block_k && mp_case_group(&candidate) != name->block_k)
            candidate.group = name->block_k;
        if (!is_meant(&candidate, name)) continue;
        *c = candidate;
        return true;
    }
    return false;
}
