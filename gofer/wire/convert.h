// Between the protobufs of proto/gofer and the types of gofer/client/client.h. The directions that
// read a protobuf check what they read: it was written by the other side of a trust boundary.
#ifndef RINGFENCE_GOFER_WIRE_CONVERT_H_
#define RINGFENCE_GOFER_WIRE_CONVERT_H_

#include <string_view>

#include "gofer/client/client.h"
#include "platform/base/result.h"
#include "proto/gofer/gofer.pb.h"

namespace ringfence::gofer {

// May `name` stand for one step of a path? 1 to kMaxNameLength bytes, no '/' and no NUL, neither
// "." nor "..".
bool IsValidComponent(std::string_view name);

// May `target` be what a symlink says? 1 to kMaxLinkTarget - 1 bytes without NUL.
bool IsValidTarget(std::string_view target);

// 1 to kMaxXattrName bytes without NUL.
bool IsValidXattrName(std::string_view name);

void ToWire(const Attributes& in, wire::Attributes* out);
void ToWire(const FsAttributes& in, wire::StatFsReply* out);
void ToWire(const Node& in, wire::Node* out);
void ToWire(const DirectoryEntry& in, wire::DirectoryEntry* out);
void ToWire(const AttributeChange& in, wire::SetAttrRequest* out);

// EIO: an impossible value (file type, permission bits, size, nanoseconds, node 0, name,
// target).
Result<Attributes> FromWire(const wire::Attributes& in);
Result<Node> FromWire(const wire::Node& in);
// Takes the name out of `in`.
Result<DirectoryEntry> FromWire(wire::DirectoryEntry* in);
FsAttributes FromWire(const wire::StatFsReply& in);
// Not checked: its values are what a guest may ask for, and the host judges them.
AttributeChange FromWire(const wire::SetAttrRequest& in);

// An error number of a reply as Errno{} or an errno a guest may see; others become EIO.
Errno ErrnoFromWire(int32_t error);

}  // namespace ringfence::gofer

#endif  // RINGFENCE_GOFER_WIRE_CONVERT_H_
