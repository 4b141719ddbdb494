/* SPDX-License-Identifier: Apache-2.0 */
/* All that a program needs to have its kernels judged. Usable from C17 and from C++17. */
#ifndef MOEPARITY_MOEPARITY_H
#define MOEPARITY_MOEPARITY_H

#include "moeparity/case.h"
#include "moeparity/config.h"
#include "moeparity/contract.h"
#include "moeparity/dtype.h"
#include "moeparity/golden.h"
#include "moeparity/graph.h"
#include "moeparity/inputs.h"
#include "moeparity/matrix.h"
#include "moeparity/picture.h"
#include "moeparity/plugin.h"
#include "moeparity/preset.h"
#include "moeparity/quantiser.h"
#include "moeparity/run_case.h"
#include "moeparity/settings.h"
#include "moeparity/space.h"
#include "moeparity/status.h"
#include "moeparity/streams.h"
#include "moeparity/subject.h"
#include "moeparity/suite.h"
#include "moeparity/tensor.h"
#include "moeparity/texts.h"
#include "moeparity/trace.h"
#include "moeparity/verdict.h"
#include "moeparity/version.h"
#include "moeparity/worker.h"

#endif
