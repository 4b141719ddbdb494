# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT, a header with the commit of SOURCE, from INPUT; an OUTPUT that already says so keeps its time
# stamp. A source tree without git says "unknown".
#   cmake -DSOURCE=... -DINPUT=commit.h.in -DOUTPUT=commit.h -P commit.cmake
set(COMMIT "unknown")
find_package(Git QUIET)
if(Git_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} describe --always --dirty WORKING_DIRECTORY ${SOURCE}
                  OUTPUT_VARIABLE answer OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
  if(result EQUAL 0)
    set(COMMIT "${answer}")
  endif()
endif()
configure_file(${INPUT} ${OUTPUT} @ONLY)
