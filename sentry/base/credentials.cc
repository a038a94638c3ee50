#include "sentry/base/credentials.h"

#include <algorithm>

namespace ringfence::sentry {

bool Credentials::InGroup(Gid gid) const {
  return gid == fsgid || std::find(groups.begin(), groups.end(), gid) != groups.end();
}

}  // namespace ringfence::sentry
