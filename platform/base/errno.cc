#include "platform/base/errno.h"

namespace ringfence {

std::string_view ErrnoName(Errno e) {
  switch (e) {
#define RINGFENCE_ERRNO_CASE(name, value) \
  case Errno::k##name:                    \
    return "E" #name;
    RINGFENCE_GUEST_ERRNOS(RINGFENCE_ERRNO_CASE)
    RINGFENCE_INTERNAL_ERRNOS(RINGFENCE_ERRNO_CASE)
#undef RINGFENCE_ERRNO_CASE
  }
  return "EUNKNOWN";
}

}  // namespace ringfence
