// StartGrpc: gRPC for a process of a sandbox, which must not wake a CPU while nothing happens.
//
// gRPC 1.51 by itself starts two managers of timers, each of which wakes once or twice a second
// whether there are timers or not, and a pool of threads. Our channels are descriptors that are
// connected already and our calls have no deadlines, so nothing of ours is ever due:
//   - the older manager's threads are ended. What would need them never runs: deadlines of calls,
//     keepalive pings, back-off of connections. Whoever adds one of these starts them again.
//   - the newer one belongs to gRPC's EventEngine, which is replaced (event_engine.h).
#ifndef RINGFENCE_GOFER_WIRE_GRPC_START_H_
#define RINGFENCE_GOFER_WIRE_GRPC_START_H_

namespace ringfence::gofer {

// Before anything else of gRPC; any number of times, any thread. gRPC then stays initialised until
// the process ends: shutting it down waits up to 10 s for a poller.
void StartGrpc();

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_WIRE_GRPC_START_H_
