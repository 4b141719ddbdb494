/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel as a plug-in: a shared library that the harness loads in a worker process and judges,
 * `moeparity run ... --subject plugin:./libmine.so,key=value`. This header is all that it needs: plain C, for
 * C, C++ and CUDA, with no library to link.
 *
 * The library exports one function, and names itself, its functions and where it works by what it returns:
 *
 *     static int describe(void *self, const mp_plugin_case *c, mp_plugin_offer *offer,
 *                         mp_plugin_error *err) {
 *         if (strcmp(c->dtype, "bf16") != 0) return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, "bf16 only");
 *         offer->contract = "ieee-any-order";
 *         return MP_PLUGIN_OK;
 *     }
 *     static int run(void *self, const mp_plugin_run *r, mp_plugin_error *err) { ... }
 *     MP_PLUGIN_EXPORT const mp_plugin *moeparity_plugin(void) {
 *         static const mp_plugin plugin = {MP_PLUGIN_HEAD, .name = "mine", .describe = describe, .run = run};
 *         return &plugin;
 *     }
 *
 * Structs begin with their size, so that a newer harness knows what an older plug-in does not have, and the
 * other way round: members are only ever added at the end. A member that is not there is as if it were 0. */
#ifndef MOEPARITY_PLUGIN_H
#define MOEPARITY_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MP_PLUGIN_ABI 1 /* changes when something that is there changes its meaning */
#define MP_PLUGIN_HEAD MP_PLUGIN_ABI, sizeof(mp_plugin)
#define MP_PLUGIN_EXPORT __attribute__((visibility("default")))

/* What functions return. UNSUPPORTED: this case cannot run here, a SKIP with the reason. FAILED: it could not
 * be run, a CRASH. INVALID: the words behind the path are wrong, nothing is run. Anything else is FAILED. */
enum { MP_PLUGIN_OK = 0, MP_PLUGIN_UNSUPPORTED = 1, MP_PLUGIN_FAILED = 2, MP_PLUGIN_INVALID = 3 };

/* The reason, for people; zero-terminated. */
typedef struct mp_plugin_error {
    size_t struct_size;
    char text[512];
} mp_plugin_error;

/* A case: `moeparity show --fields` tells what each field means. Words are those of the case text. */
typedef struct mp_plugin_case {
    size_t struct_size;
    const char *text; /* the canonical text, "M=32 topk=2 act=silu" */
    int64_t M, E, topk, K, N;
    const char *dtype; /* "bf16", "fp16", "fp32", "fp64" */
    const char *act;   /* "silu", "gelu", ... */
    int gated, interleaved, bias, apply_router_weight_on_input, fused_sum;
    double alpha, limit, rsf, filter;
    const char *mode;   /* "combine", "no_combine", "inplace" */
    const char *layout; /* "route", "sorted", "masked" */
    const char *path;   /* "fused", "runner", "chunked" */
    const char *scope;  /* "all", or the one stage to run: "align", "gate_up", "act", "down", "combine" */
    const char *data, *routing;
    int64_t ep_size, ep_rank, seed;
    int no_combine_keep_router_weight;
    const char *expert_map; /* "none"; "linear", "round_robin": topk_ids count the experts of all ranks, and
                               the tensor expert_map has the number on this rank of each, or -1 */
    const char *sentinel; /* "-1"; "E", "any": ids that no expert has are slots that go to none, as -1 does */
    const char *shared;   /* "none", "slot", "add": the shared expert */
    int64_t weight_row_gap,
        weight_expert_gap; /* elements between rows and experts of w1 and w2: by stride[] */
    int64_t buffer_offset; /* elements by which tensors begin behind a boundary of 64 bytes */
    int apply_router_weight_in_combine;
} mp_plugin_case;

/* What it says of a case, before it runs. Zeroed but for struct_size; texts are the plug-in's, and must live
 * until the next call of describe. */
typedef struct mp_plugin_offer {
    size_t struct_size;
    /* Its arithmetic in words: a preset ("sm_90", "ieee-any-order", "any", ...: docs/subjects.md), and behind
     * it fields that differ from it, "sm_90 act.ulps=2", as `moeparity infer` prints them; the fields may be
     * apart from it, too, "gate_up.split_k=4 act.ulps=2". NULL: `any`, what every sane kernel meets. */
    const char *contract, *contract_fields;
    /* The outputs that it leaves, by name and separated by blanks: "cache1 out". What lies between two of
     * them is judged as one span; a name that this case has no tensor for is passed over. NULL: all that it
     * has. */
    const char *exposes;
    /* Buffers that it wants beside the tensors, guarded; full of poison, or of what another run has left. */
    size_t workspace_bytes[4];
    size_t host_bytes;   /* memory that it takes on its own account: a case that does not fit is a SKIP */
    size_t device_bytes; /* the same on the device */
    int block_size_m;    /* to which align pads; 0: that of the case's tile */
    /* On the device, 1 where run does all its work on `stream`, and waits for none of it. `graphs`: it
     * allocates nothing and copies nothing to or from the host, so that the stream can be captured into a
     * graph, which is replayed with other numbers in the same buffers. `overlaps`: it may be called again,
     * with buffers and workspaces of its own, before what it began on another stream has ended. */
    int graphs, overlaps;
} mp_plugin_offer;

/* A tensor between guard zones. Strides count elements; they are those of packed rows, unless the case has
 * gaps in w1 and w2 or another scale_layout, and `bytes` then count the gaps inside; swizzled scales have the
 * shape of their tiles, padding included. A case of no tokens (M=0) has tensors without
 * elements. */
typedef struct mp_plugin_tensor {
    size_t struct_size;
    const char *name;  /* "x", "w1", "w2", "b1", "b2", "topk_ids", "topk_weights", "expert_map",
                          "sorted_token_ids", "expert_ids", "num_tokens_post_padded", "cache1", "cache2",
                          "cache3", "out", "shared_output", "masked_m" */
    const char *dtype; /* "bf16", "fp16", "fp32", "fp64", "int32", ... */
    int is_output; /* it is written, and full of poison or old results before; an input must stay as it is */
    int rank;
    int64_t shape[4], stride[4];
    size_t bytes;
    void *data; /* where the plug-in works: host or device */
} mp_plugin_tensor;

typedef struct mp_plugin_run {
    size_t struct_size;
    const mp_plugin_case *c;
    int tensor_count;
    const mp_plugin_tensor *tensor; /* those that the case has: inputs, and the outputs that are exposed. No
                                       cache3 where down writes out itself: mode=no_combine, and topk=1 where
                                       nothing is left to combine */
    void *workspace[4];             /* NULL where no bytes were wanted */
    void *stream;                   /* CUstream of the device; the harness waits for it after run. NULL: the
                                       default stream, or a plug-in on the host. Another one only where the
                                       offer has graphs or overlaps */
    int block_size_m;
    const char *tile, *tile_down; /* "64x64x32x8x4x3": BLOCK_SIZE_M x N x K x GROUP_SIZE_M x warps x stages */
} mp_plugin_run;

typedef struct mp_plugin {
    int abi_version;            /* MP_PLUGIN_ABI */
    size_t struct_size;         /* sizeof(mp_plugin) */
    const char *name, *version; /* for reports; version may be NULL */
    /* Where its tensors lie: NULL or "host", or "cuda": the first GPU, whose primary context is current in
     * every call. */
    const char *device;
    /* Once, before everything else. `words` is what stands behind the path, "key=value,key=value" or "".
     * May be NULL. */
    int (*open)(const char *words, void **self, mp_plugin_error *err);
    /* For each case, variant and selection of tokens, for a case more than once: the answer must stay the
     * same. MP_PLUGIN_UNSUPPORTED makes the case a SKIP: a plug-in that is one stage alone answers that to
     * every other c->scope ("all" is one of them), or it is run on cases that lack its tensors. */
    int (*describe)(void *self, const mp_plugin_case *c, mp_plugin_offer *offer, mp_plugin_error *err);
    /* Executes the case, as often as its checks ask for it, never twice at a time but where the offer has
     * overlaps, on the thread that called open. All that it launched elsewhere than on `stream` is done when
     * it returns. */
    int (*run)(void *self, const mp_plugin_run *run, mp_plugin_error *err);
    void (*close)(void *self); /* may be NULL */
    /* The fields of mp_plugin_case behind `seed` that it knows, by name and separated by blanks:
     * "expert_map sentinel weight_row_gap". A case in which another one of them has not its
     * default is a SKIP, and describe is not asked: who was built before a field was there would run another
     * problem. So is layout=masked without the word "masked", which is younger than the field. */
    const char *takes;
} mp_plugin;

/* What the library exports, under this name. */
typedef const mp_plugin *mp_plugin_entry(void);
#define MP_PLUGIN_ENTRY "moeparity_plugin"
MP_PLUGIN_EXPORT const mp_plugin *moeparity_plugin(void);

/* ---- for the plug-in ---- */

/* The tensor of that name, or NULL where the case has none. */
static inline const mp_plugin_tensor *mp_plugin_find(const mp_plugin_run *run, const char *name) {
    for (int i = 0; i < run->tensor_count; i++)
        if (strcmp(run->tensor[i].name, name) == 0) return &run->tensor[i];
    return NULL;
}

/* Its data, or NULL. */
static inline void *mp_plugin_data(const mp_plugin_run *run, const char *name) {
    const mp_plugin_tensor *t = mp_plugin_find(run, name);
    return t ? t->data : NULL;
}

static inline int mp_plugin_say(mp_plugin_error *err, int result, const char *text) {
    snprintf(err->text, sizeof err->text, "%s", text);
    return result;
}

#ifdef __cplusplus
}
#endif

#endif
