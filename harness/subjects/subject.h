/* A subject: something that executes a case and leaves a trace. */
#ifndef MP_HARNESS_SUBJECT_H
#define MP_HARNESS_SUBJECT_H

#include "cases/inputs.h"
#include "kernels/config.h"
#include "ref/contract.h"
#include "cases/trace.h"

/* Memory a subject takes for a case: on the device, and on the host beside inputs and traces, which the
 * harness counts itself. available == 0: unknown. */
typedef struct mp_memory {
    size_t host_bytes, device_bytes, device_available;
} mp_memory;

typedef struct mp_subject mp_subject;
struct mp_subject {
    const char *name;
    void *self; /* owned by the subject */
    /* All functions: `s` is the subject. */
    mp_status (*resolve)(mp_subject *s, const mp_case *c, mp_contract *contract, mp_config *config,
                         mp_error *err);
    mp_status (*plan)(mp_subject *s, const mp_case *c, mp_memory *memory, mp_error *err);
    /* Creates the trace (mp_trace_create with `poison`) and fills it; the caller destroys it, after an error
     * too. Inputs must not be written. MP_EUNSUPPORTED becomes a SKIP, every other error a CRASH: the subject
     * could not be run. */
    mp_status (*run)(mp_subject *s, const mp_case *c, const mp_inputs *in, uint32_t poison, mp_trace *trace,
                     mp_error *err);
    void (*close)(mp_subject *s);
    char versions[256]; /* for provenance: device, driver, compiler; "" when none */
    char device[128];
};

/* Whether MOEPARITY_REQUIRE_GPU says so: not finding a GPU is then an error instead of a skip, and "auto"
 * means cuda. "" and 0 say no. */
bool mp_gpu_required(void);

/* "ref", "host", "cuda"; "auto" is cuda where a GPU is found, else host. MP_EINPUT for an unknown name,
 * MP_EUNSUPPORTED when it cannot run here. */
mp_status mp_subject_open(const char *name, mp_subject *s, mp_error *err);
void mp_subject_close(mp_subject *s);

#endif
