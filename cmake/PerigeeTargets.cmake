# One place for what every Perigee target has in common.

# The root of this repository, also where it is a part of another build.
get_filename_component(PERIGEE_ROOT ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)

add_library(perigee_flags INTERFACE)
target_include_directories(perigee_flags INTERFACE
  $<BUILD_INTERFACE:${PERIGEE_ROOT}> $<INSTALL_INTERFACE:include/perigee>)
target_compile_features(perigee_flags INTERFACE cxx_std_20)

set(PERIGEE_WARNINGS -Wall -Wextra -Wno-sign-compare -Wno-unused-parameter -Wno-missing-field-initializers)
if(PERIGEE_WERROR)
  list(APPEND PERIGEE_WARNINGS -Werror)
endif()
if(PERIGEE_SANITIZE)
  add_compile_options(-fsanitize=${PERIGEE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${PERIGEE_SANITIZE})
endif()

if(PERIGEE_FUZZ AND NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "PERIGEE_FUZZ needs clang: configure with -DCMAKE_CXX_COMPILER=clang++")
endif()

# perigee_library(NAME SOURCES ... LINK ...): a static library of one layer. What it links is what it
# may include: tests/tidy_test checks the includes, the linker checks the symbols.
function(perigee_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${PERIGEE_WARNINGS})
  target_link_libraries(${name} PUBLIC perigee_flags ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK})
  set_property(GLOBAL APPEND PROPERTY PERIGEE_LIBRARIES ${name})
endfunction()

# perigee_program(NAME SOURCES ... LINK ...): a program in build/bin.
function(perigee_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${PERIGEE_WARNINGS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
endfunction()

# perigee_test(NAME SOURCES ... LINK ... [LABELS ...] [TIMEOUT s]): one GoogleTest program, one ctest entry.
# PERIGEE_TEST_TIMEOUT replaces every test's own. The label "core" marks what also runs under sanitizers in every CI run.
function(perigee_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_options(${name} PRIVATE ${PERIGEE_WARNINGS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gmock_main)
  if(TARGET perigee_gtest_pch)
    target_precompile_headers(${name} REUSE_FROM perigee_gtest_pch)
  endif()
  if(PERIGEE_TEST_TIMEOUT)
    set(ARG_TIMEOUT ${PERIGEE_TEST_TIMEOUT})
  elseif(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PERIGEE_ROOT})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()
