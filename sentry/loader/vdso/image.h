// The linked vDSO, embedded by the build.
#ifndef RINGFENCE_SENTRY_LOADER_VDSO_IMAGE_H_
#define RINGFENCE_SENTRY_LOADER_VDSO_IMAGE_H_

#include "absl/types/span.h"

namespace ringfence::sentry {

absl::Span<const unsigned char> VdsoImage();

}  // namespace ringfence::sentry

#endif  // RINGFENCE_SENTRY_LOADER_VDSO_IMAGE_H_
