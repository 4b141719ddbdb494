/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/version.h"

const char *mp_version(void) {
    return MOEPARITY_VERSION;
}
