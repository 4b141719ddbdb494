# SPDX-License-Identifier: Apache-2.0
# mp_embed_texts(NAME FILES...): texts of the tree, by their paths from its root, as the table NAME in
# ${CMAKE_CURRENT_BINARY_DIR}/NAME.c (cmake/embed.cmake).
function(mp_embed_texts name)
  set(paths ${ARGN})
  list(TRANSFORM paths PREPEND "${PROJECT_SOURCE_DIR}/")
  list(JOIN ARGN "," files)
  add_custom_command(
    OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.c
    COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR} "-DFILES=${files}" -DNAME=${name}
            -DOUTPUT=${CMAKE_CURRENT_BINARY_DIR}/${name}.c -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${paths} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    VERBATIM)
endfunction()
