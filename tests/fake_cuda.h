/* SPDX-License-Identifier: Apache-2.0 */
/* A CUDA driver and an NVRTC in the test executable itself: "device" memory is host memory and kernels do
 * nothing, or what a test has them do, but every call can be made to fail. The program loads both libraries
 * by name at run time; here dlopen answers with this executable, which exports their functions. */
#ifndef MP_TESTS_FAKE_CUDA_H
#define MP_TESTS_FAKE_CUDA_H

#include "kernels/driver.h"

#include <stdbool.h>

typedef struct fake_cuda {
    int calls, failing; /* the driver call with this number fails, from 0 on; -1: none */
    bool lost;          /* and so do all calls after it, as with a context that an illegal access destroyed */
    int live;           /* allocations, contexts, modules, events, streams and graphs */
    int no_memory;      /* so many allocations fail from now on */
    int launched;       /* kernels that were executed, from a graph too */
    int unordered;      /* kernels and fills of them that were on the default stream */
    size_t bytes;       /* allocated so far, given back or not */
    size_t uploaded;    /* bytes copied from the host */
    size_t pinned;      /* bytes of the host that were pinned so far */
    /* Executes a kernel, whose arguments are at `params`; NULL: kernels do nothing. */
    void (*execute)(const char *entry, const void *params);
    void (*right)(const char *entry, const void *params); /* what right kernels do; a fault calls it */
    size_t (*used)(void); /* bytes of the device that are not free; NULL: none */
    int architecture;     /* 90; NVRTC knows 80 and 90 */
    bool nvrtc_absent;
    bool no_digests;  /* the kernel that makes those of rows writes none */
    char asked[8192]; /* the names of NVRTC that dlopen was asked for, a blank behind each */
} fake_cuda;
extern fake_cuda fake;

void *fake_memory(CUdeviceptr address);

#endif
