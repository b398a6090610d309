# cmake --install: headers under include/perigee, the libraries and programs, and perigeeConfig.cmake, so that
#
#   find_package(perigee REQUIRED)
#   target_link_libraries(mine PRIVATE perigee::perigee)
#
# is all that a user writes. Only the product is installed, not the benchmarks, examples and tests.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(PERIGEE_INSTALL_HEADERS ${CMAKE_INSTALL_INCLUDEDIR}/perigee)
set(PERIGEE_INSTALL_CONFIG ${CMAKE_INSTALL_LIBDIR}/cmake/perigee)

# perigee::perigee is everything that a program may use; runtime/cli belongs to our own programs.
add_library(perigee INTERFACE)
add_library(perigee::perigee ALIAS perigee)
set(installed perigee perigee_flags)
get_property(libraries GLOBAL PROPERTY PERIGEE_LIBRARIES)
foreach(library IN LISTS libraries)
  get_target_property(folder ${library} SOURCE_DIR)
  file(RELATIVE_PATH folder ${PERIGEE_ROOT} ${folder})
  if(NOT folder MATCHES "^(transport|collectives|runtime|proto)(/|$)" OR folder MATCHES "^runtime/cli")
    continue()
  endif()
  target_link_libraries(perigee INTERFACE ${library})
  list(APPEND installed ${library})
endforeach()
install(TARGETS ${installed} EXPORT perigeeTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})

foreach(folder transport collectives runtime)
  install(DIRECTORY ${PERIGEE_ROOT}/${folder} DESTINATION ${PERIGEE_INSTALL_HEADERS}
    FILES_MATCHING PATTERN "*.h" PATTERN "cli" EXCLUDE)
endforeach()
if(TARGET perigee_proto)
  get_directory_property(generated DIRECTORY ${PERIGEE_ROOT}/proto DEFINITION PERIGEE_PROTO_DIR)
  install(DIRECTORY ${generated}/proto DESTINATION ${PERIGEE_INSTALL_HEADERS}
    FILES_MATCHING PATTERN "*.pb.h")
endif()
foreach(program perigeed perigeectl)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()

install(EXPORT perigeeTargets NAMESPACE perigee:: DESTINATION ${PERIGEE_INSTALL_CONFIG})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/perigeeConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/perigeeConfig.cmake INSTALL_DESTINATION ${PERIGEE_INSTALL_CONFIG})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/perigeeConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/perigeeConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/perigeeConfigVersion.cmake DESTINATION ${PERIGEE_INSTALL_CONFIG})
