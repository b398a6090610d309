# Debian 12 and Ubuntu 24.04 packages; nothing is vendored or downloaded. bench/ and examples/ add theirs.
find_package(absl REQUIRED)
find_package(GTest REQUIRED)
find_path(PERIGEE_XXHASH_INCLUDE xxhash.h REQUIRED)
# ISA-L: CRC32C per packet (crc32_iscsi), later the erasure code.
find_path(PERIGEE_ISAL_INCLUDE isa-l.h REQUIRED)
find_library(PERIGEE_ISAL_LIBRARY isal REQUIRED)
if(NOT PERIGEE_CORES_ONLY)
  find_package(Threads REQUIRED)
  # Debian 12: the module must find Protobuf before gRPC's config looks for it.
  find_package(Protobuf MODULE REQUIRED)
  find_package(gRPC CONFIG REQUIRED)
  # 3.0 or later: certificates and join tokens of the control plane.
  find_package(OpenSSL 3 REQUIRED)
  find_package(spdlog REQUIRED)
  find_package(nlohmann_json REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(SQLite3 REQUIRED)
  find_package(Eigen3 REQUIRED NO_MODULE)
  find_package(prometheus-cpp CONFIG REQUIRED)
  find_package(yaml-cpp REQUIRED)
  if(NOT TARGET yaml-cpp::yaml-cpp)  # before 0.8
    add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
  endif()
endif()

# GoogleTest's headers dominate the compile time of small tests: compile them once.
add_library(perigee_gtest_pch STATIC ${PERIGEE_ROOT}/cmake/gtest_pch.cc)
target_precompile_headers(perigee_gtest_pch PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
# Programs are compiled with -fPIE, libraries with -fPIC, and a precompiled header is good for one of the two.
set_target_properties(perigee_gtest_pch PROPERTIES POSITION_INDEPENDENT_CODE OFF)
target_compile_options(perigee_gtest_pch PRIVATE -fPIE)
target_link_libraries(perigee_gtest_pch PUBLIC perigee_flags GTest::gmock)
