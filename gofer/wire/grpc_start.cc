#include "gofer/wire/grpc_start.h"

#include <grpc/event_engine/event_engine.h>
#include <grpc/grpc.h>

#include "gofer/wire/event_engine.h"

// Of gRPC's own src/core/lib/iomgr/timer_manager.h, which is not installed: ends (false) or starts
// (true) the threads that run timers; between grpc_init and grpc_shutdown.
void grpc_timer_manager_set_threading(bool enabled);

namespace ringfence::gofer {

void StartGrpc() {
  [[maybe_unused]] static const bool started = [] {
    grpc_event_engine::experimental::SetEventEngineFactory(NewEventEngine);
    grpc_init();
    grpc_timer_manager_set_threading(false);
    return true;
  }();
}

}  // namespace ringfence::gofer
