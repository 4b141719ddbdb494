/* SPDX-License-Identifier: Apache-2.0 */
/* A subject: something that executes a case on tensors that the harness gives it. */
#ifndef MOEPARITY_SUBJECT_H
#define MOEPARITY_SUBJECT_H

#include "moeparity/config.h"
#include "moeparity/contract.h"
#include "moeparity/inputs.h"
#include "moeparity/space.h"
#include "moeparity/streams.h"
#include "moeparity/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MP_WORKSPACES = 4 };

/* What a subject says of a case before it runs. */
typedef struct mp_offer {
    mp_contract contract; /* `any` by default, what every sane kernel meets */
    mp_config config;
    mp_tensor_set exposes; /* the outputs it leaves, all those of the case by default: whatever lies between
                              two of them is judged as one span. In place `out` is one of them */
    size_t workspace_bytes[MP_WORKSPACES]; /* buffers that it wants beside the tensors */
    size_t host_bytes;                     /* memory that it takes on its own account, on the host */
    size_t device_bytes, device_available; /* the same on its device; available == 0: unknown */
    /* Of a subject with `begin`: what it begins can be recorded into a graph, and launched again with other
     * numbers in the same buffers; two runs may be under way at once. */
    bool graphs, overlaps;
    char weaker[1024]; /* which checks say less about this subject than about others, and why; "" */
} mp_offer;

/* One run. All tensors lie in the subject's space between guard zones; outputs and workspaces are full of
 * poison, or hold what another case has left there, where a run follows one on the same buffers. */
typedef struct mp_execution {
    const mp_case *c;
    const mp_offer *offer;
    /* [MP_TENSOR_COUNT] row-major: the inputs of the case, which must not be written, and the exposed
     * outputs, whose shapes are those of mp_case_shape. topk_ids are as the case numbers experts (expert_map,
     * sentinel). In place, t[MP_X] and t[MP_OUT] are one buffer. */
    const mp_tensor *t;
    void *const *workspace; /* [MP_WORKSPACES]; NULL where no bytes were wanted */
    double *stage_ns;       /* [MP_STAGE_COUNT]: a subject that measures adds the time of each stage */
    bool timed; /* the times are what this run is for: they are to be those of the device, without the host's
                   for launching, which a subject keeps out by a head start */
    mp_tensor_set *left; /* the exposed outputs; a subject that learns only in a run which of them it leaves
                               narrows the set, always to the same for a case. NULL: nobody asks */
} mp_execution;

typedef struct mp_subject mp_subject;
struct mp_subject {
    const char *name;
    void *self;                /* owned by the subject */
    bool computes_by_contract; /* a run computes by its offer's contract, whatever that is */
    const mp_space *space;     /* where its tensors lie; NULL: on the host */
    struct mp_copies *copies;  /* the harness's: weights that stay there from run to run; NULL: none do */
    mp_config_query query;     /* what tuned configurations are looked up for; set by whoever opened it */
    /* Called for each case, variant and selection of tokens, for a case more than once, and the first time
     * before `prepare`: the answer must stay the same. *offer is zeroed but for contract, which is `any`, and
     * exposes, which holds all outputs of the case; the tensors that hooks leave may be added
     * (mp_case_possible_outputs).
     * A subject without tiles of its own fills config by mp_config_resolve(c, NULL, ...): align pads by it.
     * MP_EUNSUPPORTED becomes a SKIP. */
    mp_status (*describe)(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err);
    /* Executes the case, as often as its checks ask for it (two runs, variants, tokens alone, behind other
     * cases), always on the thread that called describe, and never twice at a time. When it returns the work
     * is done: streams are synchronised, and nothing writes to the tensors any more.
     * Tensors and workspaces begin at multiples of 64 bytes on the host; in another space, where that space's
     * alloc puts them; tensors buffer_offset elements behind that. Rows within are packed, but for the gaps
     * that a case leaves in w1 and w2, and for its layout of scales
     * (mp_case_strides). MP_EUNSUPPORTED becomes a SKIP (a failure where the
     * case or a tuned file names the tile), every other error a CRASH: the subject could not be run. */
    mp_status (*run)(mp_subject *s, const mp_execution *execution, mp_error *err);
    /* Where an offer has graphs or overlaps: the streams of the subject's device, and a run on one of them
     * that is begun and not waited for. Called for a case that has run before; *execution may change once it
     * returns, and no times are measured. MP_EUNSUPPORTED: the check is not judged, for this reason; any
     * other error while it is recorded fails the check. */
    const mp_streams *streams;
    mp_status (*begin)(mp_subject *s, const mp_execution *execution, void *stream, mp_error *err);
    /* Before the first of many cases, or NULL: what can be done for all of them at once (compiling). A case
     * that cannot be prepared says so when it runs. */
    mp_status (*prepare)(mp_subject *s, const mp_case *cases, size_t count, mp_error *err);
    /* Whether a run of the variant is the very call that a run of the case is: the same function on the same
     * tensors, which reads nothing that they differ in. Then the case's second run answers for the variant.
     * NULL: no variant is. */
    bool (*same_call)(const mp_case *c, const mp_case *variant);
    void (*close)(mp_subject *s); /* or NULL */
    char versions[256];           /* for provenance: device, driver, compiler; "" when none */
    char device[128];
};

/* Asks the subject, and checks what it says: a function that is missing, a tile or a contract out of range,
 * tiles with different BLOCK_SIZE_M, a tensor that is no output of the case, in place no `out`. MP_EDEVICE
 * names the subject and the field. */
mp_status mp_subject_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err);

/* Puts another contract in an offer of the subject, which is judged by it. What the contract says is stored
 * nowhere is exposed no more by a subject that computes by it; by any other one it is MP_EDEVICE. */
mp_status mp_subject_set_contract(const mp_subject *s, const mp_case *c, const mp_contract *contract,
                                  mp_offer *offer, mp_error *err);

/* Both: asks the subject, and puts the contract that the words of --contract say in the offer (a preset, and
 * fields over it: docs/subjects.md; MP_EINPUT where they are none). NULL: its own contract. */
mp_status mp_subject_describe_as(mp_subject *s, const mp_case *c, const char *words, mp_offer *offer,
                                 mp_error *err);

/* "ref", "host", "cuda"; "auto" is cuda where a GPU is found, else host; "plugin:PATH,words" a shared library
 * (moeparity/plugin.h), "worker:COMMAND" a program (docs/protocol.md). MP_EINPUT for an unknown name, and for
 * what is no such library or program; MP_EUNSUPPORTED when it cannot run here. */
mp_status mp_subject_open(const char *name, mp_subject *s, mp_error *err);
void mp_subject_close(mp_subject *s);
/* Whether the name is that of somebody else's code, which is opened in a worker alone. */
bool mp_subject_is_foreign(const char *name);

#ifdef __cplusplus
}
#endif

#endif
