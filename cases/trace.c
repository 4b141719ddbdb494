#include "cases/trace.h"

const char *mp_stage_name(mp_stage stage) {
    static const char *const names[MP_STAGE_COUNT] = {"align", "gate_up", "act", "down", "combine"};
    return names[stage];
}

const char *mp_trace_tensor_name(mp_trace_tensor which) {
    static const char *const names[MP_TRACE_COUNT] = {
        "sorted_token_ids", "expert_ids", "num_tokens_post_padded", "cache1", "cache2", "cache3", "out"};
    return names[which];
}

int64_t mp_case_chunks(const mp_case *c) {
    return c->path == MP_CHUNKED ? (c->M + MP_CHUNK_TOKENS - 1) / MP_CHUNK_TOKENS : 1;
}

int64_t mp_case_chunk_tokens(const mp_case *c, int64_t chunk) {
    if (c->path != MP_CHUNKED) return c->M;
    const int64_t left = c->M - chunk * MP_CHUNK_TOKENS;
    return left < MP_CHUNK_TOKENS ? left : MP_CHUNK_TOKENS;
}

mp_case mp_case_chunk(const mp_case *c, int64_t chunk) {
    mp_case part = *c;
    part.M = mp_case_chunk_tokens(c, chunk);
    return part;
}

mp_trace mp_trace_chunk(const mp_case *c, const mp_trace *trace, int64_t chunk) {
    mp_trace part = *trace;
    if (c->path != MP_CHUNKED) return part;
    const int64_t first = chunk * MP_CHUNK_TOKENS, tokens = mp_case_chunk_tokens(c, chunk);
    for (int i = 0; i < MP_TRACE_COUNT; i++) {
        mp_tensor *t = &part.t[i];
        if (!t->data) continue;
        const bool per_chunk =
            i == MP_SORTED_TOKEN_IDS || i == MP_EXPERT_IDS || i == MP_NUM_TOKENS_POST_PADDED;
        const int64_t rows_per_token =
            per_chunk ? 0 : t->dim[0] / c->M; /* caches: topk rows a token; cache3 and out: one */
        const int64_t row = per_chunk ? chunk : first * rows_per_token;
        const size_t row_bytes = mp_tensor_bytes(t) / (size_t)t->dim[0];
        t->data = (char *)t->data + (size_t)row * row_bytes;
        t->dim[0] = per_chunk ? 1 : tokens * rows_per_token;
    }
    return part;
}

bool mp_case_down_writes_out(const mp_case *c) {
    if (c->scope != MP_SCOPE_ALL) return false;
    return c->mode == MP_NO_COMBINE || c->fused_sum ||
           (c->topk == 1 && (float)c->rsf == 1.0f && c->path == MP_FUSED);
}

void mp_trace_plan(const mp_case *c, int block_size_m, mp_trace *trace) {
    *trace = (mp_trace){.block_size_m = block_size_m};
    mp_tensor *t = trace->t;
    for (int i = 0; i < MP_TRACE_COUNT; i++) t[i] = mp_tensor_shape(MP_I32, 1, 0, 1, 1);

    if (c->scope == MP_SCOPE_ALL || c->scope == MP_SCOPE_ALIGN) {
        const int64_t bm = block_size_m, chunks = mp_case_chunks(c),
                      slots = mp_case_chunk_tokens(c, 0) * c->topk;
        const int64_t capacity = slots < c->E + 1 ? slots * bm : slots + (c->E + 1) * (bm - 1);
        t[MP_SORTED_TOKEN_IDS] = mp_tensor_shape(MP_I32, 2, chunks, capacity, 1);
        t[MP_EXPERT_IDS] = mp_tensor_shape(MP_I32, 2, chunks, (capacity + bm - 1) / bm, 1);
        t[MP_NUM_TOKENS_POST_PADDED] = mp_tensor_shape(MP_I32, 1, chunks, 1, 1);
    }
    if (c->scope == MP_SCOPE_ALL) {
        const int64_t slots = mp_case_slots(c);
        const int64_t padded_experts = slots < c->E + 1 ? slots : c->E + 1;
        const int64_t rows = c->layout == MP_SORTED ? slots + padded_experts * (block_size_m - 1) : slots;
        t[MP_CACHE1] = mp_tensor_shape(c->dtype, 2, rows, mp_case_w1_rows(c), 1);
        t[MP_CACHE2] = mp_tensor_shape(c->dtype, 2, rows, c->N, 1);
        if (!mp_case_down_writes_out(c)) t[MP_CACHE3] = mp_tensor_shape(c->dtype, 3, c->M, c->topk, c->K);
    }
    if (c->scope == MP_SCOPE_ACT) t[MP_CACHE2] = mp_tensor_shape(c->dtype, 2, mp_case_slots(c), c->N, 1);
    if (c->scope == MP_SCOPE_ALL || c->scope == MP_SCOPE_COMBINE)
        t[MP_OUT] = c->mode == MP_NO_COMBINE ? mp_tensor_shape(c->dtype, 3, c->M, c->topk, c->K)
                                             : mp_tensor_shape(c->dtype, 2, c->M, c->K, 1);
}

bool mp_trace_has(const mp_trace *plan, mp_trace_tensor which) {
    return mp_tensor_count(&plan->t[which]) > 0;
}

mp_status mp_trace_create(const mp_case *c, int block_size_m, uint32_t poison, mp_trace *trace,
                          mp_error *err) {
    mp_trace_plan(c, block_size_m, trace);
    for (int i = 0; i < MP_TRACE_COUNT; i++) {
        if (!mp_trace_has(trace, (mp_trace_tensor)i)) continue;
        const mp_status status = mp_tensor_alloc(&trace->t[i], poison, err);
        if (status != MP_OK) {
            mp_error_prefix(err, "trace tensor %s", mp_trace_tensor_name((mp_trace_tensor)i));
            mp_trace_destroy(trace);
            return status;
        }
    }
    return MP_OK;
}

void mp_trace_destroy(mp_trace *trace) {
    for (int i = 0; i < MP_TRACE_COUNT; i++) mp_tensor_free(&trace->t[i]);
}

void mp_trace_slot_rows(const mp_case *c, const mp_trace *trace, int64_t *rows) {
    const int64_t slots = mp_case_slots(c);
    if (c->layout == MP_ROUTE) {
        for (int64_t t = 0; t < slots; t++) rows[t] = t;
        return;
    }
    for (int64_t t = 0; t < slots; t++) rows[t] = -1;
    const int32_t *sorted = trace->t[MP_SORTED_TOKEN_IDS].data;
    const int64_t cache_rows = trace->t[MP_CACHE1].dim[0], positions = trace->t[MP_SORTED_TOKEN_IDS].dim[1];
    for (int64_t p = 0; p < positions && p < cache_rows; p++)
        if (sorted[p] >= 0 && sorted[p] < slots) rows[sorted[p]] = p;
}
