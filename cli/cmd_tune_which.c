/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity tune which: the tuned file and key that each public loader picks, and why. */
#include "cli/common.h"

int mp_cmd_tune_which(const mp_args *args) {
    (void)args;
    return mp_cli_usage("tune which");
}
