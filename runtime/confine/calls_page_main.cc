// Prints docs/confinement_calls.md.
#include <cstdio>

#include "runtime/confine/calls_page.h"

int main() {
  const std::string page = ringfence::runtime::CallsPage();
  return fwrite(page.data(), 1, page.size(), stdout) == page.size() ? 0 : 1;
}
