// The part of gRPC's EventEngine that a process without network needs: to run something now or
// later, on one thread that exists once there is something to run and sleeps until it is due.
// Connecting, listening and resolving names fail: our channels are made from descriptors.
#ifndef RINGFENCE_GOFER_WIRE_EVENT_ENGINE_H_
#define RINGFENCE_GOFER_WIRE_EVENT_ENGINE_H_

#include <grpc/event_engine/event_engine.h>

#include <memory>

namespace ringfence::gofer {

std::unique_ptr<grpc_event_engine::experimental::EventEngine> NewEventEngine();

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_WIRE_EVENT_ENGINE_H_
