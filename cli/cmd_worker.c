/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity worker: judges the cases that another program hands to it. docs/protocol.md tells how. */
#include "cli/common.h"

#include "moeparity/worker.h"

int mp_cmd_worker(const mp_args *args) {
    (void)args;
    if (!mp_worker_requested())
        return mp_cli_usage("a worker is started by a run, not by hand: " MP_WORKER_VARIABLE " is not set");
    return mp_worker_serve(NULL);
}
