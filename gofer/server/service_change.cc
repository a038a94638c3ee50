// The methods that change files, and extended attributes.
#include <string>
#include <utility>
#include <vector>

#include "gofer/server/service.h"
#include "gofer/wire/convert.h"

namespace ringfence::gofer {
namespace {

int32_t Code(Errno e) { return static_cast<int32_t>(e); }

}  // namespace

void Service::Make(const wire::MakeRequest& request, wire::MakeReply* reply) {
  CloseFirst(request.closed());
  const NewObject object = {.mode = request.mode(),
                            .uid = request.uid(),
                            .gid = request.gid(),
                            .rdev = request.rdev(),
                            .target = request.target()};
  const bool open = request.donation() != 0;
  const Result<MadeObject> made =
      tree_->Make(request.directory(), request.name(), object,
                  open ? Client::AlsoOpen::kYes : Client::AlsoOpen::kNo, request.open_flags());
  if (!made.ok()) return reply->set_error(Code(made.error()));
  if (open) {
    const Result<void> sent = donations_.Send(request.donation(), made->fd.get());
    if (!sent.ok()) return reply->set_error(Code(sent.error()));
  }
  gofer::ToWire(made->node, reply->mutable_node());
  gofer::ToWire(made->directory, reply->mutable_directory());
}

void Service::Link(const wire::LinkRequest& request, wire::LinkReply* reply) {
  const Result<LinkedFile> linked =
      tree_->Link(request.node(), request.directory(), request.name());
  if (!linked.ok()) return reply->set_error(Code(linked.error()));
  gofer::ToWire(linked->attr, reply->mutable_attr());
  gofer::ToWire(linked->directory, reply->mutable_directory());
}

void Service::Unlink(const wire::UnlinkRequest& request, wire::UnlinkReply* reply) {
  CloseFirst(request.closed());
  const auto victim = request.is_directory() ? Client::Victim::kDirectory : Client::Victim::kFile;
  const Result<Attributes> directory = tree_->Unlink(request.directory(), request.name(), victim);
  if (!directory.ok()) return reply->set_error(Code(directory.error()));
  gofer::ToWire(*directory, reply->mutable_directory());
}

void Service::Rename(const wire::RenameRequest& request, wire::RenameReply* reply) {
  const Result<RenamedDirectories> renamed =
      tree_->Rename({.old_directory = request.old_directory(),
                     .old_name = request.old_name(),
                     .new_directory = request.new_directory(),
                     .new_name = request.new_name(),
                     .flags = request.flags(),
                     .moved = request.moved(),
                     .exchanged = request.exchanged()});
  if (!renamed.ok()) return reply->set_error(Code(renamed.error()));
  gofer::ToWire(renamed->old_directory, reply->mutable_old_directory());
  gofer::ToWire(renamed->new_directory, reply->mutable_new_directory());
}

void Service::SetAttr(const wire::SetAttrRequest& request, wire::SetAttrReply* reply) {
  const Result<Attributes> attr = tree_->SetAttr(request.node(), FromWire(request));
  if (!attr.ok()) return reply->set_error(Code(attr.error()));
  gofer::ToWire(*attr, reply->mutable_attr());
}

void Service::GetXattr(const wire::GetXattrRequest& request, wire::GetXattrReply* reply) {
  Result<std::string> value = tree_->GetXattr(request.node(), request.name());
  if (!value.ok()) return reply->set_error(Code(value.error()));
  reply->set_value(std::move(*value));
}

void Service::ListXattr(const wire::ListXattrRequest& request, wire::ListXattrReply* reply) {
  Result<std::vector<std::string>> names = tree_->ListXattr(request.node());
  if (!names.ok()) return reply->set_error(Code(names.error()));
  for (std::string& name : *names) reply->add_names(std::move(name));
}

void Service::SetXattr(const wire::SetXattrRequest& request, wire::SetXattrReply* reply) {
  const Result<void> set =
      tree_->SetXattr(request.node(), request.name(), request.value(), request.flags());
  if (!set.ok()) reply->set_error(Code(set.error()));
}

void Service::RemoveXattr(const wire::RemoveXattrRequest& request, wire::RemoveXattrReply* reply) {
  const Result<void> removed = tree_->RemoveXattr(request.node(), request.name());
  if (!removed.ok()) reply->set_error(Code(removed.error()));
}

void Service::Sync(const wire::SyncRequest& request, wire::SyncReply* reply) {
  const Result<void> synced = tree_->Sync(request.node());
  if (!synced.ok()) reply->set_error(Code(synced.error()));
}

}  // namespace ringfence::gofer
