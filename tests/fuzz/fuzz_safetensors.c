/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: refused with a reason, or every tensor that a case may have lies in the file, and its numbers
 * can be read; then the case that the shapes tell is valid, and its trace can be loaded. */
#include "fuzz/fuzz.h"

#include "files/container.h"
#include "files/trace_file.h"

#include <string.h>

static void read_member(const mp_container *c, mp_tensor_id id, size_t size) {
    const mp_member *m = &c->member[id];
    mp_tensor t = m->shape;
    mp_error err = {0};
    const size_t element = m->integer ? (size_t)abs(m->integer) : mp_dtype_size(t.dtype);
    fuzz_require(m->offset <= size && (size_t)mp_tensor_count(&t) * element <= size - m->offset,
                 "a tensor lies in the file", &err);
    mp_status status = mp_tensor_alloc(&t, MP_POISON_A, &err);
    if (status == MP_OK) status = mp_container_read(c, id, &t, &err);
    fuzz_require_told(status, &err);
    mp_tensor_free(&t);
}

static void load(const char *path) {
    mp_trace_file f;
    mp_error err = {0};
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_status status = mp_trace_file_open(path, NULL, &f, &err);
    fuzz_require_told(status, &err);
    if (status != MP_OK) return;
    fuzz_require(mp_case_validate(&f.c, &err) == MP_OK, "the case is valid", &err);
    /* shapes of the case are those of tensors in the file, but for the ids, which may be made up */
    if (mp_case_slots(&f.c) < 1 << 20) fuzz_require_told(mp_trace_file_load(&f, &in, &trace, &err), &err);
    mp_inputs_destroy(&in);
    mp_trace_destroy(&trace);
    mp_trace_file_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mp_container c;
    mp_error err = {0};
    if (size >= 4 && memcmp(data, "\x89HDF", 4) == 0) return 0; /* libhdf5 itself does not bear it */
    const char *path = fuzz_file("trace.safetensors", data, size);
    const mp_status status = mp_container_open(path, &c, &err);
    fuzz_require_told(status, &err);
    if (status != MP_OK) return 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (c.member[id].shape.rank > 0) read_member(&c, (mp_tensor_id)id, size);
    mp_container_close(&c);
    load(path);
    return 0;
}
