# SPDX-License-Identifier: Apache-2.0
# Which folder may include which: -DSOURCE=<source tree> -P layers.cmake. Dependencies point downwards only:
#   base < cases < ref < kernels, golden < files < harness < reports < cli
# and within the harness judge, subjects, probe < checks, goldens < infer < run < bisect, tune, above what
# lies in harness/ itself; and within tune which, audit < prove, above what lies in tune/ itself.
# kernels and golden stand side by side and do not know each other. What kernels need of ref/predict are the
# headers that CPU and GPU share. Device code knows kernels/device and those. Nobody includes tests/.
cmake_minimum_required(VERSION 3.25)
set(floor_base 0)
set(floor_cases 1)
set(floor_ref 2)
set(floor_kernels 3)
set(floor_golden 3)
set(floor_offload 4)
set(floor_files 4)
set(floor_harness 5)
set(floor_reports 6)
set(floor_cli 7)
# Rooms of the harness, and rooms in them: what lies in harness/ itself is below them all.
set(room_judge 1)
set(room_subjects 1)
set(room_probe 1)
set(room_checks 2)
set(room_goldens 2)
set(room_infer 3)
set(room_run 4)
set(room_bisect 5)
set(room_tune 5)
set(room_tune/which 6)
set(room_tune/audit 6)
set(room_tune/prove 7)
set(folders base cases ref kernels offload golden files harness reports cli)
set(public_base dtype space status streams tensor texts version)
set(public_cases case contract graph inputs matrix quantiser trace)
set(public_ref preset)
set(public_kernels config)
set(public_offload "")
set(public_golden golden)
set(public_files "")
set(public_harness picture plugin run_case settings subject suite verdict worker)
set(public_reports "")
set(public_cli "")
set(standard_headers <assert.h> <stdarg.h> <stdbool.h> <stddef.h> <stdint.h> <stdio.h> <string.h>)
set(shared_with_devices base/mix.h cases/codes.h cases/limit_numbers.h cases/numbers.h
    ref/predict/float32_math.h ref/predict/activation_f32.h ref/predict/quantise_f32.h)
set(shared_with_offload base/mix.h ref/predict/terms.h ref/predict/float32_math.h
    ref/predict/activation_f32.h ref/predict/quantise_f32.h ref/measured.h ref/scaled_sum.h ref/activated.h
    ref/activated_ball.h ref/ball.h ref/combined.h ref/quantised.h ref/token_figures.h)

# Sets `folder` to where `path`, as an include names it, belongs, or to "".
function(find_folder path)
  set(folder "")
  if(path MATCHES "^moeparity/([a-z_]+)\\.h$")
    set(name ${CMAKE_MATCH_1})
    foreach(candidate IN LISTS folders)
      if(name IN_LIST public_${candidate})
        set(folder ${candidate})
      endif()
    endforeach()
  elseif(path MATCHES "^([^/]+)/")
    set(folder ${CMAKE_MATCH_1})
  endif()
  set(folder "${folder}" PARENT_SCOPE)
endfunction()

# Sets `room` to the room of the harness in which `path` lies, "" where it lies in none.
function(find_room path)
  set(room "")
  if(path MATCHES "^harness/(.+)/[^/]+$")
    set(room ${CMAKE_MATCH_1})
  endif()
  set(room "${room}" PARENT_SCOPE)
endfunction()

# Sets `refusal` to why one room of the harness must not include another one's header, or to "".
function(judge_rooms file header)
  set(refusal "" PARENT_SCOPE)
  find_room(${header})
  set(other "${room}")
  find_room(${file})
  if(other STREQUAL "" OR NOT file MATCHES "^harness/" OR room STREQUAL other)
    return()
  endif()
  foreach(name IN ITEMS "${room}" "${other}")
    if(NOT name STREQUAL "" AND NOT DEFINED room_${name})
      set(refusal "harness/${name}/ has no place among the rooms" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  if(room STREQUAL "" OR NOT room_${other} LESS room_${room})
    set(refusal "harness/${other}/ does not lie below it" PARENT_SCOPE)
  endif()
endfunction()

# Sets `refusal` to why `file` must not include `header`, or to "". A header of the system is <name>.
function(judge file header)
  set(refusal "" PARENT_SCOPE)
  find_folder(${header})
  set(target "${folder}")
  string(REGEX REPLACE "^include/" "" path "${file}")
  find_folder(${path})
  if(header MATCHES "^<")
    if(file MATCHES "^include/" AND NOT header IN_LIST standard_headers)
      set(refusal "public headers include of the system only: ${standard_headers}" PARENT_SCOPE)
    elseif(header MATCHES "^<moeparity/")
      set(refusal "headers of this tree are named in quotes" PARENT_SCOPE)
    endif()
  elseif(header IN_LIST shared_with_devices AND folder STREQUAL "kernels")
    return()
  elseif(file MATCHES "^kernels/device/" AND NOT header MATCHES "^kernels/device/")
    set(refusal "device code includes kernels/device and the headers shared with it alone" PARENT_SCOPE)
  elseif(file MATCHES "^offload/device/" AND header IN_LIST shared_with_offload)
    return()
  elseif(file MATCHES "^offload/device/" AND NOT header MATCHES "^offload/device/")
    set(refusal "device code of offload includes offload/device and what is shared with it alone"
        PARENT_SCOPE)
  elseif(header MATCHES "^kernels/device/" AND folder STREQUAL "offload")
    set(refusal "what judges shares no device code with what is judged" PARENT_SCOPE)
  elseif(file MATCHES "^include/" AND NOT header MATCHES "^moeparity/")
    set(refusal "public headers include public headers alone" PARENT_SCOPE)
  elseif(NOT header MATCHES "/")
    # A generated header beside the generated sources of cli; every other one is named by its path.
    if(NOT (folder STREQUAL "cli" AND header STREQUAL "commit.h"))
      set(refusal "headers are named by their path from the root" PARENT_SCOPE)
    endif()
  elseif(file STREQUAL "include/moeparity/moeparity.h" AND header MATCHES "^moeparity/")
    return()
  elseif(NOT target IN_LIST folders)
    set(refusal "${header} is in none of: ${folders}" PARENT_SCOPE)
  elseif(folder STREQUAL "kernels" AND header MATCHES "^ref/predict/")
    set(refusal "kernels may include of ref/predict only: ${shared_with_devices}" PARENT_SCOPE)
  elseif(NOT folder STREQUAL target AND NOT floor_${target} LESS floor_${folder})
    set(refusal "${target}/ does not lie below ${folder}/" PARENT_SCOPE)
  else()
    judge_rooms(${file} ${header})
    set(refusal "${refusal}" PARENT_SCOPE)
  endif()
endfunction()

# The rules themselves: what must be refused is, and what is in use is not.
foreach(pair
    "base/a.c cases/case.h" "ref/a.c kernels/cuda.h" "golden/a.c kernels/cuda.h" "kernels/a.c golden/golden.h"
    "golden/a.c files/container.h" "files/a.c harness/verdict_make.h"
    "kernels/a.c offload/offload.h" "offload/a.c harness/verdict_make.h" "offload/a.c kernels/device/params.h"
    "offload/device/a.cu kernels/device/common.cuh" "offload/device/a.cu ref/operand.h"
    "harness/run/a.c reports/report.h" "reports/a.c cli/common.h" "kernels/a.c ref/predict/host.h"
    "kernels/device/a.cu kernels/cuda.h" "kernels/device/a.cu cases/case.h" "harness/a.c tests/faults.h"
    "harness/a.c verdict.h" "ref/a.c ../cases/case.h"
    "base/a.c moeparity/case.h" "golden/a.c moeparity/config.h" "kernels/a.c moeparity/golden.h"
    "ref/a.c moeparity/verdict.h" "kernels/device/a.cu moeparity/status.h" "cli/a.c moeparity/unknown.h"
    "cli/a.c moeparity/moeparity.h" "cli/a.c <moeparity/case.h>" "cli/a.c include/moeparity/case.h"
    "include/moeparity/status.h moeparity/case.h" "include/moeparity/config.h moeparity/golden.h"
    "include/moeparity/verdict.h base/text.h" "include/moeparity/verdict.h status.h"
    "include/moeparity/verdict.h <jansson.h>" "include/moeparity/moeparity.h harness/verdict_json.h"
    "include/moeparity/unknown.h moeparity/status.h"
    "harness/judge/a.c harness/checks/session.h" "harness/judge/a.c harness/subjects/surroundings.h"
    "harness/checks/a.c harness/run/suite.h"
    "harness/run/a.c harness/bisect/attempt.h" "harness/a.c harness/judge/judge.h"
    "harness/tune/a.c harness/tune/audit/audit.h" "harness/tune/which/a.c harness/tune/audit/audit.h"
    "harness/tune/audit/a.c harness/tune/prove/points.h" "harness/run/a.c harness/tune/table.h"
    "harness/tune/unknown/a.c harness/tune/table.h")
  string(REGEX MATCH "^[^ ]+" file "${pair}")
  string(REGEX MATCH "[^ ]+$" header "${pair}")
  judge(${file} ${header})
  if(refusal STREQUAL "")
    message(SEND_ERROR "the rules let ${file} include ${header}")
  endif()
endforeach()

set(count 0)
foreach(folder IN LISTS folders ITEMS include)
  file(GLOB_RECURSE files RELATIVE ${SOURCE}
       ${SOURCE}/${folder}/*.c ${SOURCE}/${folder}/*.h ${SOURCE}/${folder}/*.cu ${SOURCE}/${folder}/*.cuh)
  foreach(file IN LISTS files)
    file(STRINGS ${SOURCE}/${file} includes REGEX "^[ \t]*#[ \t]*include[ \t]*[\"<]")
    foreach(line IN LISTS includes)
      string(REGEX REPLACE "^[^\"<]*(\"[^\"]*\"|<[^>]*>).*" "\\1" header "${line}")
      string(REPLACE "\"" "" header "${header}")
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

# moeparity.h includes every other public header, and each of them has its place in the tables above, and
# tells C++ that its functions are C.
file(STRINGS ${SOURCE}/include/moeparity/moeparity.h all REGEX "^#include \"")
file(GLOB headers RELATIVE ${SOURCE}/include ${SOURCE}/include/*/*)
list(REMOVE_ITEM headers moeparity/moeparity.h)
foreach(header IN LISTS headers)
  find_folder(${header})
  if(folder STREQUAL "")
    message(SEND_ERROR "include/${header} belongs to no folder: see the tables of this file")
  endif()
  if(NOT "#include \"${header}\"" IN_LIST all)
    message(SEND_ERROR "moeparity.h does not include ${header}")
  endif()
  file(STRINGS ${SOURCE}/include/${header} extern_c REGEX "^extern \"C\" {$")
  if(extern_c STREQUAL "")
    message(SEND_ERROR "include/${header} has no extern \"C\"")
  endif()
endforeach()
