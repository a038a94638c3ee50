#include "gofer/server/service.h"

#include <string_view>
#include <vector>

#include "gofer/wire/convert.h"

namespace ringfence::gofer {
namespace {

int32_t Code(Errno e) { return static_cast<int32_t>(e); }

Result<EntryDetail> DetailFromWire(wire::EntryDetail detail) {
  switch (detail) {
    case wire::NAMES:
      return EntryDetail::kNames;
    case wire::ATTRIBUTES:
      return EntryDetail::kAttributes;
    case wire::NODES:
      return EntryDetail::kNodes;
    default:
      return Errno::kINVAL;
  }
}

// The names of a request; EINVAL if there are more than `max`, before any copy: the number is the
// sentry's.
Result<std::vector<std::string_view>> NamesOf(
    const google::protobuf::RepeatedPtrField<std::string>& names, size_t max) {
  if (static_cast<size_t>(names.size()) > max) return Errno::kINVAL;
  return std::vector<std::string_view>(names.begin(), names.end());
}

}  // namespace

void Service::Attach(const wire::AttachRequest& request, wire::AttachReply* reply) {
  const Result<Node> root = tree_->Attach(request.tree());
  if (!root.ok()) return reply->set_error(Code(root.error()));
  gofer::ToWire(*root, reply->mutable_root());
}

void Service::Walk(const wire::WalkRequest& request, wire::WalkReply* reply) {
  const auto components = NamesOf(request.components(), kMaxWalkComponents);
  if (!components.ok()) return reply->set_error(Code(components.error()));
  const Result<WalkResult> walked = tree_->Walk(request.node(), *components);
  if (!walked.ok()) return reply->set_error(Code(walked.error()));
  for (const Node& node : walked->nodes) gofer::ToWire(node, reply->add_nodes());
  reply->set_stopped(Code(walked->stopped));
}

void Service::GetAttr(const wire::GetAttrRequest& request, wire::GetAttrReply* reply) {
  const Result<Attributes> attr = tree_->GetAttr(request.node());
  if (!attr.ok()) return reply->set_error(Code(attr.error()));
  gofer::ToWire(*attr, reply->mutable_attr());
}

void Service::ReadLink(const wire::ReadLinkRequest& request, wire::ReadLinkReply* reply) {
  Result<std::string> target = tree_->ReadLink(request.node());
  if (!target.ok()) return reply->set_error(Code(target.error()));
  reply->set_target(std::move(*target));
}

void Service::CloseFirst(const google::protobuf::RepeatedField<uint64_t>& nodes) {
  // Nobody is told of ids that were never handed out.
  (void)tree_->Close({nodes.data(), static_cast<size_t>(nodes.size())});
}

void Service::Open(const wire::OpenRequest& request, wire::OpenReply* reply) {
  CloseFirst(request.closed());
  const auto components = NamesOf(request.components(), kMaxWalkComponents);
  if (!components.ok()) return reply->set_error(Code(components.error()));
  const Result<OpenedFile> opened = tree_->Open(request.node(), *components, request.flags());
  if (!opened.ok()) return reply->set_error(Code(opened.error()));
  const Result<void> sent = donations_.Send(request.donation(), opened->fd.get());
  if (!sent.ok()) return reply->set_error(Code(sent.error()));
  gofer::ToWire(opened->attr, reply->mutable_attr());
}

void Service::ReadDir(const wire::ReadDirRequest& request, wire::ReadDirReply* reply) {
  const Result<EntryDetail> detail = DetailFromWire(request.detail());
  if (!detail.ok()) return reply->set_error(Code(detail.error()));
  const Result<DirectoryPage> page =
      tree_->ReadDir(request.node(), request.cookie(), request.max_bytes(), *detail);
  if (!page.ok()) return reply->set_error(Code(page.error()));
  for (const DirectoryEntry& entry : page->entries) gofer::ToWire(entry, reply->add_entries());
  reply->set_end(page->end);
}

void Service::ReadTree(const wire::ReadTreeRequest& request, wire::ReadTreeReply* reply) {
  const auto names = NamesOf(request.names(), kMaxTreeDirectories);
  if (!names.ok()) return reply->set_error(Code(names.error()));
  const Result<std::vector<ListedDirectory>> listed =
      tree_->ReadTree(request.node(), *names, request.max_directories(), request.max_bytes());
  if (!listed.ok()) return reply->set_error(Code(listed.error()));
  for (const ListedDirectory& directory : *listed) {
    wire::DirectoryListing* out = reply->add_directories();
    gofer::ToWire(directory.attr, out->mutable_attr());
    for (const DirectoryEntry& entry : directory.entries) {
      gofer::ToWire(entry, out->add_entries());
    }
  }
}

void Service::StatFs(const wire::StatFsRequest& request, wire::StatFsReply* reply) {
  CloseFirst(request.closed());
  const Result<FsAttributes> attr = tree_->StatFs(request.node());
  if (!attr.ok()) return reply->set_error(Code(attr.error()));
  gofer::ToWire(*attr, reply);
}

void Service::Close(const wire::CloseRequest& request, wire::CloseReply* reply) {
  const Result<void> closed =
      tree_->Close({request.nodes().data(), static_cast<size_t>(request.nodes_size())});
  if (!closed.ok()) reply->set_error(Code(closed.error()));
}

}  // namespace ringfence::gofer
