// Prints docs/syscalls.md, the compatibility page, from the system call table.
#include <cstdio>

#include "sentry/syscalls/table.h"

int main() {
  const std::string page = ringfence::sentry::CompatibilityPage();
  return fwrite(page.data(), 1, page.size(), stdout) == page.size() ? 0 : 1;
}
