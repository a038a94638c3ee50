// The honest part: a tree in memory that knows no permissions. hostile_gofer_lies.cc is the rest.
#include "test/fuzz/hostile_gofer.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ringfence::fuzz {
namespace {

constexpr uint64_t kMaxFile = 64 * 1024;  // a copy of it may be held in memory

}  // namespace

HostileGofer::HostileGofer(Choices answers, UniqueFd donations)
    : answers_(answers), donations_(std::move(donations)) {
  const Ino root = MakeObject(S_IFDIR | 0755);
  const Ino a = AddObject(root, "a", S_IFDIR | 0755);
  const Ino b = AddObject(a, "b", S_IFDIR | 0755);
  AddObject(b, "c", S_IFDIR | 0755);
  AddObject(root, "c", S_IFDIR | 0755);
  AddObject(root, "f", S_IFREG | 0644);
  AddObject(b, "f", S_IFREG | 0644);
  AddObject(root, "l", S_IFLNK | 0777, "a/b");
  AddObject(a, "l", S_IFLNK | 0777, "l");
  AddObject(a, "p", S_IFIFO | 0644);
}

HostileGofer::Ino HostileGofer::MakeObject(uint32_t mode, std::string target) {
  const Ino ino = next_ino_++;
  objects_[ino] = {.mode = mode, .target = std::move(target)};
  return ino;
}

HostileGofer::Ino HostileGofer::AddObject(Ino directory, const std::string& name, uint32_t mode,
                                          std::string target) {
  const Ino ino = MakeObject(mode, std::move(target));
  if (!name.empty()) objects_[directory].entries[name] = ino;
  return ino;
}

HostileGofer::Ino HostileGofer::InoOf(uint64_t node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? 0 : found->second;
}

HostileGofer::Object* HostileGofer::Find(uint64_t node) {
  const auto found = objects_.find(InoOf(node));
  return found == objects_.end() ? nullptr : &found->second;
}

HostileGofer::Ino HostileGofer::Child(Ino directory, const std::string& name) {
  const auto found = objects_.find(directory);
  if (found == objects_.end()) return 0;
  const auto entry = found->second.entries.find(name);
  return entry == found->second.entries.end() ? 0 : entry->second;
}

int HostileGofer::DataOf(Object* object) {
  if (!object->data.valid()) object->data = UniqueFd(memfd_create("data", MFD_CLOEXEC));
  return object->data.get();
}

void HostileGofer::Describe(Ino ino, wire::Attributes* attr) {
  const Object& object = objects_[ino];
  attr->set_dev(1);
  attr->set_ino(ino);
  attr->set_mode(object.mode);
  attr->set_nlink(object.nlink);
  attr->set_blksize(4096);
  attr->mutable_btime()->set_sec(static_cast<int64_t>(ino));
  struct stat s = {};
  if (object.data.valid() && fstat(object.data.get(), &s) == 0) {
    attr->set_size(static_cast<uint64_t>(s.st_size));
  }
}

void HostileGofer::Hand(Ino ino, wire::Node* node) {
  node->set_id(next_node_);
  nodes_[next_node_++] = ino;
  Describe(ino, node->mutable_attr());
  node->set_target(objects_[ino].target);
}

void HostileGofer::List(Ino directory, size_t from, bool names_only,
                        google::protobuf::RepeatedPtrField<wire::DirectoryEntry>* entries) {
  size_t at = 0;
  for (const auto& [name, ino] : objects_[directory].entries) {
    if (at++ < from) continue;
    wire::DirectoryEntry* entry = entries->Add();
    entry->set_name(name);
    entry->set_next_cookie(at);
    Describe(ino, entry->mutable_attr());
    if (names_only) {
      entry->mutable_attr()->set_mode(objects_[ino].mode & S_IFMT);
    } else {
      entry->set_target(objects_[ino].target);
    }
  }
}

void HostileGofer::DropName(Ino directory, const std::string& name) {
  const Ino ino = Child(directory, name);
  if (ino == 0) return;
  objects_[directory].entries.erase(name);
  if (objects_[ino].nlink > 0) --objects_[ino].nlink;
}

void HostileGofer::Serve(const wire::AttachRequest&, wire::AttachReply* reply) {
  Hand(1, reply->mutable_root());
}

void HostileGofer::Serve(const wire::WalkRequest& request, wire::WalkReply* reply) {
  Ino at = InoOf(request.node());
  if (at == 0) return reply->set_error(EINVAL);
  for (const std::string& name : request.components()) {
    const uint32_t type = objects_[at].mode & S_IFMT;
    if (type == S_IFLNK) return reply->set_stopped(ELOOP);
    if (type != S_IFDIR) return reply->set_stopped(ENOTDIR);
    at = Child(at, name);
    if (at == 0) return reply->set_stopped(ENOENT);
    Hand(at, reply->add_nodes());
  }
}

void HostileGofer::Serve(const wire::GetAttrRequest& request, wire::GetAttrReply* reply) {
  const Ino ino = InoOf(request.node());
  if (ino == 0) return reply->set_error(EINVAL);
  Describe(ino, reply->mutable_attr());
}

void HostileGofer::Serve(const wire::ReadLinkRequest& request, wire::ReadLinkReply* reply) {
  const Object* object = Find(request.node());
  if (object == nullptr || !S_ISLNK(object->mode)) return reply->set_error(EINVAL);
  reply->set_target(object->target);
}

void HostileGofer::Serve(const wire::OpenRequest& request, wire::OpenReply* reply) {
  Ino at = InoOf(request.node());
  for (const std::string& name : request.components()) at = Child(at, name);
  if (at == 0) return reply->set_error(ENOENT);
  Object& object = objects_[at];
  if (S_ISDIR(object.mode)) return reply->set_error(EISDIR);
  if (!S_ISREG(object.mode)) return reply->set_error(ENXIO);
  const int fd = DataOf(&object);
  if ((request.flags() & O_TRUNC) != 0) (void)!ftruncate(fd, 0);
  Donate(request.donation(), fd);
  Describe(at, reply->mutable_attr());
}

void HostileGofer::Serve(const wire::ReadDirRequest& request, wire::ReadDirReply* reply) {
  const Object* object = Find(request.node());
  if (object == nullptr || !S_ISDIR(object->mode)) return reply->set_error(ENOTDIR);
  List(InoOf(request.node()), static_cast<size_t>(request.cookie()),
       request.detail() == wire::NAMES, reply->mutable_entries());
  reply->set_end(true);
}

void HostileGofer::Serve(const wire::ReadTreeRequest& request, wire::ReadTreeReply* reply) {
  const Ino parent = InoOf(request.node());
  for (const std::string& name : request.names()) {
    const Ino ino = Child(parent, name);
    if (ino == 0 || !S_ISDIR(objects_[ino].mode)) continue;
    wire::DirectoryListing* listing = reply->add_directories();
    Describe(ino, listing->mutable_attr());
    List(ino, 0, false, listing->mutable_entries());
  }
}

void HostileGofer::Serve(const wire::StatFsRequest&, wire::StatFsReply* reply) {
  reply->set_bsize(4096);
  reply->set_blocks(1000);
  reply->set_namelen(255);
}

void HostileGofer::Serve(const wire::CloseRequest& request, wire::CloseReply*) {
  for (const uint64_t node : request.nodes()) nodes_.erase(node);
}

void HostileGofer::Serve(const wire::MakeRequest& request, wire::MakeReply* reply) {
  const Ino directory = InoOf(request.directory());
  const Object* object = Find(request.directory());
  if (object == nullptr || !S_ISDIR(object->mode)) return reply->set_error(ENOTDIR);
  if (Child(directory, request.name()) != 0) return reply->set_error(EEXIST);
  const Ino made = AddObject(directory, request.name(), request.mode(), request.target());
  if (request.name().empty()) objects_[made].nlink = 0;
  if (request.donation() != 0) Donate(request.donation(), DataOf(&objects_[made]));
  Hand(made, reply->mutable_node());
  Describe(directory, reply->mutable_directory());
}

void HostileGofer::Serve(const wire::LinkRequest& request, wire::LinkReply* reply) {
  const Ino ino = InoOf(request.node()), directory = InoOf(request.directory());
  if (ino == 0 || directory == 0) return reply->set_error(EINVAL);
  if (Child(directory, request.name()) != 0) return reply->set_error(EEXIST);
  objects_[directory].entries[request.name()] = ino;
  ++objects_[ino].nlink;
  Describe(ino, reply->mutable_attr());
  Describe(directory, reply->mutable_directory());
}

void HostileGofer::Serve(const wire::UnlinkRequest& request, wire::UnlinkReply* reply) {
  const Ino directory = InoOf(request.directory());
  const Ino ino = Child(directory, request.name());
  if (ino == 0) return reply->set_error(ENOENT);
  if (S_ISDIR(objects_[ino].mode) != request.is_directory()) {
    return reply->set_error(request.is_directory() ? ENOTDIR : EISDIR);
  }
  if (!objects_[ino].entries.empty()) return reply->set_error(ENOTEMPTY);
  DropName(directory, request.name());
  Describe(directory, reply->mutable_directory());
}

void HostileGofer::Serve(const wire::RenameRequest& request, wire::RenameReply* reply) {
  const Ino from = InoOf(request.old_directory()), to = InoOf(request.new_directory());
  const Ino moved = Child(from, request.old_name()), there = Child(to, request.new_name());
  if (moved == 0) return reply->set_error(ENOENT);
  if ((request.flags() & RENAME_EXCHANGE) != 0) {
    if (there == 0) return reply->set_error(ENOENT);
    objects_[from].entries[request.old_name()] = there;
  } else {
    DropName(to, request.new_name());
    objects_[from].entries.erase(request.old_name());
  }
  objects_[to].entries[request.new_name()] = moved;
  Describe(from, reply->mutable_old_directory());
  Describe(to, reply->mutable_new_directory());
}

void HostileGofer::Serve(const wire::SetAttrRequest& request, wire::SetAttrReply* reply) {
  Object* object = Find(request.node());
  if (object == nullptr) return reply->set_error(EINVAL);
  if (request.has_mode()) object->mode = (object->mode & S_IFMT) | (request.mode() & 07777);
  if (request.has_size()) {
    if (!S_ISREG(object->mode) || request.size() > kMaxFile) return reply->set_error(EINVAL);
    (void)!ftruncate(DataOf(object), static_cast<off_t>(request.size()));
  }
  Describe(InoOf(request.node()), reply->mutable_attr());
}

void HostileGofer::Serve(const wire::GetXattrRequest& request, wire::GetXattrReply* reply) {
  Object* object = Find(request.node());
  if (object == nullptr || !object->xattrs.contains(request.name())) {
    return reply->set_error(ENODATA);
  }
  reply->set_value(object->xattrs[request.name()]);
}

void HostileGofer::Serve(const wire::ListXattrRequest& request, wire::ListXattrReply* reply) {
  const Object* object = Find(request.node());
  if (object == nullptr) return reply->set_error(EINVAL);
  for (const auto& [name, value] : object->xattrs) reply->add_names(name);
}

void HostileGofer::Serve(const wire::SetXattrRequest& request, wire::SetXattrReply* reply) {
  Object* object = Find(request.node());
  if (object == nullptr) return reply->set_error(EINVAL);
  object->xattrs[request.name()] = request.value();
}

void HostileGofer::Serve(const wire::RemoveXattrRequest& request, wire::RemoveXattrReply* reply) {
  Object* object = Find(request.node());
  if (object == nullptr || object->xattrs.erase(request.name()) == 0) reply->set_error(ENODATA);
}

void HostileGofer::Serve(const wire::SyncRequest&, wire::SyncReply*) {}

}  // namespace ringfence::fuzz
