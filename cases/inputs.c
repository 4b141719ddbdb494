/* Inputs of a case: shapes, creation, token selection, digest. The values come from fill.c and routing.c. */
#include "cases/inputs.h"

#include "cases/fill.h"

#include <string.h>

const char *mp_input_name(mp_input which) {
    static const char *const names[MP_INPUT_COUNT] = {"x",        "w1",           "w2",     "b1",    "b2",
                                                      "topk_ids", "topk_weights", "cache3", "cache1"};
    return (unsigned)which < MP_INPUT_COUNT ? names[which] : "?";
}

/* A tensor that the case does not have keeps rank 0. */
void mp_inputs_plan(const mp_case *c, mp_inputs *in) {
    *in = (mp_inputs){0};
    in->t[MP_TOPK_IDS] = mp_tensor_shape(MP_I32, 2, c->M, c->topk, 1);
    if (c->scope == MP_SCOPE_ACT)
        in->t[MP_IN_CACHE1] = mp_tensor_shape(c->dtype, 2, mp_case_slots(c), mp_case_w1_rows(c), 1);
    if (c->scope == MP_SCOPE_COMBINE) in->t[MP_IN_CACHE3] = mp_tensor_shape(c->dtype, 3, c->M, c->topk, c->K);
    if (c->scope != MP_SCOPE_ALL) return;
    in->t[MP_X] = mp_tensor_shape(c->dtype, 2, c->M, c->K, 1);
    in->t[MP_W1] = mp_tensor_shape(c->dtype, 3, c->E, mp_case_w1_rows(c), c->K);
    in->t[MP_W2] = mp_tensor_shape(c->dtype, 3, c->E, c->K, c->N);
    if (c->bias) {
        in->t[MP_B1] = mp_tensor_shape(c->dtype, 2, c->E, mp_case_w1_rows(c), 1);
        in->t[MP_B2] = mp_tensor_shape(c->dtype, 2, c->E, c->K, 1);
    }
    in->t[MP_TOPK_WEIGHTS] = mp_tensor_shape(MP_FP32, 2, c->M, c->topk, 1);
}

/* A slot whose expert is elsewhere contributes zeros: that is what the down GEMM leaves in its row. */
static void zero_filtered_slots(const mp_case *c, mp_inputs *in) {
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    const size_t row_bytes = (size_t)c->K * mp_dtype_size(c->dtype);
    for (int64_t slot = 0; slot < mp_case_slots(c); slot++) {
        if (ids[slot] < 0) memset(mp_tensor_row(&in->t[MP_IN_CACHE3], slot), 0, row_bytes);
    }
}

mp_status mp_inputs_create(const mp_case *c, mp_inputs *in, mp_error *err) {
    mp_status status = MP_OK;
    mp_inputs_plan(c, in);
    for (int i = 0; i < MP_INPUT_COUNT && !status; i++) {
        mp_tensor *t = &in->t[i];
        if (t->rank == 0) continue;
        status = mp_tensor_alloc(t, MP_POISON_A, err);
        if (status) {
            mp_error_prefix(err, "input %s", mp_input_name((mp_input)i));
        } else if (i == MP_TOPK_IDS) {
            status = mp_fill_topk_ids(c, t, err);
        } else if (i == MP_TOPK_WEIGHTS) {
            mp_fill_topk_weights(c, t);
        } else {
            mp_fill_tensor(c, (mp_input)i, t);
        }
    }
    if (!status && in->t[MP_IN_CACHE3].data) zero_filtered_slots(c, in);
    if (status) mp_inputs_destroy(in);
    return status;
}

void mp_inputs_destroy(mp_inputs *in) {
    for (int i = 0; i < MP_INPUT_COUNT; i++) {
        if (!in->borrowed[i]) mp_tensor_free(&in->t[i]);
    }
    *in = (mp_inputs){0};
}

static bool per_token(int which) {
    return which == MP_X || which == MP_TOPK_IDS || which == MP_TOPK_WEIGHTS || which == MP_IN_CACHE3 ||
           which == MP_IN_CACHE1;
}

mp_status mp_inputs_select(const mp_inputs *in, const int64_t *rows, int64_t count, mp_inputs *out,
                           mp_error *err) {
    mp_status status = MP_OK;
    *out = *in;
    for (int i = 0; i < MP_INPUT_COUNT; i++) {
        out->borrowed[i] = !per_token(i);
        if (per_token(i)) out->t[i].data = NULL;
    }
    for (int i = 0; i < MP_INPUT_COUNT && !status; i++) {
        const mp_tensor *from = &in->t[i];
        if (!per_token(i) || !from->data) continue;
        const int64_t tokens = in->t[MP_TOPK_IDS].dim[0],
                      rows_per_token = from->dim[0] / tokens; /* cache1: topk rows a token */
        const size_t token_bytes = mp_tensor_bytes(from) / (size_t)tokens;
        out->t[i].dim[0] = count * rows_per_token;
        status = mp_tensor_alloc(&out->t[i], MP_POISON_A, err);
        for (int64_t r = 0; r < count && !status; r++) {
            if (rows[r] < 0 || rows[r] >= tokens)
                status = mp_fail(err, MP_EINPUT, "token %lld of the selection: expected 0..%lld",
                                 (long long)rows[r], (long long)tokens - 1);
            else
                memcpy((char *)out->t[i].data + (size_t)r * token_bytes,
                       (const char *)from->data + (size_t)rows[r] * token_bytes, token_bytes);
        }
    }
    if (status) mp_inputs_destroy(out);
    return status;
}

uint64_t mp_inputs_digest(const mp_inputs *in) {
    uint64_t digest = MP_FILL_VERSION;
    for (int i = 0; i < MP_INPUT_COUNT; i++) {
        if (!in->t[i].data) continue;
        digest = mp_mix(digest + (uint64_t)i) ^
                 mp_tensor_digest(&in->t[i]); /* which tensor, so that exchanging two shows */
    }
    return digest;
}

mp_status mp_inputs_check_ids(const mp_case *c, const mp_inputs *in, mp_error *err) {
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    for (int64_t slot = 0; slot < mp_case_slots(c); slot++) {
        if (ids[slot] >= -1 && ids[slot] < c->E) continue;
        return mp_fail(err, MP_EINPUT,
                       "topk_ids of token %lld, slot %lld is %d: expected -1 (not on this rank) or 0..%lld",
                       (long long)(slot / c->topk), (long long)(slot % c->topk), ids[slot],
                       (long long)c->E - 1);
    }
    return MP_OK;
}
