// docs/confinement_calls.md: the tables of calls.h for a person.
#ifndef RINGFENCE_RUNTIME_CONFINE_CALLS_PAGE_H_
#define RINGFENCE_RUNTIME_CONFINE_CALLS_PAGE_H_

#include <string>

namespace ringfence::runtime {

std::string CallsPage();

}  // namespace ringfence::runtime

#endif  // RINGFENCE_RUNTIME_CONFINE_CALLS_PAGE_H_
