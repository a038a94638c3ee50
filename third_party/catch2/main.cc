// The entry point of every Catch2 test: built once because it takes long to compile.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
