# SPDX-License-Identifier: Apache-2.0
# Which folder may include which: -DSOURCE=<source tree> -P layers.cmake. Dependencies point downwards only:
#   base < cases < ref < kernels, golden < harness < reports < cli
# kernels and golden stand side by side and do not know each other. What kernels need of ref/predict are the
# two headers that CPU and GPU share. Device code knows kernels/device and those two. Nobody includes tests/.
cmake_minimum_required(VERSION 3.25)
set(floor_base 0)
set(floor_cases 1)
set(floor_ref 2)
set(floor_kernels 3)
set(floor_golden 3)
set(floor_harness 4)
set(floor_reports 5)
set(floor_cli 6)
set(folders base cases ref kernels golden harness reports cli)
set(shared_with_devices ref/predict/float32_math.h ref/predict/activation_f32.h)

# Sets `refusal` to why `file` must not include `header`, or to "".
function(judge file header)
  set(refusal "" PARENT_SCOPE)
  string(REGEX MATCH "^[^/]+" folder "${file}")
  string(REGEX MATCH "^[^/]+" target "${header}")
  if(header IN_LIST shared_with_devices AND folder STREQUAL "kernels")
    return()
  endif()
  if(file MATCHES "^kernels/device/" AND NOT header MATCHES "^kernels/device/")
    set(refusal "device code includes kernels/device and the headers shared with it alone" PARENT_SCOPE)
  elseif(NOT header MATCHES "/")
    # A generated header beside the generated sources of cli; every other one is named by its path.
    if(NOT (folder STREQUAL "cli" AND header STREQUAL "version.h"))
      set(refusal "headers are named by their path from the root" PARENT_SCOPE)
    endif()
  elseif(NOT target IN_LIST folders)
    set(refusal "${target}/ is none of: ${folders}" PARENT_SCOPE)
  elseif(folder STREQUAL "kernels" AND header MATCHES "^ref/predict/")
    set(refusal "kernels may include of ref/predict only: ${shared_with_devices}" PARENT_SCOPE)
  elseif(NOT folder STREQUAL target AND NOT floor_${target} LESS floor_${folder})
    set(refusal "${target}/ does not lie below ${folder}/" PARENT_SCOPE)
  endif()
endfunction()

# The rules themselves: what must be refused is, and what is in use is not.
foreach(pair
    "base/a.c cases/case.h" "ref/a.c kernels/cuda.h" "golden/a.c kernels/cuda.h" "kernels/a.c golden/golden.h"
    "harness/run/a.c reports/report.h" "reports/a.c cli/common.h" "kernels/a.c ref/predict/host.h"
    "kernels/device/a.cu kernels/cuda.h" "kernels/device/a.cu cases/case.h" "harness/a.c tests/faults.h"
    "harness/a.c verdict.h" "ref/a.c ../cases/case.h")
  string(REGEX MATCH "^[^ ]+" file "${pair}")
  string(REGEX MATCH "[^ ]+$" header "${pair}")
  judge(${file} ${header})
  if(refusal STREQUAL "")
    message(SEND_ERROR "the rules let ${file} include ${header}")
  endif()
endforeach()

set(count 0)
foreach(folder IN LISTS folders)
  file(GLOB_RECURSE files RELATIVE ${SOURCE}
       ${SOURCE}/${folder}/*.c ${SOURCE}/${folder}/*.h ${SOURCE}/${folder}/*.cu ${SOURCE}/${folder}/*.cuh)
  foreach(file IN LISTS files)
    file(STRINGS ${SOURCE}/${file} includes REGEX "^[ \t]*#[ \t]*include[ \t]*\"")
    foreach(line IN LISTS includes)
      string(REGEX REPLACE "^[^\"]*\"([^\"]*)\".*" "\\1" header "${line}")
      judge(${file} ${header})
      if(NOT refusal STREQUAL "")
        message(SEND_ERROR "${file} includes ${header}: ${refusal}")
      endif()
      math(EXPR count "${count} + 1")
    endforeach()
  endforeach()
endforeach()
if(count EQUAL 0)
  message(SEND_ERROR "no includes found below ${SOURCE}")
endif()
message(STATUS "${count} includes looked at")
