// The entry point of every Catch2 test: built once because it takes long to compile.
// Catch2's signal handlers are off: around each test case they would replace the SIGSEGV and
// SIGBUS handler of platform/mem/safe_copy.h. A crashing test ends with the signal itself.
#define CATCH_CONFIG_NO_POSIX_SIGNALS
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
